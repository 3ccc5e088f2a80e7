//! Reading a namespace without changing it: status, records, one name, one run.

use super::backlog::Backlog;
use super::budget::Budget;
use super::explain::evidence;
use super::namespace::NamespaceSeen;
use super::tables::{Part, Result, Tables, Which};
use super::{Engine, SILENCE_MS};
use crate::blocker::{Blocked, By, RecordEvidence};
use crate::claim::Space;
use crate::id::{Attempt, Ticket, Token};
use crate::name::{JobName, Name, RunId};
use crate::record::Record;
use crate::run::{Place, Run};
use crate::world::World;

/// What to read.
#[derive(Debug, Clone)]
pub enum View {
    /// Runs that wait or hold, by ticket.
    Runs {
        /// Only of this job.
        job: Option<JobName>,
        /// From this ticket on: the continuation of an earlier page.
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
        /// Names beginning so.
        prefix: String,
        /// Behind this name: the continuation of an earlier page.
        after: Option<Name>,
        /// How many at most; never more than 1,000.
        limit: usize,
    },
    /// Everything about some names: about the first 250 of them.
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
    /// Records; and behind which name the next page begins, if there is one.
    Records(Vec<Record>, Option<Name>),
    /// Names: as many of those asked for as fit into a page.
    Names(Vec<NameSeen>),
    /// The namespace; none if nobody ever used it.
    Namespace(Option<NamespaceSeen>),
}

/// A run with what is in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The run.
    pub run: Run,
    /// What is left of its lease in milliseconds, negative once it is over; none unless it holds.
    pub lease_left_ms: Option<i64>,
    /// What is in its way; none unless it waits.
    pub blocked: Option<Blocked>,
    /// Since when its process has not been heard from, at the latest, in microseconds since 1970; none unless the run waits
    /// and is absent: it reserves nothing, and goes on from its ticket when it asks again.
    pub silent_since_us: Option<i64>,
    /// What the store's wall clock said then, in microseconds since 1970: ages are told from it, not from a reader's clock.
    pub seen_us: i64,
}

impl Seen {
    /// Returns for how long the run has been in its state, by the store's clock.
    pub fn age(&self) -> std::time::Duration {
        since(self.run.since_us, self.seen_us)
    }

    /// Why it does not run yet, as one line for people; none unless it waits.
    pub fn reason(&self) -> Option<String> {
        let blocked = self.blocked.as_ref()?;
        let Some(since_us) = self.silent_since_us else {
            return Some(blocked.summary());
        };
        let since = crate::shown_time(since_us);
        Some(format!(
            "absent: not heard from since {since}; it reserves nothing, and goes on from its place when it asks again"
        ))
    }
}

/// A name, its record and who holds or waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameSeen {
    /// The name.
    pub name: Name,
    /// Its record, if one is written.
    pub record: Option<Record>,
    /// The version that it was last written with, also of a record that is no more; 0 if nothing is remembered.
    pub version: Token,
    /// What is remembered of its record, written or not.
    pub evidence: RecordEvidence,
    /// Who holds it, in any space, with its token; at most 11 per space.
    pub holders: Vec<(Space, By, Token)>,
    /// Who stands in line for it, in any space; at most 11 per space.
    pub line: Vec<(Space, By)>,
    /// What the store's wall clock said then, in microseconds since 1970: ages are told from it, not from a reader's clock.
    pub seen_us: i64,
}

impl NameSeen {
    /// Returns how long ago its record was written, by the store's clock; `None` if there is none.
    pub fn age(&self) -> Option<std::time::Duration> {
        self.record.as_ref().map(|record| since(record.written_at_us, self.seen_us))
    }
}

/// How long before the other moment one was, both in microseconds.
pub(crate) fn since(then_us: i64, now_us: i64) -> std::time::Duration {
    std::time::Duration::from_micros(now_us.saturating_sub(then_us).max(0).unsigned_abs())
}

/// How many records a page has at most.
pub(crate) const MOST_RECORDS: usize = 1_000;
/// How many runs, if they do not have more claims than a step may look at: of each that waits everything in its way is
/// looked up.
pub(crate) const MOST_RUNS: usize = 250;
/// Of how many names a page says everything, if they do not have more holders and waiting runs to show than a step may
/// look at claims.
pub(crate) const MOST_NAMES: usize = 250;

/// Reads without changing anything. Deadlines that passed unswept show as negative time left.
pub(crate) fn view<T: Tables>(tables: &mut T, world: &dyn World, view: &View) -> Result<Page> {
    let meta = tables.meta()?;
    let sequence = meta.sequence;
    let mut engine = Engine {
        tables,
        world,
        now: world.now(),
        bounds: world.bounds(),
        meta,
        budget: Budget::of_a_page(world.bounds(), MOST_RUNS),
        backlog: Backlog::stored(false),
        unswept: false,
        wakes: std::collections::BTreeSet::new(),
        must_sync: false,
        actor: None,
        records: std::collections::BTreeMap::new(),
    };
    // A larger page is cut: whoever wants more asks for the next one.
    let content = match view {
        View::Runs { job, from, limit } => engine.runs(job.as_ref(), *from, (*limit).min(MOST_RUNS))?,
        View::Run(id) => {
            let run = engine.tables.latest_run(id)?;
            engine.one_run(run)?
        }
        View::Attempt(attempt) => {
            let run = engine.tables.by_attempt(attempt)?;
            engine.one_run(run)?
        }
        View::Records { prefix, after, limit } => {
            engine.records(prefix, after.as_ref(), (*limit).min(MOST_RECORDS))?
        }
        View::Namespace => Content::Namespace(engine.namespace_seen()?),
        View::Names(names) => engine.names(names)?,
    };
    Ok(Page { sequence, content })
}

impl<T: Tables> Engine<'_, T> {
    fn runs(&mut self, job: Option<&JobName>, from: Ticket, limit: usize) -> Result<Content> {
        let runs = self.tables.living_runs(from, limit.saturating_add(1))?;
        let mut seen = Vec::new();
        for (at, run) in runs.into_iter().enumerate() {
            if at == limit || !self.budget.shown.takes(run.spec.claims.len()) {
                return Ok(Content::Runs(seen, Some(run.ticket)));
            }
            if job.is_none_or(|job| *job == run.spec.job) {
                seen.push(self.seen(run)?);
            }
        }
        Ok(Content::Runs(seen, None))
    }

    /// As many of the names as fit into a page: the first one at least.
    fn names(&mut self, names: &[Name]) -> Result<Content> {
        let mut seen: Vec<NameSeen> = Vec::new();
        let mut shown = 0;
        for name in names.iter().take(MOST_NAMES) {
            let next = self.name_seen(name)?;
            shown += next.holders.len() + next.line.len();
            if shown > self.bounds.claims && !seen.is_empty() {
                break;
            }
            seen.push(next);
        }
        Ok(Content::Names(seen))
    }

    fn one_run(&mut self, run: Option<Run>) -> Result<Content> {
        Ok(Content::Run(run.map(|run| self.seen(run)).transpose()?.map(Box::new)))
    }

    fn seen(&mut self, run: Run) -> Result<Seen> {
        let blocked = if run.state.is_waiting() { Some(self.blocked(&run)?) } else { None };
        let lease_left_ms =
            run.deadline_ms.filter(|_| run.state.is_holding()).map(|at| at.saturating_sub(self.now.boot_ms));
        let silent_since_us =
            self.silent_for_ms(&run)?.map(|ms| self.now.wall_us.saturating_sub(ms.saturating_mul(1_000)));
        let seen_us = self.now.wall_us;
        Ok(Seen { run, lease_left_ms, blocked, silent_since_us, seen_us })
    }

    /// For how long the process of an absent waiting run has not been heard from, at least. It is absent before a sweep says
    /// so; a held place reserves to its end, whoever is silent.
    fn silent_for_ms(&mut self, run: &Run) -> Result<Option<i64>> {
        if !run.state.is_waiting() {
            return Ok(None);
        }
        if !run.present {
            return Ok(run
                .absent_since_ms
                .map(|since| self.now.boot_ms.saturating_sub(since).saturating_add(SILENCE_MS)));
        }
        let heard = if run.place_end_ms.is_none() { self.tables.heard(run.holder.client)? } else { None };
        Ok(heard.map(|heard| self.now.boot_ms.saturating_sub(heard)).filter(|silent| *silent >= SILENCE_MS))
    }

    fn records(&mut self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Content> {
        let mut records = self.tables.records(prefix, after, limit.saturating_add(1))?;
        let more = records.len() > limit;
        records.truncate(limit);
        let next = records.last().filter(|_| more).map(|record| record.name.clone());
        records.retain(|record| !self.has_expired(record));
        Ok(Content::Records(records, next))
    }

    fn name_seen(&mut self, name: &Name) -> Result<NameSeen> {
        let record = self.record_now(name)?;
        let most = self.bounds.blockers + 1;
        let (mut holders, mut line) = (Vec::new(), Vec::new());
        for space in [Space::Data, Space::Lock, Space::Slot] {
            let place = Place::of(space, name);
            for which in [Which::Standing, Which::Lapsed] {
                for stake in self.tables.holders(&place, which, most)? {
                    let token = self.must_find(stake.ticket)?.token.unwrap_or_default();
                    holders.push((space, self.by(stake.ticket)?, token));
                }
            }
            for stake in self.tables.line(&place, Part::from(Ticket(0)), most)? {
                line.push((space, self.by(stake.ticket)?));
            }
        }
        let evidence = evidence(record.clone());
        let version = record.as_ref().map_or(Token(0), |record| record.version);
        let record = record.filter(|record| record.state.is_written());
        let seen_us = self.now.wall_us;
        Ok(NameSeen { name: name.clone(), record, version, evidence, holders, line, seen_us })
    }
}
