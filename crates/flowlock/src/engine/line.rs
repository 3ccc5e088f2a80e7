//! Waiting: being queued, being parked at an obstacle, and whether the process is heard.

use super::Engine;
use super::tables::{Part, Result, Source, Stake, Tables, one_less};
use crate::claim::{Claim, Mode, Space};
use crate::id::Ticket;
use crate::rule;
use crate::run::{Resource, Run, State};
use crate::spec::IfWritten;

impl<T: Tables> Engine<'_, T> {
    pub(super) fn enter_line(&mut self, run: &mut Run) -> Result<()> {
        for claim in &run.spec.claims {
            let stake = Stake { ticket: run.ticket, mode: claim.mode };
            self.tables.enqueue(&Resource::of(claim.space, &claim.name), stake)?;
        }
        run.in_line = true;
        self.meta.queued += 1;
        Ok(())
    }

    /// Takes a run out of the queue, if it is in it; the runs behind must be looked at.
    pub(super) fn leave_line(&mut self, run: &mut Run) -> Result<()> {
        if run.in_line { self.remove_from_line(run, Wakes::ThoseBehind) } else { Ok(()) }
    }

    pub(super) fn remove_from_line(&mut self, run: &mut Run, wakes: Wakes) -> Result<()> {
        run.in_line = false;
        one_less(&mut self.meta.queued)?;
        for claim in &run.spec.clone().claims {
            let place = Resource::of(claim.space, &claim.name);
            self.tables.dequeue(&place, Stake { ticket: run.ticket, mode: claim.mode })?;
            if wakes == Wakes::ThoseBehind {
                self.mark_dirty(&place)?;
            }
            // A run that now holds the name exclusively is in the way of the next run as before. If it holds
            // the name beside others, those are in the way as well.
            if wakes == Wakes::ThoseBehind || claim.mode != Mode::Exclusive {
                self.tell_next_in_line(run.ticket, claim)?;
            }
        }
        Ok(())
    }

    /// Wakes the next run in the queue behind one that enters or leaves it: other runs are in its way
    /// than its process was told, and it must probe those.
    pub(super) fn tell_next_in_line(&mut self, ahead: Ticket, claim: &Claim) -> Result<()> {
        let place = Resource::of(claim.space, &claim.name);
        let behind = Part::from(Ticket(ahead.0.saturating_add(1)));
        if let Some(next) = self.tables.line(&place, behind, 1)?.first()
            && (claim.space == Space::Slot || rule::conflicts(claim.mode, next.mode))
        {
            self.wake(next.ticket)?;
        }
        Ok(())
    }

    /// Parks a waiting run at its obstacle: in the queue if all its inputs exist, else outside of it.
    pub(super) fn wait_at(&mut self, run: &mut Run, place: &Resource) -> Result<()> {
        let state = if place.space.is_none() { State::AwaitingInput } else { State::Queued };
        if state == State::AwaitingInput {
            // If the clock were set back and the record were live again, no step would look at the run
            // again.
            self.end_if_expired(&place.name)?;
        }
        match (state, run.in_line) {
            (State::AwaitingInput, true) => self.leave_line(run)?,
            (State::Queued, false) => self.enter_line(run)?,
            _ => {}
        }
        if run.state != state {
            self.enter(run, state);
        }
        if run.parked.as_ref() != Some(place) {
            self.unpark(run)?;
            self.tables.park(place, run.ticket)?;
            run.parked = Some(place.clone());
        }
        self.save(run)
    }

    pub(super) fn unpark(&mut self, run: &mut Run) -> Result<()> {
        match run.parked.take() {
            Some(place) => self.tables.unpark(&place, run.ticket),
            None => Ok(()),
        }
    }

    /// Makes a run absent, whose process was silent for too long: it keeps its ticket and reserves
    /// nothing.
    pub(super) fn make_absent(&mut self, run: &mut Run) -> Result<()> {
        self.leave_line(run)?;
        self.unpark(run)?;
        run.present = false;
        run.absent_since_ms = Some(self.now.boot_ms);
        self.save(run)
    }

    /// Brings an absent run back to its ticket, because its process was heard again.
    pub(super) fn revive(&mut self, run: &mut Run) -> Result<()> {
        run.present = true;
        run.absent_since_ms = None;
        self.save(run)?;
        self.backlog.add(run.ticket, Source::Alone);
        self.drain()?;
        *run = self.must_find(run.ticket)?;
        Ok(())
    }

    pub(super) fn add_guards(&mut self, run: &Run) -> Result<()> {
        if run.spec.if_written != IfWritten::Overwrite {
            for output in run.spec.claims.outputs() {
                self.tables.guard(&output.name, run.ticket)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_guards(&mut self, run: &Run) -> Result<()> {
        if run.spec.if_written != IfWritten::Overwrite {
            for output in run.spec.claims.outputs() {
                self.tables.unguard(&output.name, run.ticket)?;
            }
        }
        Ok(())
    }

    pub(super) fn remove_of_client(&mut self, run: &Run) -> Result<()> {
        let client = run.holder.client;
        one_less(&mut self.meta.waiting)?;
        self.tables.remove_of_client(client, run.ticket)?;
        if self.tables.of_client(client, Ticket(0), 1)?.is_empty() {
            self.tables.forget_client(client)?;
        }
        Ok(())
    }

    /// Notes that the client was heard. It has a row only while it waits for something.
    pub(super) fn hear(&mut self, client: crate::id::ClientId) -> Result<()> {
        if self.meta.waiting == 0 || self.tables.of_client(client, Ticket(0), 1)?.is_empty() {
            return Ok(());
        }
        self.tables.set_heard(client, self.now.boot_ms)?;
        self.meta.next_due_ms = self.meta.next_due_ms.min(self.now.boot_ms + super::SILENCE_MS);
        Ok(())
    }
}

/// Whether the runs parked behind a leaving run must be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wakes {
    /// No: the leaving run became a holder, and is in the way as before.
    Nobody,
    /// Yes.
    ThoseBehind,
}
