//! Leaving the queue: at the end of the wait, by hand, or by a drop. A store that cannot be told at once is
//! told by a thread of the connection (`endings.rs`).

use std::time::{Duration, Instant};

use super::Pending;
use crate::endings::{Ending, How, Reached};
use crate::error::Error;
use crate::grant::Grant;
use crate::store::Limits;
use crate::world::later;

impl Pending {
    /// Ends the wait: a grant that came just before is still taken, else the run leaves the queue.
    pub(crate) fn give_up(&mut self, limits: &Limits) -> Result<Grant, Error> {
        if let Some(grant) = self.ask(limits)? {
            Ok(grant)
        } else {
            self.withdraw()?;
            Err(self.timed_out())
        }
    }

    /// Leaves the queue.
    ///
    /// # Errors
    /// If the store cannot be told in time. It is told in the background then, as after a drop.
    pub fn cancel(mut self) -> Result<(), Error> {
        self.withdraw()
    }

    fn withdraw(&mut self) -> Result<(), Error> {
        if self.over {
            return Ok(());
        }
        self.leave_waiters();
        let until = later(Instant::now(), self.patience_to_leave());
        let told = self.connection.ask_at_last(&self.connection.callers_limits(until), |limits| {
            self.connection.withdraw(&self.attempt, self.sent_ms, limits)
        });
        Ok(told.inspect_err(|_| self.leave_later(Reached::No))?)
    }

    /// Leaves the queue if the caller says that it will not wait; the error says that.
    pub(crate) fn leave_if_interrupted(&mut self) -> Result<(), Error> {
        if let Err(interrupted) = self.connection.limits_of_caller().check() {
            self.withdraw()?;
            return Err(interrupted.into());
        }
        Ok(())
    }

    /// Leaves the queue although no run is known there: a request that was sent again may still arrive.
    pub(super) fn leave_if_sent_again(&mut self) {
        self.leave_waiters();
        if self.sent_ms != 0 {
            self.leave_later(Reached::Yes);
        }
    }

    /// Returns what must be ended if nobody waits any longer.
    #[cfg(feature = "async")]
    pub(crate) fn about(&self) -> crate::endings::About {
        crate::endings::About { run: Some(self.attempt.id.clone()), spec: self.spec.clone() }
    }

    fn leave_later(&self, reached: Reached) {
        let how = How::Withdraw { sent_ms: self.sent_ms, ends: self.until };
        self.connection.end_later(Ending::new(&self.attempt, &self.spec, how, reached));
    }

    /// Returns how long to ask the store to take it out of the line.
    pub(super) fn patience_to_leave(&self) -> Duration {
        match () {
            () if self.connection.is_interrupted() => self.connection.last_word(),
            // The store has just used up all the time; do not wait for it once more.
            () if self.away => Duration::ZERO,
            () => self.connection.store_timeout,
        }
    }

    pub(super) fn reached(&self) -> Reached {
        if self.away { Reached::No } else { Reached::Yes }
    }

    pub(super) fn leave_waiters(&mut self) {
        self.over = true;
        if let Some(waiters) = self.connection.waiters() {
            waiters.leave(&self.attempt.id, &self.waiter);
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.over {
            self.leave_waiters();
            self.leave_later(self.reached());
        }
    }
}
