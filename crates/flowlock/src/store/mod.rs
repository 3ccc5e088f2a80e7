//! Where runs, records and queues are kept: the [`Store`] trait and its contract.

pub(crate) mod limits;
pub mod memory;
mod open;
pub(crate) mod pages;
#[cfg(any(feature = "redis", feature = "sqlite"))]
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

pub use self::limits::Limits;
pub(crate) use self::open::open;
pub use self::shown::{misplaced, without_password};
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
    fn new_life(&self) -> Result<Option<LivenessLock>, StoreError>;
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
    /// Takes what the store has to tell people since the last call, a sentence each: that it went back, which recent
    /// commits are missing.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }
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

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is, in a word or two.
    pub what: &'static str,
    /// Whether it is as it should be.
    pub is_good: bool,
    /// How it is; if it is not as it should be, what may come of that and what to do.
    pub found: String,
}

#[cfg(any(feature = "redis", feature = "sqlite"))]
impl Finding {
    pub(crate) fn good(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, is_good: true, found: found.into() }
    }

    pub(crate) fn bad(what: &'static str, found: impl Into<String>) -> Self {
        Self { what, is_good: false, found: found.into() }
    }
}

/// Why a step could not be carried out.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct StoreError {
    kind: StoreErrorKind,
    message: String,
    /// All the time there was went into this try: another one would only begin anew.
    out_of_time: bool,
    /// It is an answer that could not be read.
    is_garbled: bool,
    #[source]
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What kind of trouble a store has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// It could not be reached, or did not answer in time.
    Unreachable,
    /// The step may or may not have taken effect; asking again tells.
    Unknown,
    /// No space is left, or writing failed.
    Full,
    /// Its content contradicts itself, or is not what it was.
    Damaged,
    /// Another or an older content lies in its place than this process has seen: what was held is lost.
    Replaced,
    /// Fewer replicas had a grant in time than its durability asks for; it was given back.
    NotReplicated,
    /// It is not a flowlock store, is of a newer kind, lies on a network file system, is shared by two
    /// hosts, or may not be opened.
    Unusable,
}

impl StoreError {
    /// An error of a kind, with a message that names the thing, the limit and what to do.
    pub fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), out_of_time: false, is_garbled: false, source: None }
    }

    /// The caller's time was up before anything was done.
    #[must_use]
    pub(crate) fn out_of_time(mut self) -> Self {
        self.out_of_time = true;
        self
    }

    /// Whether the caller's time was up before anything was done.
    pub(crate) fn is_out_of_time(&self) -> bool {
        self.out_of_time
    }

    /// The answer could not be read.
    #[must_use]
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "other stores answer in this process"))]
    pub(crate) fn garbled(mut self) -> Self {
        self.is_garbled = true;
        self
    }

    /// What it means for a step that was sent: the answer may be to another question, and whether the step counts is not
    /// known.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "other stores answer in this process"))]
    pub(crate) fn unknown_if_garbled(self) -> Self {
        if !self.is_garbled {
            return self;
        }
        let message = format!("{self}; whether the step counts is unknown until the store is asked again");
        Self::new(StoreErrorKind::Unknown, message).caused_by(self)
    }

    /// With the error that caused it.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What kind of trouble it is.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the step may have taken effect nevertheless.
    pub fn is_unknown(&self) -> bool {
        self.kind == StoreErrorKind::Unknown
    }

    /// Whether trying the same step again later can help.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unreachable | StoreErrorKind::Unknown | StoreErrorKind::Full)
    }

    /// The same trouble after a try whose fate is not known.
    pub(crate) fn into_unknown(self) -> Self {
        if self.is_unknown() {
            return self;
        }
        let message = format!("{self}; whether an earlier try of the same step counts is unknown");
        Self::new(StoreErrorKind::Unknown, message).caused_by(self)
    }

    pub(crate) fn damaged(what: impl Into<String>) -> Self {
        let what = what.into();
        Self::new(
            StoreErrorKind::Damaged,
            format!("the store contradicts itself: {what}; see `flowlock doctor`"),
        )
    }

    /// Whose clock it is that says so: `the server's`, `this machine's`.
    pub(crate) fn wrong_clock(whose: &str, wall_us: i64) -> Self {
        let said = crate::shown_time(wall_us);
        let message = format!(
            "{whose} clock says {said}, and no time before 1970 or after 2199 is used; set it (NTP does) and try again; \
             nothing was changed"
        );
        Self::new(StoreErrorKind::Unusable, message)
    }

    pub(crate) fn two_hosts(last_wall_us: i64, booted_us: i64) -> Self {
        let ago = (last_wall_us - booted_us) / 1_000_000;
        Self::new(
            StoreErrorKind::Unusable,
            format!(
                "the store was written by another boot of a machine {ago} s after this machine booted: two hosts share \
                 the file, which the embedded store does not support; give each host its own file, or use one server for all"
            ),
        )
    }
}
