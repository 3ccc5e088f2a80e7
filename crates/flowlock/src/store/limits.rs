//! How long a caller waits for a store.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{StoreError, StoreErrorKind};
use crate::world::later;

/// The pause before the first repetition; it doubles up to the longest.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(10);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// The longest nap of a wait that can be interrupted from outside.
const NAP: Duration = Duration::from_millis(50);

/// A pause that is made even if no time is left.
const MOMENT: Duration = Duration::from_millis(1);

/// How long a caller waits for a store, and what ends its wait early.
///
/// The flags only say that a wait is to end. Nothing else is handed over by them, so whoever sees one a moment late only
/// waits a moment longer.
#[derive(Debug, Clone)]
pub struct Limits {
    /// When the wait is over.
    pub until: Instant,
    /// Set from outside, by a signal handler for example, when the caller will wait no longer.
    pub interrupted: Option<Arc<AtomicBool>>,
    /// Set when nobody waits for the answer any more: what was not sent by then need not be. What was sent goes on.
    pub given_up: Option<Arc<AtomicBool>>,
}

/// How much of a pause was slept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slept {
    /// All of it.
    Whole,
    /// The wait was over before its end.
    TooShort,
}

impl Limits {
    /// Waits for `patience` from now on; nothing ends that early.
    pub fn within(patience: Duration) -> Self {
        Self::until(later(Instant::now(), patience))
    }

    /// Waits until then; nothing ends that early.
    pub fn until(until: Instant) -> Self {
        Self { until, interrupted: None, given_up: None }
    }

    /// One of so many equal parts of what is left, for those that are asked one after the other.
    #[must_use]
    #[cfg(feature = "redis")]
    pub(crate) fn share(&self, parts: usize) -> Self {
        let parts = u32::try_from(parts).unwrap_or(u32::MAX).max(1);
        self.clone().no_later_than(later(Instant::now(), self.left() / parts))
    }

    /// The same, but until `until` at the latest.
    #[must_use]
    pub fn no_later_than(mut self, until: Instant) -> Self {
        self.until = self.until.min(until);
        self
    }

    /// What is left of the wait.
    pub fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Whether the caller will wait no longer, whatever is left.
    pub fn is_interrupted(&self) -> bool {
        self.interrupted.as_ref().is_some_and(|interrupted| interrupted.load(Ordering::Acquire))
    }

    /// Whether nobody waits for the answer any more.
    pub(crate) fn is_given_up(&self) -> bool {
        self.given_up.as_ref().is_some_and(|given_up| given_up.load(Ordering::Acquire))
    }

    /// To be asked just before something is sent: an error if nobody waits for the answer any more.
    pub(crate) fn is_still_wanted(&self) -> Result<(), StoreError> {
        if !self.is_given_up() {
            return Ok(());
        }
        let message = "not sent: nobody waits for the answer any more";
        Err(StoreError::new(StoreErrorKind::Unreachable, message).out_of_time())
    }

    /// How long to sleep before looking at the limits again; `None` if the wait is over.
    pub(crate) fn nap(&self) -> Option<Duration> {
        let left = self.left();
        if left.is_zero() || self.is_interrupted() {
            return None;
        }
        Some(if self.interrupted.is_some() { left.min(NAP) } else { left })
    }

    /// Sleeps for `pause`, or until the wait is over: a moment in any case.
    pub(crate) fn sleep(&self, pause: Duration) {
        if self.sleep_while_waiting(pause) == Slept::TooShort {
            std::thread::sleep(MOMENT);
        }
    }

    /// Sleeps for `pause`, or until the wait is over.
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

    /// What to answer if the store says again and again that older work comes first, and the wait is over.
    pub(crate) fn may_ask_again(&self) -> Result<(), StoreError> {
        self.check()?;
        if !self.left().is_zero() {
            return Ok(());
        }
        let message =
            "the store is busy with older work that comes first, and some of it is left; try again later";
        Err(StoreError::new(StoreErrorKind::Unreachable, message).out_of_time())
    }

    /// What to answer if the caller will wait no longer.
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if !self.is_interrupted() {
            return Ok(());
        }
        Err(StoreError::new(StoreErrorKind::Unreachable, "interrupted while it waited for the store")
            .out_of_time())
    }
}
