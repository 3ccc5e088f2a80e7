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

/// Whether the caller waits no longer whose transaction this thread carries out; a little longer than said, so that what a
/// short journal takes is done in any case.
pub(super) fn is_over() -> bool {
    const GRACE: Duration = Duration::from_millis(250);
    let is_over = |limits: &Limits| limits.is_interrupted() || Instant::now() >= later(limits.until, GRACE);
    LIMITS.try_with(|limits| limits.borrow().as_ref().is_some_and(is_over)).unwrap_or(false)
}

/// Sleeps for so many microseconds, or until the limits are reached. Answers how long was asked for, as the usual one
/// does.
pub(super) extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    let pause = Duration::from_micros(microseconds.max(0).unsigned_abs().into());
    let limits = LIMITS.try_with(|limits| limits.borrow().clone()).ok().flatten();
    match limits {
        Some(limits) => _ = limits.sleep_while_waiting(pause),
        None => std::thread::sleep(pause),
    }
    microseconds
}
