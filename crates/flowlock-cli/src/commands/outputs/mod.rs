//! `flowlock outputs`: lists, creates and removes records.

mod list;

use std::time::Duration;

use clap::{Args, Subcommand};
use flowlock::Creation;
use flowlock::step::Holders;

use self::list::list;
use crate::args::{DateFlags, Global, values};
use crate::context::{Context, Settings};
use crate::exit::{self, Failure};
use crate::request;
use crate::terminal;

/// Lists, creates and removes records.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct OutputsArgs {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    list: ListArgs,
}

const EXAMPLES: &str = "\
Examples:
  flowlock outputs                          all records
  flowlock outputs 'sales.*'                those that match (quote the pattern)
  flowlock outputs create raw.2026-11-24    mark a name written, without a run
  flowlock outputs rm raw.2026-11-24        forget that it was written";

/// What to do with records.
#[derive(Debug, Subcommand)]
enum Subcommands {
    /// List what is written
    List(ListArgs),
    /// Mark names as written by hand
    Create(CreateArgs),
    /// Forget that names were written
    Rm(RmArgs),
}

/// Lists records.
#[derive(Debug, Args)]
struct ListArgs {
    /// Only names that match: * stands for any text, ? for one character
    #[arg(value_name = "PATTERN", value_parser = values::text())]
    pattern: Option<String>,
    /// Print JSON
    #[arg(long, help_heading = "Reporting")]
    json: bool,
}

/// Creates records.
#[derive(Debug, Args)]
struct CreateArgs {
    /// The names; {date} and the like are filled in
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    names: Vec<String>,
    /// A note for readers, such as the path
    #[arg(long, value_name = "TEXT", value_parser = values::text())]
    note: Option<String>,
    /// How long they count as written [default: for ever]
    #[arg(long, value_name = "D", value_parser = values::age)]
    output_duration: Option<Duration>,
    /// Take the names away from runs that hold them first
    #[arg(long = "break")]
    break_holders: bool,
    #[command(flatten)]
    dates: DateFlags,
}

/// Removes records.
#[derive(Debug, Args)]
struct RmArgs {
    /// The names; {date} and the like are filled in
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    names: Vec<String>,
    /// Take the names away from runs that hold them first
    #[arg(long = "break")]
    break_holders: bool,
    #[command(flatten)]
    dates: DateFlags,
}

/// Lists records, or carries out the subcommand.
pub(crate) fn outputs(global: &Global, args: &OutputsArgs) -> Result<u8, Failure> {
    match &args.command {
        None => list(global, &args.list),
        Some(Subcommands::List(args)) => list(global, args),
        Some(Subcommands::Create(args)) => create(global, args),
        Some(Subcommands::Rm(args)) => rm(global, args),
    }
}

/// How to find out what became of a step that got no answer.
const HOW_TO_LOOK: &str = "`flowlock outputs` shows what is recorded";

/// Marks names as written.
fn create(global: &Global, args: &CreateArgs) -> Result<u8, Failure> {
    request::check_note(args.note.as_deref())?;
    let (context, names) = opened(global, &args.names, &args.dates)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let creation = Creation {
        record_life: args.output_duration,
        note: args.note.clone(),
        holders: holders(args.break_holders),
    };
    context.flowlock.create(&names, creation).map_err(|error| context.unknown(error, HOW_TO_LOOK))?;
    Ok(exit::OK)
}

/// Forgets that names were written. If one was not, that is reported, but is not a failure.
fn rm(global: &Global, args: &RmArgs) -> Result<u8, Failure> {
    let (context, names) = opened(global, &args.names, &args.dates)?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let removed = context.flowlock.remove(&names, holders(args.break_holders));
    let removed = removed.map_err(|error| context.unknown(error, HOW_TO_LOOK))?;
    if !removed && !global.quiet {
        terminal::say(&format!("there was no record to remove ({})", context.place));
    }
    Ok(exit::OK)
}

fn holders(break_them: bool) -> Holders {
    if break_them { Holders::Break } else { Holders::Respect }
}

/// Opens the store, and fills the dates into the names.
pub(super) fn opened(
    global: &Global,
    names: &[String],
    dates: &DateFlags,
) -> Result<(Context, Vec<String>), Failure> {
    let settings = Settings::read(global)?;
    let names = request::fill(names, &settings.dates(dates)?)?;
    Ok((settings.open()?, names))
}
