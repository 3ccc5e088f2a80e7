//! One step of a namespace: handle what is due, look at the runs that may now move, act, look again.
//!
//! The engine is the body of a step for every store that has transactions: it reads and writes
//! [`Tables`], takes time and liveness from a [`World`], and asks [`rule`](crate::rule) who may run.
//!
//! Each waiting run is parked at exactly one place: its first obstacle. A place is *dirty* when
//! something changed there that may let a run parked there move. A step looks at the runs of dirty
//! places, lowest ticket of the whole namespace first, until nothing is dirty or its budget is used up.
//! What is left over is the *backlog*; while there is one, nothing new is decided.

mod acquire;
mod backlog;
mod boot;
mod budget;
mod bury;
mod by_hand;
mod deadlock;
pub(crate) mod explain;
mod foresee;
mod grant;
mod lapse;
mod leave;
mod line;
pub(crate) mod namespace;
mod operate;
mod records;
mod rows;
mod rules_view;
mod step;
mod sweep;
pub(crate) mod tables;
#[cfg(test)]
mod tests;
pub(crate) mod view;
mod withdraw;

use std::collections::{BTreeMap, BTreeSet};

use self::backlog::Backlog;
use self::budget::Budget;
#[cfg(feature = "sqlite")]
pub(crate) use self::step::Effect;
pub(crate) use self::step::step;
use self::tables::Meta;
use crate::bounds::Bounds;
use crate::name::Name;
use crate::origin::Actor;
use crate::record::Record;
use crate::step::Wake;
use crate::world::{Now, World};

/// How often a process with waiting runs must send a heartbeat.
pub(crate) const HEARTBEAT_MS: i64 = 5_000;
/// How long after the last heartbeat a waiting run stops reserving. A grant must be accepted within the
/// same time after the last sign of life before it.
pub(crate) const SILENCE_MS: i64 = 10_000;
/// How long outcomes are remembered.
pub(crate) const OUTCOME_MEMORY_MS: i64 = 600_000;
/// How far ahead the latest arrival of a request may be.
pub(crate) const LATEST_AHEAD_MS: i64 = 300_000;
/// How long a place is held if its process does not come back.
pub(crate) const LONGEST_PLACE_MS: u64 = 60_000;
/// When a caller should try again whose change by hand meets a holder.
pub(crate) const RETRY_BY_HAND_MS: u64 = 1_000;
/// How far ahead of the last token the ceiling is set, in microseconds of wall clock: this needs one
/// synced write an hour.
pub(crate) const TOKEN_BLOCK: u64 = 3_600_000_000;
/// How long the evidence of a record that is gone is kept, in microseconds: 7 days.
pub(crate) const EVIDENCE_US: i64 = 7 * 86_400 * 1_000_000;
/// The year 2200, in microseconds since 1970: a step under a later clock is refused. Tokens in
/// microseconds stay exact in every store for 55 years more.
pub(crate) const END_OF_TIME_US: i64 = 7_258_118_400_000_000;
/// How much the boot time of this host may differ between two readings of the wall clock, in
/// microseconds.
pub(crate) const BOOT_TIME_SLACK_US: i64 = 2_000_000;

/// A step in progress.
struct Engine<'a, T> {
    tables: &'a mut T,
    world: &'a dyn World,
    now: Now,
    bounds: Bounds,
    meta: Meta,
    budget: Budget,
    backlog: Backlog,
    /// Whether there is more that is due, to be ended, or to be dropped than one step may handle.
    unswept: bool,
    wakes: BTreeSet<Wake>,
    must_sync: bool,
    /// Who acts by hand in this step.
    actor: Option<Actor>,
    /// The records that this step has read, in their current state.
    records: BTreeMap<Name, Option<Record>>,
}
