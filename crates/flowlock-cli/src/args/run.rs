//! `run` and `start`: what a request can say.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::values::{self, Slot, Wait};

/// What a run reads, writes and locks.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Names")]
pub(crate) struct ClaimFlags {
    /// A name to read: it must be written, and nobody may be writing it
    #[arg(short, long, value_name = "NAME", value_parser = values::text())]
    pub(crate) input: Vec<String>,
    /// A name to write, alone; with -i of the same name: read, change, write
    #[arg(short, long, value_name = "NAME", value_parser = values::text())]
    pub(crate) output: Vec<String>,
    /// A plain lock, held alone
    #[arg(short, long, value_name = "NAME", value_parser = values::text())]
    pub(crate) lock: Vec<String>,
    /// A plain lock, held together with other shared ones
    #[arg(long, value_name = "NAME", value_parser = values::text())]
    pub(crate) lock_shared: Vec<String>,
    /// One or N of CAP units of a counted name, as in gpu:4 or gpu:2/4
    #[arg(long, value_name = "NAME:[N/]CAP", value_parser = values::slots())]
    pub(crate) slot: Vec<Slot>,
    /// More names to read, one on each line of FILE (- for standard input)
    #[arg(long, value_name = "FILE")]
    pub(crate) inputs_from: Option<PathBuf>,
    /// Only one run of this job at a time: a lock on the job's name
    #[arg(long)]
    pub(crate) single: bool,
}

/// How a run is asked for.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestFlags {
    /// How long to wait for its turn, or forever; 0 tries once [default: forever]
    #[arg(long, value_name = "D|forever", value_parser = values::wait)]
    pub(crate) wait: Option<Wait>,
    /// What to do if an output is written already
    #[arg(long, value_enum, default_value_t, value_name = "overwrite|fail|skip")]
    pub(crate) if_written: IfWritten,
    /// What becomes of an old record if this run fails to rewrite it
    #[arg(long, value_enum, default_value_t, value_name = "keep|incomplete")]
    pub(crate) on_fail: OnFail,
    /// How long what it writes counts as written [default: for ever]
    #[arg(long, value_name = "D", value_parser = values::age)]
    pub(crate) output_duration: Option<Duration>,
    /// Stop renewing the lease after this time, so that a hung job frees its names
    #[arg(long, value_name = "D", value_parser = values::runtime)]
    pub(crate) max_runtime: Option<Duration>,
    /// How long the run can still come back after its lease ended, if nobody needs its names [default: FLOWLOCK_KEEP_LAPSED or 1d]
    #[arg(long, value_name = "D", value_parser = values::keep_lapsed)]
    pub(crate) keep_lapsed: Option<Duration>,
}

impl RequestFlags {
    /// Whether `--wait 0` asks for a single try.
    pub(crate) fn is_a_try(&self) -> bool {
        self.wait == Some(Wait::For(Duration::ZERO))
    }
}

/// What `{date}` in names means.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Dates in names")]
pub(crate) struct DateFlags {
    /// The date that {date}, {hour-1h}, {month-1m} … in names count from [default: now]
    #[arg(long, value_name = "DATE", value_parser = values::text())]
    pub(crate) date: Option<String>,
    /// The time zone of dates in names, as in Europe/Berlin or local [default: FLOWLOCK_TZ or UTC]
    #[arg(long, value_name = "ZONE", value_parser = values::text())]
    pub(crate) tz: Option<String>,
}

/// Runs a command.
#[derive(Debug, Args)]
#[command(after_help = RUN_EXAMPLES)]
pub(crate) struct Run {
    #[command(flatten)]
    pub(crate) claims: ClaimFlags,
    #[command(flatten)]
    pub(crate) request: RequestFlags,
    /// What to do if names are taken when the wait is over: exit 75, or say one line and exit 0
    #[arg(long, value_enum, default_value_t, value_name = "fail|skip", help_heading = "Request")]
    pub(crate) if_locked: IfLocked,
    #[command(flatten)]
    pub(crate) dates: DateFlags,
    /// Fill in dates in COMMAND and its arguments too
    #[arg(long, help_heading = "Dates in names")]
    pub(crate) expand: bool,
    /// What to call the work [default: the command's base name and its script]
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
    #[arg(long, value_name = "FILE", help_heading = "Talk")]
    pub(crate) json_result: Option<PathBuf>,
    /// The command and its arguments, executed without a shell
    #[arg(required = true, trailing_var_arg = true, help_heading = "Command", value_name = "COMMAND", value_parser = clap::value_parser!(OsString))]
    pub(crate) command: Vec<OsString>,
}

const RUN_EXAMPLES: &str = "\
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

/// Starts a detached run.
#[derive(Debug, Args)]
#[command(after_help = START_EXAMPLES)]
pub(crate) struct Start {
    /// What to call the work
    #[arg(value_name = "JOB", value_parser = values::text())]
    pub(crate) job: String,
    /// The run's id [default: JOB and a random number]
    #[arg(long, value_name = "ID", value_parser = values::text())]
    pub(crate) id: Option<String>,
    /// How long the names stay taken without a refresh
    #[arg(long, value_name = "D", value_parser = values::lease)]
    pub(crate) duration: Duration,
    #[command(flatten)]
    pub(crate) claims: ClaimFlags,
    #[command(flatten)]
    pub(crate) request: RequestFlags,
    #[command(flatten)]
    pub(crate) dates: DateFlags,
    /// Print JSON instead of the bare run id
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}

const START_EXAMPLES: &str = "\
Examples:
  RUN=$(flowlock start build --duration 30m -i sources -o package)
  flowlock refresh \"$RUN\"      on any agent, before 30 minutes are over
  flowlock commit \"$RUN\"       or: flowlock fail \"$RUN\"

Whoever knows the run id can refresh, commit and fail the run. It lives by its lease, not by a process.";

/// What to do about outputs that are written already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum IfWritten {
    /// Write them again
    #[default]
    Overwrite,
    /// Do not run; exit 73
    Fail,
    /// Do not run; exit 0
    Skip,
}

/// What to do when names are taken until the wait is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum IfLocked {
    /// Exit 75
    #[default]
    Fail,
    /// Say one line and exit 0
    Skip,
}

/// What becomes of an old record when its rewrite fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OnFail {
    /// It stays readable
    #[default]
    Keep,
    /// It does not count until somebody writes it
    Incomplete,
}

/// What to do with the command when its names are in danger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OnTrouble {
    /// End it: TERM, then KILL
    #[default]
    Kill,
    /// Say so and let it run; its outputs are not marked as written if the names were lost
    Warn,
}
