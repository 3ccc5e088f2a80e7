//! Endings: tell the store about runs that nobody waits for or works under any more, and that could not
//! be ended at once.
//!
//! A drop never waits for the store. The run of a dropped grant or a dropped wait is handed over to a
//! thread of its connection, and so is one whose end was not answered in time: a request that may have
//! arrived, a wait that was cancelled, work that failed. Otherwise the heartbeats of the connection would
//! keep such a run in the queue for as long as the process waits for anything else. The thread asks until
//! the store answers or the run is over by itself. The end of the process waits for what was handed over
//! while the store answered, up to [`LAST_WAIT`].
//!
//! A dropped future may leave a question with a worker, from which a run comes that must be ended: whoever
//! waits for endings waits for that too (`foreseen.rs`).
//!
//! One mutex (`state`) protects the queue, the current ending, and whether the thread runs. Nothing else
//! is locked under it, and it is not held while the store is asked. The thread ends in the critical
//! section in which it finds the queue empty; so it carries out every ending that was handed over
//! before, and a later one starts another thread. It keeps the store handle alive until then.
//!
//! [`LAST_WAIT`]: crate::at_exit

mod concern;
mod ending;
#[cfg(feature = "async")]
mod foreseen;
mod queue;
#[cfg(test)]
mod tests;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub(crate) use self::concern::Concern;
use self::ending::Connected;
pub(crate) use self::ending::{Ending, How, Reached, Release};
#[cfg(feature = "async")]
pub(crate) use self::foreseen::Question;
#[cfg(feature = "async")]
pub(crate) use self::queue::About;
use self::queue::{Numbered, State, UnderWay};
use crate::handle::StoreHandle;
use crate::id::Attempt;
use crate::store::{Limits, StoreError, StoreErrorKind};
use crate::sync::lock;
use crate::world::later;

/// The pause before a store that did not answer is told again.
const PAUSE: Duration = Duration::from_millis(500);
/// The pause before a store that refused to end a run is told again.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);
/// How often a thread that waits for endings checks whether its caller still wants to wait.
const LOOK: Duration = Duration::from_millis(50);
/// How many runs are kept to be ended at most, so that a store that never answers fills no memory.
const MOST: usize = 100_000;

/// The runs of a connection that must still be ended. Its thread lives as long as there are some.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Drop for Endings {
    fn drop(&mut self) {
        lock(&self.shared.state).connected = Connected::No;
    }
}

impl Endings {
    /// Takes over a run. Does not wait, unless no thread can be started.
    pub(crate) fn hand_over(&self, handle: &Arc<StoreHandle>, ending: Ending) {
        let mut state = lock(&self.shared.state);
        let number = state.count;
        state.count += 1;
        state.queue.push_back(Numbered { number, ending, is_refused: false });
        let oldest = if state.queue.len() > MOST { state.queue.pop_front() } else { None };
        let is_running = std::mem::replace(&mut state.running, true);
        state.away &= is_running;
        drop(state);
        self.shared.changed.notify_all();
        if let Some(Numbered { ending, .. }) = oldest {
            tracing::warn!(run = %ending.attempt.id, "too many runs must still be ended; giving up on the oldest");
        }
        if is_running {
            return;
        }
        let (shared, theirs) = (self.shared.clone(), handle.clone());
        let spawned = std::thread::Builder::new()
            .name("flowlock-ending".into())
            .spawn(move || carry_out_all(&shared, &theirs));
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot start the thread that ends runs; the thread that leaves them ends them");
            carry_out_once(&self.shared, handle);
        }
    }

    /// Waits until the store knows of the earlier endings that are of concern, so that the acts of one
    /// caller take effect in order. They are done before others. Waits no longer than `limits` allow, no
    /// longer than `silence` while the store does not answer, and not at all while it is known to be
    /// unreachable.
    pub(crate) fn settle(&self, of_concern: &Concern<'_>, limits: &Limits, silence: Duration) -> Settled {
        let mut state = lock(&self.shared.state);
        let mut awaited = state.bring_forward(of_concern);
        let mut foreseen = state.foreseen_of(of_concern);
        let told_before = state.told;
        let silent_until = || later(Instant::now(), silence);
        let (mut told, mut patience) = (told_before, limits.clone().no_later_than(silent_until()));
        while !state.away && is_waited_for(&patience) {
            if !foreseen.is_empty() && !state.is_foreseen(&foreseen) {
                // It was handed over before.
                foreseen.clear();
                awaited = state.bring_forward(of_concern);
            }
            if foreseen.is_empty() && !state.is_left(&awaited) {
                break;
            }
            let nap = patience.left().min(LOOK);
            state = self.shared.changed.wait_timeout(state, nap).unwrap_or_else(PoisonError::into_inner).0;
            if std::mem::replace(&mut told, state.told) != state.told {
                patience = limits.clone().no_later_than(silent_until());
            }
        }
        let is_left = state.is_left(&awaited) || state.is_foreseen(&foreseen);
        let is_whole = !is_left && !state.is_refused(of_concern);
        Settled { is_whole, has_answered: state.told > told_before }
    }

    /// Returns whether the store must still be told of the end of this very attempt.
    pub(crate) fn has(&self, attempt: &Attempt) -> bool {
        let state = lock(&self.shared.state);
        let under_way = state.under_way.iter().map(|it| &it.attempt);
        under_way.chain(state.queue.iter().map(|it| &it.ending.attempt)).any(|it| it == attempt)
    }
}

fn is_waited_for(limits: &Limits) -> bool {
    !limits.left().is_zero() && !limits.is_interrupted() && !limits.is_given_up()
}

/// How far a caller's own endings are settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Whether nothing of concern is left.
    pub(crate) is_whole: bool,
    /// Whether the store took in some of them meanwhile.
    pub(crate) has_answered: bool,
}

impl Shared {
    fn take_next(&self) -> Option<Numbered> {
        let mut state = lock(&self.state);
        let next = state.queue.pop_front();
        state.running = next.is_some();
        state.under_way = next.as_ref().map(|Numbered { number, ending, is_refused }| UnderWay {
            number: *number,
            attempt: ending.attempt.clone(),
            spec: ending.spec.clone(),
            is_refused: *is_refused,
        });
        self.changed.notify_all();
        next
    }

    fn note_told(&self) {
        let mut state = lock(&self.state);
        state.told += 1;
        state.away = false;
        self.changed.notify_all();
    }

    /// Puts back one that the store was not told of. Those that are over by themselves are not tried
    /// again, nor for the first time.
    fn put_back(&self, mut failed: Numbered, error: &StoreError) {
        failed.ending.note_failure(error);
        let mut state = lock(&self.state);
        failed.is_refused = !error.is_no_refusal();
        state.away = error.is_no_refusal();
        state.under_way = None;
        state.queue.push_back(failed);
        let over = state.take_those_over();
        drop(state);
        self.changed.notify_all();
        for Numbered { ending, .. } in over {
            let run = &ending.attempt.id;
            tracing::warn!(%run, %error, "could not end the run; its lease or its wait has ended");
        }
    }

    /// Pauses after a failure. A store that answers, but refused one, is told of new ones at once.
    fn pause(&self) {
        let state = lock(&self.state);
        if state.away {
            drop(state);
            return std::thread::sleep(PAUSE);
        }
        let nothing_new =
            |state: &mut State| !state.queue.is_empty() && state.queue.iter().all(|it| it.is_refused);
        drop(self.changed.wait_timeout_while(state, REFUSED_PAUSE, nothing_new));
    }
}

/// However the thread ends, also by a panic, the next ending starts a new one.
struct Running<'a>(&'a Shared);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.state).running = false;
            self.0.changed.notify_all();
        }
    }
}

fn carry_out_all(shared: &Shared, handle: &StoreHandle) {
    let _running = Running(shared);
    while let Some(next) = shared.take_next() {
        if carry_out(shared, handle, next) == Told::NotYet {
            shared.pause();
        }
    }
}

/// Tries each once, on the thread of a caller. The next ending starts a thread for those that are left.
fn carry_out_once(shared: &Shared, handle: &StoreHandle) {
    let count = lock(&shared.state).queue.len();
    for _ in 0..count {
        let Some(next) = shared.take_next() else { return };
        carry_out(shared, handle, next);
    }
    lock(&shared.state).running = false;
    shared.changed.notify_all();
}

/// Whether the store need not be told of a run any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Yes,
    NotYet,
}

fn carry_out(shared: &Shared, handle: &StoreHandle, next: Numbered) -> Told {
    // The panic hook reports a panic of the store; the run must be ended nevertheless.
    let told = catch_unwind(AssertUnwindSafe(|| next.ending.tell(handle)));
    match told.unwrap_or_else(|_| Err(panicked())) {
        Ok(()) => shared.note_told(),
        Err(error) if error.kind() == StoreErrorKind::Replaced => {
            tracing::debug!(run = %next.ending.attempt.id, %error, "the run ended with its store");
        }
        Err(error) => {
            shared.put_back(next, &error);
            return Told::NotYet;
        }
    }
    Told::Yes
}

fn panicked() -> StoreError {
    StoreError::new(StoreErrorKind::Unusable, "the store panicked when it was asked to end the run")
}
