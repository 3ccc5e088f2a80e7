//! Exit codes and last messages: the one place where outcomes become what a shell sees.

use std::error::Error as _;
use std::fmt;
use std::io;

use flowlock::store::StoreErrorKind;
use flowlock::{Blocked, Blocker, BlockerKind, Error, InvalidText, JobName, RecordState, RunId};

use crate::child::CannotStart;
use crate::dates::BadDate;
use crate::json::{self, BlockerJson};

/// All went well.
pub(crate) const OK: u8 = 0;
/// A check found that something is missing.
pub(crate) const NO: u8 = 1;
/// Wrong usage.
pub(crate) const USAGE: u8 = 64;
/// An input had no record at the deadline.
pub(crate) const NO_INPUT: u8 = 66;
/// The store could not be reached.
pub(crate) const UNREACHABLE: u8 = 69;
/// Already written, and not to be overwritten.
pub(crate) const EXISTS: u8 = 73;
/// The store is full or damaged.
pub(crate) const STORE: u8 = 74;
/// Busy until the deadline.
pub(crate) const BUSY: u8 = 75;
/// A commit was sent and its outcome is unknown.
pub(crate) const UNKNOWN: u8 = 76;
/// Configuration.
pub(crate) const CONFIG: u8 = 78;
/// The names were lost.
pub(crate) const LOST: u8 = 79;
/// An internal failure.
pub(crate) const INTERNAL: u8 = 125;
/// The command cannot be executed.
pub(crate) const NOT_EXECUTABLE: u8 = 126;
/// The command was not found.
pub(crate) const NOT_FOUND: u8 = 127;
/// The reader of the output has gone away: as if ended by SIGPIPE.
const PIPE: u8 = 141;

/// Why a command did not do what was asked.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) code: u8,
    /// One word for programs, as in `--json-result`.
    pub(crate) outcome: &'static str,
    /// The message; empty for none.
    pub(crate) message: String,
    /// Further messages, a line each.
    pub(crate) details: Vec<String>,
    /// What was in the way.
    pub(crate) blockers: Vec<BlockerJson>,
    /// A run that may exist: its fate is unknown.
    pub(crate) run: Option<Box<RunId>>,
}

impl Failure {
    /// Creates a failure with this message.
    pub(crate) fn new(code: u8, outcome: &'static str, message: impl Into<String>) -> Self {
        Self { code, outcome, message: message.into(), details: Vec::new(), blockers: Vec::new(), run: None }
    }

    /// Wrong usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(USAGE, "usage", message)
    }

    /// Creates the failure of a try of `job` that was blocked.
    pub(crate) fn blocked(job: &JobName, blocked: &Blocked) -> Self {
        let exists = blocked.by.iter().any(|blocker| blocker.kind == BlockerKind::OutputExists);
        let (code, outcome) = match () {
            () if exists => (EXISTS, "output_exists"),
            () if misses_input(blocked) => (NO_INPUT, "input_missing"),
            () => (BUSY, "busy"),
        };
        Self::new(code, outcome, format!("{job} was not started: {}", blocked.summary())).because(blocked)
    }

    /// Adds everything that was in the way.
    #[must_use]
    pub(crate) fn because(mut self, blocked: &Blocked) -> Self {
        self.details.extend(blocked.by.iter().skip(1).map(ToString::to_string));
        self.blockers = json::blockers(Some(blocked));
        self
    }

    /// Creates the failure for something unexpected.
    pub(crate) fn internal(doing: &str, error: &dyn fmt::Display) -> Self {
        Self::new(INTERNAL, "internal", format!("cannot {doing}: {error}"))
    }

    /// Adds which store was asked, in which namespace, by whom.
    #[must_use]
    pub(crate) fn at(mut self, place: &StoreAddress) -> Self {
        if !self.message.is_empty() {
            self.message = format!("{} ({place})", self.message);
        }
        self
    }
}

/// Which store was asked, in which namespace, by whom.
#[derive(Debug, Clone)]
pub(crate) struct StoreAddress {
    /// The store's URL, without secrets.
    pub(crate) store: String,
    /// The namespace.
    pub(crate) namespace: String,
}

impl fmt::Display for StoreAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, namespace } = self;
        let (store, namespace) = (crate::terminal::shown(store), crate::terminal::shown(namespace));
        write!(f, "store {store}, namespace {namespace}, user id {}", nix::unistd::getuid())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let (code, outcome) = meaning(&error);
        let mut failure = Self::new(code, outcome, error.to_string());
        if let Some(blocked) = blocked(&error) {
            failure = failure.because(blocked);
        }
        let cause = match &error {
            Error::Store(store) => store.source().map(ToString::to_string),
            // Its own message does not say why the store did not answer.
            Error::Unknown { source, .. } => {
                Some(source.source().map_or_else(|| source.to_string(), ToString::to_string))
            }
            _ => None,
        };
        failure.details.extend(
            cause
                .filter(|cause| !failure.message.contains(cause))
                .map(|cause| format!("cause: {}", beginning(&cause))),
        );
        failure
    }
}

/// Returns the beginning of a cause that is shown: users who may write the store may have influenced it.
fn beginning(cause: &str) -> &str {
    const MOST: usize = 500;
    &cause[..cause.floor_char_boundary(MOST)]
}

/// Returns an error's exit code, and its word for programs.
fn meaning(error: &Error) -> (u8, &'static str) {
    match error {
        Error::InvalidText(_) | Error::InvalidClaims(_) | Error::InvalidRequest { .. } => (USAGE, "usage"),
        Error::Configuration(_) => (CONFIG, "configuration"),
        Error::TimedOut { blocked, .. } if misses_input(blocked) => (NO_INPUT, "input_missing"),
        Error::TimedOut { .. }
        | Error::PlaceEnded { .. }
        | Error::Held { .. }
        | Error::RunIdInUse { .. }
        | Error::NamespaceInUse { .. } => (BUSY, "busy"),
        Error::Deadlock { .. } => (BUSY, "deadlock"),
        Error::Cancelled { .. } => (BUSY, "cancelled"),
        Error::OutputExists { .. } => (EXISTS, "output_exists"),
        Error::Lost { .. } => (LOST, "lost"),
        Error::NoSuchRun { .. } => (LOST, "unknown_run"),
        Error::Over { .. } => (LOST, "over"),
        Error::Lapsed { .. } => (LOST, "lapsed"),
        Error::NotBegun { .. } => (LOST, "not_begun"),
        Error::Unknown { .. } => (UNKNOWN, "unknown"),
        Error::Store(error) => match error.kind() {
            StoreErrorKind::Full | StoreErrorKind::Damaged | StoreErrorKind::Replaced => {
                (STORE, "store_failed")
            }
            StoreErrorKind::Unusable => (CONFIG, "configuration"),
            _ => (UNREACHABLE, "store_unreachable"),
        },
        _ => (INTERNAL, "internal"),
    }
}

/// Returns whether an input had no live record when the wait ended.
fn misses_input(blocked: &Blocked) -> bool {
    let missing = |blocker: &Blocker| match blocker.kind {
        BlockerKind::InputMissing | BlockerKind::InputIncomplete => true,
        // The record's evidence is there if it is not live.
        BlockerKind::InputBeingWritten => blocker.record.is_some(),
        _ => false,
    };
    blocked.by.iter().any(missing)
}

pub(crate) fn blocked(error: &Error) -> Option<&Blocked> {
    match error {
        Error::TimedOut { blocked, .. }
        | Error::OutputExists { blocked, .. }
        | Error::Deadlock { blocked, .. }
        | Error::Held { blocked } => Some(blocked),
        _ => None,
    }
}

/// Returns the inputs that were never written: their names may be misspelt.
pub(crate) fn unknown_inputs(blocked: &Blocked) -> impl Iterator<Item = &str> {
    let unknown = |blocker: &&Blocker| {
        let never = blocker.record.as_ref().is_none_or(|record| record.state == RecordState::NeverWritten);
        blocker.kind == BlockerKind::InputMissing && never && blocker.by.is_none()
    };
    blocked.by.iter().filter(unknown).map(|blocker| blocker.name.as_str())
}

impl From<InvalidText> for Failure {
    fn from(error: InvalidText) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<BadDate> for Failure {
    fn from(BadDate(problem): BadDate) -> Self {
        Self::usage(problem)
    }
}

impl From<io::Error> for Failure {
    /// For errors of our own output; all others say what they were doing.
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(PIPE, "output_closed", ""),
            _ => Self::internal("write the output", &error),
        }
    }
}

impl Failure {
    /// Creates the failure of a command that could not be started.
    pub(crate) fn cannot_start(command: &std::ffi::OsStr, problem: &CannotStart) -> Self {
        let command = command.to_string_lossy();
        let shown = crate::terminal::shown(&flowlock::store::misplaced(&command));
        match problem {
            CannotStart::NotFound(error) => {
                let hint = if command.contains("://") { "; a store's URL is given with --store" } else { "" };
                Self::new(NOT_FOUND, "not_found", format!("cannot find {shown}: {error}{hint}"))
            }
            CannotStart::NotExecutable(error) => {
                Self::new(NOT_EXECUTABLE, "not_executable", format!("cannot execute {shown}: {error}"))
            }
        }
    }
}
