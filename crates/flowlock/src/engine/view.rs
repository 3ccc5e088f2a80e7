//! Reading a namespace without changing it: status, records, one name, one run.

use super::backlog::Backlog;
use super::budget::Budget;
use super::explain::evidence;
use super::tables::{Part, Result, Tables, Which};
use super::{Engine, SILENCE_MS};
use crate::claim::Space;
use crate::id::{Ticket, Token};
use crate::name::{JobName, Name};
use crate::run::{Place, Run};
use crate::view::{Content, MOST_NAMES, MOST_RECORDS, MOST_RUNS, NameSeen, Page, Seen, View};
use crate::world::World;

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
