//! Commits: repeated until the store answers.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::error::{Error, Lost};
use crate::lease::{Lease, TAKEN};
use crate::record::Record;
use crate::run::Outcome;
use crate::spec::Spec;
use crate::step::{Answer, Finished, Step, Who};
use crate::store::{Content, Limits, StoreError, StoreErrorKind, View};
use crate::world::later;

/// The error for a commit whose first attempt may have taken effect, once the store has forgotten the
/// run.
const FORGOTTEN: &str = "the store does not remember the run (it keeps an outcome for 10 minutes), and no record \
                         shows that an earlier attempt took effect";

/// A commit in progress.
pub(crate) struct Committing {
    connection: Arc<Connection>,
    who: Who,
    step: Step,
    known: Option<Known>,
    begin: Instant,
    /// When it ends without an answer: `commit_wait` after the run's deadline.
    until: Instant,
    /// Whether its deadline had passed when it began.
    is_late: bool,
    /// Whether an earlier attempt may have taken effect.
    unsure: Cell<bool>,
    /// Whether it was logged that no connection can be made.
    is_said: Cell<bool>,
}

/// What is known of a run that commits.
pub(crate) struct Known {
    pub(crate) held: Arc<Lease>,
    pub(crate) spec: Arc<Spec>,
}

impl Committing {
    pub(crate) fn begin(
        connection: &Arc<Connection>,
        who: Who,
        note: Option<String>,
        known: Option<Known>,
    ) -> Self {
        let begin = Instant::now();
        let left = known.as_ref().map_or(Duration::ZERO, |known| known.held.time_left());
        let wait = left.max(connection.store_timeout).saturating_add(connection.commit_wait);
        Self {
            connection: connection.clone(),
            step: Step::Commit { who: who.clone(), note },
            who,
            known,
            begin,
            until: later(begin, wait),
            is_late: left.is_zero(),
            unsure: Cell::new(false),
            is_said: Cell::new(false),
        }
    }

    /// Asks until the store answers; returns whether the commit was late.
    pub(crate) fn finish(&self) -> Result<bool, Error> {
        self.ask_now(&self.connection.callers_limits(self.until))
    }

    /// Asks within these limits. Returns `None` if the store did not answer and there is time left to
    /// ask again.
    #[cfg(feature = "async")]
    pub(crate) fn ask(&self, limits: Limits) -> Option<Result<bool, Error>> {
        let goes_on = !self.connection.is_interrupted();
        match self.ask_now(&limits.no_later_than(self.until)) {
            Err(Error::Unknown { source, .. } | Error::Store(source))
                if source.is_no_refusal() && goes_on && self.until > Instant::now() =>
            {
                tracing::debug!(run = %self.who.run, error = %source, "the store did not answer; repeating the commit");
                None
            }
            answer => Some(answer),
        }
    }

    /// Returns the error of a commit whose time has ended without an answer.
    #[cfg(feature = "async")]
    pub(crate) fn give_up(&self) -> Error {
        let silent = StoreError::new(StoreErrorKind::Unreachable, "the store did not answer");
        self.unknown(silent.out_of_time())
    }

    /// Returns when it ends without an answer.
    #[cfg(feature = "async")]
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    fn ask_now(&self, limits: &Limits) -> Result<bool, Error> {
        let unknown = |source| self.unknown(source);
        loop {
            let asked = self.connection.step_noting(|| &self.step, |error| self.note(error), limits);
            match asked.map_err(unknown)? {
                Answer::Finished(Finished::AskAgain) => limits.may_ask_again().map_err(unknown)?,
                Answer::Finished(Finished::Ended { outcome: Outcome::Committed, late }) => return Ok(late),
                Answer::Finished(Finished::NotFound) if self.unsure.get() => {
                    return if self.was_recorded().map_err(unknown)? {
                        Ok(self.is_late)
                    } else {
                        Err(unknown(StoreError::new(StoreErrorKind::Unknown, FORGOTTEN)))
                    };
                }
                Answer::Finished(finished) => {
                    let if_not_found = self.known.as_ref().map_or(TAKEN, |known| known.held.if_not_found());
                    return Err(not_committed(&self.who, finished, if_not_found));
                }
                _ => return Err(Error::NoSuchRun { run: self.who.run.clone() }),
            }
        }
    }

    /// Notes why a try failed. Logs once why no connection can be made: somebody may have to mend that.
    fn note(&self, error: &StoreError) {
        self.unsure.set(self.unsure.get() || error.is_unknown());
        if error.is_of_a_connection() && !error.is_transient() && !self.is_said.replace(true) {
            let run = &self.who.run;
            tracing::warn!(%run, %error, "the run is not committed yet; trying again");
        }
    }

    /// Returns whether a record shows that the run committed, if the store remembers nothing else of it.
    fn was_recorded(&self) -> Result<bool, StoreError> {
        let outputs = |known: &Known| known.spec.claims.outputs().next().map(|claim| claim.name.clone());
        let Some((known, output)) = self.known.as_ref().and_then(|known| Some((known, outputs(known)?)))
        else {
            return Ok(false);
        };
        let page = self.connection.view(&View::Names(vec![output]))?;
        let Content::Names(names) = page.content else { return Ok(false) };
        let held = &known.held;
        let is_ours = |record: &Record| record.run == held.attempt.id && record.version == held.token;
        Ok(names.iter().filter_map(|seen| seen.record.as_ref()).any(is_ours))
    }

    fn unknown(&self, source: StoreError) -> Error {
        let source = if self.unsure.get() && source.is_no_refusal() { source.into_unknown() } else { source };
        // A full disk is a clear refusal: the commit had no effect, and the caller can make room.
        if !source.is_transient() || source.kind() == StoreErrorKind::Full {
            return Error::Store(source);
        }
        Error::Unknown { run: self.who.run.clone(), waited: self.begin.elapsed(), source }
    }
}

/// Returns why a run did not end as requested.
pub(crate) fn not_committed(who: &Who, finished: Finished, if_not_found: Lost) -> Error {
    let run = who.run.clone();
    let was_held = who.nonce.is_some();
    match finished {
        Finished::Ended { outcome: Outcome::Lost(by), .. } => Error::Lost { run, by: Lost::By(by) },
        Finished::Ended { outcome, .. } if was_held && !outcome.follows_a_grant() => {
            Error::Lost { run, by: Lost::WithTheStore }
        }
        Finished::Ended { outcome, .. } => Error::Over { run, outcome: outcome.as_str() },
        // A run that held its names waits again: only an older store says so.
        Finished::NotAccepted if was_held => Error::Lost { run, by: Lost::WithTheStore },
        Finished::NotFound if was_held => Error::Lost { run, by: if_not_found },
        _ => Error::NoSuchRun { run },
    }
}
