//! What time changes: leases and waits end, silent clients stop reserving, records expire, outcomes are
//! forgotten.

use super::tables::{Result, Tables};
use super::{Engine, SILENCE_MS};
use crate::id::{ClientId, Ticket};
use crate::name::Name;
use crate::run::{LostBy, Outcome, Run, State};

/// Something that is due.
enum Due {
    Run(Ticket),
    Client(ClientId),
    Record(Name),
}

impl<T: Tables> Engine<'_, T> {
    /// Handles the deadlines that are due, oldest first; then forgets old outcomes.
    pub(super) fn sweep(&mut self) -> Result<()> {
        let Engine { now, bounds, .. } = *self;
        if now.boot_ms >= self.meta.next_due_ms || now.wall_us >= self.meta.next_expiry_us {
            for due in self.due()? {
                if self.budget.due.is_used_up() {
                    break;
                }
                self.handle(due)?;
            }
            self.unswept = self.budget.due.is_used_up() && !self.due()?.is_empty();
            self.meta.next_due_ms = self.tables.next_due(SILENCE_MS)?.unwrap_or(i64::MAX);
            self.meta.next_expiry_us = self.tables.next_expiry()?.unwrap_or(i64::MAX);
        }
        if now.boot_ms >= self.meta.next_forget_ms {
            for (_, ticket) in self.tables.forgettable(now.boot_ms, bounds.forgets)? {
                self.tables.delete_run(ticket)?;
            }
            self.meta.next_forget_ms = self.tables.next_forget()?.unwrap_or(i64::MAX);
        }
        Ok(())
    }

    /// Returns everything that is due, the longest overdue first; one more of each kind than a step
    /// handles.
    fn due(&mut self) -> Result<Vec<Due>> {
        let now = self.now;
        let limit = self.bounds.due + 1;
        let mut due = Vec::new();
        for (at, ticket) in self.tables.due_runs(now.boot_ms, limit)? {
            due.push((at.saturating_sub(now.boot_ms), Due::Run(ticket)));
        }
        for (at, client) in self.tables.silent_clients(now.boot_ms - SILENCE_MS, limit)? {
            due.push((at.saturating_add(SILENCE_MS).saturating_sub(now.boot_ms), Due::Client(client)));
        }
        for (at, name) in self.tables.due_records(now.wall_us, limit)? {
            due.push((at.saturating_sub(now.wall_us) / 1_000, Due::Record(name)));
        }
        due.sort_by_key(|(overdue, _)| *overdue);
        Ok(due.into_iter().map(|(_, due)| due).collect())
    }

    /// Handles one due item, if this step still may.
    fn handle(&mut self, due: Due) -> Result<()> {
        match due {
            Due::Run(ticket) => {
                let run = self.must_find(ticket)?;
                // Handling one run may have ended another one that was due as well.
                let is_due = run.due_ms().is_some_and(|at| at <= self.now.boot_ms);
                if is_due && self.budget.due.spend(run.spec.claims.len()) {
                    self.handle_due_run(run)?;
                }
            }
            Due::Client(client) => self.handle_silent_client(client)?,
            Due::Record(name) => {
                if self.budget.due.spend(0) {
                    self.end_due_record(&name)?;
                }
            }
        }
        Ok(())
    }

    fn handle_due_run(&mut self, mut run: Run) -> Result<()> {
        match run.state {
            State::Granted | State::Running if run.revoked => {
                self.finish(&mut run, Outcome::Lost(LostBy::Broken))
            }
            State::Granted | State::Running => self.handle_due_holder(run),
            _ => self.finish(&mut run, Outcome::TimedOut),
        }
    }

    /// Lapses a late holder. Ends it if its process is dead, or if no run needed its names for long.
    fn handle_due_holder(&mut self, mut run: Run) -> Result<()> {
        if self.bury(&[run.ticket])? {
            return Ok(());
        }
        match run.state {
            _ if !run.lapsed => self.lapse(&mut run),
            State::Running => self.finish(&mut run, Outcome::Lost(LostBy::Died)),
            _ => self.finish(&mut run, Outcome::TimedOut),
        }
    }

    /// Takes a silent client's waiting runs out of the queue, as many as this step still may.
    fn handle_silent_client(&mut self, client: ClientId) -> Result<()> {
        let tickets = self.tables.reserving(client, self.budget.due.runs() + 1)?;
        if tickets.is_empty() {
            self.budget.due.spend(0);
        }
        for ticket in tickets {
            let mut run = self.must_find(ticket)?;
            if !self.budget.due.spend(run.spec.claims.len()) {
                return Ok(());
            }
            self.make_absent(&mut run)?;
        }
        self.tables.forget_client(client)
    }
}
