//! Why a run cannot start, with evidence; and where a run stands, as an answer.

use std::collections::BTreeSet;

use super::Engine;
use super::rows::no_row;
use super::rules_view::RulesView;
use super::tables::{Part, Result, Stake, Tables, Vitals, Which};
use crate::blocker::{Blocked, Blocker, BlockerKind, By, RecordEvidence};
use crate::claim::{Claim, Mode, Space};
use crate::id::Ticket;
use crate::record::{Input, Record, RecordState};
use crate::rule::{self, Kinship, View as _};
use crate::run::{Outcome, Resource, Run, State};
use crate::spec::IfWritten;
use crate::step::{Running, Standing, Waiting};

/// What a refused try is told to wait if no deadline in the way is nearer, in milliseconds.
pub(crate) const LONGEST_RETRY_MS: i64 = 30_000;

/// What would have to end for a run to move up.
#[derive(Debug, Default)]
pub(super) struct InTheWay {
    pub(super) runs: Vec<(Ticket, Vitals)>,
}

impl<T: Tables> Engine<'_, T> {
    /// Returns where a run stands, as its process is told.
    pub(super) fn standing(&mut self, run: &Run) -> Result<Standing> {
        Ok(match run.state {
            State::AwaitingInput | State::Queued => Standing::Waiting(self.waiting(run)?),
            State::Granted => Standing::Granted { token: run.token.unwrap_or_default() },
            State::Running => Standing::Running(Running {
                token: run.token.unwrap_or_default(),
                lease_left_ms: run.deadline_ms.unwrap_or(self.now.boot_ms) - self.now.boot_ms,
                inputs: self.inputs(run)?,
            }),
            State::Ended(outcome) => {
                // The answer that told it may have been lost.
                let is_told = matches!(
                    outcome,
                    Outcome::RefusedOutputExists | Outcome::RefusedBusy | Outcome::TimedOut
                );
                let blocked = if is_told { Some(self.blocked(run)?) } else { None };
                Standing::Ended { outcome, blocked }
            }
        })
    }

    fn inputs(&mut self, run: &Run) -> Result<Vec<Input>> {
        let mut inputs = Vec::with_capacity(run.input_versions.len());
        for (claim, &version) in run.spec.claims.inputs().zip(&run.input_versions) {
            if let Some(record) = self.record(&claim.name)? {
                let Record { name, run, written_at_us, note, .. } = record;
                inputs.push(Input { name, version, run, written_at_us, note });
            }
        }
        Ok(inputs)
    }

    fn waiting(&mut self, run: &Run) -> Result<Waiting> {
        let share = self.bounds.probes / self.bounds.explained.max(1);
        let way = self.in_the_way(run, self.budget.probes.max(share).max(1))?;
        self.budget.probes = self.budget.probes.saturating_sub(way.runs.len());
        let first_end_ms = self.first_end(run, &way)?;
        let look_again_ms = if self.is_next(run)? {
            Some(0)
        } else {
            first_end_ms.map(|at| (at - self.now.boot_ms).max(0) as u64)
        };
        let mut blocked = self.blocked(run)?;
        if let Some(end) = run.place_end_ms {
            blocked.retry_after_ms = Some(self.come_back(first_end_ms, end)?);
        }
        let probe =
            way.runs.into_iter().filter_map(|(ticket, vitals)| Some((ticket, vitals.liveness?))).collect();
        Ok(Waiting { state: run.state, present: run.present, blocked, probe, look_again_ms })
    }

    /// Returns whether a later step continues with this very run: then its process asks for that step at
    /// once.
    fn is_next(&mut self, run: &Run) -> Result<bool> {
        Ok(self.next_look()?.is_some_and(|(ticket, _)| ticket == run.ticket))
    }

    /// Returns the runs whose end would let this one move up, at most `most`. For each name: its
    /// holders, if this run is the oldest waiter there, else the next run ahead. For a slot both, if it
    /// does not fit together with them.
    pub(super) fn in_the_way(&mut self, run: &Run, most: usize) -> Result<InTheWay> {
        let mut way = InTheWay::default();
        let mut known = BTreeSet::new();
        for claim in &run.spec.claims {
            for ticket in self.in_the_way_at(run, claim, most)? {
                if way.runs.len() == most {
                    return Ok(way);
                }
                if known.insert(ticket) {
                    let vitals = self.tables.vitals(ticket)?.ok_or_else(|| no_row(ticket))?;
                    way.runs.push((ticket, vitals));
                }
            }
        }
        Ok(way)
    }

    fn in_the_way_at(&mut self, run: &Run, claim: &Claim, most: usize) -> Result<Vec<Ticket>> {
        let place = Resource::of(claim.space, &claim.name);
        let part = Part::in_the_way_of(claim.mode, run.ticket);
        let ahead = if self.meta.queued == 0 { None } else { self.tables.last_in_line(&place, part)? };
        let holders = match (ahead, claim.space) {
            (None, _) => self.holders_in_the_way(claim, most)?,
            // The run ahead may fit beside the holders, while this one does not fit beside all of them.
            (Some(_), Space::Slot) if self.is_behind(run, claim)? => {
                self.tables.holders(&place, Which::Standing, most)?
            }
            (Some(_), _) => Vec::new(),
        };
        Ok(ahead.into_iter().chain(holders.iter().map(|stake| stake.ticket)).collect())
    }

    /// Returns whether a run that came later holds the name that this run waits for. It is a relative of
    /// a holder and passed this run, whose process was therefore not told of it.
    pub(super) fn was_passed(&mut self, run: &Run, place: &Resource) -> Result<bool> {
        let holders = self.tables.holders(place, Which::Standing, self.bounds.probes)?;
        Ok(holders.iter().any(|stake| stake.ticket > run.ticket))
    }

    fn holders_in_the_way(&mut self, claim: &Claim, limit: usize) -> Result<Vec<Stake>> {
        let held = self.tables.held(claim.space, &claim.name, Which::Standing)?;
        if !rule::holders_block(claim.mode, held) {
            return Ok(Vec::new());
        }
        let mut stakes =
            self.tables.holders(&Resource::of(claim.space, &claim.name), Which::Standing, limit)?;
        stakes.retain(|stake| claim.space == Space::Slot || rule::conflicts(claim.mode, stake.mode));
        Ok(stakes)
    }

    /// Returns when to try again: at the first deadline in the way, in 30 s at the latest; at once if
    /// only older work was left over.
    pub(super) fn retry_after(&mut self, run: &Run) -> Result<u64> {
        if self.has_leftover()? {
            return Ok(0);
        }
        let way = self.in_the_way(run, self.bounds.probes)?;
        let first = self.first_end(run, &way)?;
        Ok(self.retry_at(first))
    }

    fn retry_at(&self, first_end_ms: Option<i64>) -> u64 {
        let left = first_end_ms.map_or(LONGEST_RETRY_MS, |at| (at - self.now.boot_ms).max(0));
        left.min(LONGEST_RETRY_MS) as u64
    }

    /// Returns when a run that holds a place should come back: as after a refused try, but well before
    /// the place ends.
    fn come_back(&mut self, first_end_ms: Option<i64>, place_end_ms: i64) -> Result<u64> {
        let retry = if self.has_leftover()? { 0 } else { self.retry_at(first_end_ms) };
        Ok(retry.min((place_end_ms - self.now.boot_ms).max(0) as u64 / 2))
    }

    /// Returns everything that is in the way of a run, as far as an answer shows it.
    pub(super) fn blocked(&mut self, run: &Run) -> Result<Blocked> {
        let mut by = Vec::new();
        for claim in run.spec.claims.inputs() {
            self.missing_input(claim, &mut by)?;
        }
        if run.spec.if_written != IfWritten::Overwrite {
            for claim in run.spec.claims.outputs() {
                self.existing_output(claim, &mut by)?;
            }
        }
        for claim in &run.spec.claims {
            if by.len() > self.bounds.blockers {
                break;
            }
            self.claim_blockers(run, claim, &mut by)?;
        }
        let more = by.len() > self.bounds.blockers;
        by.truncate(self.bounds.blockers);
        Ok(Blocked { by, more, ahead: self.ahead_count(run)?, retry_after_ms: None })
    }

    fn missing_input(&mut self, claim: &Claim, by: &mut Vec<Blocker>) -> Result<()> {
        let record = self.record_now(&claim.name)?;
        let state = record.as_ref().map_or(RecordState::NeverWritten, |record| record.state);
        if state == RecordState::Live || by.len() > self.bounds.blockers {
            return Ok(());
        }
        let writers = self.tables.holders(&Resource::of(Space::Data, &claim.name), Which::Standing, 1)?;
        let writer = writers.first().filter(|stake| stake.mode == Mode::Exclusive);
        let kind = match (writer, state) {
            (Some(_), _) => BlockerKind::InputBeingWritten,
            (None, RecordState::Incomplete) => BlockerKind::InputIncomplete,
            (None, _) => BlockerKind::InputMissing,
        };
        let writer = writer.map(|stake| self.by(stake.ticket)).transpose()?;
        by.push(Blocker { kind, name: claim.name.clone(), by: writer, record: Some(evidence(record)) });
        Ok(())
    }

    fn existing_output(&mut self, claim: &Claim, by: &mut Vec<Blocker>) -> Result<()> {
        let record = self.record_now(&claim.name)?.filter(|record| record.state == RecordState::Live);
        if let Some(record) = record {
            let kind = BlockerKind::OutputExists;
            by.push(Blocker {
                kind,
                name: claim.name.clone(),
                by: None,
                record: Some(evidence(Some(record))),
            });
        }
        Ok(())
    }

    fn claim_blockers(&mut self, run: &Run, claim: &Claim, by: &mut Vec<Blocker>) -> Result<()> {
        for stake in self.holders_in_the_way(claim, self.bounds.blockers + 1)? {
            let kind = match (claim.space, claim.mode, stake.mode) {
                (Space::Lock, _, _) => BlockerKind::LockHeld,
                (Space::Slot, _, _) => BlockerKind::SlotsTaken,
                (Space::Data, Mode::Shared, _) => BlockerKind::InputBeingWritten,
                (Space::Data, _, Mode::Shared) => BlockerKind::OutputBeingRead,
                (Space::Data, _, _) => BlockerKind::OutputBeingWritten,
            };
            let known = by.iter().any(|b| b.kind == kind && b.name == claim.name && b.record.is_some());
            if !known {
                let holder = self.by(stake.ticket)?;
                by.push(Blocker { kind, name: claim.name.clone(), by: Some(holder), record: None });
            }
        }
        if self.meta.queued == 0 || !self.is_behind(run, claim)? {
            return Ok(());
        }
        let place = Resource::of(claim.space, &claim.name);
        let part = Part::in_the_way_of(claim.mode, run.ticket);
        for stake in self.tables.line(&place, part, self.bounds.blockers + 1)? {
            let ahead = self.by(stake.ticket)?;
            let kind = BlockerKind::QueuedBehind;
            by.push(Blocker { kind, name: claim.name.clone(), by: Some(ahead), record: None });
        }
        Ok(())
    }

    fn is_behind(&mut self, run: &Run, claim: &Claim) -> Result<bool> {
        let mut view = RulesView { engine: self, run };
        let (held, ahead) = (view.held(claim)?, view.ahead(claim)?);
        Ok(rule::queue_blocks(claim.mode, held, ahead, Kinship::None)
            && rule::queue_blocks(claim.mode, held, ahead, view.kinship(claim)?))
    }

    /// Returns how many runs are ahead at the name at which the run waits, counted to one more than an
    /// answer shows.
    fn ahead_count(&mut self, run: &Run) -> Result<u32> {
        let Some(place) = run.parked.clone().filter(|place| place.space.is_some()) else {
            return Ok(0);
        };
        let part = Part { from: Ticket(0), before: run.ticket, exclusive_only: false };
        Ok(self.tables.line(&place, part, self.bounds.blockers + 1)?.len() as u32)
    }

    /// Returns a run as evidence.
    pub(super) fn by(&mut self, ticket: Ticket) -> Result<By> {
        let run = self.must_find(ticket)?;
        let left = run.deadline_ms.filter(|_| run.state.is_holding()).map(|at| at - self.now.boot_ms);
        let gone = run.holder.liveness.is_some_and(|liveness| !self.world.is_alive(liveness));
        Ok(By {
            run: run.attempt.id,
            job: run.spec.job.clone(),
            origin: run.holder.origin.as_ref().clone(),
            since_us: run.since_us,
            lease_left_ms: left,
            process_gone: gone,
        })
    }
}

/// Describes a record, or its absence, as evidence.
pub(crate) fn evidence(record: Option<Record>) -> RecordEvidence {
    match record {
        None => RecordEvidence {
            state: RecordState::NeverWritten,
            last_written: None,
            failure: None,
            actor: None,
        },
        Some(record) => RecordEvidence {
            state: record.state,
            last_written: (record.state != RecordState::NeverWritten).then_some((
                record.run,
                record.job,
                record.written_at_us,
            )),
            failure: record.failure,
            actor: record.actor,
        },
    }
}
