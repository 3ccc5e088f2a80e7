//! What `flowlock run` takes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::args::{ClaimFlags, DateFlags, OnTrouble, RequestFlags, values};

/// Runs a command.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) claims: ClaimFlags,
    #[command(flatten)]
    pub(crate) request: RequestFlags,
    /// What to do if names are taken when the wait is over: exit 75, or print one line and exit 0
    #[arg(long, value_enum, default_value_t, value_name = "fail|skip", help_heading = "Request")]
    pub(crate) if_locked: IfLocked,
    #[command(flatten)]
    pub(crate) dates: DateFlags,
    /// Fill in dates in COMMAND and its arguments too
    #[arg(long, help_heading = "Dates in names")]
    pub(crate) expand: bool,
    /// The name of the job [default: the command's base name and its script]
    #[arg(long, value_name = "JOB", value_parser = values::text(), help_heading = "Command")]
    pub(crate) name: Option<String>,
    /// How long the names stay taken if this machine falls silent [default: 60s, on a server 3m]
    #[arg(long, value_name = "D", value_parser = values::lease, help_heading = "Command")]
    pub(crate) duration: Option<Duration>,
    /// What to do with the command when the store says that its names are lost
    #[arg(long, value_enum, default_value_t, value_name = "kill|warn", help_heading = "Command")]
    pub(crate) on_lost: OnTrouble,
    /// What to do with the command when the lease ends because the store does not answer
    #[arg(long, value_enum, default_value_t, value_name = "kill|warn", help_heading = "Command")]
    pub(crate) on_unreachable: OnTrouble,
    /// Time between TERM and KILL, at most a third of the lease [default: 10s, or a third of a shorter lease or --max-runtime]
    #[arg(long, value_name = "D", value_parser = values::grace, help_heading = "Command")]
    pub(crate) kill_after: Option<Duration>,
    /// Shell line that must succeed after COMMAND before anything is marked as written
    #[arg(long, value_name = "CMD", help_heading = "Command")]
    pub(crate) check: Option<OsString>,
    /// A note for readers of the outputs, such as the path (or write it to $FLOWLOCK_NOTE_FILE)
    #[arg(long, value_name = "TEXT", value_parser = values::text(), help_heading = "Command")]
    pub(crate) note: Option<String>,
    /// Do not let COMMAND's processes keep the names if flowlock dies
    #[arg(long, help_heading = "Command")]
    pub(crate) close: bool,
    /// Write what happened to FILE, as JSON
    #[arg(long, value_name = "FILE", help_heading = "Reporting")]
    pub(crate) json_result: Option<PathBuf>,
    /// The command and its arguments, executed without a shell
    #[arg(required = true, trailing_var_arg = true, help_heading = "Command", value_name = "COMMAND", value_parser = clap::value_parser!(OsString))]
    pub(crate) command: Vec<OsString>,
}

const EXAMPLES: &str = "\
Examples:
  flowlock run -o sales.{date} -- ./fetch.sh
  flowlock run -i sales.{date-7d..date-1d} -o weekly.{date} --wait 2h -- ./weekly.py
  flowlock run -l backup --if-locked skip --wait 0 -- ./backup.sh
  flowlock run --slot gpu:2/4 -o model -- ./train.sh
  flowlock run --single -- ./nightly.sh
  flowlock run -o clean --note '/data/clean.17' --check 'test -s /data/clean.17' -- ./clean.sh

The exit code is the command's own (128 + N if signal N ended it), or
  75 names were taken until the wait was over     66 an input was not written until then
  73 already written (--if-written fail)          79 names were lost: outputs are not marked as written
  76 commit sent, outcome unknown                 69 store unreachable before the command started
  74 store full or damaged                        64 usage    78 configuration
  126, 127 COMMAND cannot be executed, not found  125 internal error";

/// What to do when names are taken until the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum IfLocked {
    /// Exit 75
    #[default]
    Fail,
    /// Print one line and exit 0
    Skip,
}
