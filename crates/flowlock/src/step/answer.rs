//! What a store answers to a step.

use crate::blocker::Blocked;
use crate::id::{Ticket, Token};
use crate::name::RunId;
use crate::record::Input;
use crate::run::{Outcome, State};
use crate::world::LivenessId;

/// The answer to a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Where the run stands: the answer to acquire and accept.
    Standing(Standing),
    /// The answer to refresh, in the order asked.
    Refreshed(Vec<Refreshed>),
    /// The answer to commit and fail.
    Finished(Finished),
    /// The answer to cancel and give back.
    Cancelled(Cancelled),
    /// The answer to a heartbeat: the client's waiting and granted runs, by ticket.
    Heard {
        /// Where each stands.
        runs: Vec<(RunId, Standing)>,
        /// The ticket that the next page begins with, if there is one.
        next: Option<Ticket>,
    },
    /// The step was carried out: bury, detach, create, remove, unlock, remove the namespace.
    Done,
    /// The step was not carried out: a run holds the names, or older work comes first (`retry_after_ms`
    /// 0).
    Refused(Blocked),
    /// The namespace that was to be removed is not empty.
    InUse(InUse),
    /// No such run is alive with that id and nonce; no such record or namespace.
    NotFound,
    /// The request is invalid.
    Invalid(Invalid),
}

/// What keeps a namespace from being removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InUse {
    /// Runs that run or wait.
    Runs,
    /// Written records.
    Records,
    /// Runs that ended a short while ago.
    Outcomes {
        /// How much longer the last of them is kept, in milliseconds.
        remembered_ms: u64,
    },
}

impl std::fmt::Display for InUse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Runs => f.write_str("it has runs that run or wait"),
            Self::Records => f.write_str("it has written records"),
            Self::Outcomes { remembered_ms } => {
                let left = crate::text::show(&std::time::Duration::from_millis(*remembered_ms));
                write!(f, "the outcomes of its last runs are kept for {left} more")
            }
        }
    }
}

/// Why a request is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invalid {
    /// Another attempt with the same run id is alive.
    RunIdInUse,
    /// The same attempt was sent with a different body.
    RunIdReused,
    /// It arrived after its latest arrival.
    ArrivedTooLate,
    /// Its latest arrival is more than five minutes ahead.
    LatestTooFar,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// It waits.
    Waiting(Waiting),
    /// It waits. The heartbeat did not ask what is in the way: what was known of that remains valid.
    StillWaiting {
        /// [`State::AwaitingInput`] or [`State::Queued`].
        state: State,
        /// As in [`Waiting::present`].
        present: bool,
    },
    /// It was handed its claims and must send [`Step::Accept`](super::Step::Accept) before it begins.
    Granted {
        /// The grant's token.
        token: Token,
    },
    /// It holds its claims.
    Running(Running),
    /// It has ended, or was refused.
    Ended {
        /// How.
        outcome: Outcome,
        /// Why, if it was refused.
        blocked: Option<Blocked>,
    },
    /// Older work comes first: ask again at once.
    AskAgain,
}

/// A waiting run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// [`State::AwaitingInput`] or [`State::Queued`].
    pub state: State,
    /// False while it reserves nothing because its process was silent; acquire or accept revives it.
    pub present: bool,
    /// What is in the way.
    pub blocked: Blocked,
    /// The processes whose death would let it move up, for processes that can probe them.
    pub probe: Vec<(Ticket, LivenessId)>,
    /// In how many milliseconds to look again if nothing is heard: only for the oldest waiter of a name.
    pub look_again_ms: Option<u64>,
}

/// A running run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Running {
    /// The grant's fencing token.
    pub token: Token,
    /// What is left of its lease in milliseconds.
    pub lease_left_ms: i64,
    /// Its inputs, with versions and notes.
    pub inputs: Vec<Input>,
}

/// One run's part of an answer to refresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refreshed {
    /// Its lease is held for this many more milliseconds.
    Held {
        /// What is left of it.
        lease_left_ms: i64,
        /// Whether the deadline had passed; it succeeded because no other run needed its names.
        late: bool,
    },
    /// It reached its longest run time; the lease is not renewed any more.
    MaxRuntime {
        /// What is left of it.
        lease_left_ms: i64,
    },
    /// Older work comes first: ask again at once.
    AskAgain,
    /// It does not hold its claims (any more).
    Over(Outcome),
    /// It was handed its claims but has not accepted them, or it waits.
    NotRunning,
    /// No such run is known.
    NotFound,
}

/// The answer to commit and fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// It has ended in this way, now or by an earlier, equal step.
    Ended {
        /// How.
        outcome: Outcome,
        /// Whether its deadline had passed before.
        late: bool,
    },
    /// Older work comes first: ask again at once.
    AskAgain,
    /// It waits, or was handed its claims and has not accepted them.
    NotAccepted,
    /// No such run is known.
    NotFound,
}

/// The answer to cancel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// It never ran and never will.
    Withdrawn,
    /// It had begun or ended; this is its state.
    TooLate(State),
}
