//! Where runs, records and queues are kept: the [`Store`] trait and its contract.

mod error;
mod finding;
pub(crate) mod limits;
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
pub use self::limits::Limits;
pub(crate) use self::open::open;
pub use self::open::reach_of;
pub use self::shown::{has_password, misplaced, without_password};
pub(crate) use self::watermark::Watermarks;
pub use self::watermark::{Epoch, InvalidEpoch, Loss, Watermark};
use crate::id::ClientId;
use crate::name::{Namespace, RunId};
use crate::step::{Answer, Step};
pub use crate::view::{Content, NameSeen, NamespaceSeen, Page, Seen, View};
use crate::world::LivenessId;

/// The target under which the log has what [`Store::notices`] has to tell.
pub const NOTICES: &str = "flowlock::notices";

/// A place where namespaces live.
///
/// # Contract
/// * A step is atomic, and all steps of a namespace take effect in one order for all processes.
/// * A step answers only after its effect is visible to every later step; an error means that it had no
///   effect, or, if [`StoreError::is_unknown`], that asking again is the only way to know.
/// * Repeating a step is harmless; what is done to records by hand is sent again as [`Sent::Again`](crate::step::Sent::Again).
/// * Records written, created or removed survive kill -9 and power loss once the step is answered.
/// * No step waits for another run, and no step's work grows with the number of runs in line.
/// * Time comes from the store's own clocks, never from the step.
/// * Namespaces do not touch.
/// * Wake-ups are hints: lost or doubled, they change nothing but the time at which somebody looks.
/// * A process never goes on in a namespace that is older than what it has seen of it, or another one, as if nothing had
///   happened: the store answers [`StoreErrorKind::Replaced`], or goes on and says so in [`notices`](Self::notices).
pub trait Store: Debug + Send + Sync {
    /// The store's URL, without any secret.
    fn url(&self) -> String;
    /// Which processes can use it. Default: those of every host that reaches it, by the clock of its server.
    fn reach(&self) -> Reach {
        Reach::Hosts
    }
    /// The lease clock, in milliseconds: what `latest_ms` of a step is measured with.
    fn clock_ms(&self, namespace: &Namespace) -> Result<i64, StoreError>;
    /// The same, within the limits of a caller, if it has to be asked for.
    fn clock_within(&self, namespace: &Namespace, _: &Limits) -> Result<i64, StoreError> {
        self.clock_ms(namespace)
    }
    /// Carries out one step.
    fn step(&self, namespace: &Namespace, step: &Step) -> Result<Answer, StoreError>;
    /// The same for a caller that does not wait for ever: a store that waits for others (for its turn, for a lock, for an
    /// answer) keeps to the limits as well as to its own.
    fn step_within(&self, namespace: &Namespace, step: &Step, _: &Limits) -> Result<Answer, StoreError> {
        self.step(namespace, step)
    }
    /// Reads one snapshot.
    fn view(&self, namespace: &Namespace, view: &View) -> Result<Page, StoreError>;
    /// The same, within the limits of a caller.
    fn view_within(&self, namespace: &Namespace, view: &View, _: &Limits) -> Result<Page, StoreError> {
        self.view(namespace, view)
    }
    /// The namespaces that somebody used, in the order of their names; some of them may have been removed since.
    fn namespaces(&self) -> Result<Vec<Namespace>, StoreError>;
    /// A lock that tells others that this process lives; none where leases alone must do.
    fn new_liveness_lock(&self) -> Result<Option<LivenessLock>, StoreError>;
    /// Whether some process still holds the liveness lock.
    fn is_alive(&self, liveness: LivenessId) -> bool;
    /// Opens the client's inbox for wake-ups of a namespace.
    fn inbox(&self, namespace: &Namespace, client: ClientId) -> Result<Box<dyn Inbox>, StoreError>;
    /// The lease that suits this store if the user names none.
    fn default_lease(&self) -> Duration;
    /// The newest state of the namespace that this process has seen, or was told of.
    fn seen(&self, _: &Namespace) -> Option<Watermark> {
        None
    }
    /// The newest state that this process has seen and that no loss of power takes back: what may still be expected
    /// after the store's machine was restarted.
    fn durable(&self, namespace: &Namespace) -> Option<Watermark> {
        self.seen(namespace)
    }
    /// What an earlier process saw. An older state, or another epoch, is noticed: if this process has seen nothing yet it
    /// loses nothing, so the store goes on from what is there, and says so in [`notices`](Self::notices).
    fn expect(&self, _: &Namespace, _: Watermark) {}
    /// That the namespace went back, and this process went on from what was there.
    fn loss(&self, _: &Namespace) -> Option<Loss> {
        None
    }
    /// A thread of this process stands still for ever in the middle of a step: gives back what it keeps from others. From
    /// now on every step of this process is an error.
    fn abandon(&self) {}
    /// Looks at all that the store depends on, for `flowlock doctor`: what it lies on or who serves it, who else may change
    /// it, whether it keeps what it is told. Default: nothing. A finding says what to do if something is not as it should be.
    ///
    /// It waits for others within the limits, or once more for as long as a step of the store may wait; that something did
    /// not answer in time is a finding too.
    fn examine(&self, _: &Namespace, _: &Limits) -> Vec<Finding> {
        Vec::new()
    }
    /// Takes what the store has to tell people since the last call, a sentence each: that it went back, which recent
    /// commits are missing.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Which processes can use a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This one alone: it is gone with it.
    Process,
    /// Those of one host, whose clock it goes by.
    Host,
    /// Those of many hosts: a server has it, which goes by its own clock.
    Hosts,
}

/// The directory a file lies in.
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
    /// Runs of the client that something happened to.
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
    /// More were sent to this client than its inbox had room for.
    Here,
    /// All clients may have missed some: the server was away, or another one took over.
    Everywhere,
}

/// A client's inbox.
pub trait Inbox: Debug + Send {
    /// Waits for news, at most so long.
    fn wait(&mut self, at_most: Duration) -> News;
    /// A handle that ends a wait from another thread.
    fn interrupter(&self) -> Box<dyn InboxInterrupter>;
}

/// Ends an inbox's wait.
pub trait InboxInterrupter: Debug + Send + Sync {
    /// Ends the wait that is under way, or the next one.
    fn interrupt(&self);
}

/// A liveness lock, held until it is dropped or every process that has the descriptor has ended.
#[derive(Debug)]
pub struct LivenessLock {
    /// Its number, as it stands in the store.
    pub liveness: LivenessId,
    /// The locked descriptor, close-on-exec; none in stores that keep liveness in memory.
    pub descriptor: Option<OwnedFd>,
}
