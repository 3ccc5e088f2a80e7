//! What the [rule](crate::rule) asks about a namespace, from the point of view of one run.

use super::Engine;
use super::tables::{Result, Tables, Which};
use crate::claim::{Claim, Mode};
use crate::name::Name;
use crate::record::RecordState;
use crate::rule::{self, Crowd, Kinship, Obstacle};
use crate::run::{Resource, Run};
use crate::store::StoreError;

impl<T: Tables> Engine<'_, T> {
    /// Returns the first thing in the way of a run, as seen from its ticket.
    pub(super) fn obstacle(&mut self, run: &Run) -> Result<Option<Obstacle>> {
        let spec = run.spec.clone();
        rule::first_obstacle(&mut RulesView { engine: self, run }, &spec)
    }
}

/// A namespace from the point of view of one run.
pub(super) struct RulesView<'e, 'a, T> {
    pub(super) engine: &'e mut Engine<'a, T>,
    pub(super) run: &'e Run,
}

impl<T: Tables> rule::View for RulesView<'_, '_, T> {
    type Error = StoreError;

    fn is_live(&mut self, name: &Name) -> Result<bool> {
        Ok(self.engine.record_now(name)?.is_some_and(|record| record.state == RecordState::Live))
    }

    fn held(&mut self, claim: &Claim) -> Result<Crowd> {
        self.engine.tables.held(claim.space, &claim.name, Which::Standing)
    }

    fn ahead(&mut self, claim: &Claim) -> Result<Crowd> {
        if self.engine.meta.queued == 0 {
            return Ok(Crowd::NOBODY);
        }
        let enough = match claim.mode {
            Mode::Units { capacity, .. } => u64::from(capacity),
            _ => 0,
        };
        self.engine.tables.ahead(claim.space, &claim.name, self.run.ticket, enough)
    }

    fn kinship(&mut self, claim: &Claim) -> Result<Kinship> {
        let place = Resource::of(claim.space, &claim.name);
        for &ancestor in self.run.ancestors.iter() {
            if self.engine.shares(ancestor, &place)? {
                return Ok(Kinship::AncestorShares);
            }
        }
        Ok(Kinship::None)
    }
}
