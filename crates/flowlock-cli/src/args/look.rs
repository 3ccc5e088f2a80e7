//! Commands that look at runs and records, and the two that change records by hand.

use std::time::Duration;

use clap::{Args, Subcommand};

use super::run::DateFlags;
use super::values;

/// Shows runs.
#[derive(Debug, Args)]
pub(crate) struct Status {
    /// List all runs, not only the first 50 that run and the first 50 that wait; JSON has all of them anyway
    #[arg(long)]
    pub(crate) all: bool,
    /// Print JSON
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}

/// Explains a wait.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  flowlock why                   every run that waits\n  flowlock why reporting.daily   a job, a run or a name\n  flowlock why name:sales.clean  only the name"
)]
pub(crate) struct Why {
    /// A job, a run id or a name; job:, run: or name: in front says which
    #[arg(value_name = "X", value_parser = values::text())]
    pub(crate) what: Option<String>,
    /// Print JSON
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}

/// Lists, creates and removes records.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, after_help = OUTPUTS_EXAMPLES)]
pub(crate) struct Outputs {
    #[command(subcommand)]
    pub(crate) command: Option<OutputsCommand>,
    #[command(flatten)]
    pub(crate) list: OutputsList,
}

const OUTPUTS_EXAMPLES: &str = "\
Examples:
  flowlock outputs                          all records
  flowlock outputs 'sales.*'                those that match (quote the pattern)
  flowlock outputs create raw.2026-11-24    mark a name written, without a run
  flowlock outputs rm raw.2026-11-24        forget that it was written";

/// What to do with records.
#[derive(Debug, Subcommand)]
pub(crate) enum OutputsCommand {
    /// List what is written
    List(OutputsList),
    /// Mark names as written by hand
    Create(OutputsCreate),
    /// Forget that names were written
    Rm(OutputsRm),
}

/// Lists records.
#[derive(Debug, Args)]
pub(crate) struct OutputsList {
    /// Only names that match: * stands for any text, ? for one character
    #[arg(value_name = "PATTERN", value_parser = values::text())]
    pub(crate) pattern: Option<String>,
    /// Print JSON
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}

/// Creates records.
#[derive(Debug, Args)]
pub(crate) struct OutputsCreate {
    /// The names; {date} and its kin are filled in
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    pub(crate) names: Vec<String>,
    /// A note for readers, such as the path
    #[arg(long, value_name = "TEXT", value_parser = values::text())]
    pub(crate) note: Option<String>,
    /// How long they count as written [default: for ever]
    #[arg(long, value_name = "D", value_parser = values::age)]
    pub(crate) output_duration: Option<Duration>,
    /// Take the names away from runs that hold them first
    #[arg(long = "break")]
    pub(crate) break_holders: bool,
    #[command(flatten)]
    pub(crate) dates: DateFlags,
}

/// Removes records.
#[derive(Debug, Args)]
pub(crate) struct OutputsRm {
    /// The names; {date} and its kin are filled in
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    pub(crate) names: Vec<String>,
    /// Take the names away from runs that hold them first
    #[arg(long = "break")]
    pub(crate) break_holders: bool,
    #[command(flatten)]
    pub(crate) dates: DateFlags,
}

/// Tests for records.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  flowlock check sales.{date-1d} --max-age 26h\n\nExits 0 if all are written (and young enough), 1 if one is not, 69 if the store cannot be asked."
)]
pub(crate) struct Check {
    /// The names; {date} and its kin are filled in
    #[arg(required = true, value_name = "NAME", value_parser = values::text())]
    pub(crate) names: Vec<String>,
    /// How long ago they may have been written
    #[arg(long, value_name = "D", value_parser = values::age)]
    pub(crate) max_age: Option<Duration>,
    #[command(flatten)]
    pub(crate) dates: DateFlags,
    /// Print JSON
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}
