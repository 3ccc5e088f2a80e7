//! [`Bounds`]: how much one step does, and how much its answer says.

use serde::Serialize;

/// How many blockers an answer names; the rest is "10+".
pub const MOST_BLOCKERS: usize = 10;
/// How many input versions a record names before it keeps a digest of them instead.
pub const MOST_MADE_FROM: usize = 64;
/// How many running parents count as a run's ancestors.
pub(crate) const MOST_ANCESTORS: usize = 64;
/// Of how many waiting runs the answer to a heartbeat says what is in the way.
pub(crate) const MOST_EXPLAINED: usize = 16;

/// How much one step does, and how much its answer says, at most. What is left over, later steps continue.
///
/// The one home of these numbers: the scripts of the Redis store take them from here. They are the same on every
/// store; tests draw tiny ones, so that the other side of each is tried too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// How many waiting runs a step looks at.
    pub looks: u32,
    /// How many claims the runs of one kind may have together, beyond the first run: those looked at, those whose deadlines
    /// are handled, those ended, those shown in an answer.
    pub claims: usize,
    /// How many due deadlines a step handles.
    pub due: usize,
    /// How many entries of what is left over a step drops because they are true no more.
    pub hints: usize,
    /// How many holders a step ends because others need their names.
    pub ends: usize,
    /// How many old outcomes a step forgets: more than deadlines, for forgetting one decides nothing, and a rush leaves many.
    pub forgets: usize,
    /// How many blockers an answer shows; one more is looked for, to say whether there are more.
    pub blockers: usize,
    /// Of how many runs in the way an answer says whom to probe and when the first of them is due; if it speaks of several
    /// waiting runs, of all together, but of each at least its share.
    pub probes: usize,
    /// How many runs in line are examined for a deadlock.
    pub examined: usize,
    /// How many running parents count as a run's ancestors, the nearest ones.
    pub ancestors: usize,
    /// Of how many waiting runs a heartbeat's answer says why they wait.
    pub explained: usize,
    /// Of how many runs a heartbeat's answer speaks.
    pub heard: usize,
    /// How many input versions a record names; of more it keeps a digest.
    pub made_from: usize,
    /// How many rows are read at a time where all of them are gone through.
    pub page: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            looks: 64,
            claims: 2_000,
            due: 64,
            hints: 1_000,
            ends: 64,
            forgets: 256,
            blockers: MOST_BLOCKERS,
            probes: 1_000,
            examined: 64,
            ancestors: MOST_ANCESTORS,
            explained: MOST_EXPLAINED,
            heard: 1_000,
            made_from: MOST_MADE_FROM,
            page: 64,
        }
    }
}
