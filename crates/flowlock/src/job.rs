//! [`Job`]: a request, described step by step.
//!
//! `acquiring.rs` has the ways to acquire it; `sending.rs` sends the request; `inside.rs` knows whose
//! closure a thread is in, and so which run is the parent of a request.

mod acquiring;
mod inside;
mod sending;

use std::sync::Arc;
use std::time::Duration;

use crate::blocker::Blocked;
use crate::claim::{Claims, ClaimsBuilder};
use crate::connection::Connection;
use crate::error::Error;
use crate::grant::Grant;
use crate::id::{Attempt, Nonce};
use crate::lease::Renewal;
use crate::name::{JobName, Name, RunId};
use crate::parent::Parent;
use crate::spec::{IfWritten, OnFail, Spec};
use crate::spelling::InvalidText;
use crate::store::Limits;
use crate::world::millis;

/// The shortest and the longest lease that can be set.
pub const LEASES: std::ops::RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(7 * 24);
/// The shortest and the longest time for which a lapsed run is kept.
pub const KEEP_LAPSED: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_hours(30 * 24);
/// The longest time for which a place in the queue can be held between two tries.
pub const LONGEST_PLACE: Duration = Duration::from_mins(1);

/// A description of a job: its names and its settings. It can be acquired any number of times.
///
/// Names and numbers are checked when the job is used; the first invalid one is reported then.
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
    /// The time limits of its requests, if they are not those of the calling thread.
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
    /// Another run is in the way; nothing is held.
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

    /// Adds a name that the job reads. It must have been written before, and nobody may be writing it.
    #[must_use]
    pub fn input(mut self, name: impl Into<String>) -> Self {
        self.claims.push(Wanted::Input(name.into()));
        self
    }

    /// Adds a name that the job writes. Nobody else may be reading or writing it.
    #[must_use]
    pub fn output(mut self, name: impl Into<String>) -> Self {
        self.claims.push(Wanted::Output(name.into()));
        self
    }

    /// Adds a lock: a name that is held exclusively and is not data.
    #[must_use]
    pub fn lock(mut self, name: impl Into<String>) -> Self {
        self.claims.push(Wanted::Lock(name.into()));
        self
    }

    /// Adds a shared lock: other runs may hold the same lock shared at the same time.
    #[must_use]
    pub fn lock_shared(mut self, name: impl Into<String>) -> Self {
        self.claims.push(Wanted::LockShared(name.into()));
        self
    }

    /// Adds `units` of the `capacity` units of a slot, such as one of two GPUs.
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

    /// Sets the lease: how long the claims are held without a renewal (1 s to 7 d). Default: the
    /// connection's, else the store's.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Turns off automatic renewal: the claims are held for one lease, and for another one after each
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

    /// Sets how long [`acquire`](Self::acquire) waits. Default: for ever.
    #[must_use]
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = Some(wait);
        self
    }

    /// Sets what to do if an output is already written. Default: overwrite it.
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

    /// Sets what happens to the old records of the outputs if the run fails. Default: they stay.
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

    /// Sets the parent: the run that this one is part of, from [`Grant::as_parent`]. Default: the run in
    /// whose [`with`](Self::with) the request is sent, if that run is on the same store and namespace.
    /// Where the job was created does not matter.
    #[must_use]
    pub fn parent(mut self, parent: Parent) -> Self {
        self.parent = Some(parent);
        self
    }

    /// Sets the id of the runs. Default: a new one each time. An id can be used again once its run has
    /// ended.
    #[must_use]
    pub fn run_id(mut self, id: impl Into<String>) -> Self {
        self.run_id = Some(id.into());
        self
    }

    /// Sets how long the records of its outputs live. Default: for ever.
    #[must_use]
    pub fn record_life(mut self, liveness: Duration) -> Self {
        self.record_life = Some(liveness);
        self
    }

    /// Sets for how long the lease is renewed at most, so that a job that hangs frees its names.
    /// Default: no limit.
    #[must_use]
    pub fn max_runtime(mut self, most: Duration) -> Self {
        self.max_runtime = Some(most);
        self
    }

    /// Sets how long the run is kept after it lapsed (1 s to 30 d). Default: the connection's, else a
    /// day.
    ///
    /// A run lapses when its lease ends. Until another run needs its names it can still renew or commit;
    /// after this time it is lost.
    #[must_use]
    pub fn keep_lapsed(mut self, time: Duration) -> Self {
        self.keep_lapsed = Some(time);
        self
    }

    fn attempt(&self) -> Result<Attempt, Error> {
        let id = match &self.run_id {
            Some(id) => RunId::parse(id)?,
            None => RunId::fresh(&JobName::parse(&self.name)?),
        };
        Ok(Attempt { id, nonce: Nonce::fresh() })
    }

    /// Returns what may have to be ended if this was asked in vain; `None` if it is not valid.
    #[cfg(feature = "async")]
    pub(crate) fn about(&self) -> Option<crate::endings::About> {
        let run = self.run_id.as_deref().and_then(|id| RunId::parse(id).ok());
        Some(crate::endings::About { run, spec: self.spec().ok()? })
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

    /// Returns the parent of a request that is sent now: the one that was set, else the innermost run of
    /// the same store and namespace in whose closure this thread is.
    fn parent_now(&self) -> Option<Parent> {
        self.parent.clone().or_else(|| inside::innermost(&self.connection))
    }

    /// Returns the same job for another thread, with the parent that it has on this one.
    #[cfg(feature = "async")]
    pub(crate) fn as_here(&self) -> Self {
        Self { parent: self.parent_now(), ..self.clone() }
    }

    /// Returns the same job with these time limits.
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
