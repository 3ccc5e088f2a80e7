//! Records: written by commits, expired, marked incomplete; and the evidence of attempts that failed.

use super::rows::RecordRow;
use super::tables::{Result, Tables};
use super::{EVIDENCE_US, Engine};
use crate::id::Token;
use crate::name::{Name, RunId};
use crate::record::{Failure, MadeFrom, Record, RecordState};
use crate::run::{Outcome, Run};
use crate::spec::Spec;
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

    pub(super) fn write(
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
        let liveness =
            spec.record_life_ms.map(|ms| self.now.wall_us.saturating_add_unsigned(ms.saturating_mul(1_000)));
        self.put(&Record {
            name: name.clone(),
            state: RecordState::Live,
            was_live: false,
            version,
            run: run.clone(),
            job: spec.job.clone(),
            written_at_us: self.now.wall_us,
            expires_at_us: liveness,
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

    /// Begins a run with `on_fail = incomplete`: the old records of its outputs let no reader start
    /// until a commit.
    pub(super) fn mark_incomplete(&mut self, run: &Run) -> Result<()> {
        for output in run.spec.claims.outputs() {
            if let Some(mut record) = self.record_now(&output.name)?.filter(|r| r.state == RecordState::Live)
            {
                record.state = RecordState::Incomplete;
                record.was_live = true;
                self.put(&record)?;
                self.mark_readers(&output.name)?;
            }
        }
        Ok(())
    }

    /// Restores the old records of the outputs of a run that is given back before its work began.
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

    /// Records that a run ended without writing its outputs. A record that cannot be read stays as it is:
    /// otherwise the run could not end, and every later step would fail as well.
    pub(super) fn note_failure(&mut self, run: &Run, outcome: Outcome) -> Result<()> {
        let failure = Failure {
            run: run.attempt.id.clone(),
            job: run.spec.job.clone(),
            at_us: self.now.wall_us,
            outcome,
        };
        for output in run.spec.claims.outputs() {
            let record = match self.record_row(&output.name)? {
                RecordRow::Unreadable => continue,
                RecordRow::Whole(record) => {
                    Record { failure: Some(failure.clone()), was_live: false, ..*record }
                }
                RecordRow::Missing => Record {
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

    /// Returns a record in its current state: one whose time is over has expired, even if no sweep has
    /// handled it yet.
    pub(super) fn record_now(&mut self, name: &Name) -> Result<Option<Record>> {
        Ok(self.record(name)?.map(|mut record| {
            if self.has_expired(&record) {
                record.state = RecordState::Expired;
            }
            record
        }))
    }

    /// Returns whether a written record has expired, even if no sweep has handled it yet.
    pub(super) fn has_expired(&self, record: &Record) -> bool {
        record.state.is_written() && record.expires_at_us.is_some_and(|end| end <= self.now.wall_us)
    }

    /// Ends a record whose time is over, if no sweep has handled it yet, so that a decision based on
    /// that stays right.
    pub(super) fn end_if_expired(&mut self, name: &Name) -> Result<()> {
        match self.record(name)?.filter(|record| self.has_expired(record)) {
            Some(record) => self.end_record(record, RecordState::Expired),
            None => Ok(()),
        }
    }

    /// Handles a record whose time is over: a written one expires, and evidence is dropped. A record that
    /// cannot be read is dropped too: otherwise every later step would fail.
    pub(super) fn end_due_record(&mut self, name: &Name) -> Result<()> {
        match self.record_row(name)? {
            RecordRow::Whole(record) if record.state.is_written() => {
                self.end_record(*record, RecordState::Expired)
            }
            RecordRow::Whole(_) => self.drop_record(name),
            RecordRow::Unreadable => self.drop_unreadable(name),
            RecordRow::Missing => Ok(()),
        }
    }

    /// Drops a record that cannot be read. Runs that are queued to read it wait for it again.
    pub(super) fn drop_unreadable(&mut self, name: &Name) -> Result<()> {
        self.drop_record(name)?;
        self.mark_readers(name)
    }

    pub(super) fn end_record(&mut self, mut record: Record, state: RecordState) -> Result<()> {
        record.state = state;
        record.was_live = false;
        record.expires_at_us = Some(self.now.wall_us + EVIDENCE_US);
        self.put(&record)?;
        self.mark_readers(&record.name)
    }
}
