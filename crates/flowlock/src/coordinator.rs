//! [`Flowlock`]: the one front door.

use std::cell::Cell;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use crate::desk::Desk;
use crate::endings::Endings;
use crate::error::Error;
use crate::id::{Attempt, ClientId};
use crate::job::Job;
use crate::keeper::Keeper;
use crate::name::Namespace;
use crate::origin::{Holder, Origin};
use crate::run::State;
use crate::spec::KEEP_LAPSED_MS;
use crate::step::{Answer, Cancelled, Step};
use crate::store::memory::MemoryStore;
use crate::store::{Limits, Page, Pulse, Store, StoreError, View, pages};
use crate::sync::lock;
use crate::world::{later, millis};

/// How long the store is asked before an error is reported, if nothing else is said.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a commit is repeated after the run's deadline, if nothing else is said.
pub const COMMIT_WAIT: Duration = Duration::from_mins(10);
/// The pause before the first repetition; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// The longest last word.
const LAST_WORD: Duration = Duration::from_secs(1);
/// A request may be on its way for 5 minutes at most; a store refuses a later time of arrival.
const LONGEST_ON_THE_WAY: Duration = Duration::from_secs(298);

/// A connection to one namespace of one store. Cheap to clone; all clones share it.
///
/// ```
/// use flowlock::Flowlock;
///
/// let flowlock = Flowlock::open("memory:")?;
/// let grant = flowlock.job("import").output("sales").acquire()?;
/// // … write the sales …
/// grant.commit()?;
///
/// let grant = flowlock.job("report").input("sales").output("report").acquire()?;
/// assert_eq!(grant.inputs()[0].name.as_str(), "sales");
/// grant.commit()?;
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Flowlock {
    pub(crate) shared: Arc<Shared>,
}

/// What all clones, grants and waits of a connection share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) namespace: Namespace,
    pub(crate) client: ClientId,
    pub(crate) origin: Arc<Origin>,
    lease: Option<Duration>,
    pub(crate) keep_lapsed: Duration,
    pub(crate) store_timeout: Duration,
    pub(crate) commit_wait: Duration,
    interrupted: Option<Arc<AtomicBool>>,
    pulse: Mutex<Option<Arc<Pulse>>>,
    pub(crate) keeper: Keeper,
    pub(crate) desk: OnceLock<Desk>,
    pub(crate) endings: Endings,
    #[cfg(feature = "async")]
    pub(crate) workers: crate::workers::Workers,
}

impl Flowlock {
    /// Opens the store at a URL: `sqlite:PATH` or `memory:`.
    ///
    /// # Errors
    /// [`Error::Configuration`] for a URL that is none, [`Error::Store`] if the store cannot be used.
    ///
    /// ```
    /// let directory = tempfile::tempdir().unwrap();
    /// let url = format!("sqlite:{}/flowlock.db", directory.path().display());
    /// let flowlock = flowlock::Flowlock::open(&url)?;
    /// assert!(flowlock::Flowlock::open("flowlock.db").is_err(), "a URL begins with sqlite: or memory:");
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn open(url: &str) -> Result<Self, Error> {
        Self::builder().open(url)
    }

    /// A connection to a store that is open already, with default settings.
    pub fn with_store(store: Arc<dyn Store>) -> Self {
        Self::builder().with_store(store)
    }

    /// Settings before opening.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Begins a request; see [`Job`].
    pub fn job(&self, name: impl AsRef<str>) -> Job {
        Job::new(self.clone(), name.as_ref())
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Whether this is a connection to the same namespace of the same store.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let (store, theirs) = (self.store(), other.store());
        // Two stores in memory have the same URL.
        let is_same_store =
            || Arc::ptr_eq(store, theirs) || store.url() != "memory:" && store.url() == theirs.url();
        self.namespace() == other.namespace() && is_same_store()
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.shared.namespace
    }

    /// How long the store is asked before an error is reported, apart from any wait.
    pub fn store_timeout(&self) -> Duration {
        self.shared.store_timeout
    }

    /// Listens for wake-ups no more, and waits up to `at_most` until nothing of that is left in the store's directory. For a
    /// process that is about to end: its threads may not come to that by themselves.
    pub fn stop_listening(&self, at_most: Duration) {
        if let Some(desk) = self.shared.desk.get() {
            desk.close(at_most);
        }
    }

    /// Waits up to `at_most` until the store was told of every grant and every wait of this connection that was dropped.
    /// Returns whether nothing is left to tell, or `false` at once while the store does not answer.
    ///
    /// A drop does not wait for the store: a thread tells it, and tries again until the lease is over. Requests of the same
    /// connection come after that by themselves. The normal end of the process waits for it, for up to 2 s; this is for
    /// one that ends otherwise, or that must know.
    ///
    /// ```
    /// use std::time::Duration;
    /// let flowlock = flowlock::Flowlock::open("memory:")?;
    /// drop(flowlock.job("import").output("sales").acquire()?); // fails
    /// assert!(flowlock.flush(Duration::from_secs(2)));
    /// assert!(flowlock.runs()?.is_empty());
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn flush(&self, at_most: Duration) -> bool {
        self.shared.endings.settle(&Limits::within(at_most))
    }

    /// The liveness lock of this process's runs, once one was acquired: for handing on to a child process.
    pub fn pulse(&self) -> Option<Arc<Pulse>> {
        lock(&self.shared.pulse).clone()
    }
}

/// Settings of a connection.
///
/// ```
/// use std::time::Duration;
/// use flowlock::{Flowlock, Namespace};
///
/// let flowlock = Flowlock::builder()
///     .namespace(Namespace::parse("staging")?)
///     .store_timeout(Duration::from_secs(10))
///     .open("memory:")?;
/// assert_eq!(flowlock.namespace().as_str(), "staging");
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Builder {
    namespace: Namespace,
    lease: Option<Duration>,
    keep_lapsed: Duration,
    store_timeout: Duration,
    commit_wait: Duration,
    origin: Option<Origin>,
    interrupted: Option<Arc<AtomicBool>>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            namespace: Namespace::default(),
            lease: None,
            keep_lapsed: Duration::from_millis(KEEP_LAPSED_MS),
            store_timeout: STORE_TIMEOUT,
            commit_wait: COMMIT_WAIT,
            origin: None,
            interrupted: None,
        }
    }
}

impl Builder {
    /// The namespace; `default` if nothing is said.
    #[must_use]
    pub fn namespace(mut self, namespace: Namespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// Sets the lease (1 s to 7 d) of jobs that set none themselves. Default: the store's.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Sets how long a lapsed run is kept (1 s to 30 d), of jobs that say nothing themselves. Default: a day. See
    /// [`Job::keep_lapsed`].
    #[must_use]
    pub fn keep_lapsed(mut self, time: Duration) -> Self {
        self.keep_lapsed = time;
        self
    }

    /// How long the store is asked before an error is reported, apart from any wait; 2 s if nothing is said.
    #[must_use]
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.store_timeout = timeout;
        self
    }

    /// How long a commit is repeated after the deadline while the store does not answer; 10 min if nothing
    /// is said. Late commits are legal, so this costs nothing but the wait.
    #[must_use]
    pub fn commit_wait(mut self, wait: Duration) -> Self {
        self.commit_wait = wait;
        self
    }

    /// What blocked runs are told of this process; host, pid and user if nothing is said. Of host and user at most 512 bytes
    /// count; a link of more than 2 KiB is left out.
    #[must_use]
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// While this is set, by a signal handler for example, nobody who calls waits for the store: opening it, requests, commits and
    /// looks end with the trouble it has, or with [`Error::Store`] saying that they were interrupted, within a tenth of a second. A
    /// run that is ended then gets a last word of up to 1 s. Renewals go on.
    #[must_use]
    pub fn interrupted_by(mut self, interrupted: Arc<AtomicBool>) -> Self {
        self.interrupted = Some(interrupted);
        self
    }

    /// Opens the store at a URL; see [`Flowlock::open`].
    pub fn open(self, url: &str) -> Result<Flowlock, Error> {
        let until = later(Instant::now(), self.store_timeout);
        let store = open_store(
            url,
            self.store_timeout,
            &Limits { interrupted: self.interrupted.clone(), ..Limits::until(until) },
        )?;
        Ok(self.with_store(store))
    }

    /// Takes a store that is open already.
    pub fn with_store(self, store: Arc<dyn Store>) -> Flowlock {
        let shared = Shared {
            store,
            namespace: self.namespace,
            client: ClientId::fresh(),
            origin: Arc::new(self.origin.unwrap_or_else(Origin::of_this_process).within_its_limits()),
            lease: self.lease,
            keep_lapsed: self.keep_lapsed,
            store_timeout: self.store_timeout,
            commit_wait: self.commit_wait,
            interrupted: self.interrupted,
            pulse: Mutex::new(None),
            keeper: Keeper::default(),
            desk: OnceLock::new(),
            endings: Endings::default(),
            #[cfg(feature = "async")]
            workers: crate::workers::Workers::default(),
        };
        Flowlock { shared: Arc::new(shared) }
    }
}

impl Origin {
    /// Host, process id and user of this process.
    pub fn of_this_process() -> Self {
        let host =
            nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let uid = nix::unistd::getuid();
        let user =
            nix::unistd::User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        Self { host, pid: std::process::id(), user, ci: None }
    }
}

fn open_store(url: &str, timeout: Duration, limits: &Limits) -> Result<Arc<dyn Store>, Error> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::default())),
        Some(("sqlite", path)) => open_file(url, path, timeout),
        Some((scheme, _)) if scheme.starts_with("redis") || scheme.starts_with("valkey") => {
            open_server(url, timeout, limits)
        }
        _ => Err(bad_url(url, "use sqlite:PATH, redis://HOST:PORT/DB or memory:")),
    }
}

#[cfg(feature = "sqlite")]
fn open_file(url: &str, path: &str, timeout: Duration) -> Result<Arc<dyn Store>, Error> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.contains("://") {
        return Err(bad_url(url, "it names no file; use sqlite:PATH"));
    }
    Ok(Arc::new(crate::store::sqlite::SqliteStore::open(Path::new(path), timeout)?))
}

#[cfg(not(feature = "sqlite"))]
fn open_file(url: &str, _: &str, _: Duration) -> Result<Arc<dyn Store>, Error> {
    let _ = Path::new("");
    Err(bad_url(url, "this build has no embedded store (feature `sqlite`)"))
}

/// A server that is away is tried again: it may be back, or another one elected, before the time is over.
#[cfg(feature = "redis")]
fn open_server(url: &str, timeout: Duration, limits: &Limits) -> Result<Arc<dyn Store>, Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match crate::store::redis::RedisStore::open_within(url, timeout, limits) {
            Ok(store) => return Ok(Arc::new(store)),
            Err(Error::Configuration(problem)) => return Err(bad_url(url, &problem)),
            Err(error) => error,
        };
        let may_pass = matches!(&error, Error::Store(error) if error.is_transient());
        if !may_pass || limits.left() <= pause || limits.is_interrupted() {
            return Err(error);
        }
        tracing::debug!(%error, "the store cannot be opened; trying again");
        limits.sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(not(feature = "redis"))]
fn open_server(url: &str, _: Duration, _: &Limits) -> Result<Arc<dyn Store>, Error> {
    Err(bad_url(url, "this build knows no Redis or Valkey (feature `redis`)"))
}

fn bad_url(url: &str, problem: &str) -> Error {
    let shown = crate::text::escape(&crate::store::without_password(url));
    Error::Configuration(format!("store URL \"{shown}\": {problem}"))
}

impl Shared {
    /// The lease of a job that sets none.
    pub(crate) fn default_lease(&self) -> Duration {
        self.lease.unwrap_or_else(|| self.store.default_lease())
    }

    /// Carries out a step; repeats it while the store has passing trouble, for `store_timeout` at most and no longer than the
    /// caller wants to wait.
    pub(crate) fn step_for_caller(&self, step: &Step) -> Result<Answer, StoreError> {
        self.step_within(step, &self.limits_of_caller())
    }

    /// The same with limits of its own; sets `unsure` if an earlier try may have taken effect: then the answer may be about
    /// what that did, and the step may be another one.
    pub(crate) fn step_noting<'s>(
        &self,
        step: impl Fn() -> &'s Step,
        unsure: &Cell<bool>,
        limits: &Limits,
    ) -> Result<Answer, StoreError> {
        repeat(limits, || {
            self.store
                .step_within(&self.namespace, step(), limits)
                .inspect_err(|error| unsure.set(unsure.get() || error.is_unknown()))
        })
    }

    /// The same with limits of its own. One repetition is always allowed, unless all the time went into the first try.
    pub(crate) fn step_within(&self, step: &Step, limits: &Limits) -> Result<Answer, StoreError> {
        repeat(limits, || self.store.step_within(&self.namespace, step, limits))
    }

    /// As long as the store is asked, or until the caller says that it will not wait.
    pub(crate) fn limits_of_caller(&self) -> Limits {
        self.callers_limits(later(Instant::now(), self.store_timeout))
    }

    /// Until then, or until the caller says that it will not wait.
    pub(crate) fn callers_limits(&self, until: Instant) -> Limits {
        Limits { interrupted: self.interrupted.clone(), ..Limits::until(until) }
    }

    /// Whether the caller says that it will not wait.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.callers_limits(Instant::now()).is_interrupted()
    }

    /// Reads; repeated as a step is, and no longer than the caller wants to wait.
    pub(crate) fn view(&self, view: &View) -> Result<Page, StoreError> {
        self.endings.settle(&self.limits_of_caller());
        pages::checked(view, self.view_in(&self.namespace, view, &self.limits_of_caller())?)
    }

    /// Reads another namespace within these limits; repeated as a step is.
    pub(crate) fn view_in(
        &self,
        namespace: &Namespace,
        view: &View,
        limits: &Limits,
    ) -> Result<Page, StoreError> {
        repeat(limits, || self.store.view_within(namespace, view, limits))
    }

    /// Lists namespaces; repeated as a step is.
    pub(crate) fn list_namespaces(&self) -> Result<Vec<Namespace>, StoreError> {
        repeat(&Limits::within(self.store_timeout), || self.store.namespaces())
    }

    /// Takes back a request whose answer did not arrive, and that may arrive until `sent_ms`. Should it have been granted,
    /// nobody would ever renew or end it.
    pub(crate) fn withdraw(
        &self,
        attempt: &Attempt,
        sent_ms: i64,
        patience: Duration,
    ) -> Result<(), StoreError> {
        let limits = Limits::within(patience);
        // The store's clock may have been set back since: what was sent before then arrives in time for longer.
        let latest_ms = self.latest_ms(&limits)?.max(sent_ms);
        let cancel = Step::Cancel { attempt: attempt.clone(), latest_ms };
        match self.step_within(&cancel, &limits)? {
            Answer::Cancelled(Cancelled::TooLate(State::Running)) => {
                tracing::warn!(run = %attempt.id, "granted without an answer; ended again");
                self.step_within(&Step::GiveBack(attempt.clone()), &limits).map(drop)
            }
            _ => Ok(()),
        }
    }

    /// This process as the holder of a run.
    pub(crate) fn holder(&self) -> Result<Holder, StoreError> {
        let mut pulse = lock(&self.pulse);
        if pulse.is_none() {
            *pulse = self.store.new_life()?.map(Arc::new);
        }
        let life = pulse.as_ref().map(|pulse| pulse.life);
        Ok(Holder { client: self.client, life, origin: self.origin.clone() })
    }

    /// Says something at the end of a run. Once the caller waits no longer it is a last word.
    pub(crate) fn last_step(&self, step: &Step) -> Result<Answer, StoreError> {
        match self.step_for_caller(step) {
            Err(_) if self.is_interrupted() => self.step_within(step, &Limits::within(self.last_word())),
            answer => answer,
        }
    }

    /// How long a caller that waits no longer still tries to say that it leaves; else its silence says it.
    pub(crate) fn last_word(&self) -> Duration {
        self.store_timeout.min(LAST_WORD)
    }

    /// The latest arrival of a step sent now. The first question to a store may be this one.
    pub(crate) fn latest_ms(&self, limits: &Limits) -> Result<i64, StoreError> {
        Ok(repeat(limits, || self.store.clock_within(&self.namespace, limits))?
            .saturating_add_unsigned(millis(self.store_timeout.min(LONGEST_ON_THE_WAY)))
            .saturating_add(1_000))
    }
}

/// Asks again while the store has passing trouble; once more in any case, unless the first try took all the time or the
/// caller will not wait.
fn repeat<T>(limits: &Limits, mut ask: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
    let mut pause = FIRST_PAUSE;
    let (mut repeated, mut unknown) = (false, false);
    loop {
        let error = match limits.is_still_wanted().and_then(|()| ask()) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        unknown |= error.is_unknown();
        let last = limits.left().is_zero() && (repeated || error.is_out_of_time());
        if !error.is_transient() || last || limits.is_interrupted() || limits.is_given_up() {
            // A plain refusal now says nothing about the try before it.
            return Err(if unknown { error.into_unknown() } else { error });
        }
        tracing::debug!(%error, "the store did not answer; asking again");
        limits.sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
        repeated = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(url: &str) -> Result<Arc<dyn Store>, Error> {
        open_store(url, STORE_TIMEOUT, &Limits::within(STORE_TIMEOUT))
    }

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        let said = opened("mysql://me:secret@host/db").unwrap_err().to_string();
        assert_eq!(said, r#"store URL "mysql://***@host": use sqlite:PATH, redis://HOST:PORT/DB or memory:"#);
        // Not even where a password breaks the URL.
        for url in
            ["redis://me:s/ecr@et@host/0", "redis://:s?ecret@host", "redis+unix://:s/ecr#et@/run/redis"]
        {
            let said = opened(url).unwrap_err().to_string();
            assert!(!said.contains("ecr"), "{said}");
        }
    }

    #[test]
    fn urls_that_are_none_are_refused_with_what_to_use() {
        for url in ["", "flowlock.db", "sqlite", "memory", "memory:x", "sqlite:", "sqlite://"] {
            assert!(matches!(opened(url), Err(Error::Configuration(_))), "{url}");
        }
    }

    /// A sending that is on its way arrives in time for as long as the clock needs to come there again.
    #[test]
    fn what_is_withdrawn_stays_so_though_the_stores_clock_was_set_back() {
        use crate::store::memory::TestWorld;
        let world = Arc::new(TestWorld::default());
        let flowlock = Flowlock::with_store(Arc::new(MemoryStore::with_world(world.clone())));
        world.advance(Duration::from_secs(200));
        let sent_ms = flowlock.shared.latest_ms(&Limits::within(STORE_TIMEOUT)).unwrap();
        world.reboot();
        let attempt = Attempt { id: crate::RunId::parse("job.1").unwrap(), nonce: crate::id::Nonce(1) };
        flowlock.shared.withdraw(&attempt, sent_ms, STORE_TIMEOUT).unwrap();
        world.advance(Duration::from_mins(1));
        let request = crate::step::Acquire {
            attempt,
            spec: flowlock.job("job").lock("a").spec().unwrap(),
            holder: flowlock.shared.holder().unwrap(),
            patience: crate::step::Patience::Try,
            latest_ms: sent_ms,
        };
        let answer = flowlock.shared.step_for_caller(&Step::Acquire(request)).unwrap();
        let cancelled = crate::run::Outcome::Cancelled;
        let ended = crate::step::Standing::Ended { outcome: cancelled, blocked: None };
        assert_eq!(answer, Answer::Standing(ended));
    }
}
