//! What `run` decides before the store is asked: all errors in the command line.

use std::ffi::OsString;
use std::time::Duration;

use flowlock::JobName;

use super::args::RunArgs;
use crate::child;
use crate::context::Settings;
use crate::dates::Dates;
use crate::exit::Failure;
use crate::request::{self, Names};

/// The default time between TERM and KILL, if the lease is long enough.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// A checked request, and its command.
#[derive(Debug)]
pub(super) struct Plan {
    /// The job's name.
    pub(super) job: JobName,
    /// What the run claims.
    pub(super) names: Names,
    /// The day from which its dates count.
    pub(super) day: String,
    /// The command, with dates filled in if that was asked for.
    pub(super) command: Vec<OsString>,
    /// The lease, if one is set.
    pub(super) lease: Option<Duration>,
}

impl Plan {
    /// Checks the names, the job, the command, the note and the lease.
    pub(super) fn new(settings: &Settings, args: &RunArgs) -> Result<Self, Failure> {
        let dates = settings.dates(&args.dates)?;
        let command = if args.expand { expanded(&args.command, &dates)? } else { args.command.clone() };
        child::find(&command[0]).map_err(|problem| Failure::cannot_start(&command[0], &problem))?;
        let job = match &args.name {
            Some(name) => JobName::parse(name)?,
            None => request::name_of(&command)?,
        };
        let names = Names::new(&args.claims, &dates, &job)?;
        if names.is_empty() {
            return Err(Failure::usage(
                "nothing is claimed, so this would only run the command; give -i, -o, -l, --lock-shared, --slot or --single",
            ));
        }
        request::check_note(args.note.as_deref())?;
        let lease = settings.lease(args.duration)?;
        Ok(Self { job, names, day: dates.day(), command, lease })
    }
}

fn expanded(command: &[OsString], dates: &Dates) -> Result<Vec<OsString>, Failure> {
    let mut full = Vec::with_capacity(command.len());
    for word in command {
        match word.to_str() {
            Some(text) => full.extend(dates.fill(text)?.into_iter().map(OsString::from)),
            None => full.push(word.clone()),
        }
    }
    Ok(full)
}

/// Returns the time between TERM and KILL: at most a third of the lease, so that there is time to renew
/// before anything must be ended, and less than the longest run time, of which it is at most a third by
/// default.
pub(super) fn kill_after(
    given: Option<Duration>,
    lease: Duration,
    max_runtime: Option<Duration>,
) -> Result<Duration, Failure> {
    let most = lease / 3;
    match (given, max_runtime) {
        (Some(given), Some(runtime)) if given >= runtime => Err(Failure::usage(format!(
            "--kill-after {given:?} is not shorter than --max-runtime {runtime:?}: the command would be ended as soon as it begins"
        ))),
        _ => within_the_lease(given, lease, most.min(max_runtime.map_or(most, |runtime| runtime / 3))),
    }
}

fn within_the_lease(given: Option<Duration>, lease: Duration, usual: Duration) -> Result<Duration, Failure> {
    let most = lease / 3;
    match given {
        None => Ok(KILL_AFTER.min(usual)),
        Some(given) if given <= most => Ok(given),
        Some(given) => Err(Failure::usage(format!(
            "--kill-after {given:?} is more than a third of the lease; with --duration {lease:?} give at most {most:?}"
        ))),
    }
}
