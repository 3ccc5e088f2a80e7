//! A run: what it asked for, who holds it, and where it stands.

use std::sync::Arc;

use crate::claim::Space;
use crate::id::{Attempt, Ticket, Token};
use crate::name::Name;
use crate::origin::{Actor, Holder};
use crate::spec::Spec;

/// How long an absent run that would wait for ever is kept.
pub(crate) const ABANDONED_AFTER_MS: i64 = 600_000;

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// An input has no live record; the run reserves nothing.
    AwaitingInput,
    /// All inputs exist; something else is in the way.
    Queued,
    /// It was handed its claims; its process has not accepted them yet.
    Granted,
    /// Its process holds all claims.
    Running,
    /// It has ended.
    Ended(Outcome),
}

impl State {
    /// Returns whether it waits.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::AwaitingInput | Self::Queued)
    }
    /// Returns whether it holds its claims.
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
    /// It never ran: an output was already written.
    RefusedOutputExists,
    /// It never ran: it would have waited for its own ancestor.
    RefusedDeadlock,
    /// It never ran: another run was in the way, and it was only a try.
    RefusedBusy,
    /// It was withdrawn before it ran.
    Cancelled,
    /// Its wait ended first.
    TimedOut,
}

/// How a run lost its claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LostBy {
    /// Its lease had ended, and a run that needed its names was granted.
    Taken,
    /// Its process died.
    Died,
    /// A person unlocked it.
    Broken,
}

impl Outcome {
    /// All outcomes, with the word for each in stores, JSON and messages.
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

    /// Returns the word for it, such as `lost(taken)`.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(o, _)| *o == self).map_or("", |(_, w)| w)
    }

    /// Returns whether a run that held its claims can end in this way. If it cannot, but held its
    /// claims, the store is older than the grant.
    pub(crate) fn follows_a_grant(self) -> bool {
        matches!(self, Self::Committed | Self::Failed | Self::Lost(_))
    }

    /// Returns the outcome that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, w)| *w == word).map(|(o, _)| *o)
    }
}

impl State {
    /// Returns the word for it, such as `awaiting_input`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingInput => "awaiting_input",
            Self::Queued => "queued",
            Self::Granted => "granted",
            Self::Running => "running",
            Self::Ended(outcome) => outcome.as_str(),
        }
    }

    /// Returns whether a run that held its claims can be in this state; see
    /// [`Outcome::follows_a_grant`].
    pub(crate) fn follows_a_grant(self) -> bool {
        match self {
            Self::AwaitingInput | Self::Queued | Self::Granted => false,
            Self::Running => true,
            Self::Ended(outcome) => outcome.follows_a_grant(),
        }
    }

    /// Returns the state that a word stands for.
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

/// A place where a run can be parked or queued: a name in one of the claim spaces, or a record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Resource {
    /// A claim space, or `None` for the record of a data name.
    pub space: Option<Space>,
    /// The name.
    pub name: Name,
}

impl Resource {
    /// Returns the place of a name in a claim space.
    pub fn of(space: Space, name: &Name) -> Self {
        Self { space: Some(space), name: name.clone() }
    }

    /// Returns the place of the record of a data name.
    pub fn record(name: &Name) -> Self {
        Self { space: None, name: name.clone() }
    }

    /// Returns a unique text for it: a letter for the space, then the name.
    pub fn key(&self) -> String {
        let letter = match self.space {
            Some(Space::Data) => 'd',
            Some(Space::Lock) => 'l',
            Some(Space::Slot) => 's',
            None => 'r',
        };
        format!("{letter}{}", self.name.as_str())
    }

    /// Returns the place that a text stands for.
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

/// What kind of row a row of runs is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowKind {
    /// A run.
    Run,
    /// An attempt that was cancelled before the store saw it: if its request still arrives, it is not
    /// granted. What it asked for is unknown.
    Tombstone,
}

/// A run as a store keeps it.
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own, in any combination
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Whether it is a run or a tombstone.
    pub(crate) kind: RowKind,
    /// Its number in the order of arrival.
    pub ticket: Ticket,
    /// Its id and nonce.
    pub attempt: Attempt,
    /// What it asked for.
    pub spec: Arc<Spec>,
    /// The chain of running parents when it arrived, the nearest last.
    pub ancestors: Arc<[Ticket]>,
    /// Who it belongs to.
    pub holder: Holder,
    /// Where it stands.
    pub state: State,
    /// False while its process is silent: it keeps its ticket and reserves nothing.
    pub present: bool,
    /// Whether it is in the queues of its names.
    pub in_line: bool,
    /// Whether its deadline has passed and no run has needed its names yet.
    pub lapsed: bool,
    /// Whether it was unlocked and has not acknowledged that: it holds and blocks, but can neither
    /// refresh nor commit.
    pub revoked: bool,
    /// Whether it has no process: it is operated by its run id alone, and lives until its lease ends.
    pub detached: bool,
    /// Its latest grant's fencing token.
    pub token: Option<Token>,
    /// When its lease, or the time to accept its grant, ends (boot clock).
    pub deadline_ms: Option<i64>,
    /// When it began to run (boot clock).
    pub began_ms: Option<i64>,
    /// When its wait ends (boot clock); `None` if it waits for ever or does not wait.
    pub wait_end_ms: Option<i64>,
    /// When its held place ends (boot clock); `None` if it holds no place.
    pub place_end_ms: Option<i64>,
    /// When its process was found to be silent (boot clock).
    pub absent_since_ms: Option<i64>,
    /// When it ends by itself, if it has lapsed and no run has needed its names by then (boot clock).
    pub given_up_ms: Option<i64>,
    /// Who unlocked it, or ended it by its id alone.
    pub actor: Option<Actor>,
    /// When its outcome may be forgotten (boot clock).
    pub forget_ms: Option<i64>,
    /// When it reached its state (wall clock).
    pub since_us: i64,
    /// The versions of its inputs when it was granted, in the order of its claims.
    pub input_versions: Vec<Token>,
    /// The obstacle at which it is parked.
    pub parked: Option<Resource>,
}

impl Run {
    /// Returns when something about it is due (boot clock): the end of its lease, of the time to accept
    /// its grant, of its wait, or of a lapsed run that no run needs.
    pub fn due_ms(&self) -> Option<i64> {
        match self.state {
            State::Granted | State::Running if self.lapsed => self.given_up_ms,
            State::Granted | State::Running => self.deadline_ms,
            State::Ended(_) => None,
            State::AwaitingInput | State::Queued => {
                let abandoned = self.absent_since_ms.map(|ms| ms + ABANDONED_AFTER_MS);
                // A run with a limit is kept until then, silent or not.
                [self.wait_end_ms.or(abandoned), self.place_end_ms].into_iter().flatten().min()
            }
        }
    }

    /// Returns whether its wait, or its held place, has ended.
    pub fn is_over(&self, boot_ms: i64) -> bool {
        [self.wait_end_ms, self.place_end_ms].into_iter().flatten().any(|end| end <= boot_ms)
    }

    /// Returns whether its deadline has passed, whether or not a step has handled that.
    pub fn is_late(&self, boot_ms: i64) -> bool {
        self.lapsed || self.deadline_ms.is_some_and(|deadline| deadline <= boot_ms)
    }
}
