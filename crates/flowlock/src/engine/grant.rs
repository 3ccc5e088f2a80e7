//! Granting, directly and by hand-over; and starting a run.

use super::line::Wakes;
use super::tables::{Result, Stake, Tables, Which};
use super::{Engine, SILENCE_MS};
use crate::claim::Mode;
use crate::id::Ticket;
use crate::run::{Resource, Run, State};
use crate::spec::OnFail;
use crate::step::Wake;

impl<T: Tables> Engine<'_, T> {
    /// Gives a run all its claims within its own request: it runs. Lapsed claims in its way were taken
    /// before.
    pub(super) fn grant_directly(&mut self, run: &mut Run) -> Result<()> {
        self.give_claims(run)?;
        self.start(run)
    }

    /// Gives a waiting run all its claims; it starts when its process accepts. Lapsed claims in its way
    /// were taken before.
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
                &Resource::of(claim.space, &claim.name),
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

    /// Starts a run: its lease counts from now.
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

    /// Returns where a refresh moves the deadline of a running run: one lease from now, but not past its
    /// longest run time.
    pub(super) fn lease_end(&self, run: &Run) -> i64 {
        let end = self.now.boot_ms.saturating_add_unsigned(run.spec.lease_ms);
        match (run.began_ms, run.spec.max_runtime_ms) {
            (Some(began), Some(most)) => end.min(began.saturating_add_unsigned(most)),
            _ => end,
        }
    }

    /// Returns whether `ancestor` holds the place shared, lapsed or not; false once its claim is taken,
    /// ended or revoked.
    pub(super) fn shares(&mut self, ancestor: Ticket, place: &Resource) -> Result<bool> {
        let stake = Stake { ticket: ancestor, mode: Mode::Shared };
        let holds = self.tables.holds(place, stake, Which::Standing)?
            || self.tables.holds(place, stake, Which::Lapsed)?;
        Ok(holds && self.tables.vitals(ancestor)?.is_some_and(|vitals| !vitals.revoked))
    }
}
