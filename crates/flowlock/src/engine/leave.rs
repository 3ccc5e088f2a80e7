//! Leaving: how runs end, fall silent, or give back their names.

use super::grant::Wakes;
use super::tables::{Part, Result, Source, Stake, Tables, Which, one_less};
use super::{Engine, OUTCOME_MEMORY_MS};
use crate::claim::{Claim, Mode, Space};
use crate::id::Ticket;
use crate::rule;
use crate::run::{LostBy, Outcome, Place, Run, State};
use crate::spec::IfWritten;
use crate::step::Wake;
use crate::store::StoreError;

impl<T: Tables> Engine<'_, T> {
    /// Ends a run, whatever it was doing: it leaves its line, gives back its names, and its outcome is
    /// remembered.
    pub(super) fn finish(&mut self, run: &mut Run, outcome: Outcome) -> Result<()> {
        let was = run.state;
        if was.is_waiting() {
            self.leave_line(run)?;
            self.unpark(run)?;
            self.remove_guards(run)?;
        } else if was.is_holding() {
            self.release(run)?;
        }
        if was.is_waiting() || was == State::Granted {
            self.remove_of_client(run)?;
        }
        if was == State::Running && !matches!(outcome, Outcome::Committed | Outcome::Cancelled) {
            self.note_failure(run, outcome)?;
        }
        if !matches!(outcome, Outcome::Committed | Outcome::Failed | Outcome::Cancelled) {
            self.wakes.insert(Wake::for_run(run));
        }
        self.enter(run, State::Ended(outcome));
        run.forget_ms = Some(self.now.boot_ms + OUTCOME_MEMORY_MS);
        self.save(run)
    }

    /// Gives back a holder's names.
    pub(super) fn release(&mut self, run: &mut Run) -> Result<()> {
        let which = if run.lapsed { Which::Lapsed } else { Which::Standing };
        if run.lapsed {
            one_less(&mut self.meta.lapsed)?;
        }
        for claim in &run.spec.clone().claims {
            let place = Place::of(claim.space, &claim.name);
            self.tables.unhold(&place, Stake { ticket: run.ticket, mode: claim.mode }, which)?;
            self.mark_dirty(&place)?;
        }
        Ok(())
    }

    pub(super) fn enter_line(&mut self, run: &mut Run) -> Result<()> {
        for claim in &run.spec.claims {
            let stake = Stake { ticket: run.ticket, mode: claim.mode };
            self.tables.enqueue(&Place::of(claim.space, &claim.name), stake)?;
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
            let place = Place::of(claim.space, &claim.name);
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
        let place = Place::of(claim.space, &claim.name);
        let behind = Part::from(Ticket(ahead.0.saturating_add(1)));
        if let Some(next) = self.tables.line(&place, behind, 1)?.first()
            && (claim.space == Space::Slot || rule::conflicts(claim.mode, next.mode))
        {
            let next = self.must_find(next.ticket)?;
            self.wakes.insert(Wake::for_run(&next));
        }
        Ok(())
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

    /// Ends those of the runs whose processes are really dead; answers whether there was one.
    pub(super) fn bury(&mut self, tickets: &[Ticket]) -> Result<bool> {
        let mut any = false;
        for &ticket in tickets {
            if !self.is_dead(ticket)? {
                continue;
            }
            let mut run = self.must_find(ticket)?;
            let outcome = match run.state {
                State::Running if run.revoked => Outcome::Lost(LostBy::Broken),
                State::Running => Outcome::Lost(LostBy::Died),
                _ => Outcome::Cancelled,
            };
            self.finish(&mut run, outcome)?;
            any = true;
        }
        Ok(any)
    }

    /// Whether the run is not over although its process is.
    pub(super) fn is_dead(&mut self, ticket: Ticket) -> Result<bool> {
        let run = self.tables.run(ticket)?.filter(|run| !matches!(run.state, State::Ended(_)));
        Ok(run.and_then(|run| run.holder.life).is_some_and(|life| !self.world.is_alive(life)))
    }

    /// Whether this step may still end a holder that is in the way; if so, it counts as ended.
    pub(super) fn may_end(&mut self, ticket: Ticket) -> Result<bool> {
        let claims = self.must_find(ticket)?.spec.claims.len();
        Ok(self.budget.ends.takes(claims))
    }

    /// The run that holds `stake`, if it says so itself. Only a store that somebody altered has a stake of any other run:
    /// ending that run would leave the stake where it is, to be met again for ever.
    pub(super) fn must_hold(&mut self, place: &Place, stake: Stake, which: Which) -> Result<Run> {
        let run = self.must_find(stake.ticket)?;
        let claims = |claim: &Claim| {
            Some(claim.space) == place.space && claim.name == place.name && claim.mode == stake.mode
        };
        if run.state.is_holding()
            && run.lapsed == (which == Which::Lapsed)
            && run.spec.claims.iter().any(claims)
        {
            return Ok(run);
        }
        let (name, id) = (&place.name, &run.attempt.id);
        Err(StoreError::damaged(format!("{name} is held by run {id}, which does not hold it")))
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
