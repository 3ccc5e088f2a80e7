//! A wait for one's own ancestors never ends by itself: it is refused when it arrives.
//!
//! The rule is asked about a smaller world: the ancestors alone hold, and of those in line only they are there who wait
//! for an ancestor. What does not fit there fits in no world in which these ancestors hold, whoever else leaves.

use std::collections::BTreeMap;

use super::Engine;
use super::tables::{Part, Result, Tables};
use crate::claim::Claim;
use crate::record::RecordState;
use crate::rule::{self, Crowd, Kinship, View as _};
use crate::run::{Place, Run};

/// What a run's ancestors hold together, by place; of those that have not lapsed.
type HeldByAncestors = BTreeMap<Place, Crowd>;

impl<T: Tables> Engine<'_, T> {
    /// Whether the run would wait for its ancestors: one of them is to write a missing input, or what they hold
    /// together does not leave room for a claim of the run, by itself or with those ahead who wait for an ancestor.
    pub(super) fn is_deadlock(&mut self, run: &Run) -> Result<bool> {
        let mut held = HeldByAncestors::new();
        for &ancestor in run.ancestors.iter() {
            let Some(ancestor) = self.tables.run(ancestor)?.filter(|run| run.state.is_holding()) else {
                continue;
            };
            if self.would_write_missing_input(&ancestor, run)? {
                return Ok(true);
            }
            if !ancestor.is_late(self.now.boot_ms) {
                add_claims(&mut held, &ancestor);
            }
        }
        if held.is_empty() {
            return Ok(false);
        }
        for claim in &run.spec.claims {
            if self.never_fits(run, claim, &held)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn would_write_missing_input(&mut self, ancestor: &Run, run: &Run) -> Result<bool> {
        for input in run.spec.claims.inputs() {
            let missing =
                self.record_now(&input.name)?.is_none_or(|record| record.state != RecordState::Live);
            if missing && ancestor.spec.claims.outputs().any(|output| output.name == input.name) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn never_fits(&mut self, run: &Run, claim: &Claim, held: &HeldByAncestors) -> Result<bool> {
        let by_ancestors = held_at(held, claim);
        let ahead = self.ahead_for_an_ancestor(run, claim, held)?;
        if !rule::never_fits(claim.mode, by_ancestors, ahead, Kinship::None) {
            return Ok(false);
        }
        let kinship = super::Eyes { engine: self, run }.kinship(claim)?;
        Ok(rule::never_fits(claim.mode, by_ancestors, ahead, kinship))
    }

    /// Those in line ahead of the run for this name who wait for an ancestor themselves.
    fn ahead_for_an_ancestor(&mut self, run: &Run, claim: &Claim, held: &HeldByAncestors) -> Result<Crowd> {
        let place = Place::of(claim.space, &claim.name);
        let part = Part::in_the_way_of(claim.mode, run.ticket);
        let mut crowd = Crowd::NOBODY;
        for stake in self.tables.line(&place, part, self.world.bounds().examined)? {
            let ahead = self.must_find(stake.ticket)?;
            if ahead.spec.claims.iter().any(|wanted| rule::holders_block(wanted.mode, held_at(held, wanted)))
            {
                crowd = crowd.with(stake.mode);
            }
        }
        Ok(crowd)
    }
}

fn add_claims(held: &mut HeldByAncestors, ancestor: &Run) {
    for claim in &ancestor.spec.claims {
        let crowd = held.entry(Place::of(claim.space, &claim.name)).or_insert(Crowd::NOBODY);
        *crowd = crowd.with(claim.mode);
    }
}

fn held_at(held: &HeldByAncestors, claim: &Claim) -> Crowd {
    held.get(&Place::of(claim.space, &claim.name)).copied().unwrap_or(Crowd::NOBODY)
}
