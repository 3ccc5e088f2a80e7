//! Endings: what a drop leaves to be said to the store.
//!
//! A drop never waits for the store. The run of a dropped grant, or of a dropped wait, is handed over to a thread of its
//! connection, which asks until the store answers or the lease is over. What is left when the process ends is waited
//! for, for [`LAST_WAIT`] at most.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::handle::StoreHandle;
use crate::id::Attempt;
use crate::left::Left;
use crate::step::{Step, Who};
use crate::store::{Limits, StoreError};
use crate::sync::lock;
use crate::world::later;

/// The pause before a store that did not answer is told again.
const PAUSE: Duration = Duration::from_millis(500);
/// Whoever waits for endings looks so often whether the caller still wants to wait.
const LOOK: Duration = Duration::from_millis(50);

/// The runs of a connection that are still to be ended, by a thread that lives for as long as there are some.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Room {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<Ending>,
    /// There is a thread.
    running: bool,
    /// The store did not answer the last time.
    away: bool,
}

/// A run that is to be ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// Whose.
    pub(crate) attempt: Attempt,
    /// How.
    pub(crate) how: How,
    /// Until when that is tried; once in any case.
    pub(crate) until: Instant,
    /// Held by what the end of the process waits for.
    pub(crate) _left: Option<Left>,
}

/// How a run ends that its caller dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// The work failed.
    Fail,
    /// The caller never had the grant: no failure.
    #[cfg_attr(not(feature = "async"), expect(dead_code, reason = "only a future can be dropped meanwhile"))]
    GiveBack,
    /// It leaves the line. What was sent anew may arrive until then (0: nothing was).
    Withdraw {
        /// By the store's lease clock.
        sent_ms: i64,
    },
}

impl Endings {
    /// Takes a run over. Waits for nothing, unless no thread can be started.
    pub(crate) fn hand_over(&self, handle: &Arc<StoreHandle>, ending: Ending) {
        let mut state = lock(&self.room.state);
        state.queue.push_back(ending);
        if std::mem::replace(&mut state.running, true) {
            return;
        }
        state.away = false;
        drop(state);
        let (room, theirs) = (self.room.clone(), handle.clone());
        let spawned = std::thread::Builder::new()
            .name("flowlock-endings".into())
            .spawn(move || carry_out_all(&room, &theirs));
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot start the thread that ends dropped runs; they are ended here");
            carry_out_all(&self.room, handle);
        }
    }

    /// Waits until everything that was handed over is carried out: what one caller does is done in order. Not while the
    /// store is away. Returns whether nothing is left.
    pub(crate) fn settle(&self, limits: &Limits) -> bool {
        let mut state = lock(&self.room.state);
        let is_over = || limits.left().is_zero() || limits.is_interrupted() || limits.is_given_up();
        while state.running && !state.away && !is_over() {
            let nap = limits.left().min(LOOK);
            state = self.room.changed.wait_timeout(state, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
        !state.running
    }
}

impl Room {
    fn next(&self) -> Option<Ending> {
        let mut state = lock(&self.state);
        let next = state.queue.pop_front();
        if next.is_none() {
            state.running = false;
            self.changed.notify_all();
        }
        next
    }

    fn is_away(&self, away: bool) {
        lock(&self.state).away = away;
        self.changed.notify_all();
    }
}

/// However the thread ends, by a panic too, the next ending gets another one.
struct Running<'a>(&'a Room);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            lock(&self.0.state).running = false;
            self.0.changed.notify_all();
        }
    }
}

fn carry_out_all(room: &Room, handle: &StoreHandle) {
    let _running = Running(room);
    while let Some(ending) = room.next() {
        carry_out(room, handle, &ending);
    }
}

/// Tells the store until it answers. Logs the first failure and the last one.
fn carry_out(room: &Room, handle: &StoreHandle, ending: &Ending) {
    let run = &ending.attempt.id;
    let mut is_said = false;
    loop {
        let Err(error) = tell(handle, ending) else {
            return room.is_away(false);
        };
        if !error.is_transient() || later(Instant::now(), PAUSE) >= ending.until {
            tracing::warn!(%run, %error, "could not end the run; its lease, or its silence, will");
            return;
        }
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!(%run, %error, "could not end the run yet; trying again until its lease is over");
        }
        room.is_away(true);
        std::thread::sleep(PAUSE);
    }
}

fn tell(handle: &StoreHandle, ending: &Ending) -> Result<(), StoreError> {
    let limits = Limits::within(handle.store_timeout);
    let step = match ending.how {
        How::Fail => Step::Fail(Who::from(&ending.attempt)),
        How::GiveBack => Step::GiveBack(ending.attempt.clone()),
        How::Withdraw { sent_ms } => return handle.withdraw(&ending.attempt, sent_ms, handle.store_timeout),
    };
    handle.step_within(&step, &limits).map(drop)
}
