//! `flowlock namespaces`: lists the namespaces of a store, and removes empty ones.

use clap::{Args, Subcommand};
use flowlock::store::{Content, NamespaceSeen, View};
use flowlock::{Error, Namespace};
use serde::{Serialize, Serializer};

use super::confirm::confirmed;
use crate::args::{Global, values};
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::json;
use crate::terminal::{self, Screen, Table, shown};
use crate::times;

/// Lists namespaces, and removes empty ones.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub(crate) struct NamespacesArgs {
    #[command(subcommand)]
    command: Option<Subcommands>,
    #[command(flatten)]
    list: ListArgs,
}

const EXAMPLES: &str = "\
Examples:
  flowlock namespaces                       all of them, and how much is in each
  flowlock namespaces rm ci-1234 --yes      remove an empty one";

/// What to do with namespaces.
#[derive(Debug, Subcommand)]
enum Subcommands {
    /// List all namespaces of the store
    List(ListArgs),
    /// Remove empty namespaces
    Rm(RmArgs),
}

/// Lists namespaces.
#[derive(Debug, Args)]
struct ListArgs {
    /// Print JSON
    #[arg(long, help_heading = "Reporting")]
    json: bool,
}

/// Removes namespaces.
#[derive(Debug, Args)]
#[command(after_help = "\
Exits 75 if one has runs or records, or if a run ended in it within the last ten minutes: outcomes are
kept that long, so that a repeated commit gets its answer. To remove records: flowlock outputs rm.")]
struct RmArgs {
    /// The namespaces
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    names: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

/// Lists namespaces, or carries out the subcommand.
pub(crate) fn namespaces(global: &Global, args: &NamespacesArgs) -> Result<u8, Failure> {
    match &args.command {
        None => list(global, &args.list),
        Some(Subcommands::List(args)) => list(global, args),
        Some(Subcommands::Rm(args)) => rm(global, args),
    }
}

type Listed = [(Namespace, Option<NamespaceSeen>)];

#[derive(Serialize)]
struct NamespacesJson<'n> {
    version: u32,
    store: &'n str,
    #[serde(serialize_with = "each")]
    namespaces: &'n Listed,
}

/// Writes one after the other, so that they are not all in memory a second time.
fn each<S: Serializer>(all: &&Listed, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(all.iter().map(|(namespace, seen)| as_json(namespace, seen.as_ref())))
}

/// A field that this user may not read is null.
#[derive(Serialize)]
struct NamespaceJson {
    namespace: String,
    running: Option<u64>,
    waiting: Option<u64>,
    records: Option<u64>,
    outcomes: Option<u64>,
    last_used: Option<String>,
}

/// Lists all namespaces of the store.
fn list(global: &Global, args: &ListArgs) -> Result<u8, Failure> {
    let context = Context::open(global)?;
    let all = context.flowlock.namespaces().map_err(|error| context.failure(error))?;
    if args.json {
        let store = &context.place.store;
        terminal::print_json(&NamespacesJson { version: json::VERSION, store, namespaces: &all })?;
    } else if all.is_empty() {
        terminal::say(&format!("store {} is empty", shown(&context.place.store)));
    } else {
        terminal::print(&table(&all).text(Screen::detect()))?;
    }
    Ok(exit::OK)
}

fn as_json(namespace: &Namespace, seen: Option<&NamespaceSeen>) -> NamespaceJson {
    NamespaceJson {
        namespace: namespace.as_str().to_owned(),
        running: seen.map(|seen| seen.running),
        waiting: seen.map(|seen| seen.waiting),
        records: seen.map(|seen| seen.records),
        outcomes: seen.map(|seen| seen.outcomes),
        last_used: seen.map(|seen| times::rfc3339(seen.last_used_us)),
    }
}

fn table(all: &[(Namespace, Option<NamespaceSeen>)]) -> Table {
    let mut table = Table::new(&["NAMESPACE", "RUNNING", "WAITING", "RECORDS", "OUTCOMES", "LAST USED"]);
    for (namespace, seen) in all {
        let name = namespace.as_str();
        match seen {
            Some(NamespaceSeen { running, waiting, records, outcomes, last_used_us, .. }) => {
                let [running, waiting, records, outcomes] =
                    [running, waiting, records, outcomes].map(u64::to_string);
                let used = flowlock::shown_time(*last_used_us);
                table.row(&[name, &running, &waiting, &records, &outcomes, &used]);
            }
            None => table.row(&[name, "?", "?", "?", "?", "this user may not read it"]),
        }
    }
    table
}

/// Removes empty namespaces, one after the other. If one does not exist, that is reported, but is not a
/// failure.
fn rm(global: &Global, args: &RmArgs) -> Result<u8, Failure> {
    for name in &args.names {
        Namespace::parse(name).map_err(Error::from)?;
    }
    for name in &args.names {
        let context = Context::open(&Global { namespace: Some(name.clone()), ..global.clone() })?;
        remove(global, args, &context)?;
    }
    Ok(exit::OK)
}

fn remove(global: &Global, args: &RmArgs, context: &Context) -> Result<(), Failure> {
    let page = context.flowlock.view(&View::Namespace).map_err(|error| context.failure(error))?;
    let seen = match page.content {
        Content::Namespace(Some(seen)) if seen.removed.is_none() => seen,
        Content::Namespace(seen) => {
            say_it_is_not_there(global, context, seen);
            return Ok(());
        }
        _ => return Ok(()),
    };
    if !seen.is_empty() {
        let message = format!("{} is not empty: it has {}", named(context), counted(&seen));
        return Err(Failure::new(exit::BUSY, "busy", message).at(&context.place));
    }
    if !args.yes {
        let ago = times::relative(seen.seen_us, seen.last_used_us);
        let about = format!("{} is empty, was used last {ago}, and has {}", named(context), counted(&seen));
        if !confirmed("namespaces rm", &[about], "Remove it?")? {
            return Err(Failure::new(exit::NO, "declined", "left alone"));
        }
    }
    if !context.flowlock.remove_namespace().map_err(|error| context.failure(error))? {
        say_it_is_not_there(global, context, None);
    }
    Ok(())
}

fn named(context: &Context) -> String {
    format!("namespace {}", shown(&context.place.namespace))
}

fn counted(seen: &NamespaceSeen) -> String {
    let count =
        |number: u64, one: &str, more: &str| format!("{number} {}", if number == 1 { one } else { more });
    format!(
        "{} running, {} waiting, {}, {}",
        seen.running,
        seen.waiting,
        count(seen.records, "record", "records"),
        count(seen.outcomes, "remembered outcome", "remembered outcomes")
    )
}

fn say_it_is_not_there(global: &Global, context: &Context, seen: Option<NamespaceSeen>) {
    if !global.quiet {
        let by = seen.and_then(|seen| seen.removed).map(|by| format!(": it was removed by {by}"));
        let said = format!("there is no namespace {}", shown(&context.place.namespace));
        terminal::say(&format!("{said}{} ({})", by.unwrap_or_default(), context.place));
    }
}
