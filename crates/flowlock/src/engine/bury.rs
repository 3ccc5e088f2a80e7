//! Dead processes, and holders that a step may end.

use super::Engine;
use super::explain::InTheWay;
use super::tables::{Result, Stake, Tables, Which};
use crate::claim::Claim;
use crate::id::Ticket;
use crate::run::{LostBy, Outcome, Resource, Run, State};
use crate::store::StoreError;

impl<T: Tables> Engine<'_, T> {
    /// Ends those of the runs whose processes are really dead; returns whether there was one.
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

    /// Returns whether the run's process is dead and the run has not ended.
    pub(super) fn is_dead(&mut self, ticket: Ticket) -> Result<bool> {
        let run = self.tables.run(ticket)?.filter(|run| !matches!(run.state, State::Ended(_)));
        Ok(run.and_then(|run| run.holder.liveness).is_some_and(|liveness| !self.world.is_alive(liveness)))
    }

    /// Ends the dead runs among those in the way of a run.
    pub(super) fn bury_the_dead(&mut self, way: InTheWay) -> Result<Buried> {
        let mut buried = Buried::Nobody;
        for (ticket, vitals) in way.runs {
            if vitals.liveness.is_some_and(|liveness| !self.world.is_alive(liveness)) {
                if !self.spend_end(ticket)? {
                    self.unswept = true;
                    return Ok(Buried::NotAll);
                }
                if self.bury(&[ticket])? {
                    buried = Buried::Some;
                }
            }
        }
        Ok(buried)
    }

    /// Counts a holder in the way as ended; returns `false` if this step may not end any more.
    pub(super) fn spend_end(&mut self, ticket: Ticket) -> Result<bool> {
        let claims = self.must_find(ticket)?.spec.claims.len();
        Ok(self.budget.ends.spend(claims))
    }

    /// Returns the run that holds `stake`, if its row agrees. Only a store that was tampered with has a
    /// stake of a run that does not: ending that run would leave the stake where it is, to be met again
    /// for ever.
    pub(super) fn must_hold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<Run> {
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
}

/// What became of the dead runs in the way of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Buried {
    /// There were none.
    Nobody,
    /// All were ended.
    Some,
    /// There are more than one step may end.
    NotAll,
}
