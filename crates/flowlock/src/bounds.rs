//! [`Bounds`]: how much one step does, and how much its answer says.

use serde::Serialize;

/// How many blockers an answer names; more are shown as "10+".
pub const MOST_BLOCKERS: usize = 10;
/// How many input versions a record names; for more it keeps a digest instead.
pub const MOST_MADE_FROM: usize = 64;
/// How many running parents count as a run's ancestors.
pub(crate) const MOST_ANCESTORS: usize = 64;
/// For how many waiting runs the answer to a heartbeat says what is in the way.
pub(crate) const MOST_EXPLAINED: usize = 16;

/// Limits of how much one step does, and of how much its answer says. Later steps continue with what is
/// left.
///
/// These numbers have their home here: the scripts of the Redis store take them from here. They are the
/// same on every store; tests use tiny random ones, to test both sides of each limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Bounds {
    /// How many waiting runs a step looks at.
    pub looks: u32,
    /// How many claims the runs of one kind may have together, beyond the first run: those that are
    /// looked at, those whose deadlines are handled, those that are ended, those shown in an answer.
    pub claims: usize,
    /// How many due deadlines a step handles.
    pub due: usize,
    /// How many outdated entries of the backlog a step drops.
    pub hints: usize,
    /// How many holders a step ends because other runs need their names.
    pub ends: usize,
    /// How many old outcomes a step forgets: more than deadlines, because forgetting decides nothing,
    /// and a burst of runs leaves many.
    pub forgets: usize,
    /// How many blockers an answer shows; one more is looked for, to know whether there are more.
    pub blockers: usize,
    /// For how many runs in the way an answer says which processes to probe and when the first run is
    /// due. If the answer is about several waiting runs, this is the limit for all together, but each
    /// gets at least its share.
    pub probes: usize,
    /// How many queued runs are examined for a deadlock.
    pub examined: usize,
    /// How many running parents count as a run's ancestors: the nearest ones.
    pub ancestors: usize,
    /// For how many waiting runs a heartbeat's answer says why they wait.
    pub explained: usize,
    /// How many runs a heartbeat's answer lists.
    pub heard: usize,
    /// How many input versions a record names; for more it keeps a digest.
    pub made_from: usize,
    /// How many rows are read at a time where all of them are read.
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
