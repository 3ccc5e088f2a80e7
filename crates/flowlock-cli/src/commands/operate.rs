//! `keep`, `refresh`, `commit`, `fail` and `verify`: a run operated by its id.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use flowlock::{Error, Renewed, RunId, shell_argument};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::args::{Global, values};
use crate::context::{Context, Settings};
use crate::exit::{self, Failure};
use crate::json;
use crate::request;
use crate::signals::Signals;
use crate::supervise::boot_clock;
use crate::terminal;
use crate::waiting;

/// A run, by its id.
#[derive(Debug, Args)]
pub(crate) struct OneRunArgs {
    /// The run id that `flowlock start` printed
    #[arg(value_name = "RUN", value_parser = values::text())]
    pub(crate) run: String,
    /// Print the outcome as JSON
    #[arg(long, help_heading = "Reporting")]
    pub(crate) json: bool,
}

/// Ends a run well.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  flowlock commit \"$RUN\" --note /data/package.17.tar")]
pub(crate) struct CommitArgs {
    /// The run id that `flowlock start` printed
    #[arg(value_name = "RUN", value_parser = values::text())]
    pub(crate) run: String,
    /// A note for readers of the outputs, such as the path
    #[arg(long, value_name = "TEXT", value_parser = values::text())]
    pub(crate) note: Option<String>,
    /// Print the outcome as JSON
    #[arg(long, help_heading = "Reporting")]
    pub(crate) json: bool,
}

/// Renews a run until this command is ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  flowlock keep \"$RUN\" & keeper=$!; ./long-step.sh; kill $keeper\n\nExits 79 when the run is lost, 0 when it is ended by INT, TERM or HUP or when the run ended."
)]
pub(crate) struct KeepArgs {
    /// The run id that `flowlock start` printed
    #[arg(value_name = "RUN", value_parser = values::text())]
    pub(crate) run: String,
    /// How often to renew; must be shorter than the lease [default: a third of it]
    #[arg(long, value_name = "D", value_parser = values::lease)]
    pub(crate) every: Option<Duration>,
}

/// Asks whether a run still holds its names.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, just before results become visible:\n  flowlock verify && mv report.tmp report\n\nExits 0 if the run holds its names, 79 if it does not."
)]
pub(crate) struct VerifyArgs {
    /// The run id [default: $FLOWLOCK_RUN_ID]
    #[arg(value_name = "RUN", env = "FLOWLOCK_RUN_ID", hide_env_values = true, value_parser = values::text())]
    pub(crate) run: String,
    /// Print the outcome as JSON
    #[arg(long, help_heading = "Reporting")]
    pub(crate) json: bool,
}

/// How soon `keep` asks again after an error of the store.
const AFTER_TROUBLE: Duration = Duration::from_secs(1);
/// The longest sleep: after a suspended machine wakes up, the time is noticed within this.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    run: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_left_ms: Option<u64>,
    /// Whether its lease had ended, and began again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    late: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl<'a> Answer<'a> {
    fn new(run: &'a RunId, outcome: &'static str) -> Self {
        Self {
            version: json::VERSION,
            run: run.as_str(),
            outcome,
            lease_left_ms: None,
            late: false,
            token: None,
        }
    }

    /// Prints the outcome if JSON is wanted; success is silent otherwise. Whether the output arrives
    /// changes nothing about the run, and so not the exit code.
    fn give(&self, wanted: bool) -> u8 {
        if wanted && let Err(error) = terminal::print_json(self) {
            let is = self.outcome.replace('_', " ");
            let what = format!("{} is {is}", terminal::shown(self.run));
            terminal::say_not_told(&what, "standard output", &error);
        }
        exit::OK
    }
}

/// Renews once.
pub(crate) fn refresh(global: &Global, args: &OneRunArgs) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    let context = Context::open(global)?;
    let Renewed { lease_left, late } =
        context.flowlock.refresh(&run).map_err(|error| context.failure(error))?;
    if late && !global.quiet && !args.json {
        tell_late(&run, "it holds them again");
    }
    let left = Some(lease_left.as_millis() as u64);
    Ok(Answer { lease_left_ms: left, late, ..Answer::new(&run, "running") }.give(args.json))
}

/// Commits a run. Repeated, it answers the same.
pub(crate) fn commit(global: &Global, args: &CommitArgs) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    request::check_note(args.note.as_deref())?;
    let context = Context::open(global)?;
    let again = format!("ask again with `flowlock commit {}`", shell_argument(run.as_str()));
    let late = context
        .flowlock
        .commit(&run, args.note.as_deref())
        .map_err(|error| context.unknown(error, &again))?;
    if late && !global.quiet && !args.json {
        tell_late(&run, "it is committed");
    }
    Ok(Answer::new(&run, if late { "committed_late" } else { "committed" }).give(args.json))
}

/// Reports a late success; other successes are silent.
fn tell_late(run: &RunId, so: &str) {
    terminal::say(&format!(
        "{run} was late: its lease had ended, but no other run had needed its names; {so}"
    ));
}

/// Fails a run.
pub(crate) fn fail(global: &Global, args: &OneRunArgs) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    let context = Context::open(global)?;
    let again = format!("ask again with `flowlock fail {}`", shell_argument(run.as_str()));
    context.flowlock.fail(&run).map_err(|error| context.unknown(error, &again))?;
    Ok(Answer::new(&run, "failed").give(args.json))
}

/// Asks whether a run holds its names.
pub(crate) fn verify(global: &Global, args: &VerifyArgs) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    let context = Context::open(global)?;
    match context.flowlock.verify(&run) {
        Ok(token) => {
            Ok(Answer { token: Some(json::token(token)), ..Answer::new(&run, "running") }.give(args.json))
        }
        Err(error) => {
            let failure = context.failure(error);
            Answer::new(&run, failure.outcome).give(args.json);
            Err(failure)
        }
    }
}

/// Renews until a signal comes, or the run has ended.
pub(crate) fn keep(global: &Global, args: &KeepArgs) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    let (context, mut signals) = match waiting::open(&Arc::new(Settings::read(global)?), global) {
        // It renews until a signal comes, and one came: a step of a build may end before the store is
        // open.
        Err(failure) if failure.outcome == "cancelled" => return Ok(exit::OK),
        opened => opened?,
    };
    crate::log::begin();
    let seen = match context.flowlock.run(&run) {
        // No caller waits for the answer any more.
        Err(_) if signals.take_what_interrupted().is_some() => return Ok(exit::OK),
        seen => seen.map_err(|error| context.failure(error))?,
    };
    let seen = seen.ok_or_else(|| context.failure(Error::NoSuchRun { run: run.clone() }))?;
    let lease = Duration::from_millis(seen.run.spec.lease_ms);
    let every = args.every.unwrap_or(lease / 3);
    if every >= lease {
        return Err(Failure::usage(format!(
            "--every {every:?} is not shorter than the lease of {run}, {lease:?}: the lease would end in between; nothing was renewed"
        )));
    }
    let left = Duration::from_millis(seen.lease_left_ms.unwrap_or_default().max(0).cast_unsigned());
    let mut deadline = boot_clock() + left;
    loop {
        let mut pause = every;
        match context.flowlock.refresh(&run) {
            Ok(renewed) => deadline = boot_clock() + renewed.lease_left,
            Err(Error::Over { .. }) => return Ok(exit::OK),
            Err(Error::Store(_)) if signals.take_what_interrupted().is_some() => return Ok(exit::OK),
            Err(Error::Store(error)) if error.is_no_refusal() && boot_clock() < deadline => {
                pause = every.min(AFTER_TROUBLE);
                tracing::warn!(%error, "could not renew; trying again until the lease ends");
            }
            Err(error) => return Err(context.failure(error)),
        }
        if sleep(&mut signals, pause)? {
            return Ok(exit::OK);
        }
    }
}

/// Sleeps; returns true if a signal asked to end. The time also runs while the machine is suspended, as
/// leases do.
fn sleep(signals: &mut Signals, time: Duration) -> Result<bool, Failure> {
    let until = boot_clock() + time;
    loop {
        let left = until.saturating_sub(boot_clock()).min(LONGEST_SLEEP);
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut ready = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut ready, timeout) {
            Ok(0) | Err(nix::errno::Errno::EINTR) => {}
            Ok(_) => {
                if signals.take().into_iter().any(Signals::ends_a_wait) {
                    return Ok(true);
                }
            }
            Err(error) => return Err(Failure::internal("wait for signals", &error)),
        }
        if boot_clock() >= until {
            return Ok(false);
        }
    }
}
