//! `keep`, `refresh`, `commit`, `fail` and `verify`: a run operated by its id.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Duration;

use flowlock::{Error, Renewed, RunId};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde::Serialize;

use crate::args::{Commit, Global, Keep, OneRun, Verify};
use crate::door::{Door, Settings};
use crate::exit::{self, Failure};
use crate::json;
use crate::request;
use crate::signals::Signals;
use crate::supervise::boot_clock;
use crate::terminal;
use crate::waiting;

/// `keep` asks again so soon while the store is in trouble.
const AFTER_TROUBLE: Duration = Duration::from_secs(1);
/// After a suspended machine wakes up the time is noticed within it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

#[derive(Serialize)]
struct Answer<'a> {
    version: u32,
    run: &'a str,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    lease_left_ms: Option<u64>,
    /// Its lease was over, and began anew.
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

    /// Success is silent, unless JSON is wanted.
    fn give(&self, wanted: bool) -> Result<u8, Failure> {
        if wanted {
            terminal::print_json(self)?;
        }
        Ok(exit::OK)
    }
}

/// Renews once.
pub(crate) fn refresh(global: &Global, args: &OneRun) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    let door = Door::open(global)?;
    let Renewed { lease_left, late } = door.flowlock.refresh(&run).map_err(|error| door.failure(error))?;
    if late && !global.quiet && !args.json {
        tell_late(&run, "it holds them again");
    }
    Answer { lease_left_ms: Some(lease_left.as_millis() as u64), late, ..Answer::new(&run, "running") }
        .give(args.json)
}

/// Ends a run well. Repeated, it answers the same.
pub(crate) fn commit(global: &Global, args: &Commit) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    request::check_note(args.note.as_deref())?;
    let door = Door::open(global)?;
    let again = format!("ask again with `flowlock commit {run}`");
    let late =
        door.flowlock.commit(&run, args.note.as_deref()).map_err(|error| door.unknown(error, &again))?;
    if late && !global.quiet && !args.json {
        tell_late(&run, "it is committed");
    }
    Answer::new(&run, if late { "committed_late" } else { "committed" }).give(args.json)
}

/// That it went well is silent, but not that it could have gone wrong.
fn tell_late(run: &RunId, so: &str) {
    terminal::say(&format!("{run} was late: its lease was over, and nobody had needed its names; {so}"));
}

/// Ends a run badly.
pub(crate) fn fail(global: &Global, args: &OneRun) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    let door = Door::open(global)?;
    door.flowlock.fail(&run).map_err(|error| door.failure(error))?;
    Answer::new(&run, "failed").give(args.json)
}

/// Asks whether a run holds its names.
pub(crate) fn verify(global: &Global, args: &Verify) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    let door = Door::open(global)?;
    match door.flowlock.verify(&run) {
        Ok(token) => {
            Answer { token: Some(json::token(token)), ..Answer::new(&run, "running") }.give(args.json)
        }
        Err(error) => {
            let failure = door.failure(error);
            Answer::new(&run, failure.outcome).give(args.json)?;
            Err(failure)
        }
    }
}

/// Renews until a signal comes, or the run is over.
pub(crate) fn keep(global: &Global, args: &Keep) -> Result<u8, Failure> {
    let run = RunId::parse(&args.run)?;
    let (door, mut signals) = match waiting::open(&Arc::new(Settings::read(global)?), global) {
        // It renews until a signal comes, and one came: a step of a build may be over before the store is open.
        Err(failure) if failure.outcome == "cancelled" => return Ok(exit::OK),
        opened => opened?,
    };
    crate::log::begin();
    let seen = match door.flowlock.run(&run) {
        // Nobody waits for the answer any more.
        Err(_) if signals.take_what_interrupted().is_some() => return Ok(exit::OK),
        seen => seen.map_err(|error| door.failure(error))?,
    };
    let seen = seen.ok_or_else(|| door.failure(Error::NoSuchRun { run: run.clone() }))?;
    let every = args.every.unwrap_or(Duration::from_millis(seen.run.spec.lease_ms) / 3);
    let left = Duration::from_millis(seen.lease_left_ms.unwrap_or_default().max(0).cast_unsigned());
    let mut deadline = boot_clock() + left;
    loop {
        let mut pause = every;
        match door.flowlock.refresh(&run) {
            Ok(renewed) => deadline = boot_clock() + renewed.lease_left,
            Err(Error::Over { .. }) => return Ok(exit::OK),
            Err(Error::Store(_)) if signals.take_what_interrupted().is_some() => return Ok(exit::OK),
            Err(Error::Store(error)) if error.is_transient() && boot_clock() < deadline => {
                pause = every.min(AFTER_TROUBLE);
                tracing::warn!(%error, "could not renew; trying again until the lease is over");
            }
            Err(error) => return Err(door.failure(error)),
        }
        if sleep(&mut signals, pause)? {
            return Ok(exit::OK);
        }
    }
}

/// Sleeps; true if a signal asked to end. Time goes on while the machine is suspended, as leases do.
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
