//! What time alone will change, and who is told of it: no server has a timer, so whoever is next looks again by itself.
//!
//! Whoever stands behind a run is told when that one is in its way no longer if nothing happens until then. A process asks
//! about such runs at each heartbeat; an end that comes nearer than it was told in between is a message.

use super::explain::InTheWay;
use super::tables::{Part, Result, Tables};
use super::{Engine, HEARTBEAT_MS, SILENCE_MS};
use crate::claim::{Mode, Space};
use crate::id::Ticket;
use crate::name::Name;
use crate::record::{Record, RecordState};
use crate::run::{Resource, Run};
use crate::step::Wake;

impl<T: Tables> Engine<'_, T> {
    /// When the first of those in the way of a run is there no longer, or an input of the run itself, which then leaves the
    /// line: if nothing happens until then.
    pub(super) fn first_end(&mut self, run: &Run, way: &InTheWay) -> Result<Option<i64>> {
        let mut first = if run.in_line { self.first_expiry(run)? } else { None };
        for &(ticket, vitals) in &way.runs {
            let end = match vitals.deadline_ms {
                None => self.end_of_reserving(ticket, run)?,
                deadline => deadline,
            };
            first = [first, end].into_iter().flatten().min();
        }
        Ok(first)
    }

    /// When a run in line reserves nothing any more, for one behind it. A process is expected at each heartbeat: only once it
    /// is overdue its silence is to be looked for. What becomes of its own runs it sees itself.
    fn end_of_reserving(&mut self, ticket: Ticket, behind: &Run) -> Result<Option<i64>> {
        let run = self.must_find(ticket)?;
        if !self.budget.foreseen.spend(run.spec.claims.len()) {
            return Ok(None);
        }
        let ends = if run.place_end_ms.is_some() {
            // No process looks when its inputs expire.
            [run.place_end_ms, self.first_expiry(&run)?]
        } else if behind.in_line && run.holder.client == behind.holder.client {
            [None, None]
        } else {
            let heard = self.tables.heard(run.holder.client)?;
            let overdue = heard.filter(|heard| heard.saturating_add(HEARTBEAT_MS) <= self.now.boot_ms);
            [run.wait_end_ms, overdue.map(|heard| heard.saturating_add(SILENCE_MS))]
        };
        Ok(ends.into_iter().flatten().min())
    }

    /// When the first input of a run expires, by the clock of leases.
    fn first_expiry(&mut self, run: &Run) -> Result<Option<i64>> {
        let mut first: Option<i64> = None;
        for claim in run.spec.claims.inputs() {
            let record = self.record(&claim.name)?;
            first = [first, record.and_then(|record| self.expires_ms(&record))].into_iter().flatten().min();
        }
        Ok(first)
    }

    fn expires_ms(&self, record: &Record) -> Option<i64> {
        let left_us = record.expires_at_us?.saturating_sub(self.now.wall_us);
        let is_live = record.state == RecordState::Live && left_us > 0;
        is_live.then(|| self.now.boot_ms.saturating_add(left_us.saturating_add(999) / 1_000))
    }

    /// A holder ends sooner than those who wait for it were told: the oldest of each name is to ask anew.
    pub(super) fn tell_of_nearer_end(&mut self, holder: &Run) -> Result<()> {
        if self.meta.queued == 0 {
            return Ok(());
        }
        for claim in &holder.spec.claims {
            let part = Part::in_the_way_of(claim.mode, Ticket(u64::MAX));
            let oldest = self.tables.line(&Resource::of(claim.space, &claim.name), part, 1)?.pop();
            if let Some(oldest) = oldest {
                let oldest = self.must_find(oldest.ticket)?;
                self.wakes.insert(Wake::for_run(&oldest));
            }
        }
        Ok(())
    }

    /// A record that expires was written: the first of those who queue to read it is to ask until when.
    pub(super) fn tell_a_reader(&mut self, name: &Name) -> Result<()> {
        if self.meta.queued == 0 || self.record(name)?.is_none_or(|record| record.expires_at_us.is_none()) {
            return Ok(());
        }
        let place = Resource::of(Space::Data, name);
        for stake in self.tables.line(&place, Part::from(Ticket(0)), self.bounds.blockers + 1)? {
            let run = self.must_find(stake.ticket)?;
            // Nobody asks for a held place.
            if stake.mode == Mode::Shared && run.place_end_ms.is_none() {
                self.wakes.insert(Wake::for_run(&run));
                break;
            }
        }
        Ok(())
    }
}
