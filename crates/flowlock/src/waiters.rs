//! [`Waiters`]: all waiting runs of a connection, and the one thread that listens for them.
//!
//! One mutex (`waiters`) protects which runs wait, whether the thread listens, and how its wait is interrupted. The
//! interrupter, which never waits, is called under it; a waiting run is told outside of it, for its waker is the user's. `left`
//! is its condition variable.
//!
//! `closed` is set before that mutex is taken to interrupt the thread, and read by the thread after it took the mutex to
//! leave its interrupter there: so the thread sees that it is closed, or is interrupted. Release and acquire alone would do
//! for what they publish, which is nothing but the flag. `is_said` decides which of several threads logs, and orders nothing:
//! it is relaxed.

mod hints;
mod thread;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use self::thread::WaitersThread;
use crate::handle::StoreHandle;
use crate::keeper::Keeper;
use crate::name::RunId;
use crate::store::InboxInterrupter;
use crate::sync::lock;
use crate::waiter::Waiter;

/// How often a process with waiting runs tells the store that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(crate::engine::HEARTBEAT_MS.unsigned_abs());

/// Listens for all waiting runs of a connection, on one thread: wake-ups, heartbeats, probes.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    waiters: Mutex<Registered>,
    closed: AtomicBool,
    /// The thread has ended, and its inbox with it.
    left: Condvar,
    /// That there is no thread was logged.
    is_said: AtomicBool,
}

#[derive(Debug, Default)]
struct Registered {
    by_run: HashMap<RunId, Arc<Waiter>>,
    listening: Listening,
    interrupter: Option<Box<dyn InboxInterrupter>>,
}

/// Whether the thread listens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Listening {
    /// There is none: it was not needed yet, could not be started, or broke off.
    #[default]
    No,
    /// It opens the inbox, which may take as long as the store takes to answer. Then it tells every waiter.
    Soon,
    /// It does.
    Yes,
}

impl Drop for Waiters {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        self.hurry();
    }
}

impl Waiters {
    /// Listens, now or soon. Never waits.
    pub(crate) fn open(&self, handle: &Arc<StoreHandle>, keeper: &Keeper) {
        {
            let mut waiters = lock(&self.shared.waiters);
            if waiters.listening != Listening::No {
                return;
            }
            waiters.listening = Listening::Soon;
        }
        let thread = WaitersThread::new(self.shared.clone(), handle, keeper.alarm());
        // Should this fail, the thread is dropped with the closure.
        let spawned = std::thread::Builder::new().name("flowlock-waiter".into()).spawn(move || thread.run());
        if let Err(error) = spawned
            && !self.shared.is_said.swap(true, Ordering::Relaxed)
        {
            tracing::error!(%error,
                "cannot start the thread that listens for wake-ups; each waiting run looks for itself every 5 s");
        }
    }

    /// Listens for a run. What happened before that is learnt by asking once.
    pub(crate) fn register(&self, run: &RunId, waiter: &Arc<Waiter>) {
        let mut waiters = lock(&self.shared.waiters);
        waiters.by_run.insert(run.clone(), waiter.clone());
        let will_be_told = waiters.listening == Listening::Soon;
        drop(waiters);
        if !will_be_told {
            waiter.tell();
        }
        // The thread may be asleep for a minute; from now on there are heartbeats to send.
        self.hurry();
    }

    /// Whether there is a thread that listens; if not, or not yet, each waiting run must look for itself. One that is about
    /// to be may not come to be.
    pub(crate) fn is_listening(&self) -> bool {
        lock(&self.shared.waiters).listening == Listening::Yes
    }

    pub(crate) fn leave(&self, run: &RunId) {
        lock(&self.shared.waiters).by_run.remove(run);
    }

    /// Listens no more; waits up to `at_most` until nothing of the inbox is left outside this process.
    pub(crate) fn close(&self, at_most: Duration) {
        self.shared.closed.store(true, Ordering::Release);
        self.hurry();
        let waiters = lock(&self.shared.waiters);
        let listens = |waiters: &mut Registered| waiters.listening != Listening::No;
        drop(self.shared.left.wait_timeout_while(waiters, at_most, listens));
    }

    /// Makes the thread look at its times again.
    pub(crate) fn hurry(&self) {
        if let Some(interrupter) = &lock(&self.shared.waiters).interrupter {
            interrupter.interrupt();
        }
    }
}

impl Shared {
    fn waiter(&self, run: &RunId) -> Option<Arc<Waiter>> {
        lock(&self.waiters).by_run.get(run).cloned()
    }

    fn waiters(&self) -> Vec<(RunId, Arc<Waiter>)> {
        lock(&self.waiters).by_run.iter().map(|(run, waiter)| (run.clone(), waiter.clone())).collect()
    }

    /// Says whether there is a thread, and lets every run ask where it stands.
    fn set_listening(&self, listening: Listening, interrupter: Option<Box<dyn InboxInterrupter>>) {
        let mut waiters = lock(&self.waiters);
        waiters.listening = listening;
        waiters.interrupter = interrupter;
        let all: Vec<_> = waiters.by_run.values().cloned().collect();
        drop(waiters);
        self.left.notify_all();
        for waiter in all {
            waiter.tell();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Waiting;

    /// Two runs of a process begin to wait at once, and the thread that the first one starts cannot be had: nobody tells the
    /// second one.
    #[test]
    fn nobody_relies_on_a_thread_that_is_only_about_to_be() {
        let waiters = Waiters::default();
        lock(&waiters.shared.waiters).listening = Listening::Soon;
        let waiter = Arc::new(Waiter::new(Waiting::unknown()));
        waiters.register(&RunId::parse("second.1").unwrap(), &waiter);
        assert!(!lock(&waiter.state).news && !waiters.is_listening());
        waiters.shared.set_listening(Listening::Yes, None);
        assert!(lock(&waiter.state).news && waiters.is_listening());
    }
}
