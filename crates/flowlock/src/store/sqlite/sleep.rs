//! How `SQLite` sleeps where it asks no busy handler: only as long as the caller waits.
//!
//! Before it reads, `SQLite` takes locks on the journal's index that nobody keeps for long. If somebody does, it tries
//! again a hundred times by itself, with pauses of 10 s in all, and asks nobody. The pauses are the one thing there that
//! can be taken from it: they are a function of its file layer (`vfs.rs`). Once the caller's time is over the rest of the
//! tries follow at once, and `SQLite` gives up.

use std::cell::RefCell;
use std::ffi::c_int;
use std::time::{Duration, Instant};

use rusqlite::ffi;

use crate::store::Limits;
use crate::world::later;

thread_local! {
    /// How long the caller waits whose transaction this thread carries out.
    static LIMITS: RefCell<Option<Limits>> = const { RefCell::new(None) };
}

/// From now on this thread sleeps within these limits; answers with those from before.
pub(super) fn within(limits: Option<Limits>) -> Option<Limits> {
    LIMITS.try_with(|now| now.replace(limits)).ok().flatten()
}

/// Sleeps for so many microseconds, or until the limits are reached. Answers how long was asked for, as the usual one
/// does.
pub(super) extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    let pause = Duration::from_micros(microseconds.max(0).unsigned_abs().into());
    let limits = LIMITS.try_with(|limits| limits.borrow().clone()).ok().flatten();
    match limits {
        Some(limits) => sleep_within(&limits, pause),
        None => std::thread::sleep(pause),
    }
    microseconds
}

fn sleep_within(limits: &Limits, pause: Duration) {
    let end = later(Instant::now(), pause);
    while let Some(nap) = limits.nap() {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(nap.min(left));
    }
}
