//! [`Pending`], a run that waits for its grant: beginning to wait, waiting, and leaving the line; with what is answered to
//! each ([`Begun`], [`Progress`]) and what ends a wait from another thread ([`Interrupter`]).

use std::sync::{Arc, PoisonError};
#[cfg(feature = "async")]
use std::task::Waker;
use std::time::{Duration, Instant};

use crate::at_exit::Left;
use crate::blocker::Blocked;
use crate::connection::Connection;
use crate::endings::{Ending, How};
use crate::error::{Error, refusal};
use crate::grant::Grant;
use crate::id::{Attempt, Nonce};
use crate::lease::Renewal;
use crate::name::RunId;
use crate::run::{Outcome, State};
use crate::spec::Spec;
use crate::step::{Acquire, Answer, Invalid, Patience, Standing, Step, Waiting};
use crate::store::{Limits, StoreError};
use crate::sync::lock;
use crate::waiter::{Waiter, WaiterState};
use crate::waiters::{HEARTBEAT, Waiters};
use crate::world::{later, millis};

/// "Still waiting" is logged after this time, and then at the longer one.
const FIRST_LOG: Duration = Duration::from_secs(1);
const NEXT_LOGS: Duration = Duration::from_secs(30);
/// The pause before a store that did not answer within its time is asked again.
const STORE_AWAY: Duration = Duration::from_millis(200);

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

/// A run that waits in line; dropped, it leaves. The drop does not wait for the store: see [`Flowlock::flush`](crate::Flowlock::flush).
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
    connection: Arc<Connection>,
    attempt: Attempt,
    spec: Arc<Spec>,
    renewal: Renewal,
    waiter: Arc<Waiter>,
    begun: Instant,
    until: Option<Instant>,
    next_log: Instant,
    /// When the store was last asked by this run itself.
    asked: Instant,
    /// The store did not answer the last question.
    away: bool,
    over: bool,
    /// The latest arrival of what was sent anew; 0 if nothing was.
    sent_ms: i64,
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
/// let interrupter = pending.interrupter();
/// std::thread::spawn(move || interrupter.interrupt()); // e.g. from a signal handler's thread
/// assert!(matches!(pending.wait(Duration::from_secs(60))?, Progress::Waiting));
/// pending.cancel()?;
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Interrupter {
    waiter: Arc<Waiter>,
}

impl Interrupter {
    /// Ends the wait that is under way, or the next one, with [`Progress::Waiting`].
    pub fn interrupt(&self) {
        self.waiter.update(|state| state.interrupted = true);
    }
}

impl Pending {
    pub(crate) fn new(
        connection: &Arc<Connection>,
        attempt: Attempt,
        spec: Arc<Spec>,
        waiting: Waiting,
        wait: Option<Duration>,
        renewal: Renewal,
    ) -> Self {
        let connection = connection.clone();
        let waiter = Arc::new(Waiter::new(waiting));
        connection.listen().register(&attempt.id, &waiter);
        let begun = Instant::now();
        let (until, next_log) = (wait.map(|wait| later(begun, wait)), begun + FIRST_LOG);
        let (asked, away, over, sent_ms) = (begun, false, false, 0);
        Self {
            connection,
            attempt,
            spec,
            renewal,
            waiter,
            begun,
            until,
            next_log,
            asked,
            away,
            over,
            sent_ms,
        }
    }

    /// The run.
    pub fn run_id(&self) -> &RunId {
        &self.attempt.id
    }

    /// What is in the way, as last heard. Every 5 s the store is asked anew about 16 of this process's waiting runs, in
    /// turn.
    pub fn blocked(&self) -> Blocked {
        lock(&self.waiter.state).waiting.blocked.clone()
    }

    /// Whether it waits for an input, or in line.
    pub fn state(&self) -> State {
        lock(&self.waiter.state).waiting.state
    }

    /// When its wait ends; none if it waits for ever.
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// A handle that ends [`wait`](Self::wait) early, from another thread.
    pub fn interrupter(&self) -> Interrupter {
        Interrupter { waiter: self.waiter.clone() }
    }

    /// Waits for the grant, at most so long.
    ///
    /// # Errors
    /// [`Error::TimedOut`] when the job's own wait is over; [`Error::OutputExists`] when somebody wrote an
    /// output that may not be overwritten.
    pub fn wait(&mut self, at_most: Duration) -> Result<Progress, Error> {
        if self.over {
            let problem =
                format!("{} does not wait any more; its grant, or its end, was told before", self.attempt.id);
            return Err(Error::InvalidRequest { what: "wait", problem });
        }
        let end = later(Instant::now(), at_most);
        loop {
            if self.wait_for_news(end) {
                if let Some(grant) = self.ask_patiently(&self.connection.limits_of_caller())? {
                    return Ok(Progress::Granted(grant));
                }
                if self.away {
                    std::thread::sleep(self.rest());
                    self.waiter.tell();
                }
                // A store that is away is news without end; the caller may want its thread back all the same.
                if self.take_interruption() || end <= Instant::now() && !self.is_over() {
                    return Ok(Progress::Waiting);
                }
                continue;
            }
            if self.is_over() {
                return self.give_up(&self.connection.limits_of_caller()).map(Progress::Granted);
            }
            if self.take_interruption() || end <= Instant::now() {
                return Ok(Progress::Waiting);
            }
        }
    }

    /// Asks where the run stands. A store that is away for a while ends no wait: it is asked again.
    pub(crate) fn ask_patiently(&mut self, limits: &Limits) -> Result<Option<Grant>, Error> {
        let asked = self.ask(limits);
        self.bears(asked)
    }

    /// The same for a run whose turn to ask may have come too late.
    #[cfg(feature = "async")]
    pub(crate) fn ask_in_turn(&mut self, limits: Result<Limits, StoreError>) -> Result<Option<Grant>, Error> {
        match limits {
            Ok(limits) => self.ask_patiently(&limits),
            Err(error) => {
                self.away = true;
                self.bears(Err(error.into()))
            }
        }
    }

    /// Gives up, unless its turn came too late.
    #[cfg(feature = "async")]
    pub(crate) fn give_up_in_turn(
        &mut self,
        limits: Result<Limits, StoreError>,
    ) -> Result<Option<Grant>, Error> {
        self.give_up(&limits?).map(Some)
    }

    /// A store that is away ends no wait.
    fn bears(&self, asked: Result<Option<Grant>, Error>) -> Result<Option<Grant>, Error> {
        match asked {
            Err(Error::Store(error)) if error.is_transient() && !self.is_over() => {
                tracing::warn!(run = %self.attempt.id, %error, "waiting for the store");
                Ok(None)
            }
            asked => asked,
        }
    }

    /// How long to rest before the store is asked again: not at all while it answers.
    pub(crate) fn rest(&self) -> Duration {
        if self.away { STORE_AWAY } else { Duration::ZERO }
    }

    /// Sleeps until there is news, the caller is interrupted, or a time is up. Takes the news; returns whether there was any.
    fn wait_for_news(&mut self, end: Instant) -> bool {
        loop {
            let now = Instant::now();
            if now >= self.next_log {
                self.next_log = now + NEXT_LOGS;
                tracing::info!(run = %self.attempt.id, waited_s = self.begun.elapsed().as_secs(),
                    blocked = self.blocked().summary(), "still waiting");
            }
            let alone = self.looks_for_itself();
            let ends = [Some(end), self.until, Some(self.next_log), alone];
            let end = ends.into_iter().flatten().min().unwrap_or(end);
            let mut state = lock(&self.waiter.state);
            let quiet = |state: &mut WaiterState| !state.news && !state.interrupted;
            let left = end.saturating_duration_since(now);
            state = self
                .waiter
                .changed
                .wait_timeout_while(state, left, quiet)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            let now = Instant::now();
            if state.news || state.interrupted {
                return std::mem::take(&mut state.news);
            }
            drop(state);
            if alone.is_some_and(|at| at <= now) {
                return true;
            }
            if now < self.next_log {
                return false;
            }
        }
    }

    /// When to ask the store although nothing was heard: never while the waiters' thread listens.
    pub(crate) fn looks_for_itself(&self) -> Option<Instant> {
        let is_told = self.connection.waiters().is_some_and(Waiters::is_listening);
        (!is_told).then_some(self.asked + HEARTBEAT)
    }

    fn take_interruption(&self) -> bool {
        std::mem::take(&mut lock(&self.waiter.state).interrupted)
    }

    /// Asks the store where the run stands, which claims the grant if there is one.
    pub(crate) fn ask(&mut self, limits: &Limits) -> Result<Option<Grant>, Error> {
        self.asked = Instant::now();
        // Its thread may not have been there to begin with.
        self.connection.listen();
        let asked = self.ask_now(limits);
        self.away = matches!(&asked, Err(Error::Store(error)) if error.is_transient());
        asked
    }

    fn ask_now(&mut self, limits: &Limits) -> Result<Option<Grant>, Error> {
        let mut given_up = false;
        loop {
            let sent_ms = crate::world::boot_now_ms();
            let holder = self.connection.holder()?;
            let claim = Step::Accept { attempt: self.attempt.clone(), holder };
            let answer = match self.connection.step_within(&claim, limits)? {
                // Another, or an older, store does not know it: it stands in line anew, at the end.
                Answer::NotFound if !self.is_over() => {
                    let request = self.request(limits)?;
                    self.connection.step_within(&request, limits)?
                }
                answer => answer,
            };
            match answer {
                Answer::Standing(Standing::Running(running)) => {
                    self.leave_waiters();
                    let spec = self.spec.clone();
                    let grant = Grant::begin(
                        &self.connection,
                        &self.attempt,
                        spec,
                        running,
                        self.renewal,
                        sent_ms,
                        limits,
                    );
                    return grant.map(Some);
                }
                Answer::Standing(Standing::Waiting(waiting)) => {
                    self.waiter.set_waiting(waiting);
                    if let Some(waiters) = self.connection.waiters() {
                        waiters.hurry();
                    }
                    return Ok(None);
                }
                Answer::Standing(Standing::AskAgain | Standing::Granted { .. }) => limits.may_ask_again()?,
                // It set itself no limit, so it waits on, as another attempt.
                Answer::Standing(Standing::Ended { outcome: Outcome::TimedOut, .. })
                    if self.until.is_none() && !std::mem::replace(&mut given_up, true) =>
                {
                    tracing::warn!(run = %self.attempt.id, "the store gave up a run that it had not heard of for too long; it waits anew, at the end of the line");
                    self.attempt.nonce = Nonce::fresh();
                }
                Answer::Standing(Standing::Ended { outcome, blocked }) => {
                    return Err(self.ended(outcome, blocked));
                }
                Answer::Invalid(Invalid::RunIdInUse) => {
                    self.leave_waiters();
                    return Err(Error::RunIdInUse { run: self.attempt.id.clone() });
                }
                // The store's clock may have been set: its answer has just told what it is now.
                Answer::Invalid(Invalid::ArrivedTooLate | Invalid::LatestTooFar) if !self.is_over() => {
                    limits.may_ask_again()?;
                }
                _ => return Err(self.ended(Outcome::TimedOut, None)),
            }
        }
    }

    /// The same request once more, for what is left of the wait.
    fn request(&mut self, limits: &Limits) -> Result<Step, StoreError> {
        self.sent_ms = self.connection.latest_ms(limits)?;
        let left = self.until.map(|until| until.saturating_duration_since(Instant::now()));
        Ok(Step::Acquire(Acquire {
            attempt: self.attempt.clone(),
            spec: self.spec.clone(),
            holder: self.connection.holder()?,
            patience: Patience::Wait(left.map(millis)),
            latest_ms: self.sent_ms,
        }))
    }

    fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    fn ended(&mut self, outcome: Outcome, blocked: Option<Blocked>) -> Error {
        self.leave_waiters();
        if outcome == Outcome::TimedOut {
            return self.timed_out();
        }
        refusal(&self.spec.job, &self.attempt.id, outcome, blocked, self.begun.elapsed())
    }

    fn timed_out(&self) -> Error {
        let blocked = Box::new(self.blocked());
        Error::TimedOut { job: self.spec.job.clone(), waited: self.begun.elapsed(), blocked }
    }

    /// The wait is over: a grant that came just before is still taken, else the run leaves the line.
    pub(crate) fn give_up(&mut self, limits: &Limits) -> Result<Grant, Error> {
        if let Some(grant) = self.ask(limits)? {
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
        self.leave_waiters();
        let patience = match () {
            () if self.connection.is_interrupted() => self.connection.last_word(),
            // A store that just took all the time there was is not waited for once more.
            () if self.away => Duration::ZERO,
            () => self.connection.store_timeout,
        };
        Ok(self.connection.withdraw(&self.attempt, self.sent_ms, patience)?)
    }

    fn leave_waiters(&mut self) {
        self.over = true;
        if let Some(waiters) = self.connection.waiters() {
            waiters.leave(&self.attempt.id);
        }
    }

    /// Makes it ask.
    #[cfg(feature = "async")]
    pub(crate) fn tell(&self) {
        self.waiter.tell();
    }

    /// Takes the news, or registers an async task to be woken by the next one. Returns whether there was any.
    #[cfg(feature = "async")]
    pub(crate) fn take_news_or_register(&self, waker: &Waker) -> bool {
        let waker = waker.clone();
        let mut state = lock(&self.waiter.state);
        if std::mem::take(&mut state.news) {
            return true;
        }
        let replaced = state.waker.replace(waker);
        // Not under the lock: it may hold the last handle of a task.
        drop(state);
        drop(replaced);
        false
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.leave_waiters();
        let until = later(Instant::now(), Duration::from_millis(self.spec.lease_ms));
        let (attempt, how) = (self.attempt.clone(), How::Withdraw { sent_ms: self.sent_ms });
        // The process does not wait at its end for a store that is away already.
        let left = (!self.away).then(Left::new);
        self.connection.end_later(Ending { attempt, spec: self.spec.clone(), how, until, _left: left });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Flowlock;
    use crate::store::memory::{MemoryStore, TestWorld};

    #[test]
    fn a_run_that_was_silent_too_long_comes_back_by_itself() {
        comes_back_after_silence(0);
    }

    /// Of more runs than an answer explains, the last one hears no more than that it waits.
    #[test]
    fn a_run_that_was_silent_too_long_comes_back_though_nobody_explains_why_it_waits() {
        comes_back_after_silence(crate::bounds::MOST_EXPLAINED);
    }

    /// As a process that was stopped, and goes on while what it waits for is still held.
    fn comes_back_after_silence(others: usize) {
        let world = Arc::new(TestWorld::default());
        let store = Arc::new(MemoryStore::with_world(world.clone()));
        let [ours, theirs] = [(); 2].map(|()| Flowlock::with_store(store.clone()));
        let first = theirs.job("first").lock("a").lease(Duration::from_hours(1)).acquire().unwrap();
        let waits = |job: &str| match ours.job(job).lock("a").begin().unwrap() {
            Begun::Waiting(run) => run,
            Begun::Granted(_) => panic!("{job} got what the first one holds"),
        };
        let mut second = waits("second");
        assert!(matches!(second.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
        let others: Vec<_> = (0..others).map(|_| waits("other")).collect();
        world.advance(Duration::from_secs(11));
        // Any step of another process finds that it was silent.
        theirs.job("third").lock("b").acquire().unwrap().commit().unwrap();
        let is_present = || theirs.run(second.run_id()).unwrap().unwrap().run.present;
        assert!(!is_present());
        // The next heartbeat, now; those of whom nothing was said for longest come first.
        lock(&second.waiter.state).explained = Instant::now();
        lock(&others.last().unwrap_or(&second).waiter.state).look_again = Some(Instant::now());
        ours.connection.waiters().unwrap().hurry();
        let until = Instant::now() + Duration::from_secs(4);
        while !lock(&second.waiter.state).news {
            assert!(Instant::now() < until, "it was not told to ask for itself");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(matches!(second.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
        assert!(theirs.run(second.run_id()).unwrap().unwrap().run.present);
        first.commit().unwrap();
        let Progress::Granted(grant) = second.wait(Duration::from_secs(4)).unwrap() else { panic!() };
        grant.commit().unwrap();
    }

    #[cfg(feature = "async")]
    #[test]
    fn a_waker_that_is_replaced_may_ask_for_the_run_when_it_is_dropped() {
        struct Asks(Arc<Waiter>);
        impl std::task::Wake for Asks {
            fn wake(self: Arc<Self>) {}
        }
        impl Drop for Asks {
            fn drop(&mut self) {
                drop(lock(&self.0.state));
            }
        }
        let flowlock = Flowlock::open("memory:").unwrap();
        let first = flowlock.job("first").lock("a").acquire().unwrap();
        let Begun::Waiting(second) = flowlock.job("second").lock("a").begin().unwrap() else { panic!() };
        let until = Instant::now() + Duration::from_secs(20);
        // It is told once that the thread listens, and then nothing more.
        while !second.take_news_or_register(Waker::noop()) {
            assert!(Instant::now() < until, "nobody listens");
            std::thread::yield_now();
        }
        let (done, is_done) = std::sync::mpsc::channel();
        let asking = std::thread::spawn(move || {
            let waker = Waker::from(Arc::new(Asks(second.waiter.clone())));
            assert!(!second.take_news_or_register(&waker));
            drop(waker);
            assert!(!second.take_news_or_register(Waker::noop()));
            done.send(()).unwrap();
        });
        assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok(()));
        asking.join().unwrap();
        first.commit().unwrap();
    }

    /// As a process that was stopped for longer than a store keeps the place of one that it does not hear of.
    #[test]
    fn a_run_that_waits_for_ever_waits_on_though_it_was_given_up() {
        let world = Arc::new(TestWorld::default());
        let store = Arc::new(MemoryStore::with_world(world.clone()));
        let [ours, theirs] = [(); 2].map(|()| Flowlock::with_store(store.clone()));
        let first = theirs.job("first").lock("a").lease(Duration::from_hours(1)).acquire().unwrap();
        let wait = |job: crate::Job| match job.begin().unwrap() {
            Begun::Waiting(run) => run,
            Begun::Granted(_) => panic!("it got what the first one holds"),
        };
        let mut for_ever = wait(ours.job("for-ever").lock("a"));
        let mut an_hour = wait(ours.job("an-hour").lock("a").wait(Duration::from_hours(1)));
        for silence in [11, 601] {
            world.advance(Duration::from_secs(silence));
            theirs.job("other").lock("b").acquire().unwrap().commit().unwrap();
        }
        let state = |run: &RunId| theirs.run(run).unwrap().unwrap().run.state;
        assert_eq!(state(for_ever.run_id()), State::Ended(Outcome::TimedOut));
        assert!(state(an_hour.run_id()).is_waiting(), "who set a limit is kept until then");
        for run in [&mut for_ever, &mut an_hour] {
            run.waiter.tell();
            assert!(matches!(run.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
            assert!(state(run.run_id()).is_waiting());
        }
        first.commit().unwrap();
        // It lost its place: the other one is before it by now.
        let Progress::Granted(grant) = an_hour.wait(Duration::from_secs(4)).unwrap() else { panic!() };
        assert!(matches!(for_ever.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
        grant.commit().unwrap();
        let Progress::Granted(grant) = for_ever.wait(Duration::from_secs(4)).unwrap() else { panic!() };
        grant.commit().unwrap();
    }
}
