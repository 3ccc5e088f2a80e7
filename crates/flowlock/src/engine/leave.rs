//! How runs end and give back their names.

use super::tables::{Result, Stake, Tables, Which, one_less};
use super::{Engine, OUTCOME_MEMORY_MS};
use crate::run::{Outcome, Resource, Run, State};
use crate::step::Wake;

impl<T: Tables> Engine<'_, T> {
    /// Ends a run in any state: it leaves its queues and gives back its names; its outcome is
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
            let place = Resource::of(claim.space, &claim.name);
            self.tables.unhold(&place, Stake { ticket: run.ticket, mode: claim.mode }, which)?;
            self.mark_dirty(&place)?;
        }
        Ok(())
    }
}
