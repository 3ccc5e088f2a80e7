//! One step: how it begins, what it does, and how it ends.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::backlog::Backlog;
use super::budget::Budget;
use super::tables::{Meta, Result, Tables};
use crate::origin::Actor;
use crate::step::{Answer, Step, Wake};
use crate::world::World;

/// The result of a step, apart from the changed tables.
#[derive(Debug)]
pub(crate) struct Effect {
    pub(crate) answer: Answer,
    /// The clients to wake after the change is visible.
    pub(crate) wakes: Vec<Wake>,
    /// Whether the step must be on disk before it is answered, whatever kind of step it is.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "only the embedded store syncs"))]
    pub(crate) must_sync: bool,
    /// A token ceiling that may not have been synced yet.
    #[cfg_attr(not(feature = "sqlite"), allow(dead_code, reason = "only the embedded store syncs"))]
    pub(crate) unsafe_ceiling: Option<u64>,
    /// The namespace's sequence number after the step.
    pub(crate) sequence: u64,
}

/// Carries out one step.
pub(crate) fn step<T: Tables>(tables: &mut T, world: &dyn World, step: &Step) -> Result<Effect> {
    let mut engine = Engine::begin_step(tables, world)?;
    engine.check_clock()?;
    engine.check_boot()?;
    if let Some(client) = step.client() {
        // Before due times are handled: a client that speaks now was not silent for too long.
        engine.hear(client)?;
    }
    engine.sweep()?;
    engine.drain()?;
    let answer = engine.act(step)?;
    engine.drain()?;
    engine.end_step(answer)
}

impl<'a, T: Tables> Engine<'a, T> {
    fn begin_step(tables: &'a mut T, world: &'a dyn World) -> Result<Self> {
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
            Step::Accept { attempt, holder } => self.accept(attempt, holder),
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

    fn end_step(mut self, answer: Answer) -> Result<Effect> {
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

    /// Returns whether older work is left over: then nothing new may be decided.
    pub(super) fn has_leftover(&mut self) -> Result<bool> {
        Ok(self.next_look()?.is_some() || self.unswept)
    }
}
