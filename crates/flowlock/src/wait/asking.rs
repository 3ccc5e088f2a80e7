//! Asks the store where a waiting run stands, and handles each answer.

use std::time::{Duration, Instant};

use super::Pending;
use crate::blocker::Blocked;
use crate::error::{Error, refusal};
use crate::grant::{Grant, Heard, Work};
use crate::id::Nonce;
use crate::run::Outcome;
use crate::step::{Acquire, Answer, Invalid, Patience, Standing, Step};
use crate::store::{Limits, StoreError};
use crate::waiters::{HEARTBEAT, Waiters};
use crate::world::millis;

/// The pause before a store that did not answer in time is asked again.
const STORE_AWAY: Duration = Duration::from_millis(200);

impl Pending {
    /// Asks where the run stands. A store that is unreachable for a while does not end the wait: it is
    /// asked again.
    pub(crate) fn ask_patiently(&mut self, limits: &Limits) -> Result<Option<Grant>, Error> {
        let asked = self.ask(limits);
        self.bears(asked)
    }

    /// The same for a run whose turn to ask may have come too late.
    #[cfg(feature = "async")]
    pub(crate) fn ask_in_turn(&mut self, limits: Result<Limits, StoreError>) -> Result<Option<Grant>, Error> {
        match limits {
            Ok(limits) => self.ask_patiently(&limits),
            Err(error) => {
                self.away = true;
                self.bears(Err(error.into()))
            }
        }
    }

    /// Treats an unreachable store as "still waiting", unless the wait is over: then a grant that came
    /// could not be begun.
    fn bears(&self, asked: Result<Option<Grant>, Error>) -> Result<Option<Grant>, Error> {
        match asked {
            Err(Error::Store(error)) if error.is_no_refusal() && !self.over && !self.is_over() => {
                tracing::warn!(run = %self.attempt.id, %error, "waiting for the store");
                Ok(None)
            }
            asked => asked,
        }
    }

    /// Returns how long to pause before the store is asked again: not at all while it answers.
    pub(crate) fn rest(&self) -> Duration {
        if self.away { STORE_AWAY } else { Duration::ZERO }
    }

    /// Asks the store where the run stands; that accepts the grant if there is one.
    pub(crate) fn ask(&mut self, limits: &Limits) -> Result<Option<Grant>, Error> {
        self.asked = Instant::now();
        // The waiters' thread may not have been running so far.
        self.connection.listen();
        let asked = self.ask_now(limits);
        self.away = matches!(&asked, Err(Error::Store(error)) if error.is_no_refusal());
        asked
    }

    fn ask_now(&mut self, limits: &Limits) -> Result<Option<Grant>, Error> {
        let mut given_up = false;
        loop {
            let sent_ms = crate::world::boot_now_ms();
            let holder = self.connection.holder()?;
            let claim = Step::Accept { attempt: self.attempt.clone(), holder };
            let answer = match self.connection.step_within(&claim, limits)? {
                // The store was replaced or is older, and does not know the run: it queues again, at the
                // end.
                Answer::NotFound if !self.is_over() => {
                    let request = self.new_request(limits)?;
                    self.connection.step_within(&request, limits)?
                }
                answer => answer,
            };
            match answer {
                Answer::Standing(Standing::Running(running)) => {
                    self.leave_waiters();
                    let heard = Heard { running, sent_ms, work: Work::NotBegun };
                    let (spec, renewal) = (self.spec.clone(), self.renewal);
                    return Grant::begin(&self.connection, &self.attempt, spec, heard, renewal, limits)
                        .map(Some);
                }
                Answer::Standing(Standing::Waiting(waiting)) => {
                    self.waiter.set_waiting(waiting);
                    if let Some(waiters) = self.connection.waiters() {
                        waiters.hurry();
                    }
                    return Ok(None);
                }
                Answer::Standing(Standing::AskAgain | Standing::Granted { .. }) => limits.may_ask_again()?,
                // It has no time limit, so it goes on waiting, as another attempt.
                Answer::Standing(Standing::Ended { outcome: Outcome::TimedOut, .. })
                    if self.until.is_none() && !std::mem::replace(&mut given_up, true) =>
                {
                    tracing::warn!(run = %self.attempt.id, "the store gave up a run that was silent for too long; it waits again, at the end of the queue");
                    self.attempt.nonce = Nonce::fresh();
                }
                Answer::Standing(Standing::Ended { outcome, blocked }) => {
                    return Err(self.end_with(outcome, blocked));
                }
                Answer::Invalid(Invalid::RunIdInUse) => {
                    self.leave_if_sent_again();
                    return Err(Error::RunIdInUse { run: self.attempt.id.clone() });
                }
                // The store's clock may have been set; its answer contained its current time.
                Answer::Invalid(Invalid::ArrivedTooLate | Invalid::LatestTooFar) if !self.is_over() => {
                    limits.may_ask_again()?;
                }
                _ => {
                    self.leave_if_sent_again();
                    return Err(self.timed_out());
                }
            }
        }
    }

    /// Returns the request again, for the rest of the wait.
    fn new_request(&mut self, limits: &Limits) -> Result<Step, StoreError> {
        self.sent_ms = self.connection.latest_ms(limits)?;
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        Ok(Step::Acquire(Acquire {
            attempt: self.attempt.clone(),
            spec: self.spec.clone(),
            holder: self.connection.holder()?,
            patience: Patience::Wait(left.map(millis)),
            latest_ms: self.sent_ms,
        }))
    }

    fn end_with(&mut self, outcome: Outcome, blocked: Option<Blocked>) -> Error {
        self.leave_waiters();
        if outcome == Outcome::TimedOut {
            return self.timed_out();
        }
        refusal(&self.spec.job, &self.attempt.id, outcome, blocked, self.begun.elapsed())
    }

    /// Returns when to ask the store although nothing was heard; `None` while the waiters' thread
    /// listens.
    pub(crate) fn looks_for_itself(&self) -> Option<Instant> {
        let is_told = self.connection.waiters().is_some_and(Waiters::is_listening);
        (!is_told).then_some(self.asked + HEARTBEAT)
    }
}
