//! ★ Decides who may run and what is in the way. This is the only place where that is decided.
//!
//! Everything here is pure: no clock, no I/O, no store. A store shows two [`Crowd`]s per claim, the
//! holders of the name and the runs queued ahead for it; the rule says whether the claim fits.
//!
//! | wanted | holders in the way | queued ahead in the way |
//! |---|---|---|
//! | shared | an exclusive one | an exclusive one, unless an ancestor holds the name shared |
//! | exclusive | any | any |
//! | *n* of *c* units | units in use + *n* > smallest capacity | if anyone is ahead: units in use + units ahead + *n* > smallest capacity |
//!
//! The smallest capacity is the smallest one stated by the request, the holders and the runs ahead.

use crate::claim::{Claim, Mode};
use crate::name::Name;
use crate::run::Resource;
use crate::spec::{IfWritten, Spec};

/// All holders of a name, or all runs ahead for it, combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crowd {
    /// Whether one of them holds or wants it shared.
    pub(crate) shared: bool,
    /// Whether one of them holds or wants it exclusive.
    pub(crate) exclusive: bool,
    /// Units in use or wanted.
    pub(crate) units: u64,
    /// The smallest capacity that one of them stated.
    pub(crate) capacity: u32,
}

impl Crowd {
    /// Nobody.
    pub(crate) const NOBODY: Self = Self { shared: false, exclusive: false, units: 0, capacity: u32::MAX };

    /// Returns the crowd with one more in it.
    #[must_use]
    pub(crate) fn with(mut self, mode: Mode) -> Self {
        match mode {
            Mode::Shared => self.shared = true,
            Mode::Exclusive => self.exclusive = true,
            Mode::Units { units, capacity } => {
                self.units += u64::from(units);
                self.capacity = self.capacity.min(capacity);
            }
        }
        self
    }

    /// Combines two crowds.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            shared: self.shared || other.shared,
            exclusive: self.exclusive || other.exclusive,
            units: self.units.saturating_add(other.units),
            capacity: self.capacity.min(other.capacity),
        }
    }
}

/// Returns whether two claims on one name exclude each other. Two slots do not: their units are counted.
pub(crate) fn conflicts(a: Mode, b: Mode) -> bool {
    !matches!((a, b), (Mode::Shared, Mode::Shared) | (Mode::Units { .. }, Mode::Units { .. }))
}

/// Returns whether the holders of a name are in the way of `wanted`.
pub(crate) fn holders_block(wanted: Mode, held: Crowd) -> bool {
    match wanted {
        Mode::Shared => held.exclusive,
        Mode::Exclusive => held.exclusive || held.shared,
        Mode::Units { units, capacity } => {
            held.units.saturating_add(units.into()) > u64::from(capacity.min(held.capacity))
        }
    }
}

/// Returns whether the runs queued ahead for a name are in the way of `wanted`.
pub(crate) fn queue_blocks(wanted: Mode, held: Crowd, ahead: Crowd, kinship: Kinship) -> bool {
    match wanted {
        Mode::Shared => ahead.exclusive && kinship == Kinship::None,
        Mode::Exclusive => ahead.exclusive || ahead.shared,
        Mode::Units { units, capacity } => {
            let smallest = capacity.min(held.capacity).min(ahead.capacity);
            let together = held.units.saturating_add(ahead.units).saturating_add(units.into());
            ahead.units > 0 && together > u64::from(smallest)
        }
    }
}

/// Returns whether a claim can never fit while the run's ancestors hold what they hold: not even beside
/// the ancestors alone and the runs ahead that wait for them. All other holders and runs ahead may
/// leave, and do not count.
pub(crate) fn never_fits(wanted: Mode, ancestors: Crowd, stuck_ahead: Crowd, kinship: Kinship) -> bool {
    holders_block(wanted, ancestors) || queue_blocks(wanted, ancestors, stuck_ahead, kinship)
}

/// Whether an ancestor of the run holds the same name shared. Such a run may pass writers that are
/// queued for it: they wait for the ancestor, which waits for this run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kinship {
    /// No.
    None,
    /// Yes, lapsed or not, until its claim is taken, ended or revoked.
    AncestorShares,
}

/// What the rule needs to know about a namespace, from the point of view of one run.
pub(crate) trait View {
    /// Why reading the namespace failed.
    type Error;
    /// Returns whether the name has a live record.
    fn is_live(&mut self, name: &Name) -> Result<bool, Self::Error>;
    /// Returns the holders of the name that have not lapsed.
    fn held(&mut self, claim: &Claim) -> Result<Crowd, Self::Error>;
    /// Returns the runs that are queued for the name ahead of the run.
    fn ahead(&mut self, claim: &Claim) -> Result<Crowd, Self::Error>;
    /// Returns whether an ancestor of the run holds the claim's name shared.
    fn kinship(&mut self, claim: &Claim) -> Result<Kinship, Self::Error>;
}

/// The first thing in the way of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// This input has no live record.
    Missing(Resource),
    /// This output has a live record and may not be overwritten.
    Exists,
    /// Holders of this name, or runs ahead for it, are in the way.
    Taken(Resource),
}

/// Returns the first thing in the way of a run; `None` if it may run now.
pub(crate) fn first_obstacle<V: View>(view: &mut V, spec: &Spec) -> Result<Option<Obstacle>, V::Error> {
    // First, because this is final: a run that may not overwrite does not wait for its inputs either.
    if spec.if_written != IfWritten::Overwrite {
        for output in spec.claims.outputs() {
            if view.is_live(&output.name)? {
                return Ok(Some(Obstacle::Exists));
            }
        }
    }
    for input in spec.claims.inputs() {
        if !view.is_live(&input.name)? {
            return Ok(Some(Obstacle::Missing(Resource::record(&input.name))));
        }
    }
    for claim in &spec.claims {
        if claim_is_blocked(view, claim)? {
            return Ok(Some(Obstacle::Taken(Resource::of(claim.space, &claim.name))));
        }
    }
    Ok(None)
}

fn claim_is_blocked<V: View>(view: &mut V, claim: &Claim) -> Result<bool, V::Error> {
    let held = view.held(claim)?;
    if holders_block(claim.mode, held) {
        return Ok(true);
    }
    let ahead = view.ahead(claim)?;
    if !queue_blocks(claim.mode, held, ahead, Kinship::None) {
        return Ok(false);
    }
    Ok(queue_blocks(claim.mode, held, ahead, view.kinship(claim)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Mode = Mode::Shared;
    const X: Mode = Mode::Exclusive;

    fn units(units: u32, capacity: u32) -> Mode {
        Mode::Units { units, capacity }
    }

    fn crowd(modes: &[Mode]) -> Crowd {
        modes.iter().fold(Crowd::NOBODY, |crowd, &mode| crowd.with(mode))
    }

    #[test]
    fn truth_table_of_holders() {
        let table: &[(Mode, &[Mode], bool)] = &[
            (S, &[], false),
            (X, &[], false),
            (S, &[S, S], false),
            (S, &[X], true),
            (X, &[S], true),
            (X, &[X], true),
            (units(1, 4), &[], false),
            (units(4, 4), &[], false),
            (units(1, 4), &[units(3, 4)], false),
            (units(2, 4), &[units(3, 4)], true),
            (units(1, 4), &[units(1, 4), units(1, 4), units(2, 4)], true),
            // The smallest stated capacity counts.
            (units(1, 9), &[units(3, 3)], true),
            (units(1, 2), &[units(2, 9)], true),
            (units(1, 3), &[units(2, 9)], false),
        ];
        for (wanted, held, blocked) in table {
            assert_eq!(holders_block(*wanted, crowd(held)), *blocked, "{wanted:?} beside {held:?}");
        }
    }

    /// What is wanted, who holds, who is ahead, whether an ancestor shares; and whether the claim is
    /// blocked.
    type Row<'a> = (Mode, &'a [Mode], &'a [Mode], Kinship, bool);

    #[test]
    fn truth_table_of_the_queue() {
        let table: &[Row<'_>] = &[
            (S, &[], &[], Kinship::None, false),
            (S, &[S], &[S], Kinship::None, false),
            (S, &[S], &[X], Kinship::None, true),
            (S, &[S], &[X], Kinship::AncestorShares, false),
            (S, &[S], &[S, X], Kinship::None, true),
            (X, &[], &[S], Kinship::None, true),
            (X, &[], &[X], Kinship::None, true),
            (X, &[], &[X], Kinship::AncestorShares, true),
            // Small requests do not starve a big one ahead (units ahead count).
            (units(1, 4), &[units(1, 4), units(1, 4), units(1, 4)], &[units(2, 4)], Kinship::None, true),
            (units(1, 4), &[units(1, 4)], &[units(2, 4)], Kinship::None, false),
            (units(1, 4), &[], &[], Kinship::None, false),
            // If no run is ahead, only the holders are in the way.
            (units(2, 4), &[units(3, 4)], &[], Kinship::None, false),
            (units(1, 9), &[], &[units(2, 2)], Kinship::None, true),
            (units(1, 9), &[units(1, 3)], &[units(1, 9)], Kinship::None, false),
            (units(1, 9), &[units(1, 3)], &[units(2, 9)], Kinship::None, true),
        ];
        for (wanted, held, ahead, kinship, blocked) in table {
            let said = queue_blocks(*wanted, crowd(held), crowd(ahead), *kinship);
            assert_eq!(said, *blocked, "{wanted:?} beside {held:?} behind {ahead:?}, {kinship:?}");
        }
    }

    #[test]
    fn two_crowds_are_what_all_of_them_are() {
        for both in [[S, X], [X, S], [S, S], [X, X], [units(1, 4), units(2, 3)], [units(1, 3), units(2, 4)]] {
            assert_eq!(crowd(&both[..1]).and(crowd(&both[1..])), crowd(&both), "{both:?}");
        }
    }

    #[test]
    fn truth_table_of_waits_for_ancestors() {
        let table: &[Row<'_>] = &[
            (X, &[], &[], Kinship::None, false),
            (X, &[X], &[], Kinship::None, true),
            (X, &[S], &[], Kinship::None, true),
            (S, &[S], &[], Kinship::AncestorShares, false),
            (S, &[S], &[X], Kinship::AncestorShares, false),
            (S, &[], &[X], Kinship::None, true),
            (X, &[], &[S], Kinship::None, true),
            // All ancestors together, with the smallest capacity that one of them or the request states.
            (units(1, 9), &[units(4, 4)], &[], Kinship::None, true),
            (units(1, 4), &[units(2, 4), units(2, 4)], &[], Kinship::None, true),
            (units(1, 4), &[units(2, 4), units(1, 4)], &[], Kinship::None, false),
            (units(2, 9), &[units(1, 3), units(1, 9)], &[], Kinship::None, true),
            (units(2, 3), &[units(1, 9), units(1, 9)], &[], Kinship::None, true),
            // Units that runs ahead want count only if those runs can never have them either.
            (units(2, 5), &[units(2, 5)], &[units(1, 5)], Kinship::None, false),
            (units(2, 5), &[units(2, 5)], &[units(2, 5)], Kinship::None, true),
            (units(1, 9), &[], &[units(2, 2)], Kinship::None, true),
        ];
        for (wanted, ancestors, stuck, kinship, never) in table {
            let said = never_fits(*wanted, crowd(ancestors), crowd(stuck), *kinship);
            assert_eq!(
                said, *never,
                "{wanted:?} beside ancestors {ancestors:?} behind {stuck:?}, {kinship:?}"
            );
        }
    }

    #[test]
    fn only_shared_claims_and_slots_go_together() {
        for (a, b, conflict) in [(S, S, false), (S, X, true), (X, S, true), (X, X, true)] {
            assert_eq!(conflicts(a, b), conflict, "{a:?} {b:?}");
        }
        assert!(!conflicts(units(1, 1), units(1, 1)));
    }
}
