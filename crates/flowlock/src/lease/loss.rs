//! Losing a grant, once, and calling the callbacks.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use super::{Lease, now_ms};
use crate::error::Lost;
use crate::sync::lock;

type Told = Box<dyn FnOnce(Lost) + Send>;

/// The callbacks for a loss, by the number of their registration.
#[derive(Default)]
pub(super) struct Listeners {
    next: u64,
    waiting: Vec<(u64, Told)>,
}

impl Lease {
    /// Makes the loss final and calls the callbacks, on a separate thread: they may take long, panic, or
    /// use this grant, and no other run's renewal may suffer from that.
    pub(crate) fn lose(&self, by: Lost) {
        self.lose_if(|| Some(by));
    }

    /// Makes the loss by the end of the lease final, unless the lease was renewed meanwhile.
    pub(crate) fn lapse(&self) {
        self.lose_if(|| (!self.is_unsettled() && self.is_past_deadline()).then(|| self.expiry()));
    }

    /// The same for a loss that is determined under the lock, when no other thread can change it.
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

    /// Stores the loss and returns it, if it was not lost before.
    fn latch(&self, found: impl FnOnce() -> Option<Lost>) -> Option<Lost> {
        let mut lost = lock(&self.lost);
        if lost.is_some() {
            return None;
        }
        *lost = found();
        *lost
    }

    /// Takes back the loss by the end of the lease, if the store gave a renewal that the caller asked
    /// for.
    pub(crate) fn reinstate(&self) {
        let mut lost = lock(&self.lost);
        let by_time = matches!(*lost, Some(Lost::Expired | Lost::Unreachable));
        if by_time && self.deadline_ms.load(Ordering::Acquire) > now_ms() {
            *lost = None;
        }
    }

    /// Calls `told` when it is lost, or at once if it is. Returns a number for [`Self::forget`].
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

    /// Removes the registration with this number.
    #[cfg(feature = "async")]
    pub(crate) fn forget(&self, number: u64) {
        let mut listeners = lock(&self.told);
        let at = listeners.waiting.iter().position(|(other, _)| *other == number);
        let forgotten = at.map(|at| listeners.waiting.remove(at));
        drop(listeners);
        // Not under the lock: what it captured belongs to the user.
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
        // The panic hook reports the panic; the other callbacks are called nevertheless.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| told(by)));
    }
}
