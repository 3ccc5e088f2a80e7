//! The desk: one thread of a connection that listens for all its waiting runs.

mod attendant;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use self::attendant::Attendant;
use crate::handle::StoreHandle;
use crate::keeper::Keeper;
use crate::name::RunId;
use crate::seat::Seat;
use crate::store::Bell;
use crate::sync::lock;

/// How often a process with waiting runs tells the store that it lives.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(crate::engine::HEARTBEAT_MS.unsigned_abs());

/// Listens for all waiting runs of a connection, on one thread: wake-ups, heartbeats, probes.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Room {
    seats: Mutex<Seats>,
    closed: AtomicBool,
    /// The thread has ended, and its inbox with it.
    left: Condvar,
    /// That there is no thread was logged.
    is_said: AtomicBool,
}

#[derive(Debug, Default)]
struct Seats {
    by_run: HashMap<RunId, Arc<Seat>>,
    attended: Attended,
    bell: Option<Box<dyn Bell>>,
}

/// Whether the thread listens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Attended {
    /// There is none: it was not needed yet, could not be started, or broke off.
    #[default]
    No,
    /// It opens the inbox, which may take as long as the store takes to answer. Then it tells every seat.
    Soon,
    /// It does.
    Yes,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.room.closed.store(true, Ordering::Release);
        self.hurry();
    }
}

impl Desk {
    /// Listens, now or soon. Never waits.
    pub(crate) fn open(&self, handle: &Arc<StoreHandle>, keeper: &Keeper) {
        {
            let mut seats = lock(&self.room.seats);
            if seats.attended != Attended::No {
                return;
            }
            seats.attended = Attended::Soon;
        }
        let attendant = Attendant::new(self.room.clone(), handle, keeper.alarm());
        // Should this fail, the attendant is dropped with the closure.
        let spawned =
            std::thread::Builder::new().name("flowlock-desk".into()).spawn(move || attendant.attend());
        if let Err(error) = spawned
            && !self.room.is_said.swap(true, Ordering::Relaxed)
        {
            tracing::error!(%error,
                "cannot start the thread that listens for wake-ups; each waiting run looks for itself every 5 s");
        }
    }

    /// Listens for a run. What happened before that is learnt by asking once.
    pub(crate) fn seat(&self, run: &RunId, seat: &Arc<Seat>) {
        let mut seats = lock(&self.room.seats);
        seats.by_run.insert(run.clone(), seat.clone());
        let will_be_told = seats.attended == Attended::Soon;
        drop(seats);
        if !will_be_told {
            seat.tell();
        }
        // The attendant may be asleep for a minute; from now on there are heartbeats to send.
        self.hurry();
    }

    /// Whether there is a thread; if not, each waiting run must look for itself.
    pub(crate) fn is_attended(&self) -> bool {
        lock(&self.room.seats).attended != Attended::No
    }

    pub(crate) fn leave(&self, run: &RunId) {
        lock(&self.room.seats).by_run.remove(run);
    }

    /// Listens no more; waits up to `at_most` until nothing of the inbox is left outside this process.
    pub(crate) fn close(&self, at_most: Duration) {
        self.room.closed.store(true, Ordering::Release);
        self.hurry();
        let seats = lock(&self.room.seats);
        let listens = |seats: &mut Seats| seats.attended != Attended::No;
        drop(self.room.left.wait_timeout_while(seats, at_most, listens));
    }

    /// Makes the attendant look at its times again.
    pub(crate) fn hurry(&self) {
        if let Some(bell) = &lock(&self.room.seats).bell {
            bell.ring();
        }
    }
}

impl Room {
    fn seat(&self, run: &RunId) -> Option<Arc<Seat>> {
        lock(&self.seats).by_run.get(run).cloned()
    }

    fn seats(&self) -> Vec<(RunId, Arc<Seat>)> {
        lock(&self.seats).by_run.iter().map(|(run, seat)| (run.clone(), seat.clone())).collect()
    }

    /// Says whether there is a thread, and lets every run ask where it stands.
    fn attend(&self, attended: Attended, bell: Option<Box<dyn Bell>>) {
        let mut seats = lock(&self.seats);
        seats.attended = attended;
        seats.bell = bell;
        let all: Vec<_> = seats.by_run.values().cloned().collect();
        drop(seats);
        self.left.notify_all();
        for seat in all {
            seat.tell();
        }
    }
}
