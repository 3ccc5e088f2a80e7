//! What changed and who is to be looked at because of it, lowest ticket first.

use std::collections::BTreeSet;

use super::Engine;
use super::tables::{Part, Result, Source, Tables};
use crate::name::Name;
use crate::rule::Obstacle;
use crate::run::{Outcome, Place, Run, State, Ticket};

/// The runs to look at, as (ticket, why) pairs.
///
/// A pair is a hint: the ticket may have left, or a lower one may have come to the place. `next_look`
/// checks each against the tables, so that only places that are still dirty cost anything.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    hints: BTreeSet<(Ticket, Source)>,
    dirty: BTreeSet<Place>,
}

impl Backlog {
    pub(super) fn from_rows(rows: Vec<(Ticket, Source)>) -> Self {
        let mut backlog = Self::default();
        for (ticket, source) in rows {
            if let Source::Parked(place) = &source {
                backlog.dirty.insert(place.clone());
            }
            backlog.hints.insert((ticket, source));
        }
        backlog
    }

    pub(super) fn rows(&self) -> Vec<(Ticket, Source)> {
        self.hints
            .iter()
            .filter(|(_, source)| !matches!(source, Source::Parked(place) if !self.dirty.contains(place)))
            .cloned()
            .collect()
    }

    pub(super) fn add(&mut self, ticket: Ticket, source: Source) {
        self.hints.insert((ticket, source));
    }
}

impl<T: Tables> Engine<'_, T> {
    /// Something changed at a place: whoever is parked there is to be looked at.
    pub(super) fn mark_dirty(&mut self, place: &Place) -> Result<()> {
        if self.meta.waiting == 0 || self.backlog.dirty.contains(place) {
            return Ok(());
        }
        if let Some(first) = self.tables.first_parked(place)? {
            self.backlog.dirty.insert(place.clone());
            self.backlog.add(first, Source::Parked(place.clone()));
        }
        Ok(())
    }

    /// A record is live no more: those who queue to read it are to be looked at.
    pub(super) fn mark_readers(&mut self, name: &Name) {
        if self.meta.queued > 0 {
            self.backlog.add(Ticket(0), Source::Readers(name.clone()));
        }
    }

    /// A record is live now: those who await it, and those who may not overwrite it, are to be looked at.
    pub(super) fn mark_written(&mut self, name: &Name) -> Result<()> {
        self.mark_dirty(&Place::record(name))?;
        if self.meta.waiting > 0 {
            self.backlog.add(Ticket(0), Source::Guards(name.clone()));
        }
        Ok(())
    }

    /// Looks at runs until nothing is left over or the step's budget is used.
    pub(super) fn drain(&mut self) -> Result<()> {
        while self.budget.looks > 0 {
            let Some((ticket, source)) = self.next_look()? else {
                return Ok(());
            };
            let run = self.must_find(ticket)?;
            let first = self.budget.looks == self.bounds.looks;
            if !first && run.spec.claims.len() > self.budget.claims {
                self.budget.looks = 0;
                return Ok(());
            }
            self.budget.looks -= 1;
            self.budget.claims = self.budget.claims.saturating_sub(run.spec.claims.len());
            self.backlog.hints.remove(&(ticket, source.clone()));
            self.look(run, &source)?;
        }
        Ok(())
    }

    /// The lowest ticket to look at, and why. Drops hints that are no longer true on the way.
    pub(super) fn next_look(&mut self) -> Result<Option<(Ticket, Source)>> {
        while let Some((ticket, source)) = self.backlog.hints.first().cloned() {
            let actual = self.actual(ticket, &source)?;
            if actual == Some(ticket) {
                return Ok(Some((ticket, source)));
            }
            self.backlog.hints.remove(&(ticket, source.clone()));
            match (actual, source) {
                (Some(actual), source) => self.backlog.add(actual, source),
                (None, Source::Parked(place)) => drop(self.backlog.dirty.remove(&place)),
                (None, _) => {}
            }
        }
        Ok(None)
    }

    /// The ticket a hint stands for by now.
    fn actual(&mut self, ticket: Ticket, source: &Source) -> Result<Option<Ticket>> {
        match source {
            Source::Parked(place) if self.backlog.dirty.contains(place) => self.tables.first_parked(place),
            Source::Parked(_) => Ok(None),
            Source::Alone => Ok(self
                .tables
                .run(ticket)?
                .filter(|run| run.state.is_waiting() && run.present)
                .map(|run| run.ticket)),
            Source::Guards(name) => self.tables.next_guard(name, ticket),
            Source::Readers(name) => {
                let place = Place::of(crate::claim::Space::Data, name);
                Ok(self.tables.line(&place, Part::from(ticket), 1)?.first().map(|stake| stake.ticket))
            }
        }
    }

    /// Grants, refuses, activates or sends back one run; or leaves it where it is.
    fn look(&mut self, mut run: Run, source: &Source) -> Result<()> {
        // A place goes on with the next parked there; a walk goes on behind this ticket.
        let ticket = run.ticket;
        let is_waiting = run.state.is_waiting() && run.present;
        let was_parked_here = match source {
            Source::Parked(place) => {
                self.backlog.add(ticket, source.clone());
                if !is_waiting || run.parked.as_ref() != Some(place) {
                    // Only a store that somebody altered has such an entry: it would be looked at for ever.
                    self.tables.unpark(place, ticket)?;
                }
                Some(place)
            }
            Source::Readers(_) | Source::Guards(_) => {
                self.backlog.add(Ticket(ticket.0.saturating_add(1)), source.clone());
                None
            }
            Source::Alone => None,
        };
        if !is_waiting {
            return Ok(());
        }
        if run.is_over(self.now.boot_ms) {
            return self.finish(&mut run, Outcome::TimedOut);
        }
        match self.obstacle(&run)? {
            None => self.hand_over(&mut run),
            Some(Obstacle::Exists) => self.finish(&mut run, Outcome::RefusedOutputExists),
            Some(Obstacle::Missing(place) | Obstacle::Taken(place)) => {
                let still_there = was_parked_here == Some(&place);
                self.wait_at(&mut run, &place)?;
                if still_there {
                    // Blocked at the dirty place itself: everyone parked there later is blocked too.
                    self.backlog.dirty.remove(&place);
                } else if self.backlog.dirty.contains(&place) {
                    self.backlog.add(ticket, Source::Parked(place));
                }
                Ok(())
            }
        }
    }

    /// Parks a waiting run at its obstacle; in line if all its inputs are there, else out of line.
    pub(super) fn wait_at(&mut self, run: &mut Run, place: &Place) -> Result<()> {
        let state = if place.space.is_none() { State::AwaitingInput } else { State::Queued };
        match (state, run.in_line) {
            (State::AwaitingInput, true) => self.leave_line(run)?,
            (State::Queued, false) => self.enter_line(run)?,
            _ => {}
        }
        if run.state != state {
            self.enter(run, state);
        }
        if run.parked.as_ref() != Some(place) {
            self.unpark(run)?;
            self.tables.park(place, run.ticket)?;
            run.parked = Some(place.clone());
        }
        self.save(run)
    }

    pub(super) fn unpark(&mut self, run: &mut Run) -> Result<()> {
        match run.parked.take() {
            Some(place) => self.tables.unpark(&place, run.ticket),
            None => Ok(()),
        }
    }
}
