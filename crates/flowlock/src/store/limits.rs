//! How long a caller waits for a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{StoreError, StoreErrorKind};
use crate::world::later;

/// The pause before the first repetition; it doubles up to the longest.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(10);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The longest sleep of a wait that can be interrupted from outside.
const NAP: Duration = Duration::from_millis(50);

/// The shortest pause, even if no time is left.
const MOMENT: Duration = Duration::from_millis(1);

/// How long a caller waits for a store, and what ends its wait early.
///
/// The flags only say that a wait is to end, and publish nothing else. A thread that sees one a moment
/// late only waits a moment longer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// When the wait ends.
    pub until: Instant,
    /// Set from outside, for example by a signal handler, when the caller stops waiting.
    pub interrupted: Option<Arc<AtomicBool>>,
    /// Set when no caller waits for the answer any more: a request that was not sent need not be. One
    /// that was sent continues.
    pub given_up: Option<Arc<AtomicBool>>,
}

/// How much of a pause was slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slept {
    /// All of it.
    Whole,
    /// The wait ended before the pause did.
    TooShort,
}

impl Limits {
    /// Waits for `patience` from now; nothing ends that early.
    pub fn within(patience: Duration) -> Self {
        Self::until(later(Instant::now(), patience))
    }

    /// Waits until `until`; nothing ends that early.
    pub fn until(until: Instant) -> Self {
        Self { until, interrupted: None, given_up: None }
    }

    /// Returns one of `parts` equal shares of the time that is left, to ask several servers one after
    /// the other.
    #[must_use]
    #[cfg(feature = "redis")]
    pub(crate) fn share(&self, parts: usize) -> Self {
        let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
        self.clone().no_later_than(later(Instant::now(), self.left() / parts))
    }

    /// Returns the same limits, but ending no later than `until`.
    #[must_use]
    pub fn no_later_than(mut self, until: Instant) -> Self {
        self.until = self.until.min(until);
        self
    }

    /// Returns the time that is left.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Returns whether the caller has stopped waiting, whatever time is left.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.as_ref().is_some_and(|interrupted| interrupted.load(Ordering::Acquire))
    }

    /// Returns whether no caller waits for the answer any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.as_ref().is_some_and(|given_up| given_up.load(Ordering::Acquire))
    }

    /// Checks, just before something is sent, that a caller still waits for the answer.
    pub(crate) fn is_still_wanted(&self) -> Result<(), StoreError> {
        if !self.is_given_up() {
            return Ok(());
        }
        let message = "not sent: the caller no longer waits for the answer";
        Err(StoreError::new(StoreErrorKind::Unreachable, message).out_of_time())
    }

    /// Returns how long to sleep before looking at the limits again; `None` if the wait has ended.
    pub(crate) fn nap(&self) -> Option<Duration> {
        let left = self.left();
        if left.is_zero() || self.is_interrupted() {
            return None;
        }
        Some(if self.interrupted.is_some() { left.min(NAP) } else { left })
    }

    /// Sleeps for `pause`, or until the wait ends, but at least for a moment.
    pub(crate) fn sleep(&self, pause: Duration) {
        if self.sleep_while_waiting(pause) == Slept::TooShort {
            std::thread::sleep(MOMENT);
        }
    }

    /// Sleeps for `pause`, or until the wait ends.
    pub(crate) fn sleep_while_waiting(&self, pause: Duration) -> Slept {
        let end = later(Instant::now(), pause);
        while let Some(nap) = self.nap() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Slept::Whole;
            }
            std::thread::sleep(nap.min(left));
        }
        Slept::TooShort
    }

    /// Returns an error if the store keeps saying that older work comes first, and the wait has ended.
    pub(crate) fn may_ask_again(&self) -> Result<(), StoreError> {
        self.check()?;
        if !self.left().is_zero() {
            return Ok(());
        }
        let message = "the store is still busy with older work, which comes first; try again later";
        Err(StoreError::new(StoreErrorKind::Unreachable, message).out_of_time())
    }

    /// Returns an error if the caller has stopped waiting.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if !self.is_interrupted() {
            return Ok(());
        }
        Err(StoreError::new(StoreErrorKind::Unreachable, "interrupted while waiting for the store")
            .out_of_time())
    }
}
