//! One step of a namespace: sweep what is due, look at whoever may now move, act, look again.
//!
//! The engine is the body of a step for every store that has transactions: it reads and writes
//! [`Tables`], takes time and liveness from a [`World`], and asks [`rule`](crate::rule) who may run.
//!
//! Each waiting run is parked at exactly one place: its first obstacle. A place is *dirty* when
//! something changed there that may let somebody parked at it move. A step looks at runs of dirty places,
//! lowest ticket over the whole namespace first, until nothing is dirty or its budget is used; what is
//! left over is the *backlog*, and while there is one nothing new is decided.

mod acquire;
mod backlog;
mod budget;
mod deadlock;
pub(crate) mod explain;
mod foresee;
mod grant;
mod leave;
pub(crate) mod namespace;
mod operate;
mod records;
mod sweep;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod view;

use std::collections::{BTreeMap, BTreeSet};

use self::backlog::Backlog;
use self::budget::Budget;
use self::tables::{Meta, Result, Tables, Which};
use crate::bounds::Bounds;
use crate::claim::Claim;
use crate::id::{Ticket, Token};
use crate::name::Name;
use crate::origin::Actor;
use crate::record::{Record, RecordState};
use crate::rule::{self, Crowd, Kinship, Obstacle};
use crate::run::{Place, Run, State};
use crate::spec::Spec;
use crate::step::{Answer, Step, Wake};
use crate::store::StoreError;
use crate::world::{Now, World};

/// How often a process with waiting runs is to be heard.
pub(crate) const HEARTBEAT_MS: i64 = 5_000;
/// After how long without a heartbeat a waiter reserves nothing; a grant must be claimed within the same
/// time from the last sign of life before it.
pub(crate) const SILENCE_MS: i64 = 10_000;
/// How long outcomes are remembered.
pub(crate) const OUTCOME_MEMORY_MS: i64 = 600_000;
/// How far ahead a sending's latest arrival may be.
pub(crate) const LATEST_AHEAD_MS: i64 = 300_000;
/// How long a place can be held without coming back.
pub(crate) const LONGEST_PLACE_MS: u64 = 60_000;
/// When those are to come back who change a record by hand that somebody holds.
pub(crate) const RETRY_BY_HAND_MS: u64 = 1_000;
/// How far ahead of the last token the ceiling is set, in microseconds of wall clock: one synced write
/// an hour.
pub(crate) const TOKEN_BLOCK: u64 = 3_600_000_000;
/// How long evidence of a record that is no more is kept, in microseconds: 7 days.
pub(crate) const EVIDENCE_US: i64 = 7 * 86_400 * 1_000_000;
/// The year 2200, in microseconds since 1970: no step is taken by a clock that is so late. Tokens of microseconds stay exact
/// in every store for 55 years more.
pub(crate) const END_OF_TIME_US: i64 = 7_258_118_400_000_000;
/// How much the wall clock may differ between two readings of the time this host booted, in microseconds.
pub(crate) const BOOT_TIME_SLACK_US: i64 = 2_000_000;

/// The result of a step, apart from the changed tables.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) answer: Answer,
    /// Whom to tell, after the change is visible.
    pub(crate) wakes: Vec<Wake>,
    /// Whether the step must be on disk before it is answered, whatever kind it is.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "only the embedded store syncs"))]
    pub(crate) must_sync: bool,
    /// A token ceiling that nobody is known to have synced yet.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "only the embedded store syncs"))]
    pub(crate) unsafe_ceiling: Option<u64>,
    /// The namespace's sequence number after the step.
    pub(crate) sequence: u64,
}

/// Carries out one step.
pub(crate) fn step<T: Tables>(tables: &mut T, world: &dyn World, step: &Step) -> Result<Effect> {
    let mut engine = Engine::begin(tables, world)?;
    engine.check_clock()?;
    engine.check_boot()?;
    if let Some(client) = step.client() {
        // Heard before time is looked at: who speaks now was not silent too long.
        engine.hear(client)?;
    }
    engine.sweep()?;
    engine.drain()?;
    let answer = engine.act(step)?;
    engine.drain()?;
    engine.end(answer)
}

/// A step under way.
struct Engine<'a, T> {
    tables: &'a mut T,
    world: &'a dyn World,
    now: Now,
    bounds: Bounds,
    meta: Meta,
    budget: Budget,
    backlog: Backlog,
    /// More is due, or to be ended, or to be passed over, than one step may.
    unswept: bool,
    wakes: BTreeSet<Wake>,
    must_sync: bool,
    /// Who acts by hand in this step.
    actor: Option<Actor>,
    /// The records read in this step, as they are by now.
    records: BTreeMap<Name, Option<Record>>,
}

impl<'a, T: Tables> Engine<'a, T> {
    fn begin(tables: &'a mut T, world: &'a dyn World) -> Result<Self> {
        let meta = tables.meta()?;
        let bounds = world.bounds();
        let budget = Budget::of(bounds);
        let now = world.now();
        let backlog = Backlog::stored(meta.has_backlog);
        Ok(Self {
            tables,
            world,
            now,
            bounds,
            meta,
            budget,
            backlog,
            unswept: false,
            wakes: BTreeSet::new(),
            must_sync: false,
            actor: None,
            records: BTreeMap::new(),
        })
    }

    fn act(&mut self, step: &Step) -> Result<Answer> {
        let now_us = self.now.wall_us;
        self.actor = step.actor().map(|origin| Actor { origin: origin.clone(), at_us: now_us });
        if !matches!(step, Step::RemoveNamespace { .. }) {
            self.meta.removed = None;
        }
        match step {
            Step::Acquire(request) => self.acquire(request),
            Step::Claim { attempt, holder } => self.claim(attempt, holder),
            Step::Refresh(runs) => {
                runs.iter().map(|who| self.refresh(who)).collect::<Result<_>>().map(Answer::Refreshed)
            }
            Step::Commit { who, note } => self.commit(who, note.as_deref()).map(Answer::Finished),
            Step::Fail(who) => self.fail(who).map(Answer::Finished),
            Step::Cancel { attempt, latest_ms } => self.cancel(attempt, *latest_ms).map(Answer::Cancelled),
            Step::GiveBack(attempt) => self.give_back(attempt),
            Step::Heartbeat { client, from, explain } => self.heartbeat(*client, *from, explain),
            Step::Bury(tickets) => self.bury_reported(tickets),
            Step::Detach(attempt) => self.detach(attempt),
            Step::Create { names, spec, run, note, holders, sent, .. } => {
                let names = self.unchanged_since(names, sent)?;
                self.create(&names, spec, run, note.as_deref(), *holders)
            }
            Step::Remove { names, holders, sent, .. } => {
                let names = self.unchanged_since(names, sent)?;
                self.remove(&names, *holders)
            }
            Step::Unlock { run, token, how, .. } => self.unlock(run, *token, *how),
            Step::RemoveNamespace { .. } => self.remove_namespace(),
        }
    }

    fn end(mut self, answer: Answer) -> Result<Effect> {
        self.meta.has_backlog = self.save_backlog()?;
        self.meta.sequence += 1;
        self.meta.last_wall_us = self.now.wall_us;
        self.tables.set_meta(&self.meta)?;
        let wakes = self.wakes.into_iter().collect();
        let Meta { token_ceiling, safe_ceiling, sequence, .. } = self.meta;
        let unsafe_ceiling = (token_ceiling != safe_ceiling).then_some(token_ceiling);
        let must_sync = self.must_sync || unsafe_ceiling.is_some();
        Ok(Effect { answer, wakes, must_sync, unsafe_ceiling, sequence })
    }

    /// Whether older work is left over: then nothing new may be decided.
    fn has_leftover(&mut self) -> Result<bool> {
        Ok(self.next_look()?.is_some() || self.unswept)
    }

    /// Says what the step will ask about a run's names, if anybody of the namespace waits or has lapsed.
    fn look_ahead(&mut self, spec: &Spec, records: Records) -> Result<()> {
        if self.meta.waiting == 0 && self.meta.lapsed == 0 {
            return Ok(());
        }
        let mut places: Vec<_> =
            spec.claims.into_iter().map(|claim| Place::of(claim.space, &claim.name)).collect();
        if records == Records::Written {
            places.extend(spec.claims.outputs().map(|claim| Place::record(&claim.name)));
        }
        self.tables.look_ahead(&places)
    }

    /// The record of a name; read from the tables once in a step.
    fn record(&mut self, name: &Name) -> Result<Option<Record>> {
        if let Some(known) = self.records.get(name) {
            return Ok(known.clone());
        }
        let record = self.tables.record(name)?;
        self.records.insert(name.clone(), record.clone());
        Ok(record)
    }

    fn put_record(&mut self, record: &Record) -> Result<()> {
        self.records.insert(record.name.clone(), Some(record.clone()));
        self.tables.put_record(record)
    }

    fn drop_record(&mut self, name: &Name) -> Result<()> {
        self.records.insert(name.clone(), None);
        self.tables.delete_record(name)
    }

    /// The first thing in the way of a run, seen from its ticket.
    fn obstacle(&mut self, run: &Run) -> Result<Option<Obstacle>> {
        let spec = run.spec.clone();
        rule::first_obstacle(&mut Eyes { engine: self, run }, &spec)
    }

    fn next_token(&mut self) -> Token {
        let token = (self.meta.last_token + 1).max(self.now.wall_us.max(0) as u64);
        self.meta.last_token = token;
        if token > self.meta.token_ceiling {
            self.meta.token_ceiling = token + TOKEN_BLOCK;
        }
        Token(token)
    }

    fn next_ticket(&mut self) -> Ticket {
        self.meta.last_ticket += 1;
        Ticket(self.meta.last_ticket)
    }

    /// Writes a run's row and keeps the due times in sight.
    fn save(&mut self, run: &Run) -> Result<()> {
        self.note_due(run);
        self.tables.update_run(run)
    }

    fn note_due(&mut self, run: &Run) {
        if let Some(due) = run.due_ms() {
            self.meta.next_due_ms = self.meta.next_due_ms.min(due);
        }
        if let Some(forget) = run.forget_ms {
            self.meta.next_forget_ms = self.meta.next_forget_ms.min(forget);
        }
    }

    fn enter(&mut self, run: &mut Run, state: State) {
        run.state = state;
        run.since_us = self.now.wall_us;
    }

    fn must_find(&mut self, ticket: Ticket) -> Result<Run> {
        self.tables.run(ticket)?.ok_or_else(|| no_row(ticket))
    }
}

fn no_row(ticket: Ticket) -> StoreError {
    StoreError::damaged(format!("run {ticket} is named but has no row"))
}

/// Whether a step writes the records of a run's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Records {
    Untouched,
    Written,
}

/// A namespace through the eyes of one run: what [`rule`] asks for.
struct Eyes<'e, 'a, T> {
    engine: &'e mut Engine<'a, T>,
    run: &'e Run,
}

impl<T: Tables> rule::View for Eyes<'_, '_, T> {
    type Error = StoreError;

    fn is_live(&mut self, name: &Name) -> Result<bool> {
        Ok(self.engine.record_now(name)?.is_some_and(|record| record.state == RecordState::Live))
    }

    fn held(&mut self, claim: &Claim) -> Result<Crowd> {
        self.engine.tables.held(claim.space, &claim.name, Which::Standing)
    }

    fn ahead(&mut self, claim: &Claim) -> Result<Crowd> {
        if self.engine.meta.queued == 0 {
            return Ok(Crowd::NOBODY);
        }
        let enough = match claim.mode {
            crate::claim::Mode::Units { capacity, .. } => u64::from(capacity),
            _ => 0,
        };
        self.engine.tables.ahead(claim.space, &claim.name, self.run.ticket, enough)
    }

    fn kinship(&mut self, claim: &Claim) -> Result<Kinship> {
        let place = Place::of(claim.space, &claim.name);
        for &ancestor in self.run.ancestors.iter() {
            if self.engine.shares(ancestor, &place)? {
                return Ok(Kinship::AncestorShares);
            }
        }
        Ok(Kinship::None)
    }
}
