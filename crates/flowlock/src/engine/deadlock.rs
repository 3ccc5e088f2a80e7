//! A wait for one's own ancestors never ends, so it is refused when the request arrives.
//!
//! The rule is asked about a smaller world: only the ancestors hold names, and only the queued runs that
//! wait for an ancestor are there. What does not fit in it does not fit in any world in which these
//! ancestors hold their names, whichever other runs leave.

use std::collections::{BTreeMap, HashSet};

use super::Engine;
use super::rules_view::RulesView;
use super::tables::{Part, Result, Tables};
use crate::claim::Claim;
use crate::id::Ticket;
use crate::record::RecordState;
use crate::rule::{self, Crowd, Kinship, View as _};
use crate::run::{Resource, Run};

/// What the ancestors of a run hold together, by place; only those that have not lapsed.
type HeldByAncestors = BTreeMap<Resource, Crowd>;

/// For the queued runs that were examined: whether they wait for an ancestor.
type Examined = BTreeMap<Ticket, bool>;

impl<T: Tables> Engine<'_, T> {
    /// Returns whether the run would wait for its ancestors: one of them would have to write a missing
    /// input, or what they hold together leaves no room for a claim of the run, alone or with the runs
    /// ahead that wait for an ancestor.
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
        let mut examined = Examined::new();
        for claim in &run.spec.claims {
            if self.never_fits(run, claim, &held, &mut examined)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn would_write_missing_input(&mut self, ancestor: &Run, run: &Run) -> Result<bool> {
        let outputs: HashSet<_> = ancestor.spec.claims.outputs().map(|output| &output.name).collect();
        for input in run.spec.claims.inputs().filter(|input| outputs.contains(&input.name)) {
            if self.record_now(&input.name)?.is_none_or(|record| record.state != RecordState::Live) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn never_fits(
        &mut self,
        run: &Run,
        claim: &Claim,
        held: &HeldByAncestors,
        examined: &mut Examined,
    ) -> Result<bool> {
        let by_ancestors = held_at(held, claim);
        let ahead = self.ahead_for_an_ancestor(run, claim, held, examined)?;
        if !rule::never_fits(claim.mode, by_ancestors, ahead, Kinship::None) {
            return Ok(false);
        }
        let kinship = RulesView { engine: self, run }.kinship(claim)?;
        Ok(rule::never_fits(claim.mode, by_ancestors, ahead, kinship))
    }

    /// Returns the runs ahead in the queue for this name that wait for an ancestor themselves, as far as
    /// this step may examine them.
    fn ahead_for_an_ancestor(
        &mut self,
        run: &Run,
        claim: &Claim,
        held: &HeldByAncestors,
        examined: &mut Examined,
    ) -> Result<Crowd> {
        let place = Resource::of(claim.space, &claim.name);
        let part = Part::in_the_way_of(claim.mode, run.ticket);
        let mut crowd = Crowd::NOBODY;
        for stake in self.tables.line(&place, part, self.bounds.examined)? {
            let waits = if let Some(waits) = examined.get(&stake.ticket) {
                *waits
            } else {
                let spec = self.must_find(stake.ticket)?.spec;
                if !self.budget.examined.spend(spec.claims.len()) {
                    break;
                }
                let is_refused = |wanted: &Claim| rule::holders_block(wanted.mode, held_at(held, wanted));
                let waits = spec.claims.iter().any(is_refused);
                examined.insert(stake.ticket, waits);
                waits
            };
            if waits {
                crowd = crowd.with(stake.mode);
            }
        }
        Ok(crowd)
    }
}

fn add_claims(held: &mut HeldByAncestors, ancestor: &Run) {
    for claim in &ancestor.spec.claims {
        let crowd = held.entry(Resource::of(claim.space, &claim.name)).or_insert(Crowd::NOBODY);
        *crowd = crowd.with(claim.mode);
    }
}

fn held_at(held: &HeldByAncestors, claim: &Claim) -> Crowd {
    held.get(&Resource::of(claim.space, &claim.name)).copied().unwrap_or(Crowd::NOBODY)
}
