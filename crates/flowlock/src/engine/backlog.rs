//! What changed, and which runs to look at because of it, lowest ticket first.

use std::collections::{BTreeMap, BTreeSet};

use super::Engine;
use super::bury::Buried;
use super::tables::{Hint, Part, Result, Source, Tables};
use crate::id::Ticket;
use crate::name::Name;
use crate::rule::Obstacle;
use crate::run::{Outcome, Resource, Run};
use crate::step::Wake;

/// What is left to do: the runs to look at, and the places where something changed.
///
/// A hint may be out of date: the run may have left, or a lower ticket may have come to the place.
/// `next_look` checks each hint against the tables, so that only places that are still dirty cost
/// anything.
///
/// From what earlier steps left in the tables, this step reads only as much as it gets to.
#[derive(Debug)]
pub(super) struct Backlog {
    /// The current hints: those that were read, and those of this step.
    hints: BTreeSet<Hint>,
    /// The hints that were read, as the tables have them.
    read: BTreeSet<Hint>,
    /// Where to continue reading.
    upto: Option<Hint>,
    /// Whether the tables have no hints after that.
    is_all: bool,
    /// Whether a place is dirty now, and whether it was before the step.
    dirty: BTreeMap<Resource, (bool, bool)>,
}

impl Backlog {
    pub(super) fn stored(is_any: bool) -> Self {
        let (hints, read, dirty) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        Self { hints, read, upto: None, is_all: !is_any, dirty }
    }

    pub(super) fn add(&mut self, ticket: Ticket, source: Source) {
        self.hints.insert((ticket, source));
    }

    fn take_in(&mut self, page: Vec<Hint>, limit: usize) {
        self.is_all = page.len() < limit;
        self.upto = page.last().cloned().or(self.upto.take());
        self.read.extend(page.iter().cloned());
        self.hints.extend(page);
    }
}

impl<T: Tables> Engine<'_, T> {
    fn first_hint(&mut self) -> Result<Option<Hint>> {
        loop {
            let Backlog { hints, upto, is_all, .. } = &self.backlog;
            if *is_all || hints.first().is_some_and(|first| Some(first) <= upto.as_ref()) {
                return Ok(hints.first().cloned());
            }
            let limit = self.bounds.page;
            let page = self.tables.hints(self.backlog.upto.as_ref(), limit)?;
            self.backlog.take_in(page, limit);
        }
    }

    fn is_dirty(&mut self, place: &Resource) -> Result<bool> {
        if let Some((is_dirty, _)) = self.backlog.dirty.get(place) {
            return Ok(*is_dirty);
        }
        let is_dirty = self.meta.has_backlog && self.tables.is_dirty(place)?;
        self.backlog.dirty.insert(place.clone(), (is_dirty, is_dirty));
        Ok(is_dirty)
    }

    fn set_dirty(&mut self, place: &Resource, is_dirty: bool) -> Result<()> {
        self.is_dirty(place)?;
        if let Some((now, _)) = self.backlog.dirty.get_mut(place) {
            *now = is_dirty;
        }
        Ok(())
    }

    /// Writes what this step changed; returns whether anything is left.
    pub(super) fn save_backlog(&mut self) -> Result<bool> {
        let Backlog { hints, read, is_all, dirty, .. } = &self.backlog;
        for gone in read.difference(hints) {
            self.tables.remove_hint(gone)?;
        }
        for new in hints.difference(read) {
            self.tables.add_hint(new)?;
        }
        for (place, (is_dirty, was_dirty)) in dirty {
            if is_dirty != was_dirty {
                self.tables.set_dirty(place, *is_dirty)?;
            }
        }
        Ok(!hints.is_empty() || !is_all)
    }

    /// Notes that something changed at a place: the runs parked there must be looked at.
    pub(super) fn mark_dirty(&mut self, place: &Resource) -> Result<()> {
        if self.meta.waiting == 0 || self.is_dirty(place)? {
            return Ok(());
        }
        if let Some(first) = self.tables.first_parked(place)? {
            self.set_dirty(place, true)?;
            self.backlog.add(first, Source::Parked(place.clone()));
        }
        Ok(())
    }

    /// Notes that a record is not live any more: the runs that are queued to read it must be looked at.
    pub(super) fn mark_readers(&mut self, name: &Name) -> Result<()> {
        if self.meta.queued > 0 { self.mark_from(Source::Readers(name.clone())) } else { Ok(()) }
    }

    /// Notes that a record is live now: the runs that await it, and those that may not overwrite it, must be looked at.
    pub(super) fn mark_written(&mut self, name: &Name) -> Result<()> {
        self.mark_dirty(&Resource::record(name))?;
        if self.meta.waiting > 0 {
            self.mark_from(Source::Guards(name.clone()))?;
        }
        self.tell_a_reader(name)
    }

    /// Adds a walk that begins with the first ticket it finds. If there is none, nothing is left over:
    /// nothing would be granted, so the step does not ask whether it may grant.
    fn mark_from(&mut self, source: Source) -> Result<()> {
        if let Some(first) = self.actual(Ticket(0), &source)? {
            self.backlog.add(first, source);
        }
        Ok(())
    }

    /// Looks at runs until nothing is left or the step's budget is used up.
    pub(super) fn drain(&mut self) -> Result<()> {
        while !self.budget.looks.is_used_up() {
            let Some((ticket, source)) = self.next_look()? else {
                return Ok(());
            };
            let run = self.must_find(ticket)?;
            if !self.budget.looks.spend(run.spec.claims.len()) {
                return Ok(());
            }
            self.backlog.hints.remove(&(ticket, source.clone()));
            self.look(run, &source)?;
        }
        Ok(())
    }

    /// Returns the lowest ticket to look at, and why. Drops outdated hints on the way; if there are more than one step may
    /// drop, work is left over.
    pub(super) fn next_look(&mut self) -> Result<Option<Hint>> {
        while let Some((ticket, source)) = self.first_hint()? {
            let actual = self.actual(ticket, &source)?;
            if actual == Some(ticket) {
                return Ok(Some((ticket, source)));
            }
            if self.budget.hints == 0 {
                self.unswept = true;
                return Ok(None);
            }
            self.budget.hints -= 1;
            self.backlog.hints.remove(&(ticket, source.clone()));
            match (actual, source) {
                (Some(actual), source) => self.backlog.add(actual, source),
                (None, Source::Parked(place)) => self.set_dirty(&place, false)?,
                (None, _) => {}
            }
        }
        Ok(None)
    }

    /// Returns the ticket that a hint now stands for.
    fn actual(&mut self, ticket: Ticket, source: &Source) -> Result<Option<Ticket>> {
        match source {
            Source::Parked(place) if self.is_dirty(place)? => self.tables.first_parked(place),
            Source::Parked(_) => Ok(None),
            Source::Alone => Ok(self
                .tables
                .run(ticket)?
                .filter(|run| run.state.is_waiting() && run.present)
                .map(|run| run.ticket)),
            Source::Guards(name) => self.tables.next_guard(name, ticket),
            Source::Readers(name) => {
                let place = Resource::of(crate::claim::Space::Data, name);
                Ok(self.tables.line(&place, Part::from(ticket), 1)?.first().map(|stake| stake.ticket))
            }
        }
    }

    /// Looks at one run: grants it, refuses it, queues it, sends it back to await an input, or leaves it where it is.
    fn look(&mut self, mut run: Run, source: &Source) -> Result<()> {
        // A place continues with the next run parked there; a walk continues after this ticket.
        let ticket = run.ticket;
        let is_waiting = run.state.is_waiting() && run.present;
        let was_parked_here = match source {
            Source::Parked(place) => {
                self.backlog.add(ticket, source.clone());
                if !is_waiting || run.parked.as_ref() != Some(place) {
                    // Only a store that was tampered with has such an entry. It would be looked at for ever.
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
        let obstacle = self.obstacle(&run)?;
        let ended = match obstacle {
            None if self.take_what_lapsed(&run)? => return self.hand_over(&mut run),
            None => Buried::NotAll,
            Some(Obstacle::Exists) => return self.finish(&mut run, Outcome::RefusedOutputExists),
            Some(Obstacle::Taken(_)) => self.bury_those_in_the_way(&run)?,
            Some(Obstacle::Missing(_)) => Buried::Nobody,
        };
        if let (Buried::Nobody, Some(Obstacle::Missing(place) | Obstacle::Taken(place))) = (ended, obstacle) {
            return self.go_on_waiting(run, place, was_parked_here);
        }
        self.backlog.add(ticket, Source::Alone);
        if ended == Buried::NotAll {
            // Later steps continue with it, before any run behind it is looked at.
            self.budget.looks.stop();
        }
        Ok(())
    }

    /// Leaves a run that was looked at in the queue or outside of it, parked at its present obstacle.
    fn go_on_waiting(&mut self, mut run: Run, place: Resource, was_parked: Option<&Resource>) -> Result<()> {
        let was_in_line = run.in_line;
        self.wait_at(&mut run, &place)?;
        if run.in_line {
            self.tell_of_others(&run, was_in_line.then_some(&place))?;
        }
        if was_parked == Some(&place) {
            // Blocked at the dirty place itself, so all runs parked there later are blocked too.
            self.set_dirty(&place, false)?;
        } else if self.is_dirty(&place)? {
            self.backlog.add(run.ticket, Source::Parked(place));
        }
        Ok(())
    }

    /// Ends the dead runs in the way of a run that is looked at, now and not by a later probe. If there were any, the run
    /// must be looked at again.
    fn bury_those_in_the_way(&mut self, run: &Run) -> Result<Buried> {
        if self.budget.probes == 0 {
            return Ok(Buried::Nobody);
        }
        let way = self.in_the_way(run, self.budget.probes)?;
        self.budget.probes -= way.runs.len();
        self.bury_the_dead(way)
    }

    /// Tells the process of a run that stays in the queue if the runs in its way are not those that it was told of, because
    /// it must probe whether they are alive. `at` is the place in whose queue the run was before; nothing if it enters the
    /// queue.
    fn tell_of_others(&mut self, run: &Run, at: Option<&Resource>) -> Result<()> {
        let Some(place) = at else {
            self.wakes.insert(Wake::for_run(run));
            return run
                .spec
                .claims
                .into_iter()
                .try_for_each(|claim| self.tell_next_in_line(run.ticket, claim));
        };
        if self.was_passed(run, place)? {
            self.wakes.insert(Wake::for_run(run));
        }
        Ok(())
    }
}
