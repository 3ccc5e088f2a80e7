//! [`Pending`]: a run that waits for its grant. Also the answers ([`Begun`], [`Progress`]), and
//! [`Interrupter`], which ends a wait from another thread.

mod asking;
mod interrupter;
mod leaving;

use std::sync::{Arc, PoisonError};
#[cfg(feature = "async")]
use std::task::Waker;
use std::time::{Duration, Instant};

pub use self::interrupter::Interrupter;
use crate::blocker::Blocked;
use crate::connection::Connection;
use crate::error::Error;
use crate::grant::Grant;
use crate::id::Attempt;
use crate::lease::Renewal;
use crate::name::RunId;
use crate::run::State;
use crate::spec::Spec;
use crate::step::Waiting;
#[cfg(feature = "async")]
use crate::store::Limits;
#[cfg(feature = "async")]
use crate::store::StoreError;
use crate::sync::lock;
use crate::waiter::{Waiter, WaiterState};
use crate::world::later;

/// "Still waiting" is logged after `FIRST_LOG`, and then every `NEXT_LOGS`.
const FIRST_LOG: Duration = Duration::from_secs(1);
const NEXT_LOGS: Duration = Duration::from_secs(30);

/// The answer to [`Job::begin`](crate::Job::begin).
#[derive(Debug)]
#[must_use = "a grant that is dropped fails its run, and a waiting run leaves the queue"]
pub enum Begun {
    /// All claims are held.
    Granted(Grant),
    /// The run waits in the queue.
    Waiting(Pending),
}

/// The answer to [`Pending::wait`].
#[derive(Debug)]
#[must_use = "a grant that is dropped fails its run"]
pub enum Progress {
    /// All claims are held.
    Granted(Grant),
    /// It still waits.
    Waiting,
}

/// A run that waits in the queue. If it is dropped, it leaves the queue. The drop does not wait for the
/// store: see [`Flowlock::flush`](crate::Flowlock::flush).
///
/// ```
/// use std::time::Duration;
/// use flowlock::{Begun, Flowlock, Progress};
///
/// let flowlock = Flowlock::open("memory:")?;
/// let first = flowlock.job("first").lock("printer").acquire()?;
/// let Begun::Waiting(mut second) = flowlock.job("second").lock("printer").begin()? else { unreachable!() };
/// assert!(second.blocked().summary().starts_with("lock printer is held by first"));
/// first.commit()?;
/// assert!(matches!(second.wait(Duration::from_secs(5))?, Progress::Granted(_)));
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug)]
pub struct Pending {
    connection: Arc<Connection>,
    attempt: Attempt,
    spec: Arc<Spec>,
    renewal: Renewal,
    waiter: Arc<Waiter>,
    begun: Instant,
    until: Option<Instant>,
    next_log: Instant,
    /// When this run itself last asked the store.
    asked: Instant,
    /// Whether the store did not answer the last question.
    away: bool,
    /// Whether it waits no longer, or its end was handed over.
    over: bool,
    /// The latest arrival time of the request, if it was sent again; else 0.
    sent_ms: i64,
}

impl Waiting {
    /// Nothing is known yet.
    pub(crate) fn unknown() -> Self {
        let blocked = Blocked::nothing();
        Self { state: State::Queued, present: true, blocked, probe: Vec::new(), look_again_ms: Some(0) }
    }
}

impl Pending {
    pub(crate) fn new(
        connection: &Arc<Connection>,
        attempt: Attempt,
        spec: Arc<Spec>,
        waiting: Waiting,
        wait: Option<Duration>,
        renewal: Renewal,
    ) -> Self {
        let connection = connection.clone();
        let waiter = Arc::new(Waiter::new(waiting));
        connection.listen().register(&attempt.id, &waiter);
        let begun = Instant::now();
        let (until, next_log) = (wait.map(|wait| later(begun, wait)), begun + FIRST_LOG);
        let (asked, away, over, sent_ms) = (begun, false, false, 0);
        Self {
            connection,
            attempt,
            spec,
            renewal,
            waiter,
            begun,
            until,
            next_log,
            asked,
            away,
            over,
            sent_ms,
        }
    }

    /// Returns the run's id.
    pub fn run_id(&self) -> &RunId {
        &self.attempt.id
    }

    /// Returns what is in the way, as last heard. Every 5 s the store is asked again about up to 16 of
    /// this process's waiting runs, in turn.
    pub fn blocked(&self) -> Blocked {
        lock(&self.waiter.state).waiting.blocked.clone()
    }

    /// Returns whether it waits for an input or in the queue.
    pub fn state(&self) -> State {
        lock(&self.waiter.state).waiting.state
    }

    /// Returns when its wait ends; `None` if it waits for ever.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Returns a handle that ends [`wait`](Self::wait) early, from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter { waiter: self.waiter.clone() }
    }

    /// Waits up to `at_most` for the grant.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the job's own wait has ended; [`Error::OutputExists`] when another run
    /// wrote an output that may not be overwritten.
    pub fn wait(&mut self, at_most: Duration) -> Result<Progress, Error> {
        if self.over {
            let problem =
                format!("{} no longer waits; its grant or its end was returned before", self.attempt.id);
            return Err(Error::InvalidRequest { what: "wait", problem });
        }
        let end = later(Instant::now(), at_most);
        loop {
            if self.wait_for_news(end) {
                if let Some(grant) = self.ask_patiently(&self.connection.limits_of_caller())? {
                    return Ok(Progress::Granted(grant));
                }
                if self.away {
                    std::thread::sleep(self.rest());
                    self.waiter.tell();
                }
                // While the store is unreachable, news comes without end; the caller may want its thread
                // back nevertheless.
                if self.take_interruption() || end <= Instant::now() && !self.is_over() {
                    return Ok(Progress::Waiting);
                }
                continue;
            }
            if self.is_over() {
                return self.give_up(&self.connection.limits_of_caller()).map(Progress::Granted);
            }
            if self.take_interruption() || end <= Instant::now() {
                return Ok(Progress::Waiting);
            }
        }
    }

    /// Gives up, unless its turn came too late.
    #[cfg(feature = "async")]
    pub(crate) fn give_up_in_turn(
        &mut self,
        limits: Result<Limits, StoreError>,
    ) -> Result<Option<Grant>, Error> {
        self.give_up(&limits?).map(Some)
    }

    /// Sleeps until there is news, the caller is interrupted, or a deadline has passed. Takes the news;
    /// returns whether there was any.
    fn wait_for_news(&mut self, end: Instant) -> bool {
        loop {
            let now = Instant::now();
            if now >= self.next_log {
                self.next_log = now + NEXT_LOGS;
                tracing::info!(run = %self.attempt.id, waited_s = self.begun.elapsed().as_secs(),
                    blocked = self.blocked().summary(), "still waiting");
            }
            let alone = self.looks_for_itself();
            let ends = [Some(end), self.until, Some(self.next_log), alone];
            let end = ends.into_iter().flatten().min().unwrap_or(end);
            let mut state = lock(&self.waiter.state);
            let quiet = |state: &mut WaiterState| !state.news && !state.interrupted;
            let left = end.saturating_duration_since(now);
            state = self
                .waiter
                .changed
                .wait_timeout_while(state, left, quiet)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            let now = Instant::now();
            if state.news || state.interrupted {
                return std::mem::take(&mut state.news);
            }
            drop(state);
            if alone.is_some_and(|at| at <= now) {
                return true;
            }
            if now < self.next_log {
                return false;
            }
        }
    }

    fn take_interruption(&self) -> bool {
        std::mem::take(&mut lock(&self.waiter.state).interrupted)
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    fn timed_out(&self) -> Error {
        let blocked = Box::new(self.blocked());
        Error::TimedOut { job: self.spec.job.clone(), waited: self.begun.elapsed(), blocked }
    }

    /// Makes the run ask the store.
    #[cfg(feature = "async")]
    pub(crate) fn tell(&self) {
        self.waiter.tell();
    }

    /// Takes the news, or registers an async task to be woken by the next news. Returns whether there
    /// was any.
    #[cfg(feature = "async")]
    pub(crate) fn take_news_or_register(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = lock(&self.waiter.state);
        if std::mem::take(&mut state.news) {
            return true;
        }
        let replaced = state.waker.replace(waker);
        // Not under the lock: this may drop the last handle of a task.
        drop(state);
        drop(replaced);
        false
    }
}

#[cfg(test)]
mod tests;
