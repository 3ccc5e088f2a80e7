//! Waiting for something that must happen, with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for what should take milliseconds: long enough for a loaded machine, short enough to notice.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Calls `ready` every few milliseconds until it answers `Some`, and returns what it found.
///
/// # Panics
///
/// After `patience`, with `what` in the message.
#[track_caller]
pub fn until<T>(what: &str, patience: Duration, mut ready: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// How many times as long and as often tests try as they do by themselves: `FLOWLOCK_FAULTS_EFFORT`, 1 if not set.
/// `cargo xtask torture` raises it.
///
/// # Panics
///
/// If it is no number.
pub fn effort() -> u64 {
    std::env::var("FLOWLOCK_FAULTS_EFFORT").map_or(1, |effort| effort.parse().expect("a number"))
}
