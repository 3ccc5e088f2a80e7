//! The time that `SQLite` is given: for waiting as much as the caller has, for working a bound of our own.
//!
//! A step's work is bounded by what it looks at, and nothing in the file that is not ours runs (see `open.rs`), so the
//! bound on work is never met by an honest file. Without it a damaged or a prepared one could keep the writers' queue,
//! or an old state of the file, for ever.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::failure::translate;
use super::sleep;
use crate::store::{Limits, StoreError};
use crate::sync::lock;
use crate::world::later;

/// How long one transaction may work. The longest honest one, the first after a reboot with 300,000 remembered runs,
/// takes 3 s.
const LONGEST_WORK: Duration = Duration::from_mins(1);
/// After so many instructions of `SQLite`'s machine the clock is looked at: a fraction of a millisecond.
const INSTRUCTIONS: i32 = 10_000;
/// The longest pause before a lock of `SQLite` is tried again.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
/// How long a lock is waited for where no caller waits: when the store is examined.
const UNHURRIED: Duration = Duration::from_secs(5);

/// What one connection may take.
#[derive(Debug, Clone, Default)]
pub(super) struct Clock(Arc<Mutex<Option<Running>>>);

#[derive(Debug, Clone)]
struct Running {
    limits: Limits,
    work_until: Instant,
}

/// A transaction with limits, until dropped by the thread that began it.
#[derive(Debug)]
pub(super) struct Timed {
    clock: Clock,
    /// What this thread's limits were before.
    before: Option<Limits>,
}

impl Drop for Timed {
    fn drop(&mut self) {
        *lock(&self.clock.0) = None;
        sleep::within(self.before.take());
    }
}

impl Clock {
    /// Lets a connection look at the clock whenever it works or waits.
    pub(super) fn mind(&self, sql: &mut Connection) -> Result<(), StoreError> {
        let (work, wait) = (self.clone(), self.clone());
        sql.progress_handler(INSTRUCTIONS, Some(move || work.has_worked_enough())).map_err(translate)?;
        sql.busy_handler(Some(move |count| wait.pause(count))).map_err(translate)
    }

    /// From now on there is so much time.
    pub(super) fn start(&self, limits: &Limits) -> Timed {
        let running = Running { limits: limits.clone(), work_until: later(Instant::now(), LONGEST_WORK) };
        *lock(&self.0) = Some(running);
        Timed { clock: self.clone(), before: sleep::within(Some(limits.clone())) }
    }

    fn has_worked_enough(&self) -> bool {
        lock(&self.0)
            .as_ref()
            .is_some_and(|running| running.limits.is_interrupted() || Instant::now() >= running.work_until)
    }

    /// Sleeps before a lock is tried again; `false` if it was waited for long enough.
    fn pause(&self, count: i32) -> bool {
        let pause = LONGEST_PAUSE.min(Duration::from_millis(count.max(0).unsigned_abs().into()));
        let nap = match lock(&self.0).as_ref() {
            Some(running) => running.limits.nap().map(|left| left.min(pause)),
            None => (count < (UNHURRIED.as_millis() / LONGEST_PAUSE.as_millis()) as i32).then_some(pause),
        };
        nap.map(std::thread::sleep).is_some()
    }
}
