//! What can go wrong for a caller, by what the caller can do about it.

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

/// Everything that can go wrong. Busy is not among it: that is an answer, [`Acquired::Blocked`](crate::Acquired).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name, job, run id or namespace is not one.
    #[error(transparent)]
    InvalidText(#[from] InvalidText),
    /// The claims do not make one request.
    #[error(transparent)]
    InvalidClaims(#[from] InvalidClaims),
    /// Another part of the request is out of its limits.
    #[error("invalid {what}: {problem}")]
    InvalidRequest {
        /// Which part.
        what: &'static str,
        /// What is wrong, with the limit.
        problem: String,
    },
    /// The store's URL, or the configuration that names it, cannot be used.
    #[error("{0}")]
    Configuration(String),
    /// The wait was over before all claims were free.
    #[error("{job} did not start within {}: {}", show(waited), blocked.summary())]
    TimedOut {
        /// The job.
        job: JobName,
        /// How long it waited.
        waited: Duration,
        /// What was in the way at the end.
        blocked: Box<Blocked>,
    },
    /// The place that the run held was over before it came back, and its id and secret with it: a try with a new secret
    /// may follow at once, and begins at the end of the line.
    #[error(
        "{job} lost its place in line: run {run} came back after the place it held had ended; try again at once with a new secret, for a new place"
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
        /// Which outputs, written by whom.
        blocked: Box<Blocked>,
    },
    /// It would have waited for its own ancestor, which waits for it.
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
    /// The run does not hold its names any more, as far as can be told; nothing it did was recorded yet.
    #[error("{run} lost its names ({}); {}", by.as_str(), by.what_of_its_outputs())]
    Lost {
        /// The run.
        run: RunId,
        /// How.
        by: Lost,
    },
    /// The run's lease is over, and nobody has needed its names so far. Until somebody does, a refresh renews it and a
    /// commit succeeds.
    #[error(
        "the lease of {run} is over, and nobody has needed its names so far; until somebody does, a commit succeeds, and so does a refresh unless it ran as long as it may"
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
        /// Where it stands.
        state: &'static str,
    },
    /// Another attempt lives under the same run id.
    #[error(
        "run id {run} is in use by another attempt that is still alive; wait for its end or choose another id"
    )]
    RunIdInUse {
        /// The run id.
        run: RunId,
    },
    /// No such run can be operated.
    #[error(
        "no run {run} that can be operated by its id alone: it is unknown, forgotten, or not detached (`flowlock start`)"
    )]
    NoSuchRun {
        /// The run id.
        run: RunId,
    },
    /// The run is over already, in another way than asked for.
    #[error("{run} is over: {outcome}")]
    Over {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: &'static str,
    },
    /// Somebody holds the names.
    #[error("{}", blocked.summary())]
    Held {
        /// Who.
        blocked: Box<Blocked>,
    },
    /// Something is in the namespace that was to be removed.
    #[error("namespace {namespace} is not empty: {why}")]
    NamespaceInUse {
        /// The namespace.
        namespace: Namespace,
        /// What.
        why: InUse,
    },
    /// Whether the outputs are written is not known: the store did not answer in time.
    #[error("the outcome of {run} is unknown: the store did not answer within {}", show(waited))]
    Unknown {
        /// The run.
        run: RunId,
        /// How long it was asked.
        waited: Duration,
        /// The last error.
        #[source]
        source: StoreError,
    },
    /// The store cannot do its part.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<InvalidProof> for Error {
    fn from(error: InvalidProof) -> Self {
        Self::InvalidRequest { what: "proof of the parent", problem: error.to_string() }
    }
}

/// How a grant ended without its holder's doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lost {
    /// Its own clock says that the lease is over, or it ran as long as it may.
    Expired,
    /// The same, because the store was asked to renew it and did not answer: nobody knows whether the claims are gone.
    Unreachable,
    /// The store says that its claims are gone.
    By(LostBy),
    /// Another or an older store lies in the place of the one that granted it.
    WithTheStore,
    /// Somebody else with its id ended the run: committed, failed or gave it back.
    Ended,
}

impl Lost {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Unreachable => "expired: the store did not answer in time",
            Self::WithTheStore => "another or an older store is in its place",
            Self::Ended => "ended: somebody else with its id committed or failed it",
            Self::By(LostBy::Taken) => "taken: its lease was over and another run needed its names",
            Self::By(LostBy::Died) => {
                "died: its process was gone, or it did not come back in time after its lease"
            }
            Self::By(LostBy::Broken) => "unlocked by hand",
        }
    }
}

impl Lost {
    /// What is known of the outputs. That a lease is over says nothing yet: a commit asks whether anybody needed the names.
    fn what_of_its_outputs(self) -> &'static str {
        match self {
            Self::Expired | Self::Unreachable => {
                "others may have its names by now; a commit succeeds only if nobody needed them"
            }
            Self::By(_) | Self::WithTheStore => "its outputs are not recorded as written",
            Self::Ended => "its outputs are as that left them",
        }
    }
}

/// A run that ended before it began, and after it waited so long, as an error.
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
