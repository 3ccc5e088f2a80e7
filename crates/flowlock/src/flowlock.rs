//! [`Flowlock`]: the entry point of the library.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::connection::Connection;
use crate::error::Error;
use crate::handle::StoreHandle;
use crate::id::ClientId;
use crate::job::Job;
use crate::name::Namespace;
use crate::origin::Origin;
use crate::spec::KEEP_LAPSED_MS;
use crate::store::{self, Limits, LivenessLock, Store};
use crate::sync::lock;
use crate::world::later;

/// How long a store that does not answer is asked before an error is reported, by default.
pub const STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a commit is repeated after the run's deadline, by default.
pub const COMMIT_WAIT: Duration = Duration::from_mins(10);
/// A connection to one namespace of one store. It is cheap to clone; all clones share the connection.
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
    pub(crate) connection: Arc<Connection>,
}

impl Flowlock {
    /// Opens the store at a URL: `sqlite:PATH` for a file, `redis://HOST:PORT/DB` for a server (also
    /// `rediss`, `redis+unix`, `redis+sentinel`, `redis+cluster`, and each of them with `valkey`),
    /// `memory:` for this process alone.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the URL is invalid, [`Error::Store`] if the store cannot be used.
    ///
    /// ```
    /// let directory = tempfile::tempdir().unwrap();
    /// let url = format!("sqlite:{}/flowlock.db", directory.path().display());
    /// let flowlock = flowlock::Flowlock::open(&url)?;
    /// assert!(flowlock::Flowlock::open("flowlock.db").is_err(), "a URL begins with sqlite:, redis: or memory:");
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn open(url: &str) -> Result<Self, Error> {
        Self::builder().open(url)
    }

    /// Connects to a store that is already open, with default settings.
    pub fn with_store(store: Arc<dyn Store>) -> Self {
        Self::builder().with_store(store)
    }

    /// Returns a builder, to change settings before opening a store.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Begins a request; see [`Job`].
    pub fn job(&self, name: impl AsRef<str>) -> Job {
        Job::new(self.connection.clone(), name.as_ref())
    }

    /// Returns the store.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.connection.store
    }

    /// Returns the namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.connection.namespace
    }

    /// Returns how long a store that does not answer is asked before an error is reported. Waits for
    /// names do not count.
    pub fn store_timeout(&self) -> Duration {
        self.connection.store_timeout
    }

    /// Stops listening for wake-ups. Waits up to `at_most` until nothing of that is left in the store's
    /// directory. Call it when the process is about to end, because its threads may not get to do it by
    /// themselves.
    pub fn stop_listening(&self, at_most: Duration) {
        if let Some(waiters) = self.connection.waiters() {
            waiters.close(at_most);
        }
    }

    /// Waits up to `at_most` until the store knows of every grant and every wait of this connection that
    /// was dropped, or whose end it did not answer. Returns whether it knows of all; returns `false` at
    /// once while the store does not answer, or refuses to end the rest.
    ///
    /// A drop does not wait for the store: a thread tells the store, and tries again until the run is over
    /// by itself. The same thread ends a run whose request, cancellation or failure got no answer. Later
    /// requests and reads of the same connection that concern the same names wait for that by themselves,
    /// and a listing waits for all of it: up to `store_timeout`, after which they go on. The normal end of
    /// the process also waits for drops, up to 2 s. Call `flush` if the process ends in another way, or if
    /// you must know.
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
        self.connection.flush(at_most)
    }

    /// Returns the liveness lock of this process's runs, once one was acquired, to pass it on to a child
    /// process.
    pub fn liveness_lock(&self) -> Option<Arc<LivenessLock>> {
        lock(&self.connection.liveness_lock).clone()
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
    /// Sets the namespace. Default: `default`.
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

    /// Sets how long a lapsed run is kept (1 s to 30 d), for jobs that do not set it themselves.
    /// Default: a day. See [`Job::keep_lapsed`].
    #[must_use]
    pub fn keep_lapsed(mut self, time: Duration) -> Self {
        self.keep_lapsed = time;
        self
    }

    /// Sets how long a store that does not answer is asked before an error is reported. Waits for names
    /// do not count. Default: 2 s.
    #[must_use]
    pub fn store_timeout(mut self, timeout: Duration) -> Self {
        self.store_timeout = timeout;
        self
    }

    /// Sets how long a commit is repeated after the deadline while the store does not answer. Default:
    /// 10 min. A late commit is valid as long as no other run took the names, so a long time costs
    /// nothing but the wait.
    #[must_use]
    pub fn commit_wait(mut self, wait: Duration) -> Self {
        self.commit_wait = wait;
        self
    }

    /// Sets what blocked runs are told about this process. Default: host, process id and user. Host and
    /// user are cut to 512 bytes; a link longer than 2 KiB is left out.
    #[must_use]
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = Some(origin);
        self
    }

    /// Sets a flag that ends all waiting, for the store and for names; a signal handler can set it, for
    /// example. While it is set, every call (opening, requests, commits, reads) ends within a tenth of a
    /// second, with the store's error or with an [`Error::Store`] that says it was interrupted. A run
    /// that ends then has up to 1 s to tell the store. Renewals continue. Only
    /// [`Pending::wait`](crate::Pending::wait) goes on: it has an
    /// [interrupter](crate::Pending::interrupter) of its own.
    #[must_use]
    pub fn interrupted_by(mut self, interrupted: Arc<AtomicBool>) -> Self {
        self.interrupted = Some(interrupted);
        self
    }

    /// Opens the store at a URL; see [`Flowlock::open`].
    pub fn open(self, url: &str) -> Result<Flowlock, Error> {
        let until = later(Instant::now(), self.store_timeout);
        let store = store::open(
            url,
            self.store_timeout,
            &Limits { interrupted: self.interrupted.clone(), ..Limits::until(until) },
        )?;
        Ok(self.with_store(store))
    }

    /// Uses a store that is already open.
    pub fn with_store(self, store: Arc<dyn Store>) -> Flowlock {
        let handle = StoreHandle {
            store,
            namespace: self.namespace,
            client: ClientId::fresh(),
            origin: Arc::new(self.origin.unwrap_or_else(Origin::of_this_process).within_its_limits()),
            lease: self.lease,
            keep_lapsed: self.keep_lapsed,
            store_timeout: self.store_timeout,
            commit_wait: self.commit_wait,
            interrupted: self.interrupted,
            liveness_lock: Mutex::new(None),
        };
        Flowlock { connection: Arc::new(Connection::new(handle)) }
    }
}
