//! The keeper: one thread that watches the deadlines of all grants of a connection, and one that renews
//! them, so that a store that hangs cannot delay the news of a loss.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, Weak, mpsc};
use std::time::Duration;

use crate::coordinator::Shared;
use crate::error::Lost;
use crate::grant::Renewal;
use crate::name::RunId;
use crate::run::{Attempt, LostBy, Outcome, Token};
use crate::step::{Answer, Refreshed, Step, Who};
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::lock;

/// The longest sleep: after a suspended machine wakes up a deadline is noticed within it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Refreshes due within this time of each other go into one call.
const TOGETHER_MS: i64 = 50;
/// Pause after a refresh that failed, before the next one.
const RETRY_MS: i64 = 500;
/// A refresh by hand takes effect at most this often.
const BY_HAND_MS: i64 = 1_000;

type Told = Box<dyn FnOnce(Lost) + Send>;

/// A grant as the keeper knows it.
pub(crate) struct Held {
    pub(crate) attempt: Attempt,
    pub(crate) token: Token,
    lease_ms: i64,
    renewal: Renewal,
    /// When this process must assume the loss (boot clock).
    deadline_ms: AtomicI64,
    next_refresh_ms: AtomicI64,
    /// Somebody said that something happened to it: the store is asked, whoever renews it.
    news: AtomicBool,
    last_refresh_ms: AtomicI64,
    lost: OnceLock<Lost>,
    /// The caller has ended the run: what the store says of it is no news any more.
    ended: AtomicBool,
    told: Arc<Mutex<Vec<Told>>>,
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("run", &self.attempt.id)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

fn now_ms() -> i64 {
    crate::world::system_now().boot_ms
}

impl Held {
    pub(crate) fn new(
        attempt: &Attempt,
        token: Token,
        lease_ms: u64,
        deadline_ms: i64,
        renewal: Renewal,
    ) -> Self {
        let lease_ms = lease_ms as i64;
        let begun_ms = deadline_ms - lease_ms;
        Self {
            attempt: attempt.clone(),
            token,
            lease_ms,
            renewal,
            deadline_ms: AtomicI64::new(deadline_ms),
            next_refresh_ms: AtomicI64::new(begun_ms + lease_ms / 3),
            news: AtomicBool::new(false),
            last_refresh_ms: AtomicI64::new(begun_ms),
            lost: OnceLock::new(),
            ended: AtomicBool::new(false),
            told: Arc::default(),
        }
    }

    /// When it first needs attention: a refresh, or its deadline.
    fn first_event_ms(&self) -> i64 {
        let deadline = self.deadline_ms.load(Ordering::Acquire);
        match self.renewal {
            Renewal::Automatic => deadline.min(self.next_refresh_ms.load(Ordering::Acquire)),
            Renewal::ByHand => deadline,
        }
    }

    pub(crate) fn time_left(&self) -> Duration {
        let left = self.deadline_ms.load(Ordering::Acquire) - now_ms();
        Duration::from_millis(left.max(0) as u64)
    }

    pub(crate) fn lost(&self) -> Option<Lost> {
        if self.lost.get().is_none() && self.deadline_ms.load(Ordering::Acquire) <= now_ms() {
            self.lose(Lost::Expired);
        }
        self.lost.get().copied()
    }

    /// Latches the loss and tells everybody who wants to know, on a thread of its own: they may take their
    /// time, panic, or ask for the very grant, and no other run's renewal must suffer from that.
    fn lose(&self, by: Lost) {
        if self.ended.load(Ordering::Acquire) || self.lost.set(by).is_err() || lock(&self.told).is_empty() {
            return;
        }
        let told = self.told.clone();
        let spawned =
            std::thread::Builder::new().name("flowlock-loss".into()).spawn(move || tell_all(&told, by));
        if spawned.is_err() {
            tell_all(&self.told, by);
        }
    }

    pub(crate) fn on_lost(&self, told: Told) {
        let mut waiting = lock(&self.told);
        match self.lost.get() {
            Some(&by) => {
                drop(waiting);
                told(by);
            }
            None => waiting.push(told),
        }
    }

    pub(crate) fn was_refreshed_lately(&self) -> bool {
        now_ms() - self.last_refresh_ms.load(Ordering::Acquire) < BY_HAND_MS
    }

    /// Takes in the store's answer to a refresh sent at `sent_ms`.
    fn refreshed(&self, answer: Refreshed, sent_ms: i64) {
        match answer {
            Refreshed::Held { lease_left_ms, .. } => {
                // Answers may overtake each other; none takes back what another one gave.
                self.deadline_ms.fetch_max(sent_ms.saturating_add(lease_left_ms), Ordering::AcqRel);
                self.last_refresh_ms.fetch_max(sent_ms, Ordering::AcqRel);
                self.next_refresh_ms.store(sent_ms + self.lease_ms / 3, Ordering::Release);
            }
            Refreshed::MaxRuntime { .. } => self.next_refresh_ms.store(i64::MAX, Ordering::Release),
            Refreshed::AskAgain => self.next_refresh_ms.store(sent_ms, Ordering::Release),
            Refreshed::Over(Outcome::Lost(by)) => self.lose(Lost::By(by)),
            // Ended by another handle, or forgotten: whatever it was, it is not held.
            Refreshed::Over(_) | Refreshed::NotRunning | Refreshed::NotFound => {
                self.lose(Lost::By(LostBy::Taken));
            }
        }
    }
}

fn tell_all(waiting: &Mutex<Vec<Told>>, by: Lost) {
    let all = std::mem::take(&mut *lock(waiting));
    for told in all {
        // The panic was reported by its hook; the others are told all the same.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| told(by)));
    }
}

/// Refreshes grants in one call.
pub(crate) fn refresh(shared: &Shared, grants: &[Arc<Held>]) -> Result<(), StoreError> {
    let sent_ms = now_ms();
    let runs = grants.iter().map(|held| Who::from(&held.attempt)).collect();
    if let Answer::Refreshed(answers) = shared.store.step(&shared.namespace, &Step::Refresh(runs))? {
        for (held, answer) in grants.iter().zip(answers) {
            held.refreshed(answer, sent_ms);
        }
    }
    Ok(())
}

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
    grants: Vec<Arc<Held>>,
    watching: bool,
    closed: bool,
    /// When the watching thread looks again by itself (boot clock).
    next_look_ms: i64,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        lock(&self.rounds.state).closed = true;
        self.rounds.changed.notify_all();
    }
}

impl Keeper {
    /// Looks after a grant from now on.
    pub(crate) fn keep(&self, shared: &Arc<Shared>, held: &Arc<Held>) {
        let mut state = lock(&self.rounds.state);
        state.grants.push(held.clone());
        if state.watching {
            if held.first_event_ms() < state.next_look_ms {
                self.rounds.changed.notify_all();
            }
        } else {
            state.watching = true;
            let (rounds, shared) = (self.rounds.clone(), Arc::downgrade(shared));
            let spawned = std::thread::Builder::new()
                .name("flowlock-keeper".into())
                .spawn(move || watch(&rounds, &shared));
            if let Err(error) = spawned {
                state.watching = false;
                tracing::error!(%error, "cannot start the thread that renews leases; they end when they are over");
            }
        }
    }

    /// There is news about a run: if it is kept here, the store is asked about it now.
    pub(crate) fn look_at(&self, run: &RunId) {
        let state = lock(&self.rounds.state);
        if let Some(held) = state.grants.iter().find(|held| held.attempt.id == *run) {
            held.news.store(true, Ordering::Release);
            self.rounds.changed.notify_all();
        }
    }

    /// Looks after a grant no more, and says nothing more about it.
    pub(crate) fn release(&self, held: &Arc<Held>) {
        held.ended.store(true, Ordering::Release);
        lock(&self.rounds.state).grants.retain(|kept| !Arc::ptr_eq(kept, held));
    }
}

/// What the watching thread finds to do in one round.
#[derive(Default)]
struct Round {
    expired: Vec<Arc<Held>>,
    due: Vec<Arc<Held>>,
    next_look_ms: i64,
}

impl State {
    fn round(&self, now: i64) -> Round {
        let mut round = Round { next_look_ms: now + LONGEST_SLEEP.as_millis() as i64, ..Round::default() };
        for held in self.grants.iter().filter(|held| held.lost.get().is_none()) {
            let deadline = held.deadline_ms.load(Ordering::Acquire);
            if deadline <= now {
                round.expired.push(held.clone());
                continue;
            }
            let first = held.first_event_ms();
            if held.news.swap(false, Ordering::AcqRel) || first <= now + TOGETHER_MS && first < deadline {
                held.next_refresh_ms.store(now + RETRY_MS, Ordering::Release);
                round.due.push(held.clone());
            }
            round.next_look_ms = round.next_look_ms.min(held.first_event_ms());
        }
        round
    }
}

/// Fires expired grants and hands the ones to renew to the renewing thread, until the connection closes.
fn watch(rounds: &Rounds, shared: &Weak<Shared>) {
    let mut renewer: Option<mpsc::SyncSender<Vec<Arc<Held>>>> = None;
    let listen_ms = now_ms() + LONGEST_SLEEP.as_millis() as i64;
    let mut listening = false;
    let mut state = lock(&rounds.state);
    while !state.closed {
        let round = state.round(now_ms());
        state.next_look_ms = round.next_look_ms;
        if !round.expired.is_empty() {
            drop(state);
            for held in &round.expired {
                held.lose(Lost::Expired);
            }
            state = lock(&rounds.state);
            continue;
        }
        if !round.due.is_empty() {
            hand_over(&mut renewer, shared, round.due);
        }
        let sleep = Duration::from_millis((round.next_look_ms - now_ms()).clamp(1, 1_000) as u64);
        state = rounds.changed.wait_timeout(state, sleep).unwrap_or_else(PoisonError::into_inner).0;
        // A run that lasts wants to hear at once that it was unlocked; a short one need not pay for that.
        if !listening && !state.closed && !state.grants.is_empty() && now_ms() >= listen_ms {
            listening = true;
            drop(state);
            if let Some(shared) = shared.upgrade() {
                crate::desk::Desk::listen(&shared);
            }
            state = lock(&rounds.state);
        }
    }
}

/// Gives grants to the renewing thread. If it is still busy with the last ones they come again next round.
fn hand_over(
    renewer: &mut Option<mpsc::SyncSender<Vec<Arc<Held>>>>,
    shared: &Weak<Shared>,
    due: Vec<Arc<Held>>,
) {
    if renewer.is_none() {
        let (give, take) = mpsc::sync_channel::<Vec<Arc<Held>>>(1);
        let shared = shared.clone();
        let renew = move || {
            for grants in take {
                let Some(shared) = shared.upgrade() else { return };
                if let Err(error) = refresh(&shared, &grants) {
                    if error.kind() == StoreErrorKind::Replaced {
                        for held in &grants {
                            held.lose(Lost::WithTheStore);
                        }
                        continue;
                    }
                    let run = grants.first().map(|held| held.attempt.id.to_string());
                    tracing::warn!(%error, run, runs = grants.len(), "could not renew; trying again until the deadline");
                }
            }
        };
        match std::thread::Builder::new().name("flowlock-renewer".into()).spawn(renew) {
            Ok(_) => *renewer = Some(give),
            Err(error) => tracing::error!(%error, "cannot start the thread that renews leases"),
        }
    }
    match renewer.as_ref().map(|give| give.try_send(due)) {
        // What is due for its time comes again by itself; news would not.
        Some(Err(mpsc::TrySendError::Full(due))) => {
            for held in &due {
                held.news.store(true, Ordering::Release);
            }
        }
        Some(Err(mpsc::TrySendError::Disconnected(_))) => *renewer = None,
        Some(Ok(())) | None => {}
    }
}
