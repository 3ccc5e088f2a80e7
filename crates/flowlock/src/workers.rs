//! Workers: threads on which the async API asks the store.
//!
//! They are for calls that take up to `store_timeout`. No call occupies one for longer, so each call
//! gets its turn in time. Calls that take longer are made elsewhere: commits by
//! [`Repeats`](crate::repeats::Repeats).
//!
//! They belong to the connection. A runtime that shuts down waits for its blocking tasks, and these
//! could last as long as a store does not answer; it does not wait for these threads.
//!
//! One mutex (`state`) protects the queue, and how many workers exist and are idle. Nothing else is
//! locked under it, and work is done outside of it. A worker looks at the queue once more in the
//! critical section in which it leaves, so no work is left behind. A notified worker counts as idle
//! until it has taken its work; if there is more work than idle workers, another one is started.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::lock;
use crate::world::later;

/// How many there are at most; more work waits for its turn.
const MOST: usize = 64;
/// How long one waits for more work before it ends.
const IDLE: Duration = Duration::from_secs(10);

/// A call that reaches a worker within this time is made, however short its limit is.
const SOON: Duration = Duration::from_millis(100);

type Work = Box<dyn FnOnce() + Send>;

/// The workers of a connection. There are none until there is work.
#[derive(Default)]
pub(crate) struct Workers {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// When the store last answered.
    answered: Option<Instant>,
    queue: VecDeque<Work>,
    workers: usize,
    idle: usize,
    closed: bool,
}

impl std::fmt::Debug for Workers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workers").field("workers", &lock(&self.shared.state).workers).finish_non_exhaustive()
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
    }
}

impl Workers {
    /// Returns until when the store is asked for a call: for `patience` from when the call was made. If
    /// the store answered other calls meanwhile, the wait for a worker does not count.
    ///
    /// # Errors
    /// If the call reached a worker too late.
    pub(crate) fn until(&self, called: Instant, patience: Duration) -> Result<Instant, StoreError> {
        let answered = lock(&self.shared.state).answered;
        let until = later(answered.map_or(called, |at| at.max(called)), patience);
        let waited = called.elapsed();
        if until > Instant::now() || waited < SOON {
            return Ok(until);
        }
        let message = format!(
            "the store does not answer; this request was not sent, because other requests of this process waited for the store all of {:.1} s",
            waited.as_secs_f64()
        );
        Err(StoreError::new(StoreErrorKind::Unreachable, message).out_of_time())
    }

    /// Notes that the store answered, if it did.
    pub(crate) fn note_answer<T>(&self, answer: &Result<T, Error>) {
        if answer.is_ok() {
            lock(&self.shared.state).answered = Some(Instant::now());
        }
    }

    /// Has a worker do `work`, which must not panic. If no worker can be started, it is done here.
    pub(crate) fn carry_out(&self, work: Work) {
        let mut state = lock(&self.shared.state);
        state.queue.push_back(work);
        if state.idle >= state.queue.len() || state.workers >= MOST {
            self.shared.changed.notify_one();
            return;
        }
        state.workers += 1;
        drop(state);
        let shared = self.shared.clone();
        let spawned = std::thread::Builder::new().name("flowlock-worker".into()).spawn(move || shared.work());
        let Err(error) = spawned else { return };
        let mut state = lock(&self.shared.state);
        state.workers -= 1;
        if state.workers > 0 {
            return;
        }
        tracing::warn!(%error, "cannot start a worker thread; the caller's thread asks the store");
        while let Some(work) = state.queue.pop_front() {
            drop(state);
            work();
            state = lock(&self.shared.state);
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(work) = state.queue.pop_front() {
                drop(state);
                work();
                state = lock(&self.state);
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let nothing = |state: &mut State| state.queue.is_empty() && !state.closed;
            let waited = self.changed.wait_timeout_while(state, IDLE, nothing);
            let (woken, time) = waited.unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if time.timed_out() && state.queue.is_empty() {
                break;
            }
        }
        state.workers -= 1;
    }
}
