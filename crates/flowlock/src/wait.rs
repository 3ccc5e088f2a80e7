//! Waiting: a run in line, and the desk that listens for all waiting runs of a connection.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::blocker::Blocked;
use crate::coordinator::{Flowlock, Shared};
use crate::error::Error;
use crate::grant::{Grant, Renewal};
use crate::job::refusal;
use crate::name::RunId;
use crate::run::{Attempt, ClientId, Outcome, Spec, State, Ticket};
use crate::step::{Answer, Standing, Step, Waiting};
use crate::store::{Bell, Inbox};
use crate::world::{Life, later};

/// How often a process with waiting runs tells the store that it lives.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How often it probes whether the processes in its way live.
const PROBE: Duration = Duration::from_millis(500);
/// A heartbeat that did not reach the store is sent again so soon: two in a row would be silence.
const SECOND_TRY: Duration = Duration::from_secs(1);
/// "Still waiting" is logged after this time, and then at the longer one.
const FIRST_LOG: Duration = Duration::from_secs(1);
const NEXT_LOGS: Duration = Duration::from_secs(30);

/// The answer to [`Job::begin`](crate::Job::begin).
#[derive(Debug)]
#[must_use = "a grant that is dropped fails its run, and a waiting run leaves the line"]
pub enum Begun {
    /// All claims are held.
    Granted(Grant),
    /// The run waits in line.
    Waiting(Pending),
}

/// The answer to [`Pending::wait`].
#[derive(Debug)]
#[must_use = "a grant that is dropped fails its run"]
pub enum Progress {
    /// All claims are held.
    Granted(Grant),
    /// It still waits.
    Waiting,
}

/// A run that waits in line; dropped, it leaves.
///
/// ```
/// use std::time::Duration;
/// use flowlock::{Begun, Flowlock, Progress};
///
/// let flowlock = Flowlock::open("memory:")?;
/// let first = flowlock.job("first").lock("printer").acquire()?;
/// let Begun::Waiting(mut second) = flowlock.job("second").lock("printer").begin()? else { unreachable!() };
/// assert!(second.blocked().summary().starts_with("lock printer is held by first"));
/// first.commit()?;
/// assert!(matches!(second.wait(Duration::from_secs(5))?, Progress::Granted(_)));
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug)]
pub struct Pending {
    shared: Arc<Shared>,
    attempt: Attempt,
    spec: Arc<Spec>,
    renewal: Renewal,
    seat: Arc<Seat>,
    begun: Instant,
    until: Option<Instant>,
    next_log: Instant,
    over: bool,
}

/// What the desk tells a waiting run.
#[derive(Debug)]
pub(crate) struct Seat {
    state: Mutex<SeatState>,
    changed: Condvar,
}

#[derive(Debug)]
struct SeatState {
    /// Something happened to the run: ask the store.
    news: bool,
    /// The caller wants its thread back.
    rung: bool,
    waiting: Waiting,
    look_again: Option<Instant>,
    waker: Option<Waker>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Seat {
    fn new(waiting: Waiting) -> Self {
        let look_again = look_again(&waiting);
        let state = SeatState { news: false, rung: false, waiting, look_again, waker: None };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    fn update(&self, change: impl FnOnce(&mut SeatState)) {
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

    fn tell(&self) {
        self.update(|state| state.news = true);
    }

    fn set_waiting(&self, waiting: Waiting) {
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

impl Waiting {
    /// Nothing is known yet.
    pub(crate) fn unknown() -> Self {
        let blocked = Blocked::nothing();
        Self { state: State::Queued, present: true, blocked, probe: Vec::new(), look_again_ms: Some(0) }
    }
}

/// Gives a thread that waits in [`Pending::wait`] back to its caller.
///
/// ```
/// use std::time::Duration;
/// use flowlock::{Begun, Flowlock, Progress};
///
/// let flowlock = Flowlock::open("memory:")?;
/// let Begun::Waiting(mut pending) = flowlock.job("report").input("sales").begin()? else { unreachable!() };
/// let ringer = pending.ringer();
/// std::thread::spawn(move || ringer.ring()); // e.g. from a signal handler's thread
/// assert!(matches!(pending.wait(Duration::from_secs(60))?, Progress::Waiting));
/// pending.cancel()?;
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Ringer {
    seat: Arc<Seat>,
}

impl Ringer {
    /// Ends the wait that is under way, or the next one, with [`Progress::Waiting`].
    pub fn ring(&self) {
        self.seat.update(|state| state.rung = true);
    }
}

impl Pending {
    pub(crate) fn new(
        flowlock: &Flowlock,
        attempt: Attempt,
        spec: Arc<Spec>,
        waiting: Waiting,
        wait: Option<Duration>,
        renewal: Renewal,
    ) -> Self {
        let shared = flowlock.shared.clone();
        let seat = Arc::new(Seat::new(waiting));
        Desk::listen(&shared).seat(&attempt.id, &seat);
        // What happened before the desk listened for this run is learnt by asking once.
        seat.tell();
        let begun = Instant::now();
        let (until, next_log) = (wait.map(|wait| later(begun, wait)), begun + FIRST_LOG);
        Self { shared, attempt, spec, renewal, seat, begun, until, next_log, over: false }
    }

    /// The run.
    pub fn run_id(&self) -> &RunId {
        &self.attempt.id
    }

    /// What is in the way, as last heard.
    pub fn blocked(&self) -> Blocked {
        lock(&self.seat.state).waiting.blocked.clone()
    }

    /// Whether it waits for an input, or in line.
    pub fn state(&self) -> State {
        lock(&self.seat.state).waiting.state
    }

    /// When its wait ends; none if it waits for ever.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// A handle that ends [`wait`](Self::wait) early, from another thread.
    pub fn ringer(&self) -> Ringer {
        Ringer { seat: self.seat.clone() }
    }

    /// Waits for the grant, at most so long.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the job's own wait is over; [`Error::OutputExists`] when somebody wrote an
    /// output that may not be overwritten.
    pub fn wait(&mut self, at_most: Duration) -> Result<Progress, Error> {
        let end = later(Instant::now(), at_most);
        loop {
            if self.has_news(end) {
                if let Some(grant) = self.ask()? {
                    return Ok(Progress::Granted(grant));
                }
                continue;
            }
            if self.until.is_some_and(|until| until <= Instant::now()) {
                return self.give_up().map(Progress::Granted);
            }
            if self.take_ring() || end <= Instant::now() {
                return Ok(Progress::Waiting);
            }
        }
    }

    /// Sleeps until there is news, the caller rings, or a time is up; answers whether there is news.
    fn has_news(&mut self, end: Instant) -> bool {
        loop {
            let now = Instant::now();
            if now >= self.next_log {
                self.next_log = now + NEXT_LOGS;
                tracing::info!(run = %self.attempt.id, waited_s = self.begun.elapsed().as_secs(),
                    blocked = self.blocked().summary(), "still waiting");
            }
            let end = [Some(end), self.until, Some(self.next_log)].into_iter().flatten().min().unwrap_or(end);
            let mut state = lock(&self.seat.state);
            let quiet = |state: &mut SeatState| !state.news && !state.rung;
            let left = end.saturating_duration_since(now);
            state = self
                .seat
                .changed
                .wait_timeout_while(state, left, quiet)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            if state.news || state.rung || Instant::now() < self.next_log {
                return std::mem::take(&mut state.news);
            }
        }
    }

    fn take_ring(&self) -> bool {
        std::mem::take(&mut lock(&self.seat.state).rung)
    }

    /// Asks the store where the run stands, which claims the grant if there is one.
    pub(crate) fn ask(&mut self) -> Result<Option<Grant>, Error> {
        loop {
            let sent_ms = crate::world::system_now().boot_ms;
            let holder = self.shared.holder()?;
            match self.shared.step(&Step::Claim { attempt: self.attempt.clone(), holder })? {
                Answer::Standing(Standing::Running(running)) => {
                    self.leave_desk();
                    let flowlock = Flowlock { shared: self.shared.clone() };
                    let spec = self.spec.clone();
                    return Ok(Some(Grant::new(
                        &flowlock,
                        &self.attempt,
                        spec,
                        running,
                        self.renewal,
                        sent_ms,
                    )));
                }
                Answer::Standing(Standing::Waiting(waiting)) => {
                    self.seat.set_waiting(waiting);
                    if let Some(desk) = self.shared.desk.get() {
                        desk.hurry();
                    }
                    return Ok(None);
                }
                Answer::Standing(Standing::AskAgain | Standing::Granted { .. }) => {}
                Answer::Standing(Standing::Ended { outcome, blocked }) => {
                    return Err(self.ended(outcome, blocked));
                }
                _ => return Err(self.ended(Outcome::TimedOut, None)),
            }
        }
    }

    fn ended(&mut self, outcome: Outcome, blocked: Option<Blocked>) -> Error {
        self.leave_desk();
        if outcome == Outcome::TimedOut {
            return self.timed_out();
        }
        refusal(&self.spec.job, &self.attempt.id, outcome, blocked)
    }

    fn timed_out(&self) -> Error {
        let blocked = Box::new(self.blocked());
        Error::TimedOut { job: self.spec.job.clone(), waited: self.begun.elapsed(), blocked }
    }

    /// The wait is over: a grant that came just before is still taken, else the run leaves the line.
    pub(crate) fn give_up(&mut self) -> Result<Grant, Error> {
        if let Some(grant) = self.ask()? {
            Ok(grant)
        } else {
            self.withdraw()?;
            Err(self.timed_out())
        }
    }

    /// Leaves the line.
    pub fn cancel(mut self) -> Result<(), Error> {
        self.withdraw()
    }

    fn withdraw(&mut self) -> Result<(), Error> {
        if self.over {
            return Ok(());
        }
        self.leave_desk();
        let until = later(Instant::now(), self.shared.store_timeout);
        Ok(self.shared.withdraw(&self.attempt, until)?)
    }

    fn leave_desk(&mut self) {
        self.over = true;
        if let Some(desk) = self.shared.desk.get() {
            desk.leave(&self.attempt.id);
        }
    }

    /// Registers an async task to be woken by the next news.
    #[cfg(feature = "async")]
    pub(crate) fn poll_news(&self, waker: &Waker) -> bool {
        let mut state = lock(&self.seat.state);
        if std::mem::take(&mut state.news) {
            return true;
        }
        state.waker = Some(waker.clone());
        false
    }

    /// What is left of the wait, if it has an end.
    #[cfg(feature = "async")]
    pub(crate) fn left(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now()))
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if let Err(error) = self.withdraw() {
            tracing::warn!(run = %self.attempt.id, %error, "could not leave the line; silence will do it");
        }
    }
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

    fn seat(&self, run: &RunId, seat: &Arc<Seat>) {
        lock(&self.room.seats).by_run.insert(run.clone(), seat.clone());
        // The attendant may be asleep for a minute; from now on there are heartbeats to send.
        self.hurry();
    }

    fn open(&self, shared: &Arc<Shared>) {
        let mut seats = lock(&self.room.seats);
        if seats.bell.is_some() {
            return;
        }
        let inbox = shared.store.inbox(shared.client).unwrap_or_else(|error| {
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

    fn leave(&self, run: &RunId) {
        lock(&self.room.seats).by_run.remove(run);
    }

    /// Makes the attendant look at its times again.
    fn hurry(&self) {
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
            for run in news {
                match self.seat(&run) {
                    Some(seat) => seat.tell(),
                    None => shared.keeper.look_at(&run),
                }
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
        let seats = self.seats();
        if seats.is_empty() {
            return true;
        }
        let heard = match shared.store.step(&shared.namespace, &Step::Heartbeat(self.client)) {
            Ok(Answer::Heard(heard)) => heard,
            Ok(_) => return true,
            Err(error) => {
                tracing::warn!(%error, "no heartbeat; trying again");
                return false;
            }
        };
        let mut heard: HashMap<RunId, Standing> = heard.into_iter().collect();
        for (run, seat) in seats {
            match heard.remove(&run) {
                Some(Standing::Waiting(waiting)) => seat.set_waiting(waiting),
                // Granted, or no longer waiting: the run asks for itself.
                _ => seat.tell(),
            }
        }
        true
    }
}

/// Stands in where no socket can be made: it only lets time pass.
#[derive(Debug)]
struct NoInbox;

impl Inbox for NoInbox {
    fn wait(&mut self, at_most: Duration) -> Vec<RunId> {
        std::thread::sleep(at_most.min(PROBE));
        Vec::new()
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
