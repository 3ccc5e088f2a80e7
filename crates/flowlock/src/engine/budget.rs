//! What one step may still look at; later steps continue with the rest.

use crate::bounds::Bounds;

/// A number of runs, and of their claims together. The first run is let through however many claims it
/// has, because otherwise a step could not continue at all.
#[derive(Debug)]
pub(super) struct Allowance {
    runs: usize,
    claims: usize,
    is_first: bool,
}

impl Allowance {
    fn of(runs: usize, claims: usize) -> Self {
        Self { runs, claims, is_first: true }
    }

    /// Counts a run with this many claims as looked at; returns `false` if it may not be looked at any
    /// more. After that no run may be: runs that are later in the order must not pass it.
    pub(super) fn spend(&mut self, claims: usize) -> bool {
        if self.runs == 0 || !self.is_first && claims > self.claims {
            self.runs = 0;
            return false;
        }
        self.is_first = false;
        self.runs -= 1;
        self.claims = self.claims.saturating_sub(claims);
        true
    }

    pub(super) fn is_used_up(&self) -> bool {
        self.runs == 0
    }

    /// Stops looking at runs in this step.
    pub(super) fn stop(&mut self) {
        self.runs = 0;
    }

    pub(super) fn runs(&self) -> usize {
        self.runs
    }
}

/// What one step may still do.
#[derive(Debug)]
pub(super) struct Budget {
    /// Waiting runs that it looks at.
    pub(super) looks: Allowance,
    /// Deadlines that it handles.
    pub(super) due: Allowance,
    /// Holders that it ends because other runs need their names, beyond the one that leaves by itself.
    pub(super) ends: Allowance,
    /// Late holders to which it gives back their names.
    pub(super) returns: Allowance,
    /// Runs for which its answer shows what is in their way.
    pub(super) shown: Allowance,
    /// Queued runs that it examines for a deadlock.
    pub(super) examined: Allowance,
    /// Waiting runs for which it finds out when they stop reserving.
    pub(super) foreseen: Allowance,
    /// How many runs in the way it may still list.
    pub(super) probes: usize,
    /// How many outdated hints it may still drop.
    pub(super) hints: usize,
}

impl Budget {
    pub(super) fn of(bounds: Bounds) -> Self {
        let Bounds { looks, claims, due, ends, explained, examined, probes, hints, .. } = bounds;
        Self {
            looks: Allowance::of(looks as usize, claims),
            due: Allowance::of(due, claims),
            ends: Allowance::of(ends, claims),
            returns: Allowance::of(ends, claims),
            shown: Allowance::of(explained, claims),
            examined: Allowance::of(examined, claims),
            foreseen: Allowance::of(ends, claims),
            probes,
            hints,
        }
    }

    /// The budget of a step that only reads, for a page of this many runs.
    pub(super) fn of_a_page(bounds: Bounds, shown: usize) -> Self {
        let none = || Allowance::of(0, 0);
        Self {
            looks: none(),
            due: none(),
            ends: none(),
            returns: none(),
            shown: Allowance::of(shown, bounds.claims),
            examined: none(),
            foreseen: none(),
            probes: 0,
            hints: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_run_is_let_through_whatever_it_has() {
        let mut left = Allowance::of(3, 10);
        assert!(left.spend(1_000));
        assert!(!left.spend(1), "it had more than all the claims there were");
        assert!(!left.spend(0), "nobody passes whoever had to stop");
    }

    #[test]
    fn so_many_runs_or_so_many_claims() {
        let mut left = Allowance::of(3, 10);
        assert_eq!([4, 4, 2, 0].map(|claims| left.spend(claims)), [true, true, true, false], "runs");
        let mut left = Allowance::of(9, 10);
        assert_eq!([4, 6, 0, 1].map(|claims| left.spend(claims)), [true, true, true, false], "claims");
    }

    #[test]
    fn whoever_stops_looks_at_nobody_more() {
        let mut left = Allowance::of(3, 10);
        left.stop();
        assert!(left.is_used_up());
        assert!(!left.spend(0));
    }
}
