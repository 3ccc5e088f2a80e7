//! [`View`]: what can be read of a namespace, and [`Page`]: what was read.

use crate::blocker::{Blocked, By, RecordEvidence};
use crate::claim::Space;
use crate::id::{Attempt, Ticket, Token};
use crate::name::{JobName, Name, RunId};
use crate::origin::Actor;
use crate::record::Record;
use crate::run::Run;

/// How many records a page has at most.
pub(crate) const MOST_RECORDS: usize = 1_000;
/// How many runs a page has at most. It has fewer if they have more claims than a step may look at: for
/// each that waits, everything in its way is looked up.
pub(crate) const MOST_RUNS: usize = 250;
/// How many names a page describes at most. It describes fewer if they have more holders and waiting
/// runs to show than a step may look at claims.
pub(crate) const MOST_NAMES: usize = 250;

/// What to read.
#[derive(Debug, Clone)]
pub enum View {
    /// Runs that wait or hold, by ticket.
    Runs {
        /// Only runs of this job.
        job: Option<JobName>,
        /// The ticket to continue from, of an earlier page.
        from: Ticket,
        /// How many at most; never more than 250.
        limit: usize,
    },
    /// The latest run with this id, ended ones too.
    Run(RunId),
    /// Exactly this attempt, an ended one too: its id may have been used again since.
    Attempt(Attempt),
    /// Written records by name.
    Records {
        /// Only names that begin with this.
        prefix: String,
        /// The name after which to continue, of an earlier page.
        after: Option<Name>,
        /// How many at most; never more than 1,000.
        limit: usize,
    },
    /// Everything about some names: the first 250 of them.
    Names(Vec<Name>),
    /// How much is in the namespace.
    Namespace,
}

/// What was read: one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The namespace's sequence number at the snapshot.
    pub sequence: u64,
    /// The content.
    pub content: Content,
}

/// The content of a [`Page`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Runs, with their blockers if they wait; and where the next page begins, if there is one.
    Runs(Vec<Seen>, Option<Ticket>),
    /// One run.
    Run(Option<Box<Seen>>),
    /// Records; and the name after which the next page begins, if there is one.
    Records(Vec<Record>, Option<Name>),
    /// Names: as many of the requested ones as fit into a page.
    Names(Vec<NameSeen>),
    /// The namespace; `None` if it was never used.
    Namespace(Option<NamespaceSeen>),
}

/// A run with what is in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The run.
    pub run: Run,
    /// What is left of its lease in milliseconds, negative once it has ended; `None` unless it holds its
    /// claims.
    pub lease_left_ms: Option<i64>,
    /// What is in its way; `None` unless it waits.
    pub blocked: Option<Blocked>,
    /// Since when, at the latest, its process has been silent, in microseconds since 1970; `None` unless
    /// the run waits and is absent. An absent run reserves nothing, and continues from its ticket when
    /// it asks again.
    pub silent_since_us: Option<i64>,
    /// The store's wall clock at that time, in microseconds since 1970. Ages are counted from it, not
    /// from a reader's clock.
    pub seen_us: i64,
}

impl Seen {
    /// Returns for how long the run has been in its state, by the store's clock.
    pub fn age(&self) -> std::time::Duration {
        since(self.run.since_us, self.seen_us)
    }

    /// Returns why it does not run yet, as one line for people; `None` unless it waits.
    pub fn reason(&self) -> Option<String> {
        let blocked = self.blocked.as_ref()?;
        let Some(since_us) = self.silent_since_us else {
            return Some(blocked.summary());
        };
        let since = crate::shown_time(since_us);
        Some(format!(
            "absent: not heard from since {since}; it reserves nothing, and continues from its place when it asks again"
        ))
    }
}

/// A name, its record, and the runs that hold it or wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameSeen {
    /// The name.
    pub name: Name,
    /// Its record, if one is written.
    pub record: Option<Record>,
    /// The version of its last record, also if that is gone; 0 if nothing is remembered.
    pub version: Token,
    /// What is remembered of its record, written or not.
    pub evidence: RecordEvidence,
    /// The runs that hold it, in any space, with their tokens; at most 11 per space.
    pub holders: Vec<(Space, By, Token)>,
    /// The runs that are queued for it, in any space; at most 11 per space.
    pub line: Vec<(Space, By)>,
    /// The runs that ask for it, in any space, and wait outside of the queue: an input of theirs is not
    /// written, or their process is silent; at most 11.
    pub beside_line: Vec<(Space, By)>,
    /// Whether there may be more of those: a page looks at the first 2,000 runs of the namespace, and at
    /// most at 250 that wait outside of the queue.
    pub more_beside_line: bool,
    /// The store's wall clock at that time, in microseconds since 1970. Ages are counted from it, not
    /// from a reader's clock.
    pub seen_us: i64,
}

impl NameSeen {
    /// Returns how long ago its record was written, by the store's clock; `None` if there is none.
    pub fn age(&self) -> Option<std::time::Duration> {
        self.record.as_ref().map(|record| since(record.written_at_us, self.seen_us))
    }
}

/// Returns how long before `now_us` the other moment was, both in microseconds.
pub(crate) fn since(then_us: i64, now_us: i64) -> std::time::Duration {
    std::time::Duration::from_micros(now_us.saturating_sub(then_us).max(0).unsigned_abs())
}

/// A namespace, and how much is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceSeen {
    /// Runs that hold their claims.
    pub running: u64,
    /// Runs that wait, or were handed their claims and have not begun.
    pub waiting: u64,
    /// Written records.
    pub records: u64,
    /// Runs that ended and are still remembered.
    pub outcomes: u64,
    /// When it was used last, in microseconds since 1970.
    pub last_used_us: i64,
    /// Who removed it, and when; `None` unless it was removed and not used since.
    pub removed: Option<Actor>,
    /// The store's wall clock at that time, in microseconds since 1970.
    pub seen_us: i64,
}

impl NamespaceSeen {
    /// Returns whether it can be removed, apart from outcomes of the last ten minutes.
    pub fn is_empty(&self) -> bool {
        (self.running, self.waiting, self.records) == (0, 0, 0)
    }
}
