//! What requests have in common: claims, waiting, dates in names.

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
    /// A plain lock, held exclusively
    #[arg(short, long, value_name = "NAME", value_parser = values::text())]
    pub(crate) lock: Vec<String>,
    /// A plain lock, held together with other shared ones
    #[arg(long, value_name = "NAME", value_parser = values::text())]
    pub(crate) lock_shared: Vec<String>,
    /// One or N of CAP units of a counted name, as in gpu:4 or gpu:2/4
    #[arg(long, value_name = "NAME:[N/]CAP", value_parser = values::slots())]
    pub(crate) slot: Vec<Slot>,
    /// More names to read, one on each line of FILE (- for standard input); blank lines and # lines are skipped
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
    /// How long its outputs count as written [default: for ever]
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

/// What becomes of an old record when its rewrite fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OnFail {
    /// It stays readable
    #[default]
    Keep,
    /// It counts as incomplete until it is written again
    Incomplete,
}

/// What to do with the command when its names are in danger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum OnTrouble {
    /// End it: TERM, then KILL
    #[default]
    Kill,
    /// Print a message and let it run; its outputs are not marked as written if the names were lost
    Warn,
}
