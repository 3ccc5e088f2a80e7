//! The desk: one thread of a connection that listens for all its waiting runs.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::coordinator::Shared;
use crate::name::RunId;
use crate::run::{ClientId, Ticket};
use crate::step::{Answer, Standing, Step, Waiting};
use crate::store::{Bell, Inbox, News, StoreErrorKind};
use crate::sync::lock;
use crate::world::{Life, later};

/// How often a process with waiting runs tells the store that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often it probes whether the processes in its way live.
const PROBE: Duration = Duration::from_millis(500);
/// A heartbeat that did not reach the store is sent again so soon: two in a row would be silence.
const SECOND_TRY: Duration = Duration::from_secs(1);

/// What the desk tells a waiting run.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) state: Mutex<SeatState>,
    pub(crate) changed: Condvar,
}

/// What the desk knows of a waiting run.
#[derive(Debug)]
pub(crate) struct SeatState {
    /// Something happened to the run: ask the store.
    pub(crate) news: bool,
    /// The caller wants its thread back.
    pub(crate) rung: bool,
    pub(crate) waiting: Waiting,
    look_again: Option<Instant>,
    pub(crate) waker: Option<Waker>,
}

impl Seat {
    pub(crate) fn new(waiting: Waiting) -> Self {
        let look_again = look_again(&waiting);
        let state = SeatState { news: false, rung: false, waiting, look_again, waker: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn update(&self, change: impl FnOnce(&mut SeatState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        if (state.news || state.rung)
            && let Some(waker) = state.waker.take()
        {
            // Not under the lock: some executors look at the task at once, on this thread.
            drop(state);
            waker.wake();
        } else {
            drop(state);
        }
        self.changed.notify_all();
    }

    pub(crate) fn tell(&self) {
        self.update(|state| state.news = true);
    }

    pub(crate) fn set_waiting(&self, waiting: Waiting) {
        self.update(|state| {
            state.look_again = look_again(&waiting);
            // A run that reserves nothing comes back by asking for itself.
            state.news |= !waiting.present;
            state.waiting = waiting;
        });
    }
}

fn look_again(waiting: &Waiting) -> Option<Instant> {
    // A little late, and not all at once.
    let jitter = crate::world::random_u64() % 50;
    waiting
        .look_again_ms
        .map(|ms| later(Instant::now(), Duration::from_millis(ms.saturating_add(5 + jitter))))
}

/// Listens for all waiting runs of a connection, on one thread: wake-ups, heartbeats, probes.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Room {
    seats: Mutex<Seats>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Seats {
    by_run: HashMap<RunId, Arc<Seat>>,
    bell: Option<Box<dyn Bell>>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.room.closed.store(true, Ordering::Release);
        self.hurry();
    }
}

impl Desk {
    /// The connection's desk, listening.
    pub(crate) fn listen(shared: &Arc<Shared>) -> &Self {
        let desk = shared.desk.get_or_init(Self::default);
        desk.open(shared);
        desk
    }

    pub(crate) fn seat(&self, run: &RunId, seat: &Arc<Seat>) {
        lock(&self.room.seats).by_run.insert(run.clone(), seat.clone());
        // The attendant may be asleep for a minute; from now on there are heartbeats to send.
        self.hurry();
    }

    fn open(&self, shared: &Arc<Shared>) {
        let mut seats = lock(&self.room.seats);
        if seats.bell.is_some() {
            return;
        }
        let inbox = shared.store.inbox(&shared.namespace, shared.client).unwrap_or_else(|error| {
            tracing::warn!(%error, "no inbox for wake-ups; a hand-off is noticed at the next heartbeat, within 5 s");
            Box::new(NoInbox)
        });
        seats.bell = Some(inbox.bell());
        let (room, shared, client) = (self.room.clone(), Arc::downgrade(shared), shared.client);
        let attend = move || {
            Attendant { room, shared, client, inbox }.attend();
        };
        if let Err(error) = std::thread::Builder::new().name("flowlock-desk".into()).spawn(attend) {
            tracing::error!(%error, "cannot start the thread that listens for wake-ups");
        }
    }

    pub(crate) fn leave(&self, run: &RunId) {
        lock(&self.room.seats).by_run.remove(run);
    }

    /// Makes the attendant look at its times again.
    pub(crate) fn hurry(&self) {
        if let Some(bell) = &lock(&self.room.seats).bell {
            bell.ring();
        }
    }
}

struct Attendant {
    room: Arc<Room>,
    shared: Weak<Shared>,
    client: ClientId,
    inbox: Box<dyn Inbox>,
}

impl Attendant {
    fn attend(mut self) {
        let mut heartbeat = Instant::now() + HEARTBEAT;
        let mut probe = Instant::now() + PROBE;
        while !self.room.closed.load(Ordering::Acquire) {
            let next = self.next_look(heartbeat, probe);
            let news = self.inbox.wait(next.saturating_duration_since(Instant::now()));
            let now = Instant::now();
            let Some(shared) = self.shared.upgrade() else { return };
            for run in news.runs {
                match self.seat(&run) {
                    Some(seat) => seat.tell(),
                    None => shared.keeper.look_at(&run),
                }
            }
            if news.missed {
                shared.keeper.look_at_all();
                // Everybody is told at once; not everybody need ask at once.
                heartbeat = heartbeat.min(now + Duration::from_millis(crate::world::random_u64() % 500));
            }
            if now >= probe {
                probe = now + PROBE;
                if self.bury_the_dead(&shared) {
                    heartbeat = now;
                }
            }
            if now >= heartbeat || self.wants_look(now) {
                // The same distance from the last one, not from now, with a little disorder among processes.
                heartbeat = (now + HEARTBEAT)
                    .checked_sub(Duration::from_millis(crate::world::random_u64() % 200))
                    .unwrap();
                if !self.heartbeat(&shared) {
                    heartbeat = now + SECOND_TRY;
                }
            }
        }
    }

    fn seat(&self, run: &RunId) -> Option<Arc<Seat>> {
        lock(&self.room.seats).by_run.get(run).cloned()
    }

    fn seats(&self) -> Vec<(RunId, Arc<Seat>)> {
        lock(&self.room.seats).by_run.iter().map(|(run, seat)| (run.clone(), seat.clone())).collect()
    }

    /// Nobody waits: a long sleep. Else the next heartbeat, probe or look.
    fn next_look(&self, heartbeat: Instant, probe: Instant) -> Instant {
        let seats = self.seats();
        if seats.is_empty() {
            return Instant::now() + Duration::from_mins(1);
        }
        let looks = seats.iter().filter_map(|(_, seat)| lock(&seat.state).look_again);
        let probes =
            seats.iter().any(|(_, seat)| !lock(&seat.state).waiting.probe.is_empty()).then_some(probe);
        looks.chain([heartbeat]).chain(probes).min().unwrap_or(heartbeat)
    }

    fn wants_look(&self, now: Instant) -> bool {
        self.seats().iter().any(|(_, seat)| {
            let mut state = lock(&seat.state);
            let wants = state.look_again.is_some_and(|at| at <= now);
            if wants {
                state.look_again = None;
            }
            wants
        })
    }

    /// Probes the processes in the way of this one's runs, without reading the store; reports the dead.
    fn bury_the_dead(&self, shared: &Shared) -> bool {
        let mut suspects: Vec<(Ticket, Life)> = Vec::new();
        for (_, seat) in self.seats() {
            suspects.extend(lock(&seat.state).waiting.probe.iter().copied());
        }
        suspects.sort_unstable();
        suspects.dedup();
        let dead: Vec<Ticket> = suspects
            .into_iter()
            .filter(|(_, life)| !shared.store.is_alive(*life))
            .map(|(ticket, _)| ticket)
            .collect();
        if dead.is_empty() {
            return false;
        }
        if let Err(error) = shared.store.step(&shared.namespace, &Step::Bury(dead)) {
            tracing::warn!(%error, "could not report a dead process; trying again");
        }
        true
    }

    /// Answers whether the store was reached.
    fn heartbeat(&self, shared: &Shared) -> bool {
        let mut seats: HashMap<RunId, Arc<Seat>> = self.seats().into_iter().collect();
        let mut from = (!seats.is_empty()).then_some(Ticket(0));
        while let Some(page) = from {
            let beat = Step::Heartbeat { client: self.client, from: page };
            let runs = match shared.store.step(&shared.namespace, &beat) {
                Ok(Answer::Heard { runs, next }) => {
                    from = next;
                    runs
                }
                Ok(_) => return true,
                // There is nothing to wait for in another store: each asks for itself, and hears it.
                Err(error) if error.kind() == StoreErrorKind::Replaced => break,
                Err(error) => {
                    tracing::warn!(%error, "no heartbeat; trying again");
                    return false;
                }
            };
            for (run, standing) in runs {
                match (seats.remove(&run), standing) {
                    (Some(seat), Standing::Waiting(waiting)) => seat.set_waiting(waiting),
                    // It was granted: it asks for itself.
                    (Some(seat), _) => seat.tell(),
                    // Somebody took the seat after the list was made, or left it before.
                    (None, _) => {}
                }
            }
        }
        // No page speaks of them: they wait no longer.
        for seat in seats.values() {
            seat.tell();
        }
        true
    }
}

/// Stands in where no socket can be made: it only lets time pass.
#[derive(Debug)]
struct NoInbox;

impl Inbox for NoInbox {
    fn wait(&mut self, at_most: Duration) -> News {
        std::thread::sleep(at_most.min(PROBE));
        News::default()
    }

    fn bell(&self) -> Box<dyn Bell> {
        Box::new(NoBell)
    }
}

#[derive(Debug)]
struct NoBell;

impl Bell for NoBell {
    fn ring(&self) {}
}
