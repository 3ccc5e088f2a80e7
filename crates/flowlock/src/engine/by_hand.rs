//! Records that are created and removed by hand.

use std::sync::Arc;

use super::rows::RecordRow;
use super::tables::{Result, Stake, Tables, Which};
use super::{Engine, RETRY_BY_HAND_MS};
use crate::blocker::{Blocked, Blocker, BlockerKind};
use crate::claim::{Mode, Space};
use crate::name::{Name, RunId};
use crate::record::{MadeFrom, RecordState};
use crate::run::{LostBy, Outcome, Resource, Run};
use crate::spec::Spec;
use crate::step::{Answer, Holders, Sent};

impl<T: Tables> Engine<'_, T> {
    pub(super) fn create(
        &mut self,
        names: &[Name],
        spec: &Arc<Spec>,
        run: &RunId,
        note: Option<&str>,
        holders: Holders,
    ) -> Result<Answer> {
        if let Some(refused) = self.refuse_by_hand(names, holders)? {
            return Ok(refused);
        }
        if !self.clear_the_way(names)? {
            return Ok(ask_again());
        }
        // Also if nothing is left to write: an earlier attempt may have failed at the disk, and this one
        // promises the same.
        self.must_sync = true;
        if names.is_empty() {
            return Ok(Answer::Done);
        }
        let version = self.next_token();
        for name in names {
            self.write(name, version, (run, spec), note, MadeFrom::Inputs(Vec::new()))?;
        }
        for name in names {
            self.mark_written(name)?;
        }
        Ok(Answer::Done)
    }

    pub(super) fn remove(&mut self, names: &[Name], holders: Holders) -> Result<Answer> {
        if let Some(refused) = self.refuse_by_hand(names, holders)? {
            return Ok(refused);
        }
        let mut there = Vec::with_capacity(names.len());
        for name in names {
            if self.is_to_be_removed(name)? {
                there.push(name.clone());
            }
        }
        // If nothing is removed, no names are needed, unless holders must be ended anyway.
        if !self.clear_the_way(if holders == Holders::Break { names } else { &there })? {
            return Ok(ask_again());
        }
        // As above.
        self.must_sync = true;
        for name in &there {
            match self.record_row(name)? {
                RecordRow::Whole(mut record) => {
                    record.actor.clone_from(&self.actor);
                    self.end_record(*record, RecordState::Removed)?;
                }
                RecordRow::Unreadable => self.drop_unreadable(name)?,
                RecordRow::Missing => {}
            }
        }
        Ok(if there.is_empty() { Answer::NotFound } else { Answer::Done })
    }

    /// Returns whether a name has a record, even one that cannot be read: nothing else removes that.
    fn is_to_be_removed(&mut self, name: &Name) -> Result<bool> {
        Ok(match self.record_row(name)? {
            RecordRow::Whole(record) => record.state.is_written(),
            RecordRow::Unreadable => true,
            RecordRow::Missing => false,
        })
    }

    /// Returns the names whose records were not written since this step was first sent.
    pub(super) fn unchanged_since(&mut self, names: &[Name], sent: &Sent) -> Result<Vec<Name>> {
        let Sent::Again(versions) = sent else { return Ok(names.to_vec()) };
        let mut unchanged = Vec::with_capacity(names.len());
        for (name, &version) in names.iter().zip(versions) {
            let is_unchanged = match self.record_row(name)? {
                RecordRow::Whole(record) => record.version <= version,
                // Nobody can have overwritten a row that must be read for that.
                RecordRow::Unreadable | RecordRow::Missing => true,
            };
            if is_unchanged {
                unchanged.push(name.clone());
            }
        }
        Ok(unchanged)
    }

    /// Refuses while older work is left over, or while a run that must be respected holds one of the
    /// names. Ends the dead runs among the holders.
    fn refuse_by_hand(&mut self, names: &[Name], how: Holders) -> Result<Option<Answer>> {
        if self.has_leftover()? {
            return Ok(Some(ask_again()));
        }
        if how == Holders::Respect {
            let mut by = Vec::new();
            for name in names {
                if by.len() > self.bounds.blockers {
                    break;
                }
                let Some(living) = self.bury_dead_holders(name)? else { return Ok(Some(ask_again())) };
                by.extend(living);
            }
            if !by.is_empty() {
                let more = by.len() > self.bounds.blockers;
                by.truncate(self.bounds.blockers);
                let blocked = Blocked { by, more, ahead: 0, retry_after_ms: Some(RETRY_BY_HAND_MS) };
                return Ok(Some(Answer::Refused(blocked)));
            }
        }
        Ok(None)
    }

    /// Ends the runs that still hold the names: only lapsed ones, unless standing ones are to be broken.
    /// Returns whether all were ended, because a step may end only so many.
    fn clear_the_way(&mut self, names: &[Name]) -> Result<bool> {
        for name in names {
            for which in [Which::Standing, Which::Lapsed] {
                if !self.break_off_all(&Resource::of(Space::Data, name), which)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// Ends the dead holders of a name, and returns the living ones. Looks again until no more are dead,
    /// because a holder that was not looked at may be alive. Returns `None` if more are dead than one
    /// step may end.
    fn bury_dead_holders(&mut self, name: &Name) -> Result<Option<Vec<Blocker>>> {
        loop {
            let mut living = Vec::new();
            let mut any_dead = false;
            let place = Resource::of(Space::Data, name);
            for stake in self.tables.holders(&place, Which::Standing, self.bounds.blockers + 1)? {
                if !self.is_dead(stake.ticket)? {
                    living.push(self.held_by(name, stake)?);
                } else if self.spend_end(stake.ticket)? {
                    self.must_hold(&place, stake, Which::Standing)?;
                    self.bury(&[stake.ticket])?;
                    any_dead = true;
                } else {
                    return Ok(None);
                }
            }
            if !any_dead {
                return Ok(Some(living));
            }
        }
    }

    fn held_by(&mut self, name: &Name, stake: Stake) -> Result<Blocker> {
        let kind = match stake.mode {
            Mode::Exclusive => BlockerKind::OutputBeingWritten,
            _ => BlockerKind::OutputBeingRead,
        };
        Ok(Blocker { kind, name: name.clone(), by: Some(self.by(stake.ticket)?), record: None })
    }

    /// Ends the holders of a name; returns whether all were ended, because a step may end only so many.
    fn break_off_all(&mut self, place: &Resource, which: Which) -> Result<bool> {
        loop {
            let stakes = self.tables.holders(place, which, self.bounds.page)?;
            if stakes.is_empty() {
                return Ok(true);
            }
            for stake in stakes {
                if !self.spend_end(stake.ticket)? {
                    return Ok(false);
                }
                let run = self.must_hold(place, stake, which)?;
                if !self.bury(&[stake.ticket])? {
                    self.break_off(run)?;
                }
            }
        }
    }

    fn break_off(&mut self, mut run: Run) -> Result<()> {
        self.sign(&mut run);
        if run.lapsed { self.lose(run) } else { self.finish(&mut run, Outcome::Lost(LostBy::Broken)) }
    }
}

/// Asks the caller to send an administrative step again: older work comes first, or there is more to do
/// than one step may.
pub(super) fn ask_again() -> Answer {
    Answer::Refused(Blocked { by: Vec::new(), more: false, ahead: 0, retry_after_ms: Some(0) })
}
