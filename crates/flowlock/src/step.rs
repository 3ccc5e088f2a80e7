//! What a client asks a store and what it answers: one [`Step`] in, one [`Answer`] out.

mod answer;

use std::sync::Arc;

pub use self::answer::{Answer, Cancelled, Finished, InUse, Invalid, Refreshed, Running, Standing, Waiting};
use crate::id::{Attempt, ClientId, Nonce, Ticket, Token};
use crate::name::{Name, RunId};
use crate::origin::{Holder, Origin};
use crate::run::Run;
use crate::spec::Spec;

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
