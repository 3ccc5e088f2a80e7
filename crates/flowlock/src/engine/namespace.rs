//! A namespace as a whole: what is in it, and its removal once it is empty.

use super::Engine;
use super::by_hand::ask_again;
use super::tables::{Census, Result, Tables};
use crate::id::Ticket;
use crate::step::{Answer, InUse};
use crate::view::NamespaceSeen;

impl<T: Tables> Engine<'_, T> {
    /// Returns how much is in the namespace; `None` if it was never used.
    pub(super) fn namespace_seen(&mut self) -> Result<Option<NamespaceSeen>> {
        if self.meta.sequence == 0 {
            return Ok(None);
        }
        let Census { living, outcomes, records } = self.tables.census()?;
        Ok(Some(NamespaceSeen {
            running: living.saturating_sub(self.meta.waiting),
            waiting: self.meta.waiting,
            records,
            outcomes,
            last_used_us: self.meta.last_wall_us,
            removed: self.meta.removed.clone(),
            seen_us: self.now.wall_us,
        }))
    }

    /// Removes the namespace if it is empty. Its own row stays: its epoch, sequence number, tokens and
    /// tickets continue from there if it is used again, so that it is not mistaken for a store that went
    /// back, and no token repeats.
    pub(super) fn remove_namespace(&mut self) -> Result<Answer> {
        let is_new = self.meta.sequence == 0;
        if self.has_leftover()? {
            return Ok(ask_again());
        }
        if !self.tables.living_runs(Ticket(0), 1)?.is_empty() {
            return Ok(Answer::InUse(InUse::Runs));
        }
        if !self.tables.records("", None, 1)?.is_empty() {
            return Ok(Answer::InUse(InUse::Records));
        }
        let now = self.now.boot_ms;
        // A repeated commit must get its answer, and a withdrawn request that still arrives must not be
        // granted.
        if let Some(last) = self.tables.last_forget()?.filter(|last| *last > now) {
            return Ok(Answer::InUse(InUse::Outcomes { remembered_ms: last.abs_diff(now) }));
        }
        if self.clear_a_page()? {
            return Ok(ask_again());
        }
        if self.meta.removed.is_some() {
            return Ok(Answer::NotFound);
        }
        self.meta.removed = Some(self.actor.clone().unwrap_or_default());
        self.must_sync = true;
        Ok(if is_new { Answer::NotFound } else { Answer::Done })
    }

    /// Deletes outcomes, evidence of records and traces of clients, a page of each; returns whether
    /// there may be more.
    fn clear_a_page(&mut self) -> Result<bool> {
        let page = self.bounds.forgets;
        let outcomes = self.tables.forgettable(i64::MAX, page)?;
        let evidence = self.tables.due_records(i64::MAX, page)?;
        let clients = self.tables.silent_clients(i64::MAX, page)?;
        let most = outcomes.len().max(evidence.len()).max(clients.len());
        for (_, ticket) in outcomes {
            self.tables.delete_run(ticket)?;
        }
        for (_, name) in evidence {
            self.drop_record(&name)?;
        }
        for (_, client) in clients {
            self.tables.forget_client(client)?;
        }
        self.meta.next_due_ms = i64::MAX;
        self.meta.next_expiry_us = self.tables.next_expiry()?.unwrap_or(i64::MAX);
        self.meta.next_forget_ms = self.tables.next_forget()?.unwrap_or(i64::MAX);
        Ok(most == page)
    }
}
