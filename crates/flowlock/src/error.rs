//! What can go wrong for a caller, grouped by what the caller can do about it.

use std::time::Duration;

use crate::blocker::Blocked;
use crate::claim::InvalidClaims;
use crate::name::{JobName, Namespace, RunId};
use crate::parent::InvalidProof;
use crate::run::{LostBy, Outcome};
use crate::spelling::InvalidText;
use crate::step::InUse;
use crate::store::StoreError;
use crate::text::show;

/// Everything that can go wrong. Busy is not an error but an answer:
/// [`Acquired::Blocked`](crate::Acquired).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A text is not a valid name, job, run id or namespace.
    #[error(transparent)]
    InvalidText(#[from] InvalidText),
    /// The claims cannot be one request.
    #[error(transparent)]
    InvalidClaims(#[from] InvalidClaims),
    /// Another part of the request is outside its limits.
    #[error("invalid {what}: {problem}")]
    InvalidRequest {
        /// The part of the request.
        what: &'static str,
        /// What is wrong with it, and the limit.
        problem: String,
    },
    /// The store's URL, or the configuration that names it, cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The wait ended before all claims were free.
    #[error("{job} did not start within {}: {}", show(waited), blocked.summary())]
    TimedOut {
        /// The job.
        job: JobName,
        /// How long the job waited.
        waited: Duration,
        /// What was in the way when the wait ended.
        blocked: Box<Blocked>,
    },
    /// The run came back after the place that it held in the queue had ended. Its secret cannot be used
    /// again; a request with a new secret may follow at once, and begins at the end of the queue.
    #[error(
        "{job} lost its place in the queue: run {run} came back after its place had ended; try again with a new secret to get a new place"
    )]
    PlaceEnded {
        /// The job.
        job: JobName,
        /// The run.
        run: RunId,
    },
    /// An output is written already, and the request said not to overwrite it.
    #[error("{job} was not started: {}", blocked.summary())]
    OutputExists {
        /// The job.
        job: JobName,
        /// The outputs that are written, and by whom.
        blocked: Box<Blocked>,
    },
    /// The run would have waited for its own ancestor, which waits for it.
    #[error("{job} would wait for ever, because it is part of the run it waits for (deadlock): {}", blocked.summary())]
    Deadlock {
        /// The job.
        job: JobName,
        /// What the ancestors hold.
        blocked: Box<Blocked>,
    },
    /// The request was withdrawn before it ran.
    #[error("{run} was withdrawn before it began")]
    Cancelled {
        /// The run.
        run: RunId,
    },
    /// The run does not hold its names any more, as far as is known; nothing of it was recorded yet.
    #[error("{run} lost its names ({}); {}", by.as_str(), by.what_of_its_outputs())]
    Lost {
        /// The run.
        run: RunId,
        /// How it lost them.
        by: Lost,
    },
    /// The run's lease has ended, but no other run has needed its names yet. Until one does, a refresh
    /// renews the lease and a commit succeeds.
    #[error(
        "the lease of {run} has ended, but no other run has needed its names yet; until one does, a commit succeeds, and so does a refresh unless the run reached its longest run time"
    )]
    Lapsed {
        /// The run.
        run: RunId,
    },
    /// The run does not hold its names: it still waits for them, or has not accepted them.
    #[error("{run} does not hold its names yet: it is {state}")]
    NotBegun {
        /// The run.
        run: RunId,
        /// The run's state.
        state: &'static str,
    },
    /// Another attempt with the same run id is alive.
    #[error(
        "run id {run} is in use by another attempt that is still alive; wait for its end or choose another id"
    )]
    RunIdInUse {
        /// The run id.
        run: RunId,
    },
    /// There is no such run that can be operated.
    #[error(
        "no run {run} that can be operated by its id alone: it is unknown, forgotten, or not detached (`flowlock start`)"
    )]
    NoSuchRun {
        /// The run id.
        run: RunId,
    },
    /// The run has already ended, in another way than requested.
    #[error("{run} is over: {outcome}")]
    Over {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: &'static str,
    },
    /// Another run holds the names.
    #[error("{}", blocked.summary())]
    Held {
        /// The names, and the run that holds them.
        blocked: Box<Blocked>,
    },
    /// The namespace that was to be removed is not empty.
    #[error("namespace {namespace} is not empty: {why}")]
    NamespaceInUse {
        /// The namespace.
        namespace: Namespace,
        /// What is in it.
        why: InUse,
    },
    /// It is unknown whether the outputs are written: the store did not answer in time.
    #[error("the outcome of {run} is unknown: the store did not answer within {}", show(waited))]
    Unknown {
        /// The run.
        run: RunId,
        /// How long the store was asked.
        waited: Duration,
        /// The last error.
        #[source]
        source: StoreError,
    },
    /// The store could not do what it was asked to do.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<InvalidProof> for Error {
    fn from(error: InvalidProof) -> Self {
        Self::InvalidRequest { what: "proof of the parent", problem: error.to_string() }
    }
}

/// How a grant ended although its holder did not end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lost {
    /// The process's own clock says that the lease has ended, or the run reached its longest run time.
    Expired,
    /// The lease ended because the store did not answer the renewal: it is unknown whether the claims
    /// are lost.
    Unreachable,
    /// The store says that the claims are lost.
    By(LostBy),
    /// Another or an older store is in the place of the one that granted the claims.
    WithTheStore,
    /// Another process committed, failed or gave back the run, by its id.
    Ended,
}

impl Lost {
    /// Returns how the claims were lost, in words for a message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unreachable => "expired: the store did not answer in time",
            Self::WithTheStore => "the store was replaced by another or an older one",
            Self::Ended => "ended: another process committed or failed it by its id",
            Self::By(LostBy::Taken) => "taken: its lease had ended and another run needed its names",
            Self::By(LostBy::Died) => {
                "died: its process was gone, or it did not come back in time after its lease"
            }
            Self::By(LostBy::Broken) => "unlocked by hand",
        }
    }
}

impl Lost {
    /// Says what is known of the outputs. The end of a lease alone says nothing yet: a commit asks
    /// whether another run needed the names.
    fn what_of_its_outputs(self) -> &'static str {
        match self {
            Self::Expired | Self::Unreachable => {
                "others may have its names by now; a commit succeeds only if no other run needed them"
            }
            Self::By(_) | Self::WithTheStore => "its outputs are not recorded as written",
            Self::Ended => "its outputs are as that process left them",
        }
    }
}

/// Returns the error for a run that ended before it began, after it waited for some time.
pub(crate) fn refusal(
    job: &JobName,
    run: &RunId,
    outcome: Outcome,
    blocked: Option<Blocked>,
    waited: Duration,
) -> Error {
    let (job, run) = (job.clone(), run.clone());
    let blocked = Box::new(blocked.unwrap_or_else(Blocked::nothing));
    match outcome {
        Outcome::RefusedOutputExists => Error::OutputExists { job, blocked },
        Outcome::RefusedDeadlock => Error::Deadlock { job, blocked },
        Outcome::TimedOut | Outcome::RefusedBusy => Error::TimedOut { job, waited, blocked },
        Outcome::Cancelled => Error::Cancelled { run },
        Outcome::Lost(by) => Error::Lost { run, by: Lost::By(by) },
        Outcome::Committed | Outcome::Failed => Error::Over { run, outcome: outcome.as_str() },
    }
}
