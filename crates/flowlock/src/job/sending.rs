//! Sends a request. One whose answer is lost is withdrawn: it must become neither a grant that nobody
//! holds, nor a waiting run that nobody waits for.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Job;
use crate::connection::Connection;
use crate::endings::{Concern, Ending, How, Reached};
use crate::error::Error;
use crate::id::Attempt;
use crate::spec::Spec;
use crate::step::{Acquire, Answer, Invalid, Patience, Standing, Step};
use crate::store::{Limits, StoreError, StoreErrorKind};
use crate::world::later;

impl Job {
    pub(super) fn send(
        &self,
        attempt: &Attempt,
        spec: &Arc<Spec>,
        patience: Patience,
    ) -> Result<Standing, Error> {
        let sending = Sending::new(&self.connection, attempt, spec);
        let mut asked = self.send_once(&sending, patience);
        if let Ok(Answer::Invalid(Invalid::ArrivedTooLate | Invalid::LatestTooFar)) = asked {
            // The store's clock may have been set; its answer contained its current time.
            asked = self.send_once(&sending, patience);
        }
        let run = || attempt.id.clone();
        match asked {
            Ok(Answer::Standing(standing)) => Ok(standing),
            Ok(Answer::Invalid(Invalid::RunIdInUse)) => Err(Error::RunIdInUse { run: run() }),
            Ok(Answer::Invalid(Invalid::RunIdReused)) => Err(Error::InvalidRequest {
                what: "run id",
                problem: format!("{} was already sent with other claims or settings", run()),
            }),
            Ok(_) => Err(StoreError::new(
                StoreErrorKind::Unreachable,
                "the request took too long to reach the store",
            )
            .into()),
            Err(error) => {
                // Where no caller's thread waits, other callers wait for this thread.
                if self.limits.is_none() {
                    sending.take_back();
                }
                Err(error.into())
            }
        }
    }

    fn send_once(&self, sending: &Sending<'_>, patience: Patience) -> Result<Answer, StoreError> {
        let Sending { connection, attempt, spec, .. } = *sending;
        // What this process ended before must not be in its way.
        let limits = connection.settle(&Concern::Request(&attempt.id, spec), self.limits());
        // The same secret again, for a run whose end is still to be told: it must not be continued.
        if matches!(patience, Patience::HoldPlace(_)) && connection.is_ending(attempt) {
            let message = format!(
                "the store does not know yet that this process ended {}; try again later",
                attempt.id
            );
            return Err(StoreError::new(StoreErrorKind::Unreachable, message));
        }
        let (holder, latest_ms) = (connection.holder()?, connection.latest_ms(&limits)?);
        let request = Acquire { attempt: attempt.clone(), spec: spec.clone(), holder, patience, latest_ms };
        sending.carry_out(request, &limits)
    }
}

/// A request that is being sent. Dropped without a clear answer, it is withdrawn, also after a panic.
struct Sending<'s> {
    connection: &'s Arc<Connection>,
    attempt: &'s Attempt,
    spec: &'s Arc<Spec>,
    /// The latest arrival of what was sent.
    sent_ms: Cell<i64>,
    /// When its wait ends, if it waits.
    ends: Cell<Option<Instant>>,
    /// Whether a run may come of it that this process does not know of.
    is_open: Cell<bool>,
}

impl<'s> Sending<'s> {
    fn new(connection: &'s Arc<Connection>, attempt: &'s Attempt, spec: &'s Arc<Spec>) -> Self {
        let (sent_ms, ends, is_open) = (Cell::new(0), Cell::new(None), Cell::new(false));
        Self { connection, attempt, spec, sent_ms, ends, is_open }
    }

    fn carry_out(&self, request: Acquire, limits: &Limits) -> Result<Answer, StoreError> {
        // A place that is held is not given up: the next try uses the same secret.
        let is_kept = matches!(request.patience, Patience::HoldPlace(_));
        self.sent_ms.set(request.latest_ms);
        self.ends.set(end_of(request.patience));
        let was_open = self.is_open.replace(!is_kept);
        let (step, is_unsure) = (Step::Acquire(request), Cell::new(false));
        let note = |error: &StoreError| is_unsure.set(is_unsure.get() || error.is_unknown());
        let asked = self.connection.step_noting(|| &step, note, limits);
        let is_clear = match &asked {
            Ok(Answer::Standing(_)) => true,
            // The refusal leaves nothing behind, and an earlier sending may still arrive.
            Ok(_) => !was_open && !is_unsure.get(),
            Err(error) => !was_open && !error.is_unknown(),
        };
        self.is_open.set(!is_kept && !is_clear);
        asked
    }

    /// Withdraws it now, if the store answers.
    fn take_back(&self) {
        if !self.is_open.get() {
            return;
        }
        let connection = self.connection;
        match connection.withdraw(self.attempt, self.sent_ms.get(), &Limits::within(connection.last_word())) {
            Ok(()) => self.is_open.set(false),
            Err(error) => {
                tracing::warn!(run = %self.attempt.id, %error, "could not withdraw the request yet; trying again in the background");
            }
        }
    }
}

/// Returns when a run that comes of a request waits no longer.
fn end_of(patience: Patience) -> Option<Instant> {
    let wait = match patience {
        Patience::Try | Patience::HoldPlace(_) => Some(0),
        Patience::Wait(wait) => wait,
    };
    wait.map(|ms| later(Instant::now(), Duration::from_millis(ms)))
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        if self.is_open.get() {
            let how = How::Withdraw { sent_ms: self.sent_ms.get(), ends: self.ends.get() };
            self.connection.end_later(Ending::new(self.attempt, self.spec, how, Reached::No));
        }
    }
}
