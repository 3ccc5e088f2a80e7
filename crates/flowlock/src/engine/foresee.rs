//! What time alone will change, and who is told of it. No server has a timer, so the next run in the
//! queue looks again by itself.
//!
//! A run behind another is told when the other stops being in its way if nothing happens before. A
//! process asks about such runs at each heartbeat; if an end comes nearer than it was told, it gets a
//! message.

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
    /// Returns when the first of the runs in the way ends, or an input of the run itself, which then
    /// leaves the queue: if nothing happens before.
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

    /// Returns when a queued run stops reserving, for a run behind it. Its process is expected at each
    /// heartbeat, so its silence matters only once it is overdue. A process sees by itself what happens
    /// to its own runs.
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

    /// Returns when the first input of a run expires, by the clock of leases.
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

    /// Tells the oldest waiter of each name to ask again, because a holder ends sooner than the waiters
    /// were told.
    pub(super) fn tell_of_nearer_end(&mut self, holder: &Run) -> Result<()> {
        if self.meta.queued == 0 {
            return Ok(());
        }
        for claim in &holder.spec.claims {
            let part = Part::in_the_way_of(claim.mode, Ticket(u64::MAX));
            let oldest = self.tables.line(&Resource::of(claim.space, &claim.name), part, 1)?.pop();
            if let Some(oldest) = oldest {
                self.wake(oldest.ticket)?;
            }
        }
        Ok(())
    }

    /// Tells the first run that is queued to read a name to ask until when it is live, because a record
    /// that expires was written.
    pub(super) fn tell_a_reader(&mut self, name: &Name) -> Result<()> {
        if self.meta.queued == 0 || self.record(name)?.is_none_or(|record| record.expires_at_us.is_none()) {
            return Ok(());
        }
        let place = Resource::of(Space::Data, name);
        for stake in self.tables.line(&place, Part::from(Ticket(0)), self.bounds.blockers + 1)? {
            let run = self.must_find(stake.ticket)?;
            // No process asks for a held place.
            if stake.mode == Mode::Shared && run.place_end_ms.is_none() {
                self.wakes.insert(Wake::for_run(&run));
                break;
            }
        }
        Ok(())
    }
}
