//! Ways to acquire what a job describes: a try, a wait, a closure.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::inside::Inside;
use super::{Acquired, Job, LONGEST_PLACE};
use crate::blocker::Blocked;
use crate::error::{Error, refusal};
use crate::grant::{Grant, Heard, Work};
use crate::id::{Attempt, Nonce};
use crate::name::RunId;
use crate::run::Outcome;
use crate::spec::Spec;
use crate::step::{Patience, Standing};
use crate::store::Limits;
use crate::wait::{Begun, Pending, Progress};
use crate::world::millis;

impl Job {
    /// Asks once. Does not wait, and keeps no place in the queue. A refusal says when to try again
    /// ([`Blocked::retry_after_ms`]).
    pub fn try_acquire(&self) -> Result<Acquired, Error> {
        self.try_with(Patience::Try)
    }

    /// Asks once, and keeps the place in the queue for up to 60 s. Made for a worker that comes back
    /// with the same run id. Needs [`run_id`](Self::run_id) and a `secret` that stays the same over all
    /// tries.
    ///
    /// A refusal says when to come back ([`Blocked::retry_after_ms`]): after at most half of the time
    /// that is left of the place.
    ///
    /// A caller that comes back with the same id and secret while the run holds its names continues that
    /// run, under the same [`token`](Grant::token): for a task that is delivered again after its worker
    /// died. If the first process may still be alive, both have the run. It then ends by its lease, not
    /// by the death of one of them.
    ///
    /// # Errors
    /// [`Error::PlaceEnded`] if it came back too late: a new secret is needed to get a new place.
    /// [`Error::Lost`] if the run that it comes back to has reached its longest run time. [`Error::Store`],
    /// among other reasons, if this process ended the run and the store does not know it yet.
    ///
    /// ```
    /// use std::time::Duration;
    /// use flowlock::{Acquired, Error, Flowlock};
    ///
    /// /// Status and text of one request. `task` is the client's, `secret` was made with it and is kept beside it.
    /// fn print(flowlock: &Flowlock, task: &str, secret: u128) -> Result<(u16, String), Error> {
    ///     let job = flowlock.job("print").lock("printer").run_id(task);
    ///     match job.try_or_hold_place(Duration::from_secs(30), secret)? {
    ///         Acquired::Granted(grant) => {
    ///             // The work; grant.lost() says whether the names are still ours.
    ///             grant.commit()?;
    ///             Ok((200, "printed".to_owned()))
    ///         }
    ///         Acquired::Blocked(by) => {
    ///             let seconds = by.retry_after_ms.unwrap_or(1_000).div_ceil(1_000).min(20);
    ///             Ok((503, format!("come back in {seconds} s: {}", by.summary())))
    ///         }
    ///     }
    /// }
    /// # let flowlock = Flowlock::open("memory:")?;
    /// # let busy = flowlock.job("first").lock("printer").acquire()?;
    /// # assert_eq!(print(&flowlock, "task.17", 0x5eed)?.0, 503);
    /// # busy.commit()?;
    /// # assert_eq!(print(&flowlock, "task.17", 0x5eed)?.0, 200);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn try_or_hold_place(&self, place: Duration, secret: u128) -> Result<Acquired, Error> {
        if place > LONGEST_PLACE {
            let problem =
                format!("{} s; a place can be held for at most 60 s between two tries", place.as_secs());
            return Err(Error::InvalidRequest { what: "hold_place", problem });
        }
        let id = self.run_id.as_deref().ok_or_else(|| Error::InvalidRequest {
            what: "hold_place",
            problem: "it needs a run id, so that the next try finds the place again".into(),
        })?;
        let attempt = Attempt { id: RunId::parse(id)?, nonce: Nonce(secret) };
        self.answer_to(&attempt, Patience::HoldPlace(millis(place)))
    }

    fn try_with(&self, patience: Patience) -> Result<Acquired, Error> {
        self.answer_to(&self.attempt()?, patience)
    }

    fn answer_to(&self, attempt: &Attempt, patience: Patience) -> Result<Acquired, Error> {
        let spec = self.spec()?;
        let sent_ms = crate::world::boot_now_ms();
        match self.send(attempt, &spec, patience)? {
            Standing::Running(running) => {
                let work = match patience {
                    Patience::HoldPlace(_) => Work::MayHaveBegun,
                    Patience::Try | Patience::Wait(_) => Work::NotBegun,
                };
                self.take_up(attempt, spec, Heard { running, sent_ms, work }).map(Acquired::Granted)
            }
            Standing::Ended { outcome: Outcome::RefusedBusy | Outcome::RefusedOutputExists, blocked } => {
                Ok(blocked_by(blocked.unwrap_or_else(Blocked::nothing)))
            }
            Standing::Waiting(waiting) => Ok(blocked_by(waiting.blocked)),
            Standing::Ended { outcome: Outcome::TimedOut, .. }
                if matches!(patience, Patience::HoldPlace(_)) =>
            {
                Err(Error::PlaceEnded { job: spec.job.clone(), run: attempt.id.clone() })
            }
            Standing::Ended { outcome, blocked } => {
                Err(refusal(&spec.job, &attempt.id, outcome, blocked, Duration::ZERO))
            }
            Standing::Granted { .. } | Standing::AskAgain | Standing::StillWaiting { .. } => {
                Ok(Acquired::Blocked(Blocked::nothing()))
            }
        }
    }

    /// Waits until all claims are held.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if [`wait`](Self::wait) ends first; [`Error::OutputExists`] and
    /// [`Error::Deadlock`] if waiting cannot help.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// use std::time::Duration;
    /// use flowlock::Error;
    /// let report = flowlock.job("report").input("sales").wait(Duration::from_millis(20));
    /// let Err(Error::TimedOut { blocked, .. }) = report.acquire() else { unreachable!() };
    /// assert_eq!(blocked.summary(), "input sales is missing: it was never written");
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn acquire(&self) -> Result<Grant, Error> {
        let mut pending = match self.begin()? {
            Begun::Granted(grant) => return Ok(grant),
            Begun::Waiting(pending) => pending,
        };
        loop {
            if let Progress::Granted(grant) = pending.wait(self.connection.piece_of_wait())? {
                return Ok(grant);
            }
            pending.leave_if_interrupted()?;
        }
    }

    /// Asks, and returns at once: with the grant, or with a run that waits in the queue.
    pub fn begin(&self) -> Result<Begun, Error> {
        let (attempt, spec) = (self.attempt()?, self.spec()?);
        let patience = Patience::Wait(self.wait.map(millis));
        let (begun, sent_ms) = (Instant::now(), crate::world::boot_now_ms());
        match self.send(&attempt, &spec, patience)? {
            Standing::Running(running) => {
                let heard = Heard { running, sent_ms, work: Work::NotBegun };
                self.take_up(&attempt, spec, heard).map(Begun::Granted)
            }
            Standing::Ended { outcome, blocked } => {
                // A time-out means that the request was sent more than once: the wait ended before the
                // store answered.
                Err(refusal(&spec.job, &attempt.id, outcome, blocked, begun.elapsed()))
            }
            Standing::Waiting(waiting) => Ok(Begun::Waiting(self.pending(attempt, spec, waiting))),
            Standing::Granted { .. } | Standing::AskAgain | Standing::StillWaiting { .. } => {
                Ok(Begun::Waiting(self.pending(attempt, spec, crate::step::Waiting::unknown())))
            }
        }
    }

    fn take_up(&self, attempt: &Attempt, spec: Arc<Spec>, heard: Heard) -> Result<Grant, Error> {
        Grant::begin(&self.connection, attempt, spec, heard, self.renewal, &self.limits())
    }

    /// The job's own limits, or the caller's.
    pub(super) fn limits(&self) -> Limits {
        self.limits.clone().unwrap_or_else(|| self.connection.limits_of_caller())
    }

    fn pending(&self, attempt: Attempt, spec: Arc<Spec>, waiting: crate::step::Waiting) -> Pending {
        Pending::new(&self.connection, attempt, spec, waiting, self.wait, self.renewal)
    }

    /// Runs `work` while all claims are held. Commits if it returns `Ok`; fails if it returns `Err` or
    /// panics. Requests that this thread sends inside, on the same store and namespace, are children of
    /// this run.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let lines = flowlock.job("import").output("sales").with(|grant| {
    ///     assert!(grant.lost().is_none());
    ///     Ok::<_, flowlock::Error>(3)
    /// })?;
    /// assert_eq!(lines, 3);
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn with<T, E: From<Error>>(&self, work: impl FnOnce(&Grant) -> Result<T, E>) -> Result<T, E> {
        let grant = self.acquire()?;
        let result = {
            let _inside = Inside::enter(self.connection.clone(), grant.as_parent());
            // A panic unwinds through the grant, whose drop fails the run.
            work(&grant)
        };
        match result {
            Ok(value) => grant.commit().map(|_| value).map_err(E::from),
            Err(error) => {
                grant.fail();
                Err(error)
            }
        }
    }
}

/// The refusal of a try. The time to come back is varied each time.
fn blocked_by(blocked: Blocked) -> Acquired {
    Acquired::Blocked(blocked.spread(crate::world::random_u64()))
}

impl Blocked {
    /// Nothing is known to be in the way.
    pub(crate) fn nothing() -> Self {
        Self { by: Vec::new(), more: false, ahead: 0, retry_after_ms: Some(0) }
    }
}
