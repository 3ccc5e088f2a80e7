//! Waiting for something that must happen, with a deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long a test waits for what should take milliseconds: long enough for a loaded machine, short
/// enough to notice.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Calls `ready` every few milliseconds until it returns `Some`, and returns what it found.
///
/// # Panics
///
/// After `patience`, with `what` in the message.
#[track_caller]
pub fn until<T>(what: &str, patience: Duration, ready: impl FnMut() -> Option<T>) -> T {
    until_or(what, patience, ready, String::new)
}

/// The same; `evidence` says in the message what was found instead.
///
/// # Panics
///
/// After `patience`.
#[track_caller]
pub fn until_or<T>(
    what: &str,
    patience: Duration,
    mut ready: impl FnMut() -> Option<T>,
    evidence: impl Fn() -> String,
) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ready() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for: {what}\n{}", evidence());
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Tells the threads of a scope that it is over when it is dropped, also by a panic; otherwise the scope
/// would wait for them for ever, and the message would not be seen.
#[derive(Debug, Default)]
pub struct Over(AtomicBool);

impl Over {
    /// Returns a guard, to be made inside the scope and dropped when its threads must end.
    #[must_use = "the threads end when it is dropped"]
    pub fn when_dropped(&self) -> impl Drop + '_ {
        struct Sets<'o>(&'o AtomicBool);
        impl Drop for Sets<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::SeqCst);
            }
        }
        Sets(&self.0)
    }

    /// Returns whether it is over.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Returns how many times as long and as often tests try as they do by default:
/// `FLOWLOCK_FAULTS_EFFORT`, 1 if not set. `cargo xtask torture` raises it.
///
/// # Panics
///
/// If it is not a number.
pub fn effort() -> u64 {
    std::env::var("FLOWLOCK_FAULTS_EFFORT").map_or(1, |effort| effort.parse().expect("a number"))
}
