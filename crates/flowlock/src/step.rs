//! What a client asks a store and what it answers: one [`Step`] in, one [`Answer`] out.

use std::sync::Arc;

use crate::blocker::Blocked;
use crate::id::{Attempt, ClientId, Nonce, Ticket, Token};
use crate::name::{Name, RunId};
use crate::origin::{Holder, Origin};
use crate::record::Input;
use crate::run::{Outcome, Run, State};
use crate::spec::Spec;
use crate::world::LivenessId;

/// One atomic change of a namespace.
#[derive(Debug, Clone)]
pub enum Step {
    /// Requests claims. Repeated with the same attempt, it answers the attempt's current state.
    Acquire(Acquire),
    /// Accepts a grant that was handed to a waiting run, or brings a silent run back to its ticket.
    Accept {
        /// The run.
        attempt: Attempt,
        /// Its process.
        holder: Holder,
    },
    /// Restarts the leases of running runs, at most [`MOST_REFRESHED`]. Never revives a run that lost
    /// its names.
    Refresh(Vec<Who>),
    /// Ends a run successfully: writes all its outputs or none.
    Commit {
        /// The run.
        who: Who,
        /// A note for the records, at most 4 KiB.
        note: Option<String>,
    },
    /// Ends a run as failed: nothing is written.
    Fail(Who),
    /// Withdraws a run that has not begun. If the store has not seen the attempt, it keeps a tombstone.
    Cancel {
        /// The attempt.
        attempt: Attempt,
        /// The latest arrival of any acquire of this attempt that was sent (boot clock).
        latest_ms: i64,
    },
    /// Ends a run whose work has not begun, even if it holds its claims. It is withdrawn, which is not a
    /// failure, and a record that it made incomplete is live again.
    GiveBack(Attempt),
    /// A sign of life of a process that waits. The answer says where its runs stand: at most 1,000 of
    /// them.
    Heartbeat {
        /// The process.
        client: ClientId,
        /// The ticket to continue from, of an earlier answer; 0 for the first.
        from: Ticket,
        /// The waiting runs for which the answer also says what is in the way: at most 16.
        explain: Vec<RunId>,
    },
    /// Ends runs whose processes were found dead. The store checks that itself.
    Bury(Vec<Ticket>),
    /// Detaches a running run from its process.
    Detach(Attempt),
    /// Marks names written by hand.
    Create {
        /// The names.
        names: Vec<Name>,
        /// What the records say about their origin.
        spec: Arc<Spec>,
        /// The run id that the records name.
        run: RunId,
        /// A note for the records.
        note: Option<String>,
        /// What to do about holders.
        holders: Holders,
        /// Whether it is a repetition.
        sent: Sent,
        /// Who does it.
        by: Arc<Origin>,
    },
    /// Removes records by hand.
    Remove {
        /// The names.
        names: Vec<Name>,
        /// What to do about holders.
        holders: Holders,
        /// Whether it is a repetition.
        sent: Sent,
        /// Who does it.
        by: Arc<Origin>,
    },
    /// Revokes exactly one grant.
    Unlock {
        /// The run.
        run: RunId,
        /// Its token, so that a later grant of the same run is not affected.
        token: Token,
        /// Whether to wait for its acknowledgement.
        how: Unlock,
        /// Who does it.
        by: Arc<Origin>,
    },
    /// Removes the namespace, if it is empty.
    RemoveNamespace {
        /// Who does it.
        by: Arc<Origin>,
    },
}

impl Step {
    /// Returns who acts by hand, on runs and records that are not their own; this is recorded.
    pub(crate) fn actor(&self) -> Option<&Arc<Origin>> {
        match self {
            Self::Commit { who, .. } | Self::Fail(who) => who.by.as_ref(),
            Self::Create { by, .. }
            | Self::Remove { by, .. }
            | Self::Unlock { by, .. }
            | Self::RemoveNamespace { by } => Some(by),
            _ => None,
        }
    }

    /// Returns the waiting client for which this step is a sign of life.
    pub(crate) fn client(&self) -> Option<ClientId> {
        match self {
            Self::Acquire(request) => Some(request.holder.client),
            Self::Accept { holder, .. } => Some(holder.client),
            Self::Heartbeat { client, .. } => Some(*client),
            _ => None,
        }
    }
}

/// How many runs one step refreshes; a process with more runs sends several steps.
pub const MOST_REFRESHED: usize = 500;

/// A request for claims.
#[derive(Debug, Clone)]
pub struct Acquire {
    /// Which attempt this is.
    pub attempt: Attempt,
    /// What it asks for.
    pub spec: Arc<Spec>,
    /// The process it belongs to.
    pub holder: Holder,
    /// What to do if another run is in the way.
    pub patience: Patience,
    /// The latest time at which the store may accept it (boot clock of the store), at most five minutes
    /// ahead.
    pub latest_ms: i64,
}

/// What to do if another run is in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Refuse.
    Try,
    /// Refuse, and keep the place in the queue for this many milliseconds, at most 60,000.
    HoldPlace(u64),
    /// Wait up to this many milliseconds; for ever if `None`.
    Wait(Option<u64>),
}

/// Names a run: with its nonce, or by its id alone if it is detached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The run.
    pub run: RunId,
    /// The proof of ownership.
    pub nonce: Option<Nonce>,
    /// Who operates it by its id alone: recorded if that ends the run.
    pub by: Option<Arc<Origin>>,
}

impl From<&Attempt> for Who {
    fn from(attempt: &Attempt) -> Self {
        Self { run: attempt.id.clone(), nonce: Some(attempt.nonce), by: None }
    }
}

/// Whether [`Step::Create`] or [`Step::Remove`] is repeated because an answer was lost. The lost one may
/// have taken effect, and others may have written the records since then: theirs must stay.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Sent {
    /// No earlier one can have taken effect.
    #[default]
    First,
    /// An earlier one may have taken effect. Has, for each name, the version of its record before the
    /// first one, 0 if there was none. A name whose record has another version now is left as it is.
    Again(Vec<Token>),
}

/// What [`Step::Create`] and [`Step::Remove`] do about runs that hold the names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holders {
    /// Refuse.
    Respect,
    /// Unlock them at once.
    Break,
}

/// How [`Step::Unlock`] ends a running run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unlock {
    /// It may neither refresh nor commit; its names are free when it acknowledges, or when its lease
    /// ends.
    WhenAcknowledged,
    /// Its names are free now, even if its process still works.
    Now,
}

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
    /// It was handed its claims and must send [`Step::Accept`] before it begins.
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

/// A wake-up for a client. It is only a hint: the store's state counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wake {
    /// Whom to tell.
    pub(crate) client: ClientId,
    /// Which of its runs has news.
    pub(crate) run: RunId,
}

impl Wake {
    /// Creates a wake-up for the client of `run`.
    pub(crate) fn for_run(run: &Run) -> Self {
        Self { client: run.holder.client, run: run.attempt.id.clone() }
    }
}
