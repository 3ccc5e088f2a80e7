//! [`Job`]: what a piece of work wants, and the ways to get it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::blocker::Blocked;
use crate::claim::{Claims, ClaimsBuilder};
use crate::connection::Connection;
use crate::endings::{Concern, Ending, How};
use crate::error::{Error, refusal};
use crate::grant::Grant;
use crate::held::Renewal;
use crate::id::{Attempt, Nonce};
use crate::name::{JobName, Name, RunId};
use crate::parent::Parent;
use crate::run::Outcome;
use crate::spec::{IfWritten, OnFail, Spec};
use crate::spelling::InvalidText;
use crate::step::{Acquire, Answer, Invalid, Patience, Standing, Step};
use crate::store::{Limits, StoreError, StoreErrorKind};
use crate::wait::{Begun, Pending, Progress};
use crate::world::{later, millis};

/// The shortest and the longest lease.
pub const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(7 * 24);
/// The shortest and the longest time that a lapsed run is kept.
pub const KEEP_LAPSED: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(30 * 24);
/// The longest a place can be held between two tries.
pub const LONGEST_PLACE: Duration = Duration::from_mins(1);

thread_local! {
    /// The runs whose closures this thread is inside of, innermost last.
    static INSIDE: RefCell<Vec<Around>> = const { RefCell::new(Vec::new()) };
}

/// A request under construction, and afterwards the thing to start, stop and start again.
///
/// Nothing is checked before it is used: the first wrong name or number is reported then.
///
/// ```
/// use flowlock::{Acquired, Flowlock};
///
/// let flowlock = Flowlock::open("memory:")?;
/// let import = flowlock.job("import").output("sales");
/// let running = import.acquire()?;
/// match import.try_acquire()? {
///     Acquired::Granted(_) => unreachable!("somebody writes the sales"),
///     Acquired::Blocked(blocked) => assert!(blocked.summary().starts_with("output sales is being written by import")),
/// }
/// running.commit()?;
/// import.acquire()?.commit()?; // the same job once more
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Job {
    connection: Arc<Connection>,
    name: String,
    claims: Vec<Wanted>,
    lease: Option<Duration>,
    wait: Option<Duration>,
    if_written: IfWritten,
    on_fail: OnFail,
    parent: Option<Parent>,
    run_id: Option<String>,
    record_life: Option<Duration>,
    max_runtime: Option<Duration>,
    keep_lapsed: Option<Duration>,
    renewal: Renewal,
    /// What it asks is asked within these limits, not within a caller's who asks now.
    limits: Option<Limits>,
}

#[derive(Debug, Clone)]
enum Wanted {
    Input(String),
    Output(String),
    Lock(String),
    LockShared(String),
    Slot(String, u32, u32),
}

/// The answer to a try.
#[derive(Debug)]
#[must_use = "a grant that is dropped fails its run"]
pub enum Acquired {
    /// All claims are held.
    Granted(Grant),
    /// Something is in the way; nothing is held.
    Blocked(Blocked),
}

impl Job {
    pub(crate) fn new(connection: Arc<Connection>, name: &str) -> Self {
        Self {
            connection,
            name: name.to_owned(),
            claims: Vec::new(),
            lease: None,
            wait: None,
            if_written: IfWritten::default(),
            on_fail: OnFail::default(),
            parent: None,
            run_id: None,
            record_life: None,
            max_runtime: None,
            keep_lapsed: None,
            renewal: Renewal::Automatic,
            limits: None,
        }
    }

    /// Adds a name it reads. It must have been written before, and nobody may be writing it.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>) -> Self {
        self.claims.push(Wanted::Input(name.into()));
        self
    }

    /// Adds a name it writes. Nobody else may be reading or writing it.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> Self {
        self.claims.push(Wanted::Output(name.into()));
        self
    }

    /// Adds a lock: a name held alone that is not data.
    #[must_use]
    pub fn lock(mut self, name: impl Into<String>) -> Self {
        self.claims.push(Wanted::Lock(name.into()));
        self
    }

    /// Adds a lock held together with others who hold it shared.
    #[must_use]
    pub fn lock_shared(mut self, name: impl Into<String>) -> Self {
        self.claims.push(Wanted::LockShared(name.into()));
        self
    }

    /// Adds `units` of the `capacity` units of a slot.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let job = || flowlock.job("convert").slot("gpu", 1, 2); // one of two
    /// let (first, second) = (job().acquire()?, job().acquire()?);
    /// assert!(matches!(job().try_acquire()?, flowlock::Acquired::Blocked(_)));
    /// # first.commit()?; second.commit()?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    #[must_use]
    pub fn slot(mut self, name: impl Into<String>, units: u32, capacity: u32) -> Self {
        self.claims.push(Wanted::Slot(name.into(), units, capacity));
        self
    }

    /// How long its claims stand without a sign of life, 1 s to 7 d; what suits the store if nothing is said.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Does not renew the lease by itself: the claims stand for one lease, or until the next
    /// [`Grant::refresh`].
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let grant = flowlock.job("j").lock("x").lease(std::time::Duration::from_secs(300)).fixed_lease().acquire()?;
    /// grant.refresh()?; // by hand, before the five minutes are over
    /// # grant.commit()?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    #[must_use]
    pub fn fixed_lease(mut self) -> Self {
        self.renewal = Renewal::ByHand;
        self
    }

    /// How long [`acquire`](Self::acquire) waits; for ever if nothing is said.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// What to do if an output is written already; overwrite it if nothing is said.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// use flowlock::{Acquired, BlockerKind, IfWritten};
    /// flowlock.create(&["sales"], Default::default())?;
    /// let again = flowlock.job("import").output("sales").if_written(IfWritten::Skip);
    /// let Acquired::Blocked(blocked) = again.try_acquire()? else { unreachable!() };
    /// assert_eq!(blocked.by[0].kind, BlockerKind::OutputExists);
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    #[must_use]
    pub fn if_written(mut self, if_written: IfWritten) -> Self {
        self.if_written = if_written;
        self
    }

    /// What becomes of the old records of its outputs if it fails; they stay if nothing is said.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// use flowlock::{Acquired, OnFail};
    /// flowlock.create(&["sales"], Default::default())?;
    /// flowlock.job("import").output("sales").on_fail(OnFail::Incomplete).acquire()?.fail();
    /// // The old sales may be half overwritten: nobody reads them until somebody commits.
    /// assert!(matches!(flowlock.job("report").input("sales").try_acquire()?, Acquired::Blocked(_)));
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    #[must_use]
    pub fn on_fail(mut self, on_fail: OnFail) -> Self {
        self.on_fail = on_fail;
        self
    }

    /// Sets the run this one is part of: [`Grant::as_parent`]. Default: the run inside whose [`with`](Self::with) the request
    /// is sent, if that is on the same store and namespace; where the job was made does not matter.
    #[must_use]
    pub fn parent(mut self, parent: Parent) -> Self {
        self.parent = Some(parent);
        self
    }

    /// The id of its runs; a fresh one each time if nothing is said. A used id can be used again once its
    /// run is over.
    #[must_use]
    pub fn run_id(mut self, id: impl Into<String>) -> Self {
        self.run_id = Some(id.into());
        self
    }

    /// How long its records live; for ever if nothing is said.
    #[must_use]
    pub fn record_life(mut self, life: Duration) -> Self {
        self.record_life = Some(life);
        self
    }

    /// The longest it may keep renewing, so that a hung job frees its names.
    #[must_use]
    pub fn max_runtime(mut self, most: Duration) -> Self {
        self.max_runtime = Some(most);
        self
    }

    /// Sets how long the run is kept once it lapsed (1 s to 30 d). Default: the connection's, else a day.
    ///
    /// A run lapses when its lease ends. Until somebody needs its names it can still renew or commit; after this time it
    /// is lost.
    #[must_use]
    pub fn keep_lapsed(mut self, time: Duration) -> Self {
        self.keep_lapsed = Some(time);
        self
    }

    /// Asks once, without waiting and without a place in line. A refusal says when to come back
    /// ([`Blocked::retry_after_ms`]).
    pub fn try_acquire(&self) -> Result<Acquired, Error> {
        self.try_with(Patience::Try)
    }

    /// Asks once, and keeps the place in line for up to 60 s: for a worker that comes back with the same
    /// run id. Needs [`run_id`](Self::run_id) and a `secret` that stays the same over all tries.
    ///
    /// A refusal says when to come back ([`Blocked::retry_after_ms`]): at most half of what is left of the place.
    ///
    /// Who comes back with the same id and secret while the run has its names continues it, under the same
    /// [`token`](Grant::token): a task that is delivered again after its worker died. If the first process may still live
    /// both have the run: it then ends by its lease, not by the death of one of them.
    ///
    /// # Errors
    /// [`Error::PlaceEnded`] if it came back too late: only a new secret gets a new place.
    ///
    /// ```
    /// use std::time::Duration;
    /// use flowlock::{Acquired, Error, Flowlock};
    ///
    /// /// Status and text of one request. `task` is the client's, `secret` was made with it and is kept beside it.
    /// fn print(flowlock: &Flowlock, task: &str, secret: u128) -> Result<(u16, String), Error> {
    ///     let job = flowlock.job("print").lock("printer").run_id(task);
    ///     match job.try_or_hold_place(Duration::from_secs(30), secret)? {
    ///         Acquired::Granted(grant) => {
    ///             // The work; grant.lost() says whether the names are still ours.
    ///             grant.commit()?;
    ///             Ok((200, "printed".to_owned()))
    ///         }
    ///         Acquired::Blocked(by) => {
    ///             let seconds = by.retry_after_ms.unwrap_or(1_000).div_ceil(1_000).min(20);
    ///             Ok((503, format!("come back in {seconds} s: {}", by.summary())))
    ///         }
    ///     }
    /// }
    /// # let flowlock = Flowlock::open("memory:")?;
    /// # let busy = flowlock.job("first").lock("printer").acquire()?;
    /// # assert_eq!(print(&flowlock, "task.17", 0x5eed)?.0, 503);
    /// # busy.commit()?;
    /// # assert_eq!(print(&flowlock, "task.17", 0x5eed)?.0, 200);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn try_or_hold_place(&self, place: Duration, secret: u128) -> Result<Acquired, Error> {
        if place > LONGEST_PLACE {
            let problem =
                format!("{} s; a place can be held for at most 60 s between two tries", place.as_secs());
            return Err(Error::InvalidRequest { what: "hold_place", problem });
        }
        let id = self.run_id.as_deref().ok_or_else(|| Error::InvalidRequest {
            what: "hold_place",
            problem: "it needs a run id, so that the next try finds the place again".into(),
        })?;
        let attempt = Attempt { id: RunId::parse(id)?, nonce: Nonce(secret) };
        self.answer_to(&attempt, Patience::HoldPlace(millis(place)))
    }

    fn try_with(&self, patience: Patience) -> Result<Acquired, Error> {
        self.answer_to(&self.attempt()?, patience)
    }

    fn answer_to(&self, attempt: &Attempt, patience: Patience) -> Result<Acquired, Error> {
        let spec = self.spec()?;
        let sent_ms = crate::world::boot_now_ms();
        match self.send(attempt, &spec, patience)? {
            Standing::Running(running) => Ok(Acquired::Granted(Grant::new(
                &self.connection,
                attempt,
                spec,
                running,
                self.renewal,
                sent_ms,
            ))),
            Standing::Ended { outcome: Outcome::RefusedBusy | Outcome::RefusedOutputExists, blocked } => {
                Ok(blocked_by(blocked.unwrap_or_else(Blocked::nothing)))
            }
            Standing::Waiting(waiting) => Ok(blocked_by(waiting.blocked)),
            Standing::Ended { outcome: Outcome::TimedOut, .. }
                if matches!(patience, Patience::HoldPlace(_)) =>
            {
                Err(Error::PlaceEnded { job: spec.job.clone(), run: attempt.id.clone() })
            }
            Standing::Ended { outcome, blocked } => Err(refusal(&spec.job, &attempt.id, outcome, blocked)),
            Standing::Granted { .. } | Standing::AskAgain | Standing::StillWaiting { .. } => {
                Ok(Acquired::Blocked(Blocked::nothing()))
            }
        }
    }

    /// Waits until all claims are held.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if [`wait`](Self::wait) is over first, [`Error::OutputExists`] and
    /// [`Error::Deadlock`] if waiting makes no sense.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// use std::time::Duration;
    /// use flowlock::Error;
    /// let report = flowlock.job("report").input("sales").wait(Duration::from_millis(20));
    /// let Err(Error::TimedOut { blocked, .. }) = report.acquire() else { unreachable!() };
    /// assert_eq!(blocked.summary(), "input sales is missing: it was never written");
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn acquire(&self) -> Result<Grant, Error> {
        let mut pending = match self.begin()? {
            Begun::Granted(grant) => return Ok(grant),
            Begun::Waiting(pending) => pending,
        };
        loop {
            if let Progress::Granted(grant) = pending.wait(Duration::from_hours(1))? {
                return Ok(grant);
            }
        }
    }

    /// Asks, and answers at once: with the grant, or with a run that waits in line.
    pub fn begin(&self) -> Result<Begun, Error> {
        let (attempt, spec) = (self.attempt()?, self.spec()?);
        let patience = Patience::Wait(self.wait.map(millis));
        let sent_ms = crate::world::boot_now_ms();
        match self.send(&attempt, &spec, patience)? {
            Standing::Running(running) => {
                let grant = Grant::new(&self.connection, &attempt, spec, running, self.renewal, sent_ms);
                Ok(Begun::Granted(grant))
            }
            Standing::Ended { outcome, blocked } => Err(refusal(&spec.job, &attempt.id, outcome, blocked)),
            Standing::Waiting(waiting) => Ok(Begun::Waiting(self.pending(attempt, spec, waiting))),
            Standing::Granted { .. } | Standing::AskAgain | Standing::StillWaiting { .. } => {
                Ok(Begun::Waiting(self.pending(attempt, spec, crate::step::Waiting::unknown())))
            }
        }
    }

    fn pending(&self, attempt: Attempt, spec: Arc<Spec>, waiting: crate::step::Waiting) -> Pending {
        Pending::new(&self.connection, attempt, spec, waiting, self.wait, self.renewal)
    }

    fn send(&self, attempt: &Attempt, spec: &Arc<Spec>, patience: Patience) -> Result<Standing, Error> {
        let mut answer = self.send_once(attempt, spec, patience)?;
        if let Answer::Invalid(Invalid::ArrivedTooLate | Invalid::LatestTooFar) = answer {
            // The store's clock may have been set: its answer has just told what it is now.
            answer = self.send_once(attempt, spec, patience)?;
        }
        let run = || attempt.id.clone();
        match answer {
            Answer::Standing(standing) => Ok(standing),
            Answer::Invalid(Invalid::RunIdInUse) => Err(Error::RunIdInUse { run: run() }),
            Answer::Invalid(Invalid::RunIdReused) => Err(Error::InvalidRequest {
                what: "run id",
                problem: format!("{} was already sent with other claims or settings", run()),
            }),
            _ => {
                Err(StoreError::new(StoreErrorKind::Unreachable, "the request took too long on its way")
                    .into())
            }
        }
    }

    fn send_once(&self, attempt: &Attempt, spec: &Arc<Spec>, patience: Patience) -> Result<Answer, Error> {
        let connection = &self.connection;
        let limits = self.limits.clone().unwrap_or_else(|| connection.limits_of_caller());
        // What this process dropped before is not in its way.
        let limits = connection.settle(&Concern::Request(&attempt.id, spec), limits);
        let (holder, latest_ms) = (connection.holder()?, connection.latest_ms(&limits)?);
        let request = Acquire { attempt: attempt.clone(), spec: spec.clone(), holder, patience, latest_ms };
        let asked = connection.step_within(&Step::Acquire(request), &limits);
        Ok(asked.inspect_err(|error| {
            // Should it have arrived nevertheless, it must not become a grant nobody holds. A place that is
            // held is not given up: the next try comes with the same secret.
            if error.is_unknown() && !matches!(patience, Patience::HoldPlace(_)) {
                self.take_back(attempt, spec, latest_ms);
            }
        })?)
    }

    /// Takes a request back whose answer did not arrive, and that may arrive until `sent_ms`.
    fn take_back(&self, attempt: &Attempt, spec: &Arc<Spec>, sent_ms: i64) {
        if self.limits.is_some() {
            // No caller's thread waits here, and others wait for this one.
            let until = later(Instant::now(), Duration::from_millis(spec.lease_ms));
            let (attempt, spec, how) = (attempt.clone(), spec.clone(), How::Withdraw { sent_ms });
            self.connection.end_later(Ending { attempt, spec, how, until, _left: None });
        } else if let Err(error) = self.connection.withdraw(attempt, sent_ms, self.connection.last_word()) {
            tracing::warn!(run = %attempt.id, %error, "could not take the request back");
        }
    }

    /// Runs `work` while all claims are held: commits if it answers `Ok`, fails if it answers `Err` or panics.
    /// Requests that this thread sends inside, on the same store and namespace, belong to this run.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let lines = flowlock.job("import").output("sales").with(|grant| {
    ///     assert!(grant.lost().is_none());
    ///     Ok::<_, flowlock::Error>(3)
    /// })?;
    /// assert_eq!(lines, 3);
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn with<T, E: From<Error>>(&self, work: impl FnOnce(&Grant) -> Result<T, E>) -> Result<T, E> {
        let grant = self.acquire()?;
        let result = {
            let _inside =
                Inside::enter(Around { connection: self.connection.clone(), run: grant.as_parent() });
            // A panic unwinds through the grant, whose drop fails the run.
            work(&grant)
        };
        match result {
            Ok(value) => grant.commit().map(|_| value).map_err(E::from),
            Err(error) => {
                grant.fail();
                Err(error)
            }
        }
    }

    fn attempt(&self) -> Result<Attempt, Error> {
        let id = match &self.run_id {
            Some(id) => RunId::parse(id)?,
            None => RunId::fresh(&JobName::parse(&self.name)?),
        };
        Ok(Attempt { id, nonce: Nonce::fresh() })
    }

    pub(crate) fn spec(&self) -> Result<Arc<Spec>, Error> {
        let lease = self.lease.unwrap_or_else(|| self.connection.default_lease());
        if !LEASES.contains(&lease) {
            let problem = format!("{}; use 1 s to 7 d", crate::text::show(&lease));
            return Err(Error::InvalidRequest { what: "duration", problem });
        }
        let keep_lapsed = self.keep_lapsed.unwrap_or(self.connection.keep_lapsed);
        if !KEEP_LAPSED.contains(&keep_lapsed) {
            let problem = format!("{}; use 1 s to 30 d", crate::text::show(&keep_lapsed));
            return Err(Error::InvalidRequest { what: "keep_lapsed", problem });
        }
        let claims = self.checked_claims()?;
        if self.on_fail == OnFail::Incomplete
            && let Some(both) = claims.outputs().find(|claim| claim.is_input())
        {
            let problem =
                format!("{} is input and output; after a failure nothing could repair it", both.name);
            return Err(Error::InvalidRequest { what: "on_fail incomplete", problem });
        }
        Ok(Arc::new(Spec {
            job: JobName::parse(&self.name)?,
            claims,
            lease_ms: millis(lease),
            if_written: self.if_written,
            on_fail: self.on_fail,
            parent: self.parent_now(),
            record_life_ms: self.record_life.map(millis),
            max_runtime_ms: self.max_runtime.map(millis),
            keep_lapsed_ms: millis(keep_lapsed),
        }))
    }

    /// The run that a request sent now is part of: the one that was set, or else the innermost one of the same store and
    /// namespace whose closure this thread is inside of.
    fn parent_now(&self) -> Option<Parent> {
        let around = |inside: &Vec<Around>| {
            inside
                .iter()
                .rev()
                .find(|around| around.connection.is_same(&self.connection))
                .map(|it| it.run.clone())
        };
        self.parent.clone().or_else(|| INSIDE.with_borrow(around))
    }

    /// The same job for another thread, with the parent that it has on this one.
    #[cfg(feature = "async")]
    pub(crate) fn as_here(&self) -> Self {
        Self { parent: self.parent_now(), ..self.clone() }
    }

    /// The same job, which asks within these limits.
    #[cfg(feature = "async")]
    pub(crate) fn within(self, limits: Limits) -> Self {
        Self { limits: Some(limits), ..self }
    }

    #[cfg(feature = "async")]
    pub(crate) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn checked_claims(&self) -> Result<Claims, Error> {
        let add = |builder: ClaimsBuilder, wanted: &Wanted| -> Result<ClaimsBuilder, InvalidText> {
            Ok(match wanted {
                Wanted::Input(name) => builder.input(Name::parse(name)?),
                Wanted::Output(name) => builder.output(Name::parse(name)?),
                Wanted::Lock(name) => builder.lock(Name::parse(name)?),
                Wanted::LockShared(name) => builder.lock_shared(Name::parse(name)?),
                Wanted::Slot(name, units, capacity) => builder.slot(Name::parse(name)?, *units, *capacity),
            })
        };
        Ok(self.claims.iter().try_fold(Claims::builder(), add)?.build()?)
    }
}

/// A run whose closure a thread is inside of.
struct Around {
    connection: Arc<Connection>,
    run: Parent,
}

/// Marks the thread as being inside a run's closure.
struct Inside;

impl Inside {
    fn enter(around: Around) -> Self {
        INSIDE.with_borrow_mut(|inside| inside.push(around));
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        // Dropped outside of the borrow: a connection's end may log.
        drop(INSIDE.with_borrow_mut(Vec::pop));
    }
}

/// Why a try was refused, as it is told: each time with another time to come back.
fn blocked_by(blocked: Blocked) -> Acquired {
    Acquired::Blocked(blocked.spread(crate::world::random_u64()))
}

impl Blocked {
    /// Nothing is known to be in the way.
    pub(crate) fn nothing() -> Self {
        Self { by: Vec::new(), more: false, ahead: 0, retry_after_ms: Some(0) }
    }
}
