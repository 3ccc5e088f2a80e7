//! A request arrives, or comes again: it becomes a grant, a waiting run, or a refusal.

use std::sync::Arc;

use super::bury::Buried;
use super::rows::Records;
use super::tables::{Result, Source, Tables};
use super::{Engine, LATEST_AHEAD_MS, LONGEST_PLACE_MS};
use crate::id::{Attempt, Ticket};
use crate::origin::Holder;
use crate::rule::Obstacle;
use crate::run::{LostBy, Outcome, RowKind, Run, State};
use crate::spec::Spec;
use crate::step::{Acquire, Answer, Invalid, Patience, Standing};
use crate::world::LivenessId;

impl<T: Tables> Engine<'_, T> {
    pub(super) fn acquire(&mut self, request: &Acquire) -> Result<Answer> {
        if let Some(known) = self.tables.by_attempt(&request.attempt)? {
            return self.acquire_again(known, request);
        }
        let now = self.now.boot_ms;
        if request.latest_ms < now {
            return Ok(Answer::Invalid(Invalid::ArrivedTooLate));
        }
        if request.latest_ms > now + LATEST_AHEAD_MS {
            return Ok(Answer::Invalid(Invalid::LatestTooFar));
        }
        if let Some(living) = self.tables.living(&request.attempt.id)? {
            if !self.bury(&[living.ticket])? {
                return Ok(Answer::Invalid(Invalid::RunIdInUse));
            }
            self.drain()?;
        }
        self.look_ahead(&request.spec, Records::Untouched)?;
        let run = self.arrive(request)?;
        self.decide(run, request).map(Answer::Standing)
    }

    /// Makes the attempt's row, before anything is decided about it.
    pub(super) fn arrive(&mut self, request: &Acquire) -> Result<Run> {
        let run = Run {
            kind: RowKind::Run,
            ticket: self.next_ticket(),
            attempt: request.attempt.clone(),
            spec: request.spec.clone(),
            ancestors: self.ancestors(&request.spec)?,
            holder: request.holder.clone(),
            state: State::AwaitingInput,
            present: true,
            in_line: false,
            lapsed: false,
            revoked: false,
            detached: false,
            token: None,
            deadline_ms: None,
            began_ms: None,
            wait_end_ms: None,
            place_end_ms: None,
            absent_since_ms: None,
            given_up_ms: None,
            actor: None,
            forget_ms: None,
            since_us: self.now.wall_us,
            input_versions: Vec::new(),
            parked: None,
        };
        Ok(run)
    }

    /// Returns the chain of running parents as it is now, the nearest ones; none if the proof of the
    /// parent is wrong.
    fn ancestors(&mut self, spec: &Spec) -> Result<Arc<[Ticket]>> {
        let Some(parent) = &spec.parent else {
            return Ok(Arc::new([]));
        };
        match self.tables.living(parent.run())? {
            Some(run) if run.state == State::Running && parent.is(&run.attempt) => {
                let chain = run.ancestors.len() + 1;
                let farther = chain.saturating_sub(self.bounds.ancestors);
                Ok(run.ancestors.iter().copied().chain([run.ticket]).skip(farther).collect())
            }
            _ => Ok(Arc::new([])),
        }
    }

    fn decide(&mut self, mut run: Run, request: &Acquire) -> Result<Standing> {
        let mut obstacle = self.obstacle(&run)?;
        // A dead process in the way is found now, not by a later probe.
        while matches!(obstacle, Some(Obstacle::Taken(_))) {
            let way = self.in_the_way(&run, self.bounds.probes)?;
            if self.bury_the_dead(way)? != Buried::Some {
                break;
            }
            self.drain()?;
            obstacle = self.obstacle(&run)?;
        }
        let is_next = obstacle.is_none() && !self.has_leftover()? && self.take_what_lapsed(&run)?;
        match obstacle {
            Some(Obstacle::Exists) => self.refuse(run, request, Outcome::RefusedOutputExists),
            None if is_next => {
                self.grant_directly(&mut run)?;
                self.note_due(&run);
                self.tables.insert_run(&run)?;
                self.standing(&run)
            }
            _ if request.patience == Patience::Try => self.refuse(run, request, Outcome::RefusedBusy),
            Some(_) if self.is_deadlock(&run)? => self.refuse(run, request, Outcome::RefusedDeadlock),
            obstacle => self.wait(run, request, obstacle),
        }
    }

    /// Puts a run into the queue: parked at its obstacle, or to be looked at if only older work is ahead
    /// of it.
    fn wait(&mut self, mut run: Run, request: &Acquire, obstacle: Option<Obstacle>) -> Result<Standing> {
        self.set_patience(&mut run, request.patience);
        self.tables.insert_run(&run)?;
        self.meta.waiting += 1;
        self.tables.add_of_client(run.holder.client, run.ticket)?;
        self.hear(run.holder.client)?;
        self.add_guards(&run)?;
        let leftover = self.has_leftover()?;
        match obstacle {
            Some(Obstacle::Missing(place)) => self.wait_at(&mut run, &place)?,
            Some(Obstacle::Taken(place)) if !leftover => self.wait_at(&mut run, &place)?,
            _ => {
                self.enter(&mut run, State::Queued);
                self.enter_line(&mut run)?;
                self.save(&run)?;
                self.backlog.add(run.ticket, Source::Alone);
            }
        }
        self.standing(&run)
    }

    fn set_patience(&self, run: &mut Run, patience: Patience) {
        let in_ms = |ms: u64| self.now.boot_ms.saturating_add_unsigned(ms);
        match patience {
            Patience::Try => {}
            Patience::HoldPlace(ms) => {
                run.place_end_ms = Some(in_ms(ms.min(LONGEST_PLACE_MS)));
                // The place is kept until its end, whether or not the process that asked for it lives:
                // another may come back.
                run.holder.liveness = None;
            }
            Patience::Wait(ms) => run.wait_end_ms = ms.map(in_ms),
        }
    }

    /// Refuses a request for good. The refusal is remembered until no repetition of the request can
    /// arrive any more.
    fn refuse(&mut self, mut run: Run, request: &Acquire, outcome: Outcome) -> Result<Standing> {
        let mut blocked = self.blocked(&run)?;
        if outcome == Outcome::RefusedBusy {
            blocked.retry_after_ms = Some(self.retry_after(&run)?);
        }
        run.state = State::Ended(outcome);
        run.forget_ms = Some(request.latest_ms + 1);
        self.note_due(&run);
        self.tables.insert_run(&run)?;
        Ok(Standing::Ended { outcome, blocked: Some(blocked) })
    }

    /// Answers a repeated request: the attempt's current state. It is also a sign of life.
    fn acquire_again(&mut self, mut run: Run, request: &Acquire) -> Result<Answer> {
        if run.spec != request.spec && run.kind == RowKind::Run {
            return Ok(Answer::Invalid(Invalid::RunIdReused));
        }
        if run.revoked && run.state.is_holding() {
            return self.hear_of_unlock(run, &request.holder);
        }
        self.adopt(&mut run, &request.holder)?;
        if run.state.is_waiting() && !run.present {
            self.revive(&mut run)?;
        }
        if run.place_end_ms.is_some() {
            match (run.state, request.patience) {
                (State::Granted, _) => return self.accept(&request.attempt, &request.holder),
                (State::AwaitingInput | State::Queued, Patience::HoldPlace(_)) => {
                    let until = run.place_end_ms;
                    self.set_patience(&mut run, request.patience);
                    self.save(&run)?;
                    if run.in_line && run.place_end_ms < until {
                        run.spec
                            .claims
                            .into_iter()
                            .try_for_each(|claim| self.tell_next_in_line(run.ticket, claim))?;
                    }
                    // No process probes those in its way between two tries.
                    if request.holder.liveness.is_some() {
                        self.backlog.add(run.ticket, Source::Alone);
                        self.drain()?;
                        run = self.must_find(run.ticket)?;
                    }
                    if run.state == State::Granted {
                        return self.accept(&request.attempt, &request.holder);
                    }
                }
                _ => {}
            }
        }
        self.standing(&run).map(Answer::Standing)
    }

    /// Answers a repeated request for a run that was unlocked. This ends the run, unless another process
    /// may work under it.
    fn hear_of_unlock(&mut self, mut run: Run, holder: &Holder) -> Result<Answer> {
        let outcome = Outcome::Lost(LostBy::Broken);
        if run.holder == *holder || self.is_dead(run.ticket)? {
            self.finish(&mut run, outcome)?;
        }
        Ok(Answer::Standing(Standing::Ended { outcome, blocked: None }))
    }

    /// Gives the run to the process that came for it last; a detached run belongs to none.
    fn adopt(&mut self, run: &mut Run, holder: &Holder) -> Result<()> {
        let unaccepted = run.state.is_waiting() || run.state == State::Granted;
        let is_continued = run.state == State::Running && !run.detached;
        if run.holder == *holder || !(unaccepted || is_continued) {
            return Ok(());
        }
        if unaccepted && run.holder.client != holder.client {
            self.remove_of_client(run)?;
            self.meta.waiting += 1;
            self.tables.add_of_client(holder.client, run.ticket)?;
        }
        let liveness = if unaccepted { holder.liveness } else { self.liveness_beside(run, holder) };
        run.holder = Holder { liveness, ..holder.clone() };
        self.hear(holder.client)?;
        self.save(run)
    }

    /// Returns the liveness lock of a running run that another process continues. If the earlier process
    /// may still work, the death of neither ends the run: only its lease does.
    fn liveness_beside(&self, run: &Run, comer: &Holder) -> Option<LivenessId> {
        let before = run.holder.liveness?;
        let replaces = comer.liveness == Some(before) || !self.world.is_alive(before);
        comer.liveness.filter(|_| replaces)
    }

    /// Accepts a grant, for the run's process.
    pub(super) fn accept(&mut self, attempt: &Attempt, holder: &Holder) -> Result<Answer> {
        let Some(mut run) = self.tables.by_attempt(attempt)? else {
            return Ok(Answer::NotFound);
        };
        if run.revoked && run.state.is_holding() {
            self.finish(&mut run, Outcome::Lost(LostBy::Broken))?;
            return self.standing(&run).map(Answer::Standing);
        }
        self.adopt(&mut run, holder)?;
        if run.state.is_waiting() && !run.present {
            self.revive(&mut run)?;
        }
        if run.state == State::Granted {
            if run.is_late(self.now.boot_ms) && self.has_leftover()? {
                return Ok(Answer::Standing(Standing::AskAgain));
            }
            self.start(&mut run)?;
            self.save(&run)?;
        }
        self.standing(&run).map(Answer::Standing)
    }
}
