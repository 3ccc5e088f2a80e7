//! What is done with a run by its id alone: by whoever operates a detached run, and to look at any run.

use std::time::Duration;

use super::Renewed;
use crate::commit::not_committed;
use crate::connection::Connection;
use crate::error::{Error, Lost};
use crate::id::Token;
use crate::lease::TAKEN;
use crate::name::RunId;
use crate::run::{LostBy, Outcome, State};
use crate::step::{Answer, Finished, Refreshed, Step, Who};
use crate::store::{Content, Seen, View};

/// Fails a run, by its id.
pub(crate) fn fail(connection: &Connection, who: &Who) -> Result<(), Error> {
    let run = who.run.clone();
    match connection.step_for_caller(&Step::Fail(who.clone()))? {
        Answer::Finished(Finished::Ended { outcome: Outcome::Failed, .. }) => Ok(()),
        Answer::Finished(finished) => Err(not_committed(who, finished, TAKEN)),
        _ => Err(Error::NoSuchRun { run }),
    }
}

/// Renews one run's lease, by its id.
pub(crate) fn refresh_one(connection: &Connection, who: &Who) -> Result<Renewed, Error> {
    let run = || who.run.clone();
    let limits = connection.limits_of_caller();
    loop {
        let answer = connection.step_within(&Step::Refresh(vec![who.clone()]), &limits)?;
        let Answer::Refreshed(answers) = answer else {
            return Err(Error::NoSuchRun { run: run() });
        };
        let renewed =
            |ms: i64, late| Ok(Renewed { lease_left: Duration::from_millis(ms.max(0) as u64), late });
        match answers.first() {
            Some(Refreshed::AskAgain) => limits.may_ask_again()?,
            Some(Refreshed::Held { lease_left_ms, late }) => return renewed(*lease_left_ms, *late),
            Some(Refreshed::MaxRuntime { lease_left_ms }) if *lease_left_ms > 0 => {
                return renewed(*lease_left_ms, false);
            }
            Some(Refreshed::MaxRuntime { .. }) => {
                return Err(Error::Lost { run: run(), by: Lost::Expired });
            }
            Some(Refreshed::Over(Outcome::Lost(by))) => {
                return Err(Error::Lost { run: run(), by: Lost::By(*by) });
            }
            Some(Refreshed::Over(outcome)) => {
                return Err(Error::Over { run: run(), outcome: outcome.as_str() });
            }
            _ => return Err(Error::NoSuchRun { run: run() }),
        }
    }
}

/// Asks the store whether the latest run with this id holds its claims.
pub(crate) fn verify(connection: &Connection, run: &RunId) -> Result<Token, Error> {
    let seen = look(connection, &View::Run(run.clone()))?;
    let seen = seen.ok_or_else(|| Error::NoSuchRun { run: run.clone() })?;
    stands(&seen)
}

pub(super) fn look(connection: &Connection, view: &View) -> Result<Option<Box<Seen>>, Error> {
    Ok(match connection.view(view)?.content {
        Content::Run(seen) => seen,
        _ => None,
    })
}

/// Returns the token of a run if it holds its claims, else why not.
pub(super) fn stands(seen: &Seen) -> Result<Token, Error> {
    let run = &seen.run.attempt.id;
    let lost = |by| Err(Error::Lost { run: run.clone(), by });
    match seen.run.state {
        State::Running if seen.run.revoked => lost(Lost::By(LostBy::Broken)),
        State::Running if seen.lease_left_ms.is_some_and(|left| left <= 0) => {
            Err(Error::Lapsed { run: run.clone() })
        }
        State::Running => Ok(seen.run.token.unwrap_or_default()),
        State::Ended(Outcome::Lost(by)) => lost(Lost::By(by)),
        State::Ended(outcome) => Err(Error::Over { run: run.clone(), outcome: outcome.as_str() }),
        state => Err(Error::NotBegun { run: run.clone(), state: state.as_str() }),
    }
}
