//! The time that `SQLite` may take: for waiting, as much as the caller has; for working, a limit of our
//! own.
//!
//! A step's work is bounded by what it looks at, and nothing in the file that is not ours is executed
//! (see `open.rs`), so an honest file never reaches the limit on work. Without it, a damaged or prepared
//! file could hold the writers' queue, or an old state of the file, for ever.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::failure::translate;
use super::sleep;
use super::vfs::{self, KnownSchema};
use crate::store::{Limits, StoreError};
use crate::sync::lock;
use crate::world::later;

/// How long one transaction may work. The longest honest one takes 3 s: the first after a reboot, with
/// 300,000 remembered runs.
const LONGEST_WORK: Duration = Duration::from_mins(1);
/// After how many instructions of `SQLite`'s machine the clock is read: this takes a fraction of a
/// millisecond.
const INSTRUCTIONS: i32 = 10_000;
/// The longest pause before a lock of `SQLite` is tried again.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How long a lock is waited for if no caller waits: when the store is examined.
const UNHURRIED: Duration = Duration::from_secs(5);

/// The limits of one connection, and what it may read.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock {
    running: Arc<Mutex<Option<Running>>>,
    schema: Arc<KnownSchema>,
}

#[derive(Debug, Clone)]
struct Running {
    limits: Limits,
    work_until: Instant,
}

/// A transaction with limits, until the thread that began it drops this.
#[derive(Debug)]
pub(super) struct Timed {
    clock: Clock,
    /// This thread's limits before, and what it read.
    before: (Option<Limits>, Option<Arc<KnownSchema>>),
}

impl Drop for Timed {
    fn drop(&mut self) {
        *lock(&self.clock.running) = None;
        sleep::set_limits(self.before.0.take());
        vfs::set_schema(self.before.1.take());
    }
}

impl Clock {
    /// Makes a connection check the clock whenever it works or waits.
    pub(super) fn mind(&self, sql: &mut Connection) -> Result<(), StoreError> {
        let (work, wait) = (self.clone(), self.clone());
        sql.progress_handler(INSTRUCTIONS, Some(move || work.has_worked_enough())).map_err(translate)?;
        sql.busy_handler(Some(move |count| wait.pause(count))).map_err(translate)
    }

    /// Starts a transaction with these limits.
    pub(super) fn start(&self, limits: &Limits) -> Timed {
        let running = Running { limits: limits.clone(), work_until: later(Instant::now(), LONGEST_WORK) };
        *lock(&self.running) = Some(running);
        let before = (sleep::set_limits(Some(limits.clone())), vfs::set_schema(Some(self.schema.clone())));
        Timed { clock: self.clone(), before }
    }

    /// Returns what is known of the file's schema.
    pub(super) fn schema(&self) -> &KnownSchema {
        &self.schema
    }

    fn has_worked_enough(&self) -> bool {
        lock(&self.running)
            .as_ref()
            .is_some_and(|running| running.limits.is_interrupted() || Instant::now() >= running.work_until)
    }

    /// Sleeps before a lock is tried again; returns `false` if it was waited for long enough.
    fn pause(&self, count: i32) -> bool {
        let pause = LONGEST_PAUSE.min(Duration::from_millis(count.max(0).unsigned_abs().into()));
        let nap = match lock(&self.running).as_ref() {
            Some(running) => running.limits.nap().map(|left| left.min(pause)),
            None => (count < (UNHURRIED.as_millis() / LONGEST_PAUSE.as_millis()) as i32).then_some(pause),
        };
        nap.map(std::thread::sleep).is_some()
    }
}
