//! Reading a namespace without changing it: status, records, one name, one run.

use super::backlog::Backlog;
use super::budget::Budget;
use super::explain::evidence;
use super::tables::{Part, Result, Tables, Which};
use super::{Engine, SILENCE_MS};
use crate::claim::Space;
use crate::id::{Ticket, Token};
use crate::name::{JobName, Name};
use crate::run::{Resource, Run};
use crate::view::{Content, MOST_NAMES, MOST_RECORDS, MOST_RUNS, NameSeen, Page, Seen, View};
use crate::world::{Now, World};

/// Waiting runs outside of any queue, and whether there may be more.
#[derive(Debug, Default)]
struct BesideLine {
    runs: Vec<Run>,
    more: bool,
}

/// Reads without changing anything. A passed deadline that no sweep has handled shows as negative time
/// left.
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
    // A larger page is cut: the reader asks for the next one.
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
            if at == limit || !self.budget.shown.spend(run.spec.claims.len()) {
                return Ok(Content::Runs(seen, Some(run.ticket)));
            }
            if job.is_none_or(|job| *job == run.spec.job) {
                seen.push(self.seen(run)?);
            }
        }
        Ok(Content::Runs(seen, None))
    }

    /// Reads as many of the names as fit into a page: at least the first one.
    fn names(&mut self, names: &[Name]) -> Result<Content> {
        let mut seen: Vec<NameSeen> = Vec::new();
        let mut shown = 0;
        let beside_line = self.beside_line()?;
        for name in names.iter().take(MOST_NAMES) {
            let next = self.name_seen(name, &beside_line)?;
            shown += next.holders.len() + next.line.len() + next.beside_line.len();
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
        let silent_since_us = self.silent_since(&run)?;
        let seen_us = self.now.wall_us;
        Ok(Seen { run, lease_left_ms, blocked, silent_since_us, seen_us })
    }

    /// Returns since when, at the latest, the process of an absent waiting run has been silent. The run
    /// is absent even before a sweep notes that; a held place is kept until its end, whoever is silent.
    fn silent_since(&mut self, run: &Run) -> Result<Option<i64>> {
        let Now { boot_ms, wall_us } = self.now;
        let heard = if !run.state.is_waiting() {
            None
        } else if !run.present {
            run.absent_since_ms.map(|since| since.saturating_sub(SILENCE_MS))
        } else if run.place_end_ms.is_none() {
            self.tables.heard(run.holder.client)?.filter(|at| boot_ms.saturating_sub(*at) >= SILENCE_MS)
        } else {
            None
        };
        Ok(heard.map(|at| wall_us.saturating_sub(boot_ms.saturating_sub(at).saturating_mul(1_000))))
    }

    fn records(&mut self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Content> {
        let mut records = self.tables.records(prefix, after, limit.saturating_add(1))?;
        let more = records.len() > limit;
        records.truncate(limit);
        let next = records.last().filter(|_| more).map(|record| record.name.clone());
        records.retain(|record| !self.has_expired(record));
        Ok(Content::Records(records, next))
    }

    /// Returns the waiting runs outside of any queue. No index has them by name, because every step
    /// would have to maintain it.
    fn beside_line(&mut self) -> Result<BesideLine> {
        let mut found = BesideLine::default();
        let (mut from, mut left) = (Ticket(0), self.bounds.claims);
        // Runs that were handed their claims are counted as waiting, too.
        while self.meta.waiting > self.meta.queued {
            let page = self.tables.living_runs(from, left.min(MOST_RUNS).saturating_add(1))?;
            let is_last = page.len() <= left.min(MOST_RUNS);
            for run in page.into_iter().take(left.min(MOST_RUNS)) {
                (from, left) = (Ticket(run.ticket.0 + 1), left - 1);
                if !run.state.is_waiting() || run.in_line {
                    continue;
                }
                if !self.budget.shown.spend(run.spec.claims.len()) {
                    return Ok(BesideLine { more: true, ..found });
                }
                found.runs.push(run);
            }
            if is_last || left == 0 {
                found.more = !is_last;
                break;
            }
        }
        Ok(found)
    }

    fn name_seen(&mut self, name: &Name, waiting: &BesideLine) -> Result<NameSeen> {
        let record = self.record_now(name)?;
        let most = self.bounds.blockers + 1;
        let (mut holders, mut line) = (Vec::new(), Vec::new());
        for space in [Space::Data, Space::Lock, Space::Slot] {
            let place = Resource::of(space, name);
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
        let claims =
            waiting.runs.iter().flat_map(|run| run.spec.claims.iter().map(move |claim| (run, claim)));
        let mut asking = claims.filter(|(_, claim)| claim.name == *name);
        let beside_line =
            asking.by_ref().take(most).map(|(run, claim)| Ok((claim.space, self.by(run.ticket)?)));
        let beside_line = beside_line.collect::<Result<Vec<_>>>()?;
        let more_beside_line = waiting.more || asking.next().is_some();
        let evidence = evidence(record.clone());
        let version = record.as_ref().map_or(Token(0), |record| record.version);
        let record = record.filter(|record| record.state.is_written());
        let seen_us = self.now.wall_us;
        let name = name.clone();
        Ok(NameSeen {
            name,
            record,
            version,
            evidence,
            holders,
            line,
            beside_line,
            more_beside_line,
            seen_us,
        })
    }
}
