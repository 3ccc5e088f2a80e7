//! [`Waiters`]: all waiting runs of a connection, and the one thread that listens for them.
//!
//! One mutex (`waiters`) protects which runs wait, whether the thread listens, and how its wait is
//! interrupted. The interrupter never waits, and is called under it. A waiting run is told outside of
//! it, because its waker is the user's. `left` is its condition variable.
//!
//! `closed` is set before that mutex is taken to interrupt the thread. The thread reads it after it took
//! the mutex to store its interrupter. So the thread either sees that it is closed or is interrupted.
//! Release and acquire would be enough, because nothing is published but the flag. `said` only
//! decides which of several threads logs.

mod hints;
mod thread;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::Duration;

use self::thread::WaitersThread;
use crate::handle::StoreHandle;
use crate::keeper::Keeper;
use crate::name::RunId;
use crate::store::InboxInterrupter;
use crate::sync::lock;
use crate::waiter::Waiter;

/// How often a process with waiting runs tells the store that it is alive.
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
    /// Notified when the thread and its inbox have ended.
    left: Condvar,
    /// Whether it was logged that there is no thread.
    said: OnceLock<()>,
}

#[derive(Debug, Default)]
struct Registered {
    runs: ByRun,
    listening: Listening,
    interrupter: Option<Box<dyn InboxInterrupter>>,
}

/// The waits by their run's id. A run id can be used again once its run is over, maybe before whoever
/// waited for that run took notice; so one id may have several waits, of which the store knows only the
/// last one. They cannot be told apart by what is heard, so each of them is told.
type ByRun = HashMap<RunId, Vec<Arc<Waiter>>>;

/// Whether the thread listens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Listening {
    /// There is no thread: it was not needed yet, could not be started, or panicked.
    #[default]
    No,
    /// It is opening the inbox, which may take as long as the store takes to answer. Then it tells every
    /// waiter.
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
    /// Starts to listen, now or soon. Never waits.
    pub(crate) fn open(&self, handle: &Arc<StoreHandle>, keeper: &Keeper) {
        {
            let mut waiters = lock(&self.shared.waiters);
            if waiters.listening != Listening::No {
                return;
            }
            waiters.listening = Listening::Soon;
        }
        let thread = WaitersThread::new(self.shared.clone(), handle, keeper.alarm());
        // If this fails, the thread's state is dropped with the closure.
        let spawned = std::thread::Builder::new().name("flowlock-waiter".into()).spawn(move || thread.run());
        if let Err(error) = spawned {
            self.shared.said.get_or_init(|| {
                tracing::error!(%error,
                    "cannot start the thread that listens for wake-ups; each waiting run asks the store every 5 s");
            });
        }
    }

    /// Listens for a run. To learn what happened before, the run asks the store once.
    pub(crate) fn register(&self, run: &RunId, waiter: &Arc<Waiter>) {
        let mut waiters = lock(&self.shared.waiters);
        waiters.runs.entry(run.clone()).or_default().push(waiter.clone());
        let will_be_told = waiters.listening == Listening::Soon;
        drop(waiters);
        if !will_be_told {
            waiter.tell();
        }
        // The thread may be asleep for a minute, but now there are heartbeats to send.
        self.hurry();
    }

    /// Returns whether a thread listens. If not, or not yet, each waiting run must ask for itself,
    /// because a thread that is being started may fail to start.
    pub(crate) fn is_listening(&self) -> bool {
        lock(&self.shared.waiters).listening == Listening::Yes
    }

    /// Listens no longer for this wait. Another one of the same run id stays.
    pub(crate) fn leave(&self, run: &RunId, waiter: &Arc<Waiter>) {
        let runs = &mut lock(&self.shared.waiters).runs;
        if let Some(waits) = runs.get_mut(run) {
            waits.retain(|other| !Arc::ptr_eq(other, waiter));
            if waits.is_empty() {
                runs.remove(run);
            }
        }
    }

    /// Stops listening. Waits up to `at_most` until nothing of the inbox is left outside this process.
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
    fn is_waiting(&self, run: &RunId) -> bool {
        lock(&self.waiters).runs.contains_key(run)
    }

    /// Makes whoever waits for this run ask where it stands.
    fn tell(&self, run: &RunId) {
        let waits = lock(&self.waiters).runs.get(run).cloned();
        waits.iter().flatten().for_each(|waiter| waiter.tell());
    }

    fn waiters(&self) -> Vec<(RunId, Arc<Waiter>)> {
        let runs = &lock(&self.waiters).runs;
        let of_run = |(run, waits): (&RunId, &Vec<Arc<Waiter>>)| {
            waits.iter().map(|waiter| (run.clone(), waiter.clone())).collect::<Vec<_>>()
        };
        runs.iter().flat_map(of_run).collect()
    }

    /// Sets whether there is a thread, and makes every run ask where it stands.
    fn set_listening(&self, listening: Listening, interrupter: Option<Box<dyn InboxInterrupter>>) {
        let mut waiters = lock(&self.waiters);
        waiters.listening = listening;
        waiters.interrupter = interrupter;
        let all: Vec<_> = waiters.runs.values().flatten().cloned().collect();
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

    /// Two runs of a process begin to wait at once, and the thread that the first one starts cannot be
    /// started: nobody tells the second one.
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
