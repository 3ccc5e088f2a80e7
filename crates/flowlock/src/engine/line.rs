//! Waiting: standing in line, parked at an obstacle; and whether the process is heard.

use super::Engine;
use super::tables::{Part, Result, Source, Stake, Tables, one_less};
use crate::claim::{Claim, Mode, Space};
use crate::id::Ticket;
use crate::rule;
use crate::run::{Resource, Run, State};
use crate::spec::IfWritten;
use crate::step::Wake;

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

    /// Leaves the line, if it stands in it; those behind are to be looked at.
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
            // Whoever came to hold it alone is in the way of the next as before; beside others, these are as well.
            if wakes == Wakes::ThoseBehind || claim.mode != Mode::Exclusive {
                self.tell_next_in_line(run.ticket, claim)?;
            }
        }
        Ok(())
    }

    /// The next in line behind one who enters it or leaves it: others are in its way than its process was told, which is to
    /// look whether they live.
    pub(super) fn tell_next_in_line(&mut self, ahead: Ticket, claim: &Claim) -> Result<()> {
        let place = Resource::of(claim.space, &claim.name);
        let behind = Part::from(Ticket(ahead.0.saturating_add(1)));
        if let Some(next) = self.tables.line(&place, behind, 1)?.first()
            && (claim.space == Space::Slot || rule::conflicts(claim.mode, next.mode))
        {
            let next = self.must_find(next.ticket)?;
            self.wakes.insert(Wake::for_run(&next));
        }
        Ok(())
    }

    /// Parks a waiting run at its obstacle; in line if all its inputs are there, else out of line.
    pub(super) fn wait_at(&mut self, run: &mut Run, place: &Resource) -> Result<()> {
        let state = if place.space.is_none() { State::AwaitingInput } else { State::Queued };
        if state == State::AwaitingInput {
            // Nobody would look at it again if the record were live once more, after the clock was set back.
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

    /// Its process was silent too long: it keeps its ticket and reserves nothing.
    pub(super) fn make_absent(&mut self, run: &mut Run) -> Result<()> {
        self.leave_line(run)?;
        self.unpark(run)?;
        run.present = false;
        run.absent_since_ms = Some(self.now.boot_ms);
        self.save(run)
    }

    /// A silent run was heard of again: it takes up its ticket.
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

    /// The client was heard; worth a row only while it waits for something.
    pub(super) fn hear(&mut self, client: crate::id::ClientId) -> Result<()> {
        if self.meta.waiting == 0 || self.tables.of_client(client, Ticket(0), 1)?.is_empty() {
            return Ok(());
        }
        self.tables.set_heard(client, self.now.boot_ms)?;
        self.meta.next_due_ms = self.meta.next_due_ms.min(self.now.boot_ms + super::SILENCE_MS);
        Ok(())
    }
}

/// Whether those parked behind a leaving run are to be looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wakes {
    /// No: it became a holder, which is no less in the way.
    Nobody,
    /// Yes.
    ThoseBehind,
}
