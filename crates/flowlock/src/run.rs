//! A run: what it asked for, who holds it, and where it stands.

use std::sync::Arc;

use crate::claim::Space;
use crate::id::{Attempt, Ticket, Token};
use crate::name::Name;
use crate::origin::{Actor, Holder};
use crate::spec::Spec;

/// After how long an absent run that would wait for ever is given up.
pub(crate) const ABANDONED_AFTER_MS: i64 = 600_000;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An input has no live record; the run reserves nothing.
    AwaitingInput,
    /// All inputs are there, something else is in the way.
    Queued,
    /// Handed over, not yet claimed by its process.
    Granted,
    /// Its process holds all claims.
    Running,
    /// Over.
    Ended(Outcome),
}

impl State {
    /// Whether it waits.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::AwaitingInput | Self::Queued)
    }
    /// Whether it holds its claims.
    pub fn is_holding(self) -> bool {
        matches!(self, Self::Granted | Self::Running)
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It succeeded, and its outputs are written.
    Committed,
    /// It failed; nothing was written.
    Failed,
    /// It lost its names; nothing was written.
    Lost(LostBy),
    /// It never ran: an output is written already.
    RefusedOutputExists,
    /// It never ran: it would have waited for its own ancestor.
    RefusedDeadlock,
    /// It never ran: the way was not free and it was only a try.
    RefusedBusy,
    /// It was withdrawn before it ran.
    Cancelled,
    /// Its wait ended first.
    TimedOut,
}

/// How claims were lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostBy {
    /// Its lease was over and somebody who needed its names was granted.
    Taken,
    /// Its process died.
    Died,
    /// Somebody unlocked it.
    Broken,
}

impl Outcome {
    /// All outcomes, with the word each has in stores, JSON and messages.
    const WORDS: [(Self, &'static str); 10] = [
        (Self::Committed, "committed"),
        (Self::Failed, "failed"),
        (Self::Lost(LostBy::Taken), "lost(taken)"),
        (Self::Lost(LostBy::Died), "lost(died)"),
        (Self::Lost(LostBy::Broken), "lost(broken)"),
        (Self::RefusedOutputExists, "refused(output_exists)"),
        (Self::RefusedDeadlock, "refused(deadlock)"),
        (Self::RefusedBusy, "refused(busy)"),
        (Self::Cancelled, "cancelled"),
        (Self::TimedOut, "timed_out"),
    ];

    /// The word for it, e.g. `lost(taken)`.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(o, _)| *o == self).map_or("", |(_, w)| w)
    }

    /// Whether it can be the end of a run that held its claims. Where it cannot, and they were held, the store is older than
    /// their grant.
    pub(crate) fn follows_a_grant(self) -> bool {
        matches!(self, Self::Committed | Self::Failed | Self::Lost(_))
    }

    /// The outcome a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, w)| *w == word).map(|(o, _)| *o)
    }
}

impl State {
    /// The word for it, e.g. `awaiting_input`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingInput => "awaiting_input",
            Self::Queued => "queued",
            Self::Granted => "granted",
            Self::Running => "running",
            Self::Ended(outcome) => outcome.as_str(),
        }
    }

    /// Whether a run that held its claims can be in it; as [`Outcome::follows_a_grant`].
    pub(crate) fn follows_a_grant(self) -> bool {
        match self {
            Self::AwaitingInput | Self::Queued | Self::Granted => false,
            Self::Running => true,
            Self::Ended(outcome) => outcome.follows_a_grant(),
        }
    }

    /// The state a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "awaiting_input" => Self::AwaitingInput,
            "queued" => Self::Queued,
            "granted" => Self::Granted,
            "running" => Self::Running,
            other => Self::Ended(Outcome::from_word(other)?),
        })
    }
}

/// Where a run can be parked or stand in line: a name in one of the claim spaces, or its record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// A claim space, or none for the record of a data name.
    pub space: Option<Space>,
    /// The name.
    pub name: Name,
}

impl Resource {
    /// The name within a claim space.
    pub fn of(space: Space, name: &Name) -> Self {
        Self { space: Some(space), name: name.clone() }
    }

    /// The record of a data name.
    pub fn record(name: &Name) -> Self {
        Self { space: None, name: name.clone() }
    }

    /// One text for it, injective: a letter for the space, then the name.
    pub fn key(&self) -> String {
        let letter = match self.space {
            Some(Space::Data) => 'd',
            Some(Space::Lock) => 'l',
            Some(Space::Slot) => 's',
            None => 'r',
        };
        format!("{letter}{}", self.name.as_str())
    }

    /// The place a text stands for.
    pub fn from_key(key: &str) -> Option<Self> {
        let (letter, name) = key.split_at_checked(1)?;
        let space = match letter {
            "d" => Some(Space::Data),
            "l" => Some(Space::Lock),
            "s" => Some(Space::Slot),
            "r" => None,
            _ => return None,
        };
        Some(Self { space, name: Name::parse(name).ok()? })
    }
}

/// What a row of runs stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// A run.
    Run,
    /// An attempt that was cancelled before it was seen: should it still arrive, it is not granted. What it would have asked
    /// for is not known.
    Tombstone,
}

/// A run as a store keeps it.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own, in any combination
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whether it is one.
    pub(crate) kind: RowKind,
    /// Its place in the order of arrival.
    pub ticket: Ticket,
    /// Its id and nonce.
    pub attempt: Attempt,
    /// What it asked for.
    pub spec: Arc<Spec>,
    /// The chain of running parents when it arrived, nearest last.
    pub ancestors: Arc<[Ticket]>,
    /// Who it belongs to.
    pub holder: Holder,
    /// Where it stands.
    pub state: State,
    /// False while its process was silent too long: it keeps its ticket and reserves nothing.
    pub present: bool,
    /// Whether it stands in the queues of its names.
    pub in_line: bool,
    /// Its deadline passed and nobody has needed its names yet.
    pub lapsed: bool,
    /// Unlocked, not yet acknowledged: it holds and blocks but can neither refresh nor commit.
    pub revoked: bool,
    /// It has no process: it is operated by its run id alone and lives by its lease.
    pub detached: bool,
    /// Its latest grant's fencing token.
    pub token: Option<Token>,
    /// When its lease, or the time to claim its grant, ends (boot clock).
    pub deadline_ms: Option<i64>,
    /// When it began to run (boot clock).
    pub began_ms: Option<i64>,
    /// When its wait ends (boot clock); none: it waits for ever, or does not wait.
    pub wait_end_ms: Option<i64>,
    /// When its held place ends (boot clock); none: it holds no place.
    pub place_end_ms: Option<i64>,
    /// When its process was found silent (boot clock).
    pub absent_since_ms: Option<i64>,
    /// When it ends by itself, if it is lapsed and nobody needed its names by then (boot clock).
    pub given_up_ms: Option<i64>,
    /// Who unlocked it, broke it off, or ended it by its id alone.
    pub actor: Option<Actor>,
    /// When its outcome may be forgotten (boot clock).
    pub forget_ms: Option<i64>,
    /// When it reached its state (wall clock).
    pub since_us: i64,
    /// The versions of its inputs at the grant, in the order of its claims.
    pub input_versions: Vec<Token>,
    /// The one obstacle it waits at.
    pub parked: Option<Resource>,
}

impl Run {
    /// When something about it falls due (boot clock): its lease, its claim limit, the end of its wait, its end if it is
    /// lapsed and nobody needs its names.
    pub fn due_ms(&self) -> Option<i64> {
        match self.state {
            State::Granted | State::Running if self.lapsed => self.given_up_ms,
            State::Granted | State::Running => self.deadline_ms,
            State::Ended(_) => None,
            State::AwaitingInput | State::Queued => {
                let abandoned = self.absent_since_ms.map(|ms| ms + ABANDONED_AFTER_MS);
                // Who set a limit is awaited until then, silent or not.
                [self.wait_end_ms.or(abandoned), self.place_end_ms].into_iter().flatten().min()
            }
        }
    }

    /// Whether its wait, or its held place, is over.
    pub fn is_over(&self, boot_ms: i64) -> bool {
        [self.wait_end_ms, self.place_end_ms].into_iter().flatten().any(|end| end <= boot_ms)
    }

    /// Whether its deadline has passed, swept already or not.
    pub fn is_late(&self, boot_ms: i64) -> bool {
        self.lapsed || self.deadline_ms.is_some_and(|deadline| deadline <= boot_ms)
    }
}
