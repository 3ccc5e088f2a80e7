//! Records: written by commits and by hand, removed, expired, marked incomplete; and the evidence of
//! attempts that failed.

use std::sync::Arc;

use super::tables::{Result, Stake, Tables, Which};
use super::{EVIDENCE_US, Engine, RETRY_BY_HAND_MS};
use crate::blocker::{Blocked, Blocker, BlockerKind};
use crate::claim::{Mode, Space};
use crate::id::Token;
use crate::name::{Name, RunId};
use crate::record::{Failure, MadeFrom, Record, RecordState};
use crate::run::{LostBy, Outcome, Place, Run};
use crate::spec::Spec;
use crate::step::{Answer, Holders, Sent};
use crate::store::StoreError;

impl<T: Tables> Engine<'_, T> {
    /// Writes the records of all outputs of a run that commits.
    pub(super) fn write_outputs(&mut self, run: &Run, note: Option<&str>) -> Result<()> {
        let version = run.token.unwrap_or_default();
        let made_from = run
            .spec
            .claims
            .inputs()
            .map(|claim| claim.name.clone())
            .zip(run.input_versions.iter().copied())
            .collect();
        let made_from = MadeFrom::new(made_from, self.bounds.made_from);
        for output in run.spec.claims.outputs() {
            self.write(&output.name, version, (&run.attempt.id, &run.spec), note, made_from.clone())?;
        }
        Ok(())
    }

    fn write(
        &mut self,
        name: &Name,
        version: Token,
        (run, spec): (&RunId, &Spec),
        note: Option<&str>,
        made_from: MadeFrom,
    ) -> Result<()> {
        self.must_sync = true;
        if let Some(old) = self.record(name)?.filter(|old| old.version > version) {
            let (old, name) = (old.version, name.as_str());
            return Err(StoreError::damaged(format!(
                "record {name} has version {old}, above token {version}"
            )));
        }
        let life =
            spec.record_life_ms.map(|ms| self.now.wall_us.saturating_add_unsigned(ms.saturating_mul(1_000)));
        self.put(&Record {
            name: name.clone(),
            state: RecordState::Live,
            was_live: false,
            version,
            run: run.clone(),
            job: spec.job.clone(),
            written_at_us: self.now.wall_us,
            expires_at_us: life,
            note: note.map(str::to_owned),
            made_from,
            failure: None,
            actor: self.actor.clone(),
        })
    }

    fn put(&mut self, record: &Record) -> Result<()> {
        if let Some(at) = record.expires_at_us {
            self.meta.next_expiry_us = self.meta.next_expiry_us.min(at);
        }
        self.put_record(record)
    }

    /// A run with `on_fail = incomplete` begins: the old records of its outputs let nobody in until a commit.
    pub(super) fn mark_incomplete(&mut self, run: &Run) -> Result<()> {
        for output in run.spec.claims.outputs() {
            if let Some(mut record) = self.record_now(&output.name)?.filter(|r| r.state == RecordState::Live)
            {
                record.state = RecordState::Incomplete;
                record.was_live = true;
                self.put(&record)?;
                self.mark_readers(&output.name);
            }
        }
        Ok(())
    }

    /// A run is given back before its work began: the old records of its outputs are what they were before it.
    pub(super) fn restore_records(&mut self, run: &Run) -> Result<()> {
        for output in run.spec.claims.outputs() {
            if let Some(mut record) = self.record(&output.name)?.filter(|record| record.was_live) {
                record.state = RecordState::Live;
                record.was_live = false;
                self.put(&record)?;
                self.mark_written(&output.name)?;
            }
        }
        Ok(())
    }

    /// A run ended without writing what it was to write.
    pub(super) fn note_failure(&mut self, run: &Run, outcome: Outcome) -> Result<()> {
        let failure = Failure {
            run: run.attempt.id.clone(),
            job: run.spec.job.clone(),
            at_us: self.now.wall_us,
            outcome,
        };
        for output in run.spec.claims.outputs() {
            let record = match self.record(&output.name)? {
                Some(record) => Record { failure: Some(failure.clone()), was_live: false, ..record },
                None => Record {
                    name: output.name.clone(),
                    state: RecordState::NeverWritten,
                    was_live: false,
                    version: Token(0),
                    run: failure.run.clone(),
                    job: failure.job.clone(),
                    written_at_us: 0,
                    expires_at_us: Some(self.now.wall_us + EVIDENCE_US),
                    note: None,
                    made_from: MadeFrom::Inputs(Vec::new()),
                    failure: Some(failure.clone()),
                    actor: None,
                },
            };
            self.put(&record)?;
        }
        Ok(())
    }

    /// A record as it is now: one whose time is up has expired, whether a sweep came to it or not.
    pub(super) fn record_now(&mut self, name: &Name) -> Result<Option<Record>> {
        Ok(self.record(name)?.map(|mut record| {
            if self.has_expired(&record) {
                record.state = RecordState::Expired;
            }
            record
        }))
    }

    /// Whether what was written counts no more, whether a sweep came to it or not.
    pub(super) fn has_expired(&self, record: &Record) -> bool {
        record.state.is_written() && record.expires_at_us.is_some_and(|end| end <= self.now.wall_us)
    }

    /// Ends a record whose time is up, if no sweep came to it yet: what was decided by it stays so.
    pub(super) fn end_if_expired(&mut self, name: &Name) -> Result<()> {
        match self.record(name)?.filter(|record| self.has_expired(record)) {
            Some(record) => self.end_record(record, RecordState::Expired),
            None => Ok(()),
        }
    }

    /// A record's time is up: what was written expires, and evidence is dropped.
    pub(super) fn record_is_due(&mut self, name: &Name) -> Result<()> {
        match self.record(name)? {
            Some(record) if record.state.is_written() => self.end_record(record, RecordState::Expired),
            Some(_) => self.drop_record(name),
            None => Ok(()),
        }
    }

    fn end_record(&mut self, mut record: Record, state: RecordState) -> Result<()> {
        record.state = state;
        record.was_live = false;
        record.expires_at_us = Some(self.now.wall_us + EVIDENCE_US);
        self.put(&record)?;
        self.mark_readers(&record.name);
        Ok(())
    }

    pub(super) fn create(
        &mut self,
        names: &[Name],
        spec: &Arc<Spec>,
        run: &RunId,
        note: Option<&str>,
        holders: Holders,
    ) -> Result<Answer> {
        if let Some(refused) = self.refused_by_hand(names, holders)? {
            return Ok(refused);
        }
        if !self.clear_the_way(names)? {
            return Ok(ask_again());
        }
        // Also if nothing is left to write: an earlier try may have failed at the disk, and this one promises the same.
        self.must_sync = true;
        if names.is_empty() {
            return Ok(Answer::Done);
        }
        let version = self.next_token();
        for name in names {
            self.write(name, version, (run, spec), note, MadeFrom::Inputs(Vec::new()))?;
        }
        for name in names {
            self.mark_written(name)?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn remove(&mut self, names: &[Name], holders: Holders) -> Result<Answer> {
        if let Some(refused) = self.refused_by_hand(names, holders)? {
            return Ok(refused);
        }
        let mut written = Vec::with_capacity(names.len());
        for name in names {
            let record = self.record(name)?.filter(|record| record.state.is_written());
            written.extend(record.map(|record| record.name));
        }
        // Where nothing is removed nobody's names are needed, unless they are to be broken anyway.
        if !self.clear_the_way(if holders == Holders::Break { names } else { &written })? {
            return Ok(ask_again());
        }
        // As above.
        self.must_sync = true;
        for name in &written {
            if let Some(mut record) = self.record(name)? {
                record.actor.clone_from(&self.actor);
                self.end_record(record, RecordState::Removed)?;
            }
        }
        Ok(if written.is_empty() { Answer::NotFound } else { Answer::Done })
    }

    /// The names whose records nobody has written since the first sending of this step.
    pub(super) fn unchanged_since(&mut self, names: &[Name], sent: &Sent) -> Result<Vec<Name>> {
        let Sent::Again(versions) = sent else { return Ok(names.to_vec()) };
        let mut unchanged = Vec::with_capacity(names.len());
        for (name, &version) in names.iter().zip(versions) {
            if self.record(name)?.is_none_or(|record| record.version <= version) {
                unchanged.push(name.clone());
            }
        }
        Ok(unchanged)
    }

    /// Refuses while older work is left over, or while somebody who is to be respected holds one of the names. Buries the
    /// dead among them.
    fn refused_by_hand(&mut self, names: &[Name], how: Holders) -> Result<Option<Answer>> {
        if self.has_leftover()? {
            return Ok(Some(ask_again()));
        }
        if how == Holders::Respect {
            let mut by = Vec::new();
            for name in names {
                if by.len() > self.bounds.blockers {
                    break;
                }
                let Some(living) = self.living_holders(name)? else { return Ok(Some(ask_again())) };
                by.extend(living);
            }
            if !by.is_empty() {
                let more = by.len() > self.bounds.blockers;
                by.truncate(self.bounds.blockers);
                let blocked = Blocked { by, more, ahead: 0, retry_after_ms: Some(RETRY_BY_HAND_MS) };
                return Ok(Some(Answer::Refused(blocked)));
            }
        }
        Ok(None)
    }

    /// Ends whoever still holds the names: only lapsed runs, unless those that stand are to be broken. Answers whether all
    /// of them, for a step ends only so many.
    fn clear_the_way(&mut self, names: &[Name]) -> Result<bool> {
        for name in names {
            for which in [Which::Standing, Which::Lapsed] {
                if !self.break_off_all(&Place::of(Space::Data, name), which)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The living holders of a name. It buries the dead and looks again until nobody more is dead: whoever was not
    /// looked at may live. `None` if there are more dead than one step buries.
    fn living_holders(&mut self, name: &Name) -> Result<Option<Vec<Blocker>>> {
        loop {
            let mut living = Vec::new();
            let mut any_dead = false;
            let place = Place::of(Space::Data, name);
            for stake in self.tables.holders(&place, Which::Standing, self.bounds.blockers + 1)? {
                if !self.is_dead(stake.ticket)? {
                    living.push(self.held_by(name, stake)?);
                } else if self.may_end(stake.ticket)? {
                    self.must_hold(&place, stake, Which::Standing)?;
                    self.bury(&[stake.ticket])?;
                    any_dead = true;
                } else {
                    return Ok(None);
                }
            }
            if !any_dead {
                return Ok(Some(living));
            }
        }
    }

    fn held_by(&mut self, name: &Name, stake: Stake) -> Result<Blocker> {
        let kind = match stake.mode {
            Mode::Exclusive => BlockerKind::OutputBeingWritten,
            _ => BlockerKind::OutputBeingRead,
        };
        Ok(Blocker { kind, name: name.clone(), by: Some(self.by(stake.ticket)?), record: None })
    }

    /// Ends the holders of a name; answers whether all of them, for a step ends only so many.
    fn break_off_all(&mut self, place: &Place, which: Which) -> Result<bool> {
        loop {
            let stakes = self.tables.holders(place, which, self.bounds.blockers + 1)?;
            if stakes.is_empty() {
                return Ok(true);
            }
            for stake in stakes {
                if !self.may_end(stake.ticket)? {
                    return Ok(false);
                }
                let run = self.must_hold(place, stake, which)?;
                if !self.bury(&[stake.ticket])? {
                    self.break_off(run)?;
                }
            }
        }
    }

    fn break_off(&mut self, mut run: Run) -> Result<()> {
        self.sign(&mut run);
        if run.lapsed { self.lose(run) } else { self.finish(&mut run, Outcome::Lost(LostBy::Broken)) }
    }
}

/// Asks the caller to send an administrative step once more: older work, or more than one step may do, comes first.
pub(super) fn ask_again() -> Answer {
    Answer::Refused(Blocked { by: Vec::new(), more: false, ahead: 0, retry_after_ms: Some(0) })
}
