//! The seat: what the desk and a waiting run tell each other.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::run::{State, Ticket};
use crate::step::Waiting;
use crate::sync::lock;
use crate::world::later;

/// What the desk tells a waiting run.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) state: Mutex<SeatState>,
    pub(crate) changed: Condvar,
}

/// What the desk knows of a waiting run.
#[derive(Debug)]
pub(crate) struct SeatState {
    /// Something happened to the run: ask the store.
    pub(crate) news: bool,
    /// The caller wants its thread back.
    pub(crate) rung: bool,
    /// What the store said last. Much later it may be true no more.
    pub(crate) waiting: Waiting,
    /// When that was.
    pub(crate) explained: Instant,
    /// It is known to be true no more: the next heartbeat asks anew.
    pub(crate) stale: bool,
    pub(crate) look_again: Option<Instant>,
    pub(crate) waker: Option<Waker>,
}

impl Seat {
    pub(crate) fn new(waiting: Waiting) -> Self {
        let look_again = look_again(&waiting);
        let state = SeatState {
            news: false,
            rung: false,
            waiting,
            explained: Instant::now(),
            stale: false,
            look_again,
            waker: None,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut SeatState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        if (state.news || state.rung)
            && let Some(waker) = state.waker.take()
        {
            // Not under the lock: some executors look at the task at once, on this thread.
            drop(state);
            // A panic of one executor is reported by its hook; the other runs are told all the same.
            let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
        } else {
            drop(state);
        }
        self.changed.notify_all();
    }

    pub(crate) fn tell(&self) {
        self.update(|state| state.news = true);
    }

    /// Takes in why the run waits.
    pub(crate) fn set_waiting(&self, waiting: Waiting) {
        self.update(|state| {
            state.look_again = look_again(&waiting);
            // A run that reserves nothing comes back by asking for itself.
            state.news |= !waiting.present;
            state.waiting = waiting;
            state.explained = Instant::now();
            state.stale = false;
        });
    }

    /// Takes in that it waits, which says nothing of why: what is known stays.
    pub(crate) fn still_waits(&self, now: State, present: bool) {
        self.update(|state| {
            // From awaiting an input to the line, or back: another reason, to be asked for.
            state.stale |= state.waiting.state != now;
            state.waiting.state = now;
            state.waiting.present = present;
            state.news |= !present;
        });
    }

    /// Whether it is time to look again, or one of the `dead` was in the way: what is known is old from now on.
    pub(crate) fn grows_stale(&self, now: Instant, dead: &[Ticket]) -> bool {
        let mut state = lock(&self.state);
        let is_time = state.look_again.is_some_and(|at| at <= now);
        if is_time {
            state.look_again = None;
        }
        let is_freed = state.waiting.probe.iter().any(|(ticket, _)| dead.contains(ticket));
        state.stale |= is_time || is_freed;
        is_time || is_freed
    }

    pub(crate) fn is_stale(&self) -> bool {
        lock(&self.state).stale
    }

    /// It waits no more, or was asked about: no heartbeat need ask for it first.
    pub(crate) fn is_asked_about(&self) {
        lock(&self.state).stale = false;
    }
}

fn look_again(waiting: &Waiting) -> Option<Instant> {
    // A little late, and not all at once.
    let jitter = crate::world::random_u64() % 50;
    waiting
        .look_again_ms
        .map(|ms| later(Instant::now(), Duration::from_millis(ms.saturating_add(5 + jitter))))
}
