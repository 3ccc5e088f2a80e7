//! What the benchmarks of all stores share.

pub(crate) mod crowd;
pub(crate) mod handoff;
pub(crate) mod machine;
pub(crate) mod others;
pub(crate) mod released;
pub(crate) mod stats;
pub(crate) mod table;

/// Whatever went wrong: a benchmark has nobody to repair it.
pub(crate) type Trouble = Box<dyn std::error::Error>;
