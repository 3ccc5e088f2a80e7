//! One step of a namespace: sweep what is due, look at whoever may now move, act, look again.
//!
//! The engine is the body of a step for every store that has transactions: it reads and writes
//! [`Tables`], takes time and liveness from a [`World`], and asks [`rule`](crate::rule) who may run.
//!
//! Each waiting run is parked at exactly one place: its first obstacle. A place is *dirty* when
//! something changed there that may let somebody parked at it move. A step looks at runs of dirty places,
//! lowest ticket over the whole namespace first, until nothing is dirty or its budget is used; what is
//! left over is the *backlog*, and while there is one nothing new is decided.

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

/// How often a process with waiting runs is to be heard.
pub(crate) const HEARTBEAT_MS: i64 = 5_000;
/// After how long without a heartbeat a waiter reserves nothing; a grant must be claimed within the same
/// time from the last sign of life before it.
pub(crate) const SILENCE_MS: i64 = 10_000;
/// How long outcomes are remembered.
pub(crate) const OUTCOME_MEMORY_MS: i64 = 600_000;
/// How far ahead a sending's latest arrival may be.
pub(crate) const LATEST_AHEAD_MS: i64 = 300_000;
/// How long a place can be held without coming back.
pub(crate) const LONGEST_PLACE_MS: u64 = 60_000;
/// When those are to come back who change a record by hand that somebody holds.
pub(crate) const RETRY_BY_HAND_MS: u64 = 1_000;
/// How far ahead of the last token the ceiling is set, in microseconds of wall clock: one synced write
/// an hour.
pub(crate) const TOKEN_BLOCK: u64 = 3_600_000_000;
/// How long evidence of a record that is no more is kept, in microseconds: 7 days.
pub(crate) const EVIDENCE_US: i64 = 7 * 86_400 * 1_000_000;
/// The year 2200, in microseconds since 1970: no step is taken by a clock that is so late. Tokens of microseconds stay exact
/// in every store for 55 years more.
pub(crate) const END_OF_TIME_US: i64 = 7_258_118_400_000_000;
/// How much the wall clock may differ between two readings of the time this host booted, in microseconds.
pub(crate) const BOOT_TIME_SLACK_US: i64 = 2_000_000;

/// A step under way.
struct Engine<'a, T> {
    tables: &'a mut T,
    world: &'a dyn World,
    now: Now,
    bounds: Bounds,
    meta: Meta,
    budget: Budget,
    backlog: Backlog,
    /// More is due, or to be ended, or to be passed over, than one step may.
    unswept: bool,
    wakes: BTreeSet<Wake>,
    must_sync: bool,
    /// Who acts by hand in this step.
    actor: Option<Actor>,
    /// The records read in this step, as they are by now.
    records: BTreeMap<Name, Option<Record>>,
}
