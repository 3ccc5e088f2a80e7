//! [`Waiter`]: a waiting run as its process knows it. The waiters' thread writes it; the thread that
//! waits reads it.
//!
//! One mutex (`state`) protects everything; nothing else is locked under it. News is set under it and
//! the condition variable is notified afterwards, so a sleeping thread misses no news. An async task
//! leaves its waker in the same critical section in which it found no news. Wakers are woken and dropped
//! outside of the mutex, because they run the executor's code.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::blocker::BlockerKind;
use crate::id::Ticket;
use crate::run::State;
use crate::step::Waiting;
use crate::sync::lock;
use crate::world::later;

/// How long an explanation may be shown before it is asked for again: leases are renewed meanwhile, and
/// a run that wants several names may have become the oldest waiter of another one. A little less than
/// three heartbeats.
const EXPLAINED_FOR: Duration = Duration::from_secs(14);

/// A waiting run, shared by the thread that waits for it and the waiters' thread.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) state: Mutex<WaiterState>,
    pub(crate) changed: Condvar,
}

/// What is known about a waiting run.
#[derive(Debug)]
pub(crate) struct WaiterState {
    /// Something happened to the run: ask the store.
    pub(crate) news: bool,
    /// The caller wants its thread back.
    pub(crate) interrupted: bool,
    /// What the store said last. It may be out of date.
    pub(crate) waiting: Waiting,
    /// When that was.
    pub(crate) explained: Instant,
    /// How reliable that still is.
    pub(crate) known: Known,
    pub(crate) look_again: Option<Instant>,
    pub(crate) waker: Option<Waker>,
}

/// How reliable the store's last answer about a waiting run still is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Known {
    /// Nothing suggests a change.
    Sound,
    /// Messages were missed since then: it may be out of date.
    Doubtful,
    /// It is out of date: the next heartbeat asks again.
    Stale,
}

impl Waiter {
    pub(crate) fn new(waiting: Waiting) -> Self {
        let look_again = look_again(&waiting);
        let state = WaiterState {
            news: false,
            interrupted: false,
            waiting,
            explained: Instant::now(),
            known: Known::Sound,
            look_again,
            waker: None,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut WaiterState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        if (state.news || state.interrupted)
            && let Some(waker) = state.waker.take()
        {
            // Not under the lock: some executors run the task at once, on this thread.
            drop(state);
            // The executor's panic hook reports the panic; the other runs are told nevertheless.
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
            // A run that reserves nothing must ask for itself to come back.
            state.news |= !waiting.present;
            state.waiting = waiting;
            state.explained = Instant::now();
            state.known = Known::Sound;
        });
    }

    /// Takes in that it still waits, without a reason: the known reason remains.
    pub(crate) fn set_still_waiting(&self, now: State, present: bool) {
        self.update(|state| {
            // From awaiting an input to the queue, or back: there is another reason, which must be asked
            // for.
            if state.waiting.state != now {
                state.known = Known::Stale;
            }
            state.waiting.state = now;
            state.waiting.present = present;
            state.news |= !present;
        });
    }

    /// Notes that what is known is out of date, if it is time to look again or one of the `dead` was in
    /// the way. Returns whether it is.
    pub(crate) fn mark_stale_if_due(&self, now: Instant, dead: &[Ticket]) -> bool {
        let mut state = lock(&self.state);
        let is_time = state.look_again.is_some_and(|at| at <= now);
        if is_time {
            state.look_again = None;
        }
        let is_freed = state.waiting.probe.iter().any(|(ticket, _)| dead.contains(ticket));
        if is_time || is_freed {
            state.known = Known::Stale;
        }
        is_time || is_freed
    }

    /// Notes that messages were missed: the next heartbeats ask about the run in its turn.
    pub(crate) fn mark_doubtful(&self) {
        let known = &mut lock(&self.state).known;
        *known = (*known).max(Known::Doubtful);
    }

    pub(crate) fn is_stale(&self) -> bool {
        lock(&self.state).known == Known::Stale
    }

    /// Returns whether nothing need be asked about the run yet. A run that was told when to look again
    /// and has no run ahead is the oldest waiter of its names: until then only its own grant changes who
    /// holds them. If there are processes to probe or runs ahead, those can change meanwhile, and it
    /// must ask.
    pub(crate) fn knows_enough(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        let is_recent = now.saturating_duration_since(state.explained) < EXPLAINED_FOR;
        let blocked = &state.waiting.blocked;
        let is_behind = blocked.more || blocked.by.iter().any(|by| by.kind == BlockerKind::QueuedBehind);
        state.known == Known::Sound
            && state.look_again.is_some()
            && !is_behind
            && state.waiting.probe.is_empty()
            && is_recent
    }

    /// Notes that no heartbeat need ask for it first, because it does not wait any more or was asked
    /// about. Only an answer makes what is known reliable again. Returns whether one had to ask.
    pub(crate) fn take_stale(&self) -> bool {
        let known = &mut lock(&self.state).known;
        let was_stale = *known == Known::Stale;
        *known = (*known).min(Known::Doubtful);
        was_stale
    }

    /// Makes the next heartbeat ask about it first, because the last answer had no room for it.
    pub(crate) fn mark_stale(&self) {
        lock(&self.state).known = Known::Stale;
    }
}

fn look_again(waiting: &Waiting) -> Option<Instant> {
    // A little late, and spread out. "At once" is only told to one run, with which the next step
    // continues.
    let late = |ms| if ms == 0 { 0 } else { 5 + crate::world::random_u64() % 50 };
    waiting.look_again_ms.map(|ms| later(Instant::now(), Duration::from_millis(ms.saturating_add(late(ms)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocker::Blocked;
    use crate::world::LivenessId;

    fn waiter(look_again_ms: Option<u64>, probe: Vec<(Ticket, LivenessId)>) -> Waiter {
        let blocked = Blocked { by: Vec::new(), more: false, ahead: 0, retry_after_ms: None };
        Waiter::new(Waiting { state: State::Queued, present: true, blocked, probe, look_again_ms })
    }

    #[test]
    fn only_who_was_told_when_to_look_again_and_has_nobody_to_probe_is_not_asked_about() {
        let now = Instant::now();
        let told = waiter(Some(60_000), Vec::new());
        assert!(told.knows_enough(now));
        let explained = lock(&told.state).explained;
        assert!(told.knows_enough(explained + EXPLAINED_FOR.mul_f32(0.99)));
        assert!(!told.knows_enough(explained + EXPLAINED_FOR), "it is shown no longer than that");
        assert!(!waiter(None, Vec::new()).knows_enough(now), "it is not the oldest waiter");
        assert!(
            !waiter(Some(60_000), vec![(Ticket(1), LivenessId(7))]).knows_enough(now),
            "the process may die"
        );
        told.set_still_waiting(State::AwaitingInput, true);
        assert!(!told.knows_enough(now), "it waits for something else now");
        let missed = waiter(Some(60_000), Vec::new());
        missed.mark_doubtful();
        assert!(!missed.knows_enough(now), "something may have happened that it was not told");
        let due = waiter(Some(0), Vec::new());
        assert!(due.mark_stale_if_due(now + Duration::from_secs(1), &[]) && !due.knows_enough(now));
    }

    #[test]
    fn not_all_look_again_at_the_same_moment_but_soon_after_they_were_told_to() {
        let told = Duration::from_mins(1);
        let late: Vec<Duration> = (0..200)
            .map(|_| {
                let begun = Instant::now();
                let at = lock(&waiter(Some(60_000), Vec::new()).state).look_again.unwrap();
                at.saturating_duration_since(begun + told)
            })
            .collect();
        let [first, last] = [late.iter().min(), late.iter().max()].map(|late| late.copied().unwrap());
        assert!(first >= Duration::from_millis(5), "{first:?}");
        assert!(last.saturating_sub(first) > Duration::from_millis(20), "{first:?} to {last:?}");
        // How long the machine took in between counts as well.
        let most = late.iter().filter(|late| **late < Duration::from_millis(56)).count();
        assert!(most > 150, "{most} of 200 within 55 ms");
    }

    /// The answer to a heartbeat has room for so many; the others are first in the next one.
    #[test]
    fn who_was_to_be_asked_about_and_found_no_room_is_so_again_and_only_an_answer_ends_it() {
        let waiter = waiter(Some(0), Vec::new());
        assert!(!waiter.is_stale() && !waiter.take_stale());
        assert!(waiter.mark_stale_if_due(Instant::now() + Duration::from_secs(1), &[]));
        assert!(waiter.is_stale());
        assert!(waiter.take_stale());
        assert!(!waiter.is_stale() && !waiter.take_stale(), "it was asked about");
        waiter.mark_stale();
        assert!(waiter.is_stale());
        waiter.set_waiting(Waiting { look_again_ms: Some(60_000), ..Waiting::unknown() });
        assert!(!waiter.is_stale() && waiter.knows_enough(Instant::now()));
    }
}
