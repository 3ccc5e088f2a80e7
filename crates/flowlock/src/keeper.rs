//! The keeper: one thread that watches the deadlines of all grants of a connection, and one that renews
//! them, so that a store that hangs cannot delay the news of a loss.
//!
//! One mutex (`state`) protects which grants are kept and when the watching thread looks next. The
//! mutexes of a lease may be locked under it, never the other way round. The watching thread sleeps on
//! its condition variable and holds it while it looks, but not while it reports a loss or starts to
//! listen; so an alarm is either seen in this round or wakes the next one. The renewing thread does not
//! use the mutex: it gets its grants through a channel with room for one batch, so the watching thread
//! never waits for it. There are no atomics here; `lease.rs` explains those of a lease.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak, mpsc};
use std::time::Duration;

use crate::error::Lost;
use crate::handle::StoreHandle;
use crate::lease::{Attention, Lease, ask, now_ms};
use crate::name::RunId;
use crate::store::StoreErrorKind;
use crate::sync::lock;

/// The longest sleep. After a suspended machine wakes up, a deadline is noticed within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);

/// All grants of a connection, and the threads that look after them.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    rounds: Arc<Rounds>,
}

#[derive(Debug, Default)]
struct Rounds {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    grants: Vec<Arc<Lease>>,
    watching: bool,
    closed: bool,
    /// When the watching thread looks again without an alarm (boot clock).
    next_look_ms: i64,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        lock(&self.rounds.state).closed = true;
        self.rounds.changed.notify_all();
    }
}

impl Keeper {
    /// Looks after a grant from now on. Calls `listen` once the first one has lasted for a second.
    pub(crate) fn keep(
        &self,
        handle: &Arc<StoreHandle>,
        held: &Arc<Lease>,
        listen: impl FnOnce() + Send + 'static,
    ) {
        let mut state = lock(&self.rounds.state);
        state.grants.push(held.clone());
        if state.watching {
            if held.first_event_ms() < state.next_look_ms {
                self.rounds.changed.notify_all();
            }
        } else {
            state.watching = true;
            let (rounds, handle) = (self.rounds.clone(), Arc::downgrade(handle));
            let spawned = std::thread::Builder::new()
                .name("flowlock-keeper".into())
                .spawn(move || watch(&rounds, &handle, listen));
            if let Err(error) = spawned {
                state.watching = false;
                tracing::error!(%error, "cannot start the thread that renews leases; they end without a renewal");
            }
        }
    }

    /// Returns a handle to tell the keeper that something happened.
    pub(crate) fn alarm(&self) -> Alarm {
        Alarm { rounds: self.rounds.clone() }
    }

    /// Stops looking after a grant, and reports nothing more about it.
    pub(crate) fn release(&self, held: &Arc<Lease>) {
        held.end();
        lock(&self.rounds.state).grants.retain(|kept| !Arc::ptr_eq(kept, held));
    }
}

/// Tells a keeper that something happened to its grants.
#[derive(Debug, Clone)]
pub(crate) struct Alarm {
    rounds: Arc<Rounds>,
}

impl Alarm {
    /// Returns whether a run is kept here.
    pub(crate) fn keeps(&self, run: &RunId) -> bool {
        lock(&self.rounds.state).grants.iter().any(|held| held.attempt.id == *run)
    }

    /// Reports news about a run: if it is kept here, the store is asked about it now.
    pub(crate) fn look_at(&self, run: &RunId) {
        let state = lock(&self.rounds.state);
        if let Some(held) = state.grants.iter().find(|held| held.attempt.id == *run) {
            held.set_news();
            self.rounds.changed.notify_all();
        }
    }

    /// Reports that something may have happened to any run: the store is asked about all of them now.
    pub(crate) fn look_at_all(&self) {
        let state = lock(&self.rounds.state);
        state.grants.iter().for_each(|held| held.set_news());
        self.rounds.changed.notify_all();
    }
}

/// What the watching thread has to do in one round.
#[derive(Default)]
struct Round {
    expired: Vec<Arc<Lease>>,
    due: Vec<Arc<Lease>>,
    next_look_ms: i64,
}

impl State {
    fn take_round(&self, now: i64) -> Round {
        let mut round = Round { next_look_ms: now + LONGEST_SLEEP.as_millis() as i64, ..Round::default() };
        for held in &self.grants {
            match held.take_attention(now) {
                Attention::Gone => continue,
                Attention::Expired => {
                    round.expired.push(held.clone());
                    continue;
                }
                Attention::Due => round.due.push(held.clone()),
                Attention::Later => {}
            }
            round.next_look_ms = round.next_look_ms.min(held.first_event_ms());
        }
        round
    }
}

/// Fires expired grants and hands those that need renewal to the renewing thread, until the connection
/// closes.
fn watch(rounds: &Rounds, handle: &Weak<StoreHandle>, listen: impl FnOnce()) {
    let mut renewer: Option<mpsc::SyncSender<Vec<Arc<Lease>>>> = None;
    let listen_ms = now_ms() + LONGEST_SLEEP.as_millis() as i64;
    let mut listen = Some(listen);
    let mut state = lock(&rounds.state);
    while !state.closed {
        let round = state.take_round(now_ms());
        state.next_look_ms = round.next_look_ms;
        if !round.expired.is_empty() {
            drop(state);
            for held in &round.expired {
                held.lapse();
            }
            state = lock(&rounds.state);
            continue;
        }
        if !round.due.is_empty() {
            hand_over(&mut renewer, handle, round.due);
        }
        let sleep = Duration::from_millis((round.next_look_ms - now_ms()).clamp(1, 1_000) as u64);
        state = rounds.changed.wait_timeout(state, sleep).unwrap_or_else(PoisonError::into_inner).0;
        // A run that lasts must hear of an unlock at once; a short one need not pay for that.
        if listen.is_some() && !state.closed && !state.grants.is_empty() && now_ms() >= listen_ms {
            drop(state);
            listen.take().into_iter().for_each(|listen| listen());
            state = lock(&rounds.state);
        }
    }
}

/// Renews grants. Logs the first failure only, because it may be tried many times.
fn renew_now(handle: &StoreHandle, grants: &[Arc<Lease>]) {
    let known = grants.iter().all(|held| held.trouble().is_some());
    let run = grants.first().map(|held| held.attempt.id.to_string());
    match ask(handle, grants) {
        Ok(()) if known => tracing::info!(run, runs = grants.len(), "renewed again"),
        Ok(()) => {}
        Err(error) if error.kind() == StoreErrorKind::Replaced => {
            for held in grants {
                held.lose(Lost::WithTheStore);
            }
        }
        Err(error) if known => tracing::debug!(%error, run, runs = grants.len(), "still could not renew"),
        Err(error) => {
            tracing::warn!(%error, run, runs = grants.len(), "could not renew; trying again until the deadline");
        }
    }
}

/// Gives grants to the renewing thread. If that is still busy with the last ones, these come again in
/// the next round.
fn hand_over(
    renewer: &mut Option<mpsc::SyncSender<Vec<Arc<Lease>>>>,
    handle: &Weak<StoreHandle>,
    due: Vec<Arc<Lease>>,
) {
    if renewer.is_none() {
        let (give, take) = mpsc::sync_channel::<Vec<Arc<Lease>>>(1);
        let handle = handle.clone();
        let renew = move || {
            for grants in take {
                let Some(handle) = handle.upgrade() else { return };
                renew_now(&handle, &grants);
            }
        };
        match std::thread::Builder::new().name("flowlock-renew".into()).spawn(renew) {
            Ok(_) => *renewer = Some(give),
            Err(error) => tracing::error!(%error, "cannot start the thread that renews leases"),
        }
    }
    let sent = match renewer {
        Some(give) => give.try_send(due),
        None => Err(mpsc::TrySendError::Disconnected(due)),
    };
    let refused = match sent {
        Ok(()) => return,
        Err(mpsc::TrySendError::Full(due)) => due,
        Err(mpsc::TrySendError::Disconnected(due)) => {
            *renewer = None;
            due
        }
    };
    // A renewal that is due comes again by itself; news would not.
    for held in &refused {
        held.set_news();
    }
}
