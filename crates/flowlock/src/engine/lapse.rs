//! Holders whose deadline has passed: their claims are in no run's way, and a run that needs them takes
//! them.

use super::Engine;
use super::tables::{Result, Stake, Tables, Which, one_less};
use crate::claim::{Claim, Mode};
use crate::rule;
use crate::run::{LostBy, Outcome, Resource, Run, State};
use crate::step::Wake;

impl<T: Tables> Engine<'_, T> {
    /// Lapses a run whose deadline has passed: from now on its claims are in no run's way.
    pub(super) fn lapse(&mut self, run: &mut Run) -> Result<()> {
        self.set_lapsed(run, Which::Lapsed)?;
        for claim in &run.spec.clone().claims {
            self.mark_dirty(&Resource::of(claim.space, &claim.name))?;
        }
        self.save(run)
    }

    /// Moves a holder's claims between the standing and the lapsed ones.
    pub(super) fn set_lapsed(&mut self, run: &mut Run, to: Which) -> Result<()> {
        let from = if run.lapsed { Which::Lapsed } else { Which::Standing };
        run.lapsed = to == Which::Lapsed;
        match to {
            Which::Lapsed => self.meta.lapsed += 1,
            Which::Standing => one_less(&mut self.meta.lapsed)?,
        }
        let given_up_ms = self.now.boot_ms.saturating_add_unsigned(run.spec.keep_lapsed_ms);
        run.given_up_ms = run.lapsed.then_some(given_up_ms);
        for claim in &run.spec.claims {
            let place = Resource::of(claim.space, &claim.name);
            let stake = Stake { ticket: run.ticket, mode: claim.mode };
            self.tables.unhold(&place, stake, from)?;
            self.tables.hold(&place, stake, to)?;
        }
        Ok(())
    }

    /// Ends the lapsed holders that conflict with a run about to be granted; only here are they lost.
    /// Returns whether all were ended, because a step may end only so many; if not, work is left over.
    pub(super) fn take_what_lapsed(&mut self, run: &Run) -> Result<bool> {
        if self.meta.lapsed == 0 {
            return Ok(true);
        }
        for claim in &run.spec.clone().claims {
            while let Some((place, stake)) = self.lapsed_in_the_way(claim)? {
                let holder = self.must_hold(&place, stake, Which::Lapsed)?;
                if !self.spend_end(stake.ticket)? {
                    self.unswept = true;
                    return Ok(false);
                }
                self.lose(holder)?;
            }
        }
        Ok(true)
    }

    /// Returns the oldest lapsed holder that conflicts with a claim. The holders of an uncounted name
    /// either all conflict with a claim or none does; units are taken until the wanted ones fit.
    fn lapsed_in_the_way(&mut self, claim: &Claim) -> Result<Option<(Resource, Stake)>> {
        let place = Resource::of(claim.space, &claim.name);
        let Some(oldest) = self.tables.holders(&place, Which::Lapsed, 1)?.pop() else {
            return Ok(None);
        };
        let conflicts = if let Mode::Units { .. } = claim.mode {
            let standing = self.tables.held(claim.space, &claim.name, Which::Standing)?;
            let lapsed = self.tables.held(claim.space, &claim.name, Which::Lapsed)?;
            rule::holders_block(claim.mode, standing.and(lapsed))
        } else {
            rule::conflicts(claim.mode, oldest.mode)
        };
        Ok(conflicts.then_some((place, oldest)))
    }

    /// Ends a lapsed run, because a run that needs its names is granted now.
    pub(super) fn lose(&mut self, mut holder: Run) -> Result<()> {
        match holder.state {
            _ if holder.revoked => self.finish(&mut holder, Outcome::Lost(LostBy::Broken)),
            State::Granted => self.pass_on(holder),
            _ => self.finish(&mut holder, Outcome::Lost(LostBy::Taken)),
        }
    }

    /// Takes back a grant that was never accepted. The run keeps its ticket and reserves nothing until
    /// its process is heard again.
    fn pass_on(&mut self, mut run: Run) -> Result<()> {
        self.release(&mut run)?;
        run.lapsed = false;
        run.given_up_ms = None;
        run.token = None;
        run.deadline_ms = None;
        run.input_versions.clear();
        self.enter(&mut run, State::Queued);
        run.present = false;
        run.absent_since_ms = Some(self.now.boot_ms);
        if run.is_over(self.now.boot_ms) {
            return self.finish(&mut run, Outcome::TimedOut);
        }
        self.add_guards(&run)?;
        self.wakes.insert(Wake::for_run(&run));
        self.save(&run)
    }
}
