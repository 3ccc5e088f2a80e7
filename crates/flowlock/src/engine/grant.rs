//! Granting: direct, by hand-over, and taking over what lapsed.

use super::tables::{Result, Stake, Tables, Which, one_less};
use super::{Engine, SILENCE_MS};
use crate::claim::{Claim, Mode};
use crate::rule;
use crate::run::{LostBy, OnFail, Outcome, Place, Run, State, Ticket};
use crate::step::Wake;

impl<T: Tables> Engine<'_, T> {
    /// Gives a run all its claims in the acquire itself: it runs.
    pub(super) fn grant_directly(&mut self, run: &mut Run) -> Result<()> {
        self.give_claims(run)?;
        self.start(run)
    }

    /// Gives a waiting run all its claims; it begins when its process says so.
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
        self.take_what_lapsed(run)?;
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
        run.began_ms = Some(self.now.boot_ms);
        run.place_end_ms = None;
        run.wait_end_ms = None;
        run.present = true;
        run.deadline_ms = Some(self.lease_end(run));
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

    /// Ends the lapsed holders that conflict with a run about to be granted: only here are they lost.
    fn take_what_lapsed(&mut self, run: &Run) -> Result<()> {
        if self.meta.lapsed == 0 {
            return Ok(());
        }
        for claim in &run.spec.clone().claims {
            let place = Place::of(claim.space, &claim.name);
            if let Mode::Units { units, capacity } = claim.mode {
                self.take_lapsed_units(claim, units, capacity)?;
                continue;
            }
            for stake in self.tables.holders(&place, Which::Lapsed, usize::MAX)? {
                if rule::conflicts(claim.mode, stake.mode) {
                    let holder = self.must_hold(&place, stake, Which::Lapsed)?;
                    self.lose(holder)?;
                }
            }
        }
        Ok(())
    }

    /// Takes lapsed units, the earliest deadline first, until the wanted ones fit.
    fn take_lapsed_units(&mut self, claim: &Claim, units: u32, capacity: u32) -> Result<()> {
        let place = Place::of(claim.space, &claim.name);
        loop {
            let lapsed = self.tables.holders(&place, Which::Lapsed, usize::MAX)?;
            let standing = self.tables.held(claim.space, &claim.name)?;
            let all = lapsed.iter().fold(standing, |crowd, stake| crowd.with(stake.mode));
            if !rule::holders_block(Mode::Units { units, capacity }, all) {
                return Ok(());
            }
            let mut earliest: Option<Run> = None;
            for stake in lapsed {
                let holder = self.must_hold(&place, stake, Which::Lapsed)?;
                let key = |run: &Run| (run.deadline_ms, run.ticket);
                if earliest.as_ref().is_none_or(|first| key(&holder) < key(first)) {
                    earliest = Some(holder);
                }
            }
            match earliest {
                Some(holder) => self.lose(holder)?,
                None => return Ok(()),
            }
        }
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
        let Some(run) = self.tables.run(ancestor)? else {
            return Ok(false);
        };
        Ok(run.state.is_holding()
            && !run.revoked
            && run
                .spec
                .claims
                .iter()
                .any(|c| Some(c.space) == place.space && c.name == place.name && c.mode == Mode::Shared))
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
