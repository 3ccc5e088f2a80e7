//! How `SQLite` sleeps where it uses no busy handler: only as long as the caller waits.
//!
//! Before it reads, `SQLite` takes locks on the journal's index that no process keeps for long. If one
//! does, `SQLite` tries again a hundred times, with pauses of 10 s in all, and without a callback. Only
//! the pauses can be changed: they are a function of its file layer (`vfs.rs`). Once the caller's time
//! has ended, the remaining attempts follow without pauses, and `SQLite` gives up.

use std::cell::RefCell;
use std::ffi::c_int;
use std::time::{Duration, Instant};

use rusqlite::ffi;

use crate::store::Limits;
use crate::world::later;

thread_local! {
    /// The limits of the caller whose transaction this thread carries out.
    static LIMITS: RefCell<Option<Limits>> = const { RefCell::new(None) };
}

/// Sets the limits within which this thread sleeps; returns those from before.
pub(super) fn set_limits(limits: Option<Limits>) -> Option<Limits> {
    LIMITS.try_with(|now| now.replace(limits)).ok().flatten()
}

/// Returns whether the caller whose transaction this thread carries out does not wait any longer. The
/// limit is extended a little, so that the time a short journal needs is always available.
pub(super) fn is_over() -> bool {
    const GRACE: Duration = Duration::from_millis(250);
    let is_over = |limits: &Limits| limits.is_interrupted() || Instant::now() >= later(limits.until, GRACE);
    LIMITS.try_with(|limits| limits.borrow().as_ref().is_some_and(is_over)).unwrap_or(false)
}

/// Sleeps for this many microseconds, or until the limits are reached. Returns the requested time, as
/// SQLite's own function does.
pub(super) extern "C" fn sleep(_: *mut ffi::sqlite3_vfs, microseconds: c_int) -> c_int {
    let pause = Duration::from_micros(microseconds.max(0).unsigned_abs().into());
    let limits = LIMITS.try_with(|limits| limits.borrow().clone()).ok().flatten();
    match limits {
        Some(limits) => _ = limits.sleep_while_waiting(pause),
        None => std::thread::sleep(pause),
    }
    microseconds
}
