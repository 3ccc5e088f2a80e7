//! Granting: direct, by hand-over, and taking over what lapsed.

use super::tables::{Result, Stake, Tables, Which, one_less};
use super::{Engine, SILENCE_MS};
use crate::claim::{Claim, Mode};
use crate::id::Ticket;
use crate::rule;
use crate::run::{LostBy, Outcome, Place, Run, State};
use crate::spec::OnFail;
use crate::step::Wake;

impl<T: Tables> Engine<'_, T> {
    /// Gives a run all its claims in the acquire itself: it runs. What lapsed in its way is taken already.
    pub(super) fn grant_directly(&mut self, run: &mut Run) -> Result<()> {
        self.give_claims(run)?;
        self.start(run)
    }

    /// Gives a waiting run all its claims; it begins when its process says so. What lapsed in its way is taken already.
    pub(super) fn hand_over(&mut self, run: &mut Run) -> Result<()> {
        if run.in_line {
            self.remove_from_line(run, Wakes::Nobody)?;
        }
        self.unpark(run)?;
        self.remove_guards(run)?;
        self.give_claims(run)?;
        let now = self.now.boot_ms;
        run.deadline_ms = Some(match run.place_end_ms {
            Some(end) => end.max(now),
            None => self.tables.heard(run.holder.client)?.unwrap_or(now).saturating_add(SILENCE_MS),
        });
        self.enter(run, State::Granted);
        self.wakes.insert(Wake::for_run(run));
        self.save(run)
    }

    fn give_claims(&mut self, run: &mut Run) -> Result<()> {
        for claim in &run.spec.claims {
            self.tables.hold(
                &Place::of(claim.space, &claim.name),
                Stake { ticket: run.ticket, mode: claim.mode },
                Which::Standing,
            )?;
        }
        run.lapsed = false;
        run.given_up_ms = None;
        run.token = Some(self.next_token());
        run.input_versions.clear();
        for input in run.spec.claims.inputs() {
            run.input_versions.extend(self.record(&input.name)?.map(|record| record.version));
        }
        Ok(())
    }

    /// The run's process begins: its lease counts from now.
    pub(super) fn start(&mut self, run: &mut Run) -> Result<()> {
        if run.state == State::Granted {
            self.remove_of_client(run)?;
        }
        if run.lapsed {
            self.set_lapsed(run, Which::Standing)?;
        }
        let until = run.deadline_ms;
        run.began_ms = Some(self.now.boot_ms);
        run.place_end_ms = None;
        run.wait_end_ms = None;
        run.present = true;
        run.deadline_ms = Some(self.lease_end(run));
        if until.is_some() && run.deadline_ms < until {
            self.tell_of_nearer_end(run)?;
        }
        self.enter(run, State::Running);
        if run.spec.on_fail == OnFail::Incomplete {
            self.mark_incomplete(run)?;
        }
        Ok(())
    }

    /// Where a refresh moves a running run's deadline: a lease from now, but not past its longest run time.
    pub(super) fn lease_end(&self, run: &Run) -> i64 {
        let end = self.now.boot_ms.saturating_add_unsigned(run.spec.lease_ms);
        match (run.began_ms, run.spec.max_runtime_ms) {
            (Some(began), Some(most)) => end.min(began.saturating_add_unsigned(most)),
            _ => end,
        }
    }

    /// The deadline passed: the run's claims stand in nobody's way from now on.
    pub(super) fn lapse(&mut self, run: &mut Run) -> Result<()> {
        self.set_lapsed(run, Which::Lapsed)?;
        for claim in &run.spec.clone().claims {
            self.mark_dirty(&Place::of(claim.space, &claim.name))?;
        }
        self.save(run)
    }

    /// Moves a holder's claims between the standing and the lapsed.
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
            let place = Place::of(claim.space, &claim.name);
            let stake = Stake { ticket: run.ticket, mode: claim.mode };
            self.tables.unhold(&place, stake, from)?;
            self.tables.hold(&place, stake, to)?;
        }
        Ok(())
    }

    /// Ends the lapsed holders that conflict with a run about to be granted: only here are they lost. Answers whether all
    /// of them, for a step ends only so many; if not, work is left over.
    pub(super) fn take_what_lapsed(&mut self, run: &Run) -> Result<bool> {
        if self.meta.lapsed == 0 {
            return Ok(true);
        }
        for claim in &run.spec.clone().claims {
            while let Some((place, stake)) = self.lapsed_in_the_way(claim)? {
                let holder = self.must_hold(&place, stake, Which::Lapsed)?;
                if !self.may_end(stake.ticket)? {
                    self.unswept = true;
                    return Ok(false);
                }
                self.lose(holder)?;
            }
        }
        Ok(true)
    }

    /// The oldest lapsed holder that a claim cannot be held beside. Those of one name that is not counted all conflict with
    /// a claim or none does; of units, they are taken until the wanted ones fit.
    fn lapsed_in_the_way(&mut self, claim: &Claim) -> Result<Option<(Place, Stake)>> {
        let place = Place::of(claim.space, &claim.name);
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

    /// Somebody who needs a lapsed run's names is granted now.
    pub(super) fn lose(&mut self, mut holder: Run) -> Result<()> {
        match holder.state {
            _ if holder.revoked => self.finish(&mut holder, Outcome::Lost(LostBy::Broken)),
            State::Granted => self.pass_on(holder),
            _ => self.finish(&mut holder, Outcome::Lost(LostBy::Taken)),
        }
    }

    /// Takes back a grant that was never claimed; the run keeps its ticket and reserves nothing until it
    /// is heard of again.
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

    /// Whether `ancestor` holds the place shared: lapsed or not, until it is taken, ended or revoked.
    pub(super) fn shares(&mut self, ancestor: Ticket, place: &Place) -> Result<bool> {
        let stake = Stake { ticket: ancestor, mode: Mode::Shared };
        let holds = self.tables.holds(place, stake, Which::Standing)?
            || self.tables.holds(place, stake, Which::Lapsed)?;
        Ok(holds && self.tables.vitals(ancestor)?.is_some_and(|vitals| !vitals.revoked))
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
