//! The end of the process waits, for a short time, for what the store must still be told.
#![allow(unsafe_code, reason = "the end of the process is told by C's atexit alone")]

use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::Duration;

use crate::sync::lock;

/// How long the end of the process waits.
pub(crate) const LAST_WAIT: Duration = Duration::from_secs(2);

static ALL: All = All { count: Mutex::new(Count { process: 0, left: 0 }), changed: Condvar::new() };

struct All {
    count: Mutex<Count>,
    changed: Condvar,
}

/// How much is left to do in a process. A forked process has none of its parent's threads.
struct Count {
    process: u32,
    left: usize,
}

impl Count {
    fn here(&mut self) -> &mut usize {
        let process = std::process::id();
        if self.process != process {
            *self = Self { process, left: 0 };
        }
        &mut self.left
    }
}

/// One thing in progress. While it exists, the process's normal end (a return from `main`, `exit`) waits
/// for it.
#[derive(Debug)]
pub(crate) struct Left(());

impl Left {
    pub(crate) fn new() -> Self {
        static AT_EXIT: Once = Once::new();
        AT_EXIT.call_once(|| {
            // SAFETY: the handler takes no arguments and does not unwind: it locks, and waits for a
            // limited time. If there is no room for it, the end of the process waits for nothing.
            let _ = unsafe { nix::libc::atexit(wait_for_the_rest) };
        });
        *lock(&ALL.count).here() += 1;
        Self(())
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        let mut count = lock(&ALL.count);
        let left = count.here();
        *left = left.saturating_sub(1);
        ALL.changed.notify_all();
    }
}

extern "C" fn wait_for_the_rest() {
    let count = lock(&ALL.count);
    let is_left = |count: &mut Count| *count.here() > 0;
    drop(ALL.changed.wait_timeout_while(count, LAST_WAIT, is_left).unwrap_or_else(PoisonError::into_inner));
}
