//! Losing a grant, once, and telling those who want to hear of it.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::{Lease, now_ms};
use crate::error::Lost;
use crate::sync::lock;

type Told = Box<dyn FnOnce(Lost) + Send>;

/// Those who want to hear of a loss, by the number of their registration.
#[derive(Default)]
pub(super) struct Listeners {
    next: u64,
    waiting: Vec<(u64, Told)>,
}

impl Lease {
    /// Latches the loss and tells everybody who wants to know, on a thread of its own: they may take their
    /// time, panic, or ask for the very grant, and no other run's renewal must suffer from that.
    pub(crate) fn lose(&self, by: Lost) {
        self.lose_if(|| Some(by));
    }

    /// Latches the loss that the end of the lease means, unless it was renewed since somebody looked.
    pub(crate) fn lapse(&self) {
        self.lose_if(|| (!self.is_unsettled() && self.is_past_deadline()).then(|| self.expiry()));
    }

    /// The same for what is found once nobody else can change whether it is lost.
    fn lose_if(&self, found: impl FnOnce() -> Option<Lost>) {
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        let Some(by) = self.latch(found) else { return };
        if lock(&self.told).waiting.is_empty() {
            return;
        }
        let told = self.told.clone();
        let spawned =
            std::thread::Builder::new().name("flowlock-loss".into()).spawn(move || tell_all(&told, by));
        if spawned.is_err() {
            tell_all(&self.told, by);
        }
    }

    /// The loss, if it was not lost before.
    fn latch(&self, found: impl FnOnce() -> Option<Lost>) -> Option<Lost> {
        let mut lost = lock(&self.lost);
        if lost.is_some() {
            return None;
        }
        *lost = found();
        *lost
    }

    /// The caller has asked for a renewal. If the store gave one, the end of the lease before it ended nothing.
    pub(crate) fn reinstate(&self) {
        let mut lost = lock(&self.lost);
        let by_time = matches!(*lost, Some(Lost::Expired | Lost::Unreachable));
        if by_time && self.deadline_ms.load(Ordering::Acquire) > now_ms() {
            *lost = None;
        }
    }

    /// Calls `told` when it is lost, at once if it is; the number is for [`Self::forget`].
    pub(crate) fn on_lost(&self, told: Told) -> u64 {
        let mut listeners = lock(&self.told);
        listeners.next += 1;
        let number = listeners.next;
        let lost = *lock(&self.lost);
        match lost {
            Some(by) => {
                drop(listeners);
                told(by);
            }
            None => listeners.waiting.push((number, told)),
        }
        number
    }

    /// Whoever registered with this number does not want to hear of it any more.
    #[cfg(feature = "async")]
    pub(crate) fn forget(&self, number: u64) {
        let mut listeners = lock(&self.told);
        let at = listeners.waiting.iter().position(|(other, _)| *other == number);
        let forgotten = at.map(|at| listeners.waiting.remove(at));
        drop(listeners);
        // Not under the lock: what it captured is the user's.
        drop(forgotten);
    }

    #[cfg(all(test, feature = "async"))]
    pub(crate) fn listeners(&self) -> usize {
        lock(&self.told).waiting.len()
    }
}

fn tell_all(listeners: &Mutex<Listeners>, by: Lost) {
    let all = std::mem::take(&mut lock(listeners).waiting);
    for (_, told) in all {
        // The panic was reported by its hook; the others are told all the same.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| told(by)));
    }
}
