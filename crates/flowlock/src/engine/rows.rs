//! What a step reads and writes of runs and records.

use super::tables::{Result, Tables};
use super::{Engine, TOKEN_BLOCK};
use crate::id::{Ticket, Token};
use crate::name::Name;
use crate::record::Record;
use crate::run::{Resource, Run, State};
use crate::spec::Spec;
use crate::store::StoreError;

/// Whether a step writes the records of a run's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Records {
    Untouched,
    Written,
}

/// What is in the row of a record.
#[derive(Debug)]
pub(super) enum RecordRow {
    /// There is none.
    Missing,
    /// A record.
    Whole(Box<Record>),
    /// Something that is not a record: the row was altered.
    Unreadable,
}

impl<T: Tables> Engine<'_, T> {
    /// Announces what the step will ask about a run's names, if any run of the namespace waits or has
    /// lapsed.
    pub(super) fn look_ahead(&mut self, spec: &Spec, records: Records) -> Result<()> {
        if self.meta.waiting == 0 && self.meta.lapsed == 0 {
            return Ok(());
        }
        let mut places: Vec<_> =
            spec.claims.into_iter().map(|claim| Resource::of(claim.space, &claim.name)).collect();
        if records == Records::Written {
            places.extend(spec.claims.outputs().map(|claim| Resource::record(&claim.name)));
        }
        self.tables.look_ahead(&places)
    }

    /// Returns the record of a name; reads it only once in a step.
    pub(super) fn record(&mut self, name: &Name) -> Result<Option<Record>> {
        if let Some(known) = self.records.get(name) {
            return Ok(known.clone());
        }
        let record = self.tables.record(name)?;
        self.records.insert(name.clone(), record.clone());
        Ok(record)
    }

    /// Returns the record of a name for a caller that goes on without it if its row cannot be read.
    pub(super) fn record_row(&mut self, name: &Name) -> Result<RecordRow> {
        match self.record(name) {
            Ok(None) => Ok(RecordRow::Missing),
            Ok(Some(record)) => Ok(RecordRow::Whole(record.into())),
            Err(error) if error.is_of_a_row() => Ok(RecordRow::Unreadable),
            Err(error) => Err(error),
        }
    }

    pub(super) fn put_record(&mut self, record: &Record) -> Result<()> {
        self.records.insert(record.name.clone(), Some(record.clone()));
        self.tables.put_record(record)
    }

    pub(super) fn drop_record(&mut self, name: &Name) -> Result<()> {
        self.records.insert(name.clone(), None);
        self.tables.delete_record(name)
    }

    pub(super) fn next_token(&mut self) -> Token {
        let token = (self.meta.last_token + 1).max(self.now.wall_us.max(0) as u64);
        self.meta.last_token = token;
        if token > self.meta.token_ceiling {
            self.meta.token_ceiling = token + TOKEN_BLOCK;
        }
        Token(token)
    }

    pub(super) fn next_ticket(&mut self) -> Ticket {
        self.meta.last_ticket += 1;
        Ticket(self.meta.last_ticket)
    }

    /// Writes a run's row and updates the next due time.
    pub(super) fn save(&mut self, run: &Run) -> Result<()> {
        self.note_due(run);
        self.tables.update_run(run)
    }

    pub(super) fn note_due(&mut self, run: &Run) {
        if let Some(due) = run.due_ms() {
            self.meta.next_due_ms = self.meta.next_due_ms.min(due);
        }
        if let Some(forget) = run.forget_ms {
            self.meta.next_forget_ms = self.meta.next_forget_ms.min(forget);
        }
    }

    pub(super) fn enter(&mut self, run: &mut Run, state: State) {
        run.state = state;
        run.since_us = self.now.wall_us;
    }

    pub(super) fn must_find(&mut self, ticket: Ticket) -> Result<Run> {
        self.tables.run(ticket)?.ok_or_else(|| no_row(ticket))
    }

    /// Wakes the process of a run. Who tells one run of each of its names does no more work than it has names, however
    /// many the other runs have.
    pub(super) fn wake(&mut self, ticket: Ticket) -> Result<()> {
        let wake = self.tables.wake(ticket)?.ok_or_else(|| no_row(ticket))?;
        self.wakes.insert(wake);
        Ok(())
    }
}

pub(super) fn no_row(ticket: Ticket) -> StoreError {
    StoreError::damaged(format!("run {ticket} is named but has no row"))
}
