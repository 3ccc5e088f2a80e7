//! What holders and operators do: refresh, commit, fail, detach, unlock, heartbeat.

use std::collections::BTreeSet;

use super::Engine;
use super::rows::Records;
use super::tables::{Result, Tables};
use crate::id::Attempt;
use crate::id::{ClientId, Ticket, Token};
use crate::name::RunId;
use crate::run::{LostBy, Outcome, Run, State};
use crate::step::{Answer, Finished, Refreshed, Standing, Unlock, Who};

impl<T: Tables> Engine<'_, T> {
    /// Returns the run that `who` may operate: by its nonce, or by its id alone if it is detached.
    fn find(&mut self, who: &Who) -> Result<Option<Run>> {
        match who.nonce {
            Some(nonce) => self.tables.by_attempt(&Attempt { id: who.run.clone(), nonce }),
            None => Ok(self.tables.latest_run(&who.run)?.filter(|run| run.detached)),
        }
    }

    pub(super) fn refresh(&mut self, who: &Who) -> Result<Refreshed> {
        let Some(mut run) = self.find(who)? else {
            return Ok(Refreshed::NotFound);
        };
        match run.state {
            State::Ended(outcome) => Ok(Refreshed::Over(outcome)),
            _ if run.revoked => Ok(Refreshed::Over(Outcome::Lost(LostBy::Broken))),
            State::Running => self.renew(&mut run),
            _ => Ok(Refreshed::NotRunning),
        }
    }

    fn renew(&mut self, run: &mut Run) -> Result<Refreshed> {
        let now = self.now.boot_ms;
        let late = run.is_late(now);
        if late && self.has_leftover()? {
            return Ok(Refreshed::AskAgain);
        }
        let end = self.lease_end(run);
        let capped = end < now.saturating_add_unsigned(run.spec.lease_ms);
        // After its longest run time there is nothing to renew, even if its lease ended before that.
        if capped && (run.deadline_ms >= Some(end) || end <= now) {
            let lease_left_ms = run.deadline_ms.unwrap_or(end) - now;
            return Ok(Refreshed::MaxRuntime { lease_left_ms });
        }
        if run.lapsed {
            if !self.budget.returns.spend(run.spec.claims.len()) {
                return Ok(Refreshed::AskAgain);
            }
            self.set_lapsed(run, super::tables::Which::Standing)?;
        }
        run.deadline_ms = Some(end);
        self.save(run)?;
        Ok(Refreshed::Held { lease_left_ms: end - now, late })
    }

    pub(super) fn commit(&mut self, who: &Who, note: Option<&str>) -> Result<Finished> {
        let Some(mut run) = self.find(who)? else {
            return Ok(Finished::NotFound);
        };
        match run.state {
            State::Ended(outcome) => {
                // The first answer may have failed at the disk; this one promises the same.
                self.must_sync |= run.spec.claims.outputs().next().is_some();
                return Ok(Finished::Ended { outcome, late: run.lapsed });
            }
            State::Running => {}
            _ => return Ok(Finished::NotAccepted),
        }
        if run.revoked {
            // Its work is over, so it gives up its names.
            return self.end_revoked(&mut run);
        }
        let late = run.is_late(self.now.boot_ms);
        if late && self.has_leftover()? {
            return Ok(Finished::AskAgain);
        }
        self.look_ahead(&run.spec, Records::Written)?;
        self.write_outputs(&run, note)?;
        self.sign(&mut run);
        self.finish(&mut run, Outcome::Committed)?;
        for output in run.spec.claims.outputs() {
            self.mark_written(&output.name)?;
        }
        Ok(Finished::Ended { outcome: Outcome::Committed, late })
    }

    pub(super) fn fail(&mut self, who: &Who) -> Result<Finished> {
        let Some(mut run) = self.find(who)? else {
            return Ok(Finished::NotFound);
        };
        match run.state {
            State::Ended(outcome) => {
                return Ok(Finished::Ended { outcome, late: run.lapsed });
            }
            State::Granted | State::Running => {}
            _ => return Ok(Finished::NotAccepted),
        }
        if run.revoked {
            return self.end_revoked(&mut run);
        }
        let late = run.is_late(self.now.boot_ms);
        self.look_ahead(&run.spec, Records::Untouched)?;
        self.sign(&mut run);
        self.finish(&mut run, Outcome::Failed)?;
        Ok(Finished::Ended { outcome: Outcome::Failed, late })
    }

    /// Ends an unlocked run that reports its end. The record of who unlocked it is kept, whoever
    /// reports.
    fn end_revoked(&mut self, run: &mut Run) -> Result<Finished> {
        let outcome = Outcome::Lost(LostBy::Broken);
        self.look_ahead(&run.spec, Records::Untouched)?;
        self.finish(run, outcome)?;
        Ok(Finished::Ended { outcome, late: false })
    }

    pub(super) fn detach(&mut self, attempt: &Attempt) -> Result<Answer> {
        match self.tables.by_attempt(attempt)? {
            // An unlocked run is not detached: it will learn of the unlock and give up its names.
            Some(mut run) if run.state == State::Running && !run.revoked => {
                run.detached = true;
                run.holder.liveness = None;
                self.save(&run)?;
                Ok(Answer::Done)
            }
            _ => Ok(Answer::NotFound),
        }
    }

    /// Records who acts on a run by hand, if somebody does.
    pub(super) fn sign(&self, run: &mut Run) {
        if self.actor.is_some() {
            run.actor.clone_from(&self.actor);
        }
    }

    pub(super) fn unlock(&mut self, id: &RunId, token: Token, how: Unlock) -> Result<Answer> {
        let Some(mut run) = self.tables.living(id)?.filter(|run| run.token == Some(token)) else {
            return Ok(Answer::NotFound);
        };
        if !run.state.is_holding() {
            return Ok(Answer::NotFound);
        }
        // Only a process that runs under a standing lease can acknowledge.
        let at_once = how == Unlock::Now || run.state == State::Granted || run.is_late(self.now.boot_ms);
        // A repeated unlock changes nothing: the first one counts.
        if at_once || !run.revoked {
            self.sign(&mut run);
        }
        if at_once {
            self.finish(&mut run, Outcome::Lost(LostBy::Broken))?;
        } else {
            run.revoked = true;
            self.wakes.insert(crate::step::Wake::for_run(&run));
            self.save(&run)?;
        }
        Ok(Answer::Done)
    }

    /// Returns a page of a client's waiting and granted runs, with blockers only for those asked about.
    pub(super) fn heartbeat(&mut self, client: ClientId, from: Ticket, explain: &[RunId]) -> Result<Answer> {
        let heard = self.bounds.heard;
        let mut tickets = self.tables.of_client(client, from, heard + 1)?;
        let next = tickets.get(heard).copied();
        tickets.truncate(heard);
        let explain = self.explained(explain)?;
        let mut runs = Vec::with_capacity(tickets.len());
        for ticket in tickets {
            let run = self.must_find(ticket)?;
            let standing = if run.state.is_waiting() && !explain.contains(&run.ticket) {
                Standing::StillWaiting { state: run.state, present: run.present }
            } else {
                self.standing(&run)?
            };
            runs.push((run.attempt.id, standing));
        }
        Ok(Answer::Heard { runs, next })
    }

    /// Returns the runs for which the answer says why they wait: the first few of those asked about,
    /// fewer if they have many claims.
    fn explained(&mut self, asked: &[RunId]) -> Result<BTreeSet<Ticket>> {
        let mut explain = BTreeSet::new();
        for id in asked.iter().take(self.bounds.explained) {
            if let Some(run) = self.tables.living(id)? {
                if !self.budget.shown.spend(run.spec.claims.len()) {
                    break;
                }
                explain.insert(run.ticket);
            }
        }
        Ok(explain)
    }

    /// Ends those of the runs whose processes are dead, as many as this step may; the process that
    /// reported them probes again.
    pub(super) fn bury_reported(&mut self, tickets: &[Ticket]) -> Result<Answer> {
        for &ticket in tickets.iter().take(self.bounds.probes) {
            if self.is_dead(ticket)? {
                if !self.spend_end(ticket)? {
                    break;
                }
                self.bury(&[ticket])?;
            }
        }
        Ok(Answer::Done)
    }
}
