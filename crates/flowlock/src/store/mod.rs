//! Where runs, records and queues are kept: the [`Store`] trait and its contract.

mod error;
mod finding;
pub(crate) mod limits;
mod listed;
pub mod memory;
mod open;
pub(crate) mod pages;
#[cfg(any(feature = "redis", feature = "sqlite", feature = "config"))]
pub(crate) mod path_walk;
#[cfg(any(feature = "redis", feature = "sqlite"))]
mod plausible;
#[cfg(feature = "redis")]
pub mod redis;
mod shown;
mod signal;
#[cfg(feature = "sqlite")]
pub mod sqlite;
mod watermark;

use std::fmt::Debug;
use std::os::fd::OwnedFd;
use std::time::Duration;

pub use self::error::{StoreError, StoreErrorKind};
pub use self::finding::Finding;
#[cfg(any(feature = "redis", feature = "sqlite"))]
pub(crate) use self::finding::FirstFew;
pub use self::limits::Limits;
pub(crate) use self::listed::ListedNamespaces;
pub(crate) use self::open::open;
pub use self::open::{accept_restore, reach_of};
pub use self::shown::{has_password, misplaced, without_password};
pub(crate) use self::watermark::Watermarks;
pub use self::watermark::{Epoch, InvalidEpoch, Loss, Watermark};
use crate::id::ClientId;
use crate::name::{Namespace, RunId};
use crate::step::{Answer, Step};
pub use crate::view::{Content, NameSeen, NamespaceSeen, Page, Seen, View};
use crate::world::LivenessId;

/// The log target of the messages that [`Store::take_notices`] returns.
pub const NOTICES: &str = "flowlock::notices";

/// Where namespaces are kept.
///
/// # Contract
/// * A step is atomic, and all processes see the steps of a namespace take effect in the same order.
/// * A step answers only after its effect is visible to every later step. An error means that it had no
///   effect, or, if [`StoreError::is_unknown`], that only asking again can tell.
/// * Repeating a step is harmless. Changes of records by hand are repeated as
///   [`Sent::Again`](crate::step::Sent::Again).
/// * Records that were written, created or removed survive kill -9 and power loss once the step is
///   answered.
/// * No step waits for another run, and no step's work grows with the number of waiting runs.
/// * Time comes from the store's own clocks, never from the step.
/// * Namespaces do not affect each other.
/// * Wake-ups are hints: if one is lost or repeated, only the time at which a process looks changes.
/// * If a namespace is older than what a process has seen of it, or was replaced, the process does not
///   silently continue: the store answers [`StoreErrorKind::Replaced`], or continues and reports it in
///   [`take_notices`](Self::take_notices).
pub trait Store: Debug + Send + Sync {
    /// Returns the store's URL, without any secret.
    fn url(&self) -> String;
    /// Returns which processes can use it. Default: those of every host that reaches it; it uses its
    /// server's clock.
    fn reach(&self) -> Reach {
        Reach::Hosts
    }
    /// Returns the time of the lease clock, in milliseconds. The `latest_ms` of a step is measured by
    /// it.
    fn clock_ms(&self, namespace: &Namespace) -> Result<i64, StoreError>;
    /// The same within the limits of a caller, if the store has to be asked.
    fn clock_within(&self, namespace: &Namespace, _: &Limits) -> Result<i64, StoreError> {
        self.clock_ms(namespace)
    }
    /// Carries out one step.
    fn step(&self, namespace: &Namespace, step: &Step) -> Result<Answer, StoreError>;
    /// Carries out one step within the limits of a caller. A store that waits (for its turn, a lock, an
    /// answer) keeps to these limits as well as to its own.
    fn step_within(&self, namespace: &Namespace, step: &Step, _: &Limits) -> Result<Answer, StoreError> {
        self.step(namespace, step)
    }
    /// Reads one snapshot.
    fn view(&self, namespace: &Namespace, view: &View) -> Result<Page, StoreError>;
    /// Reads one snapshot within the limits of a caller.
    fn view_within(&self, namespace: &Namespace, view: &View, _: &Limits) -> Result<Page, StoreError> {
        self.view(namespace, view)
    }
    /// Returns the namespaces that were used, ordered by name; some of them may have been removed since.
    /// The caller's time is that of one answer: a store that asks for many pages gives each as long.
    /// [`StoreErrorKind::Damaged`] if they take more than 16 MiB.
    fn namespaces(&self, limits: &Limits) -> Result<Vec<Namespace>, StoreError>;
    /// Creates a lock that shows others that this process lives; `None` in stores where only leases show
    /// it.
    fn new_liveness_lock(&self) -> Result<Option<LivenessLock>, StoreError>;
    /// Returns whether a process still holds the liveness lock.
    fn is_alive(&self, liveness: LivenessId) -> bool;
    /// Opens the client's inbox for wake-ups of a namespace.
    fn inbox(&self, namespace: &Namespace, client: ClientId) -> Result<Box<dyn Inbox>, StoreError>;
    /// Returns the lease of a job that sets none.
    fn default_lease(&self) -> Duration;
    /// Returns the newest state of the namespace that this process has seen or was told of.
    fn seen(&self, _: &Namespace) -> Option<Watermark> {
        None
    }
    /// Returns the newest state that this process has seen and that survives a power loss: what to
    /// expect at least after the store's machine was restarted.
    fn durable(&self, namespace: &Namespace) -> Option<Watermark> {
        self.seen(namespace)
    }
    /// Tells the store what an earlier process saw, so that an older state or another epoch is noticed.
    /// If this process has not seen anything yet, nothing of its own is lost; then the store continues
    /// from what is there, and reports it in [`take_notices`](Self::take_notices).
    fn expect(&self, _: &Namespace, _: Watermark) {}
    /// Returns that the namespace went back, if this process continued from there.
    fn loss(&self, _: &Namespace) -> Option<Loss> {
        None
    }
    /// Gives back what a thread that stands still for ever in the middle of a step keeps from others.
    /// From now on every step of this process is an error.
    fn abandon(&self) {}
    /// Examines, for `flowlock doctor`, everything that the store depends on: its file system or server,
    /// who else may change it, and whether it keeps its data. Default: nothing. A finding of a problem
    /// says what to do.
    ///
    /// Waits for others within the limits, or once more for as long as a step of the store may wait. A
    /// missing answer is a finding too.
    fn examine(&self, _: &Namespace, _: &Limits) -> Vec<Finding> {
        Vec::new()
    }
    /// Takes the messages for people since the last call, one sentence each: that the store went back,
    /// or which recent commits are missing.
    fn take_notices(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Which processes can use a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Only this one: the store ends with it.
    Process,
    /// Those of one host; the store uses that host's clock.
    Host,
    /// Those of many hosts: it is on a server, and uses that server's clock.
    Hosts,
}

/// Returns the directory that a file is in.
#[cfg(any(feature = "config", feature = "sqlite"))]
pub(crate) fn directory_of(path: &std::path::Path) -> &std::path::Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => std::path::Path::new("."),
    }
}

/// What an inbox has for its client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// The client's runs to which something happened.
    pub runs: Vec<RunId>,
    /// Whether something may have happened to any run.
    pub missed: Missed,
}

/// Whether messages may have been lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Missed {
    /// None.
    #[default]
    Nothing,
    /// More messages were sent to this client than its inbox had room for.
    Here,
    /// All clients may have missed some: the server was unreachable, or another server took over.
    Everywhere,
}

/// A client's inbox.
pub trait Inbox: Debug + Send {
    /// Waits up to `at_most` for news.
    fn wait(&mut self, at_most: Duration) -> News;
    /// Returns a handle that ends a wait from another thread.
    fn interrupter(&self) -> Box<dyn InboxInterrupter>;
}

/// Ends an inbox's wait.
pub trait InboxInterrupter: Debug + Send + Sync {
    /// Ends the current wait, or the next one.
    fn interrupt(&self);
}

/// A liveness lock. It is held until it is dropped, or until every process that has the descriptor has
/// ended.
#[derive(Debug)]
pub struct LivenessLock {
    /// Its number in the store.
    pub liveness: LivenessId,
    /// The locked descriptor, close-on-exec; `None` in stores that keep liveness in memory.
    pub descriptor: Option<OwnedFd>,
}
