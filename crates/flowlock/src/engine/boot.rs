//! What a step may not do under this clock, and what a reboot voids.

use super::tables::{Result, Tables};
use super::{BOOT_TIME_SLACK_US, END_OF_TIME_US, Engine, OUTCOME_MEMORY_MS};
use crate::id::Ticket;
use crate::run::{LostBy, Outcome};
use crate::store::StoreError;

impl<T: Tables> Engine<'_, T> {
    /// Refuses a clock that is far off. Tokens and records never go back, so one step under a clock that
    /// is far ahead would have effects for ever: nothing is written under a time that no machine can
    /// rightly have.
    pub(super) fn check_clock(&self) -> Result<()> {
        let wall_us = self.now.wall_us;
        if (0..END_OF_TIME_US).contains(&wall_us) {
            return Ok(());
        }
        Err(StoreError::wrong_clock("this machine's", wall_us))
    }

    /// Voids every grant after a reboot of this host. The boot of another host is never mistaken for a
    /// reboot.
    pub(super) fn check_boot(&mut self) -> Result<()> {
        let boot_id = self.world.boot_id();
        if self.meta.boot_id == boot_id {
            return Ok(());
        }
        if !self.meta.boot_id.is_empty() {
            let booted_us = self.now.wall_us - self.now.boot_ms * 1_000;
            if self.meta.last_wall_us > booted_us + BOOT_TIME_SLACK_US {
                return Err(StoreError::two_hosts(self.meta.last_wall_us, booted_us));
            }
            self.void_everything()?;
        }
        self.meta.boot_id = boot_id;
        Ok(())
    }

    fn void_everything(&mut self) -> Result<()> {
        // The lease clock began again: no time that was measured with it has a meaning now.
        self.meta.last_token = self.meta.last_token.max(self.meta.token_ceiling);
        let mut from = Ticket(0);
        loop {
            let runs = self.tables.living_runs(from, self.bounds.page)?;
            let Some(last) = runs.last() else { break };
            from = Ticket(last.ticket.0.saturating_add(1));
            for mut run in runs {
                let outcome =
                    if run.state.is_holding() { Outcome::Lost(LostBy::Died) } else { Outcome::Cancelled };
                self.finish(&mut run, outcome)?;
            }
        }
        let forget_ms = self.now.boot_ms + OUTCOME_MEMORY_MS;
        for (_, ticket) in self.tables.forgettable(i64::MAX, usize::MAX)? {
            let mut run = self.must_find(ticket)?;
            run.forget_ms = Some(forget_ms);
            self.save(&run)?;
        }
        for (_, client) in self.tables.silent_clients(i64::MAX, usize::MAX)? {
            self.tables.forget_client(client)?;
        }
        self.meta.next_due_ms = i64::MAX;
        self.meta.next_forget_ms = forget_ms;
        Ok(())
    }
}
