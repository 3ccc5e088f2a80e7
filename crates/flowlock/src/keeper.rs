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

    /// Reports news about a run: if it is kept here, the store is asked about it now. An earlier, lost
    /// grant of the same run id may be here as well: the news is not its own.
    pub(crate) fn look_at(&self, run: &RunId) {
        let state = lock(&self.rounds.state);
        let of_run = state.grants.iter().filter(|held| held.attempt.id == *run);
        if of_run.map(|held| held.set_news()).count() > 0 {
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
        // A run that lasts must hear of an unlock at once; a short one need not pay for that.
        let is_lasting = !state.grants.is_empty() && now_ms() >= listen_ms;
        if let Some(listen) = listen.take_if(|_| is_lasting) {
            drop(state);
            listen();
            state = lock(&rounds.state);
            continue;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flowlock;
    use crate::id::{Attempt, Nonce, Token};
    use crate::lease::Renewal;
    use crate::said::{heard, says};
    use crate::store::memory::{MemoryStore, TestWorld};
    use crate::store::{Epoch, Watermark};

    fn lease(run: &str, renewal: Renewal) -> Arc<Lease> {
        let attempt = Attempt { id: RunId::parse(run).unwrap(), nonce: Nonce(1) };
        Arc::new(Lease::new(&attempt, Token(1), 3_600_000, now_ms() + 3_600_000, renewal))
    }

    #[test]
    fn news_of_a_run_has_the_store_asked_about_that_run() {
        let keeper = Keeper::default();
        let leases = ["a.1", "b.1"].map(|run| lease(run, Renewal::ByHand));
        lock(&keeper.rounds.state).grants.extend(leases.iter().cloned());
        keeper.alarm().look_at(&RunId::parse("b.1").unwrap());
        let round = lock(&keeper.rounds.state).take_round(now_ms());
        let due: Vec<_> = round.due.iter().map(|held| held.attempt.id.as_str()).collect();
        assert_eq!(due, ["b.1"]);
    }

    #[test]
    fn whoever_watches_sleeps_to_the_first_event_and_a_second_at_most() {
        let (mut state, now) = (State::default(), now_ms());
        assert_eq!(state.take_round(now).next_look_ms, now + 1_000);
        state.grants.push(lease("a.1", Renewal::Automatic));
        assert_eq!(state.take_round(now).next_look_ms, now + 1_000);
        let due_ms = state.grants[0].first_event_ms();
        assert_eq!(state.take_round(due_ms - 300).next_look_ms, due_ms);
    }

    #[test]
    fn what_is_held_is_lost_with_a_store_that_another_one_took_the_place_of() {
        let flowlock = Flowlock::open("memory:").unwrap();
        let grant = flowlock.job("job").lock("a").acquire().unwrap();
        let kept = [lease("job.1", Renewal::Automatic)];
        let another = Watermark { epoch: Epoch(1), sequence: 1 };
        flowlock.store().expect(flowlock.namespace(), another);
        renew_now(&flowlock.connection, &kept);
        assert_eq!(kept[0].notice_loss(), Some(Lost::WithTheStore));
        assert!(grant.commit().is_err());
    }

    /// A store that is away for hours fills no log.
    #[test]
    fn trouble_with_a_renewal_is_said_once_and_its_end_once() {
        let world = Arc::new(TestWorld::default());
        let flowlock = Flowlock::with_store(Arc::new(MemoryStore::with_world(world.clone())));
        let grant = flowlock.job("job").lock("a").acquire().unwrap();
        let attempt = Attempt { id: grant.run_id().clone(), nonce: Nonce(1) };
        let kept = [Arc::new(Lease::new(&attempt, Token(1), 60_000, now_ms() + 60_000, Renewal::Automatic))];
        let renew = || heard(|| renew_now(&flowlock.connection, &kept));
        // Its clock is wrong, so that it answers nothing.
        world.shift_wall_clock(-9_000_000_000_000_000);
        assert!(says(&renew(), "WARN could not renew"));
        assert!(says(&renew(), "DEBUG still could not renew"));
        world.shift_wall_clock(9_000_000_000_000_000);
        assert!(says(&renew(), "INFO renewed again"));
        assert!(!says(&renew(), "renewed again"));
    }
}
