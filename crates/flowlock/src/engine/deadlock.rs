//! A wait for one's own ancestor never ends by itself: it is refused when it arrives.

use super::Engine;
use super::tables::{Part, Result, Tables};
use crate::claim::{Claim, Mode, Space};
use crate::record::RecordState;
use crate::rule::{self, Kinship, View as _};
use crate::run::{Place, Run};

impl<T: Tables> Engine<'_, T> {
    /// Whether the run would wait for one of its ancestors: it holds a name the run wants, it is the one to
    /// write a missing input, or somebody in line ahead waits for it.
    pub(super) fn is_deadlock(&mut self, run: &Run) -> Result<bool> {
        for &ancestor in run.ancestors.iter() {
            let Some(ancestor) = self.tables.run(ancestor)? else {
                continue;
            };
            if !ancestor.state.is_holding() {
                continue;
            }
            if self.would_write_missing_input(&ancestor, run)? {
                return Ok(true);
            }
            if ancestor.is_late(self.now.boot_ms) {
                continue;
            }
            for claim in &run.spec.claims {
                if blocks(&ancestor, claim) || self.blocks_through_line(&ancestor, run, claim)? {
                    return Ok(true);
                }
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

    /// Whether somebody in line ahead of the run for this name waits directly for the ancestor.
    fn blocks_through_line(&mut self, ancestor: &Run, run: &Run, claim: &Claim) -> Result<bool> {
        let kinship = super::Eyes { engine: self, run }.kinship(claim)?;
        if claim.mode == Mode::Shared && kinship == Kinship::AncestorShares {
            return Ok(false);
        }
        let place = Place::of(claim.space, &claim.name);
        let part = Part::in_the_way_of(claim.mode, run.ticket);
        for stake in self.tables.line(&place, part, self.bounds.examined)? {
            let ahead = self.must_find(stake.ticket)?;
            if ahead.spec.claims.iter().any(|wanted| blocks(ancestor, wanted)) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Whether what `holder` holds is by itself in the way of `wanted`.
fn blocks(holder: &Run, wanted: &Claim) -> bool {
    let held = holder.spec.claims.iter().find(|held| held.space == wanted.space && held.name == wanted.name);
    match (held.map(|held| held.mode), wanted.mode) {
        (None, _) => false,
        (Some(Mode::Units { units: held, .. }), Mode::Units { units, capacity }) => held + units > capacity,
        (Some(held), mode) => wanted.space != Space::Slot && rule::conflicts(held, mode),
    }
}
