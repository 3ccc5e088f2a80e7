//! The tables of a namespace, as the engine sees them.
//!
//! A store that can run a step inside one transaction implements [`Tables`] and gets all rules of the
//! engine; it only moves rows.

use crate::claim::{Mode, Space};
use crate::id::{Attempt, ClientId, Ticket};
use crate::name::{Name, RunId};
use crate::origin::Actor;
use crate::record::Record;
use crate::rule::Crowd;
use crate::run::{Resource, Run};
use crate::step::Wake;
use crate::store::StoreError;
use crate::world::LivenessId;

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// The namespace's own row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The boot that wrote last; empty before the first step.
    pub(crate) boot_id: String,
    /// When it wrote last (wall clock).
    pub(crate) last_wall_us: i64,
    /// Grows with every step that changes anything.
    pub(crate) sequence: u64,
    pub(crate) last_ticket: u64,
    pub(crate) last_token: u64,
    /// No token above it is issued before a higher ceiling is on disk.
    pub(crate) token_ceiling: u64,
    /// The last ceiling known to be on disk. While it differs from `token_ceiling`, every answer waits
    /// for a sync, because the process that raised the ceiling may have died before its own sync.
    pub(crate) safe_ceiling: u64,
    /// Runs that wait, or were granted and have not accepted: the rows of `of_client`.
    pub(crate) waiting: u64,
    /// Queued runs.
    pub(crate) queued: u64,
    /// Holders that were found to be past their deadline, and whose names no run has needed yet.
    pub(crate) lapsed: u64,
    /// Whether `backlog` has rows.
    pub(crate) has_backlog: bool,
    /// At most the time of the first due run or silent client (boot clock).
    pub(crate) next_due_ms: i64,
    /// At most the time when the first record expires (wall clock).
    pub(crate) next_expiry_us: i64,
    /// At most the time when the first outcome may be forgotten (boot clock).
    pub(crate) next_forget_ms: i64,
    /// Who removed the namespace, if it was not used since.
    pub(crate) removed: Option<Actor>,
}

impl Default for Meta {
    fn default() -> Self {
        Self {
            boot_id: String::new(),
            last_wall_us: 0,
            sequence: 0,
            last_ticket: 0,
            last_token: 0,
            token_ceiling: 0,
            safe_ceiling: 0,
            waiting: 0,
            queued: 0,
            lapsed: 0,
            has_backlog: false,
            next_due_ms: i64::MAX,
            next_expiry_us: i64::MAX,
            next_forget_ms: i64::MAX,
            removed: None,
        }
    }
}

/// Decrements a count in the namespace's row. The count is at least one, unless the row was tampered
/// with.
pub(crate) fn one_less(count: &mut u64) -> Result<()> {
    let counted = count.checked_sub(1);
    *count = counted.ok_or_else(|| StoreError::damaged("a namespace's row counts fewer runs than it has"))?;
    Ok(())
}

/// One run's claim on one name, held or queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stake {
    pub(crate) ticket: Ticket,
    pub(crate) mode: Mode,
}

/// Shows whether a run may end soon, or has lost its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vitals {
    pub(crate) liveness: Option<LivenessId>,
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) revoked: bool,
}

/// Which holders of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those that were not found to be past their deadline.
    Standing,
    /// The others.
    Lapsed,
}

/// Why a run must be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Something changed at this place: look at the runs parked there.
    Parked(Resource),
    /// Only this run.
    Alone,
    /// The record is gone: look at all runs that are queued to read the name, from the given ticket on.
    Readers(Name),
    /// The record was written: look at all waiting runs that may not overwrite it, from the given ticket
    /// on.
    Guards(Name),
}

/// A run to look at, and why.
pub(crate) type Hint = (Ticket, Source);

/// How much the tables of a namespace contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Census {
    /// Runs that have not ended.
    pub(crate) living: u64,
    /// Runs that have ended and are still remembered.
    pub(crate) outcomes: u64,
    /// Written records.
    pub(crate) records: u64,
}

/// Reads and writes the rows of one namespace, inside one transaction.
pub(crate) trait Tables: RunRows + PlaceRows + BacklogRows + RecordRows + ClientRows {
    fn meta(&mut self) -> Result<Meta>;
    fn set_meta(&mut self, meta: &Meta) -> Result<()>;
    /// Returns when the first run is due, or when the first client is silent (`silence_ms` after it was
    /// heard).
    fn next_due(&mut self, silence_ms: i64) -> Result<Option<i64>>;
    /// Counts everything: for people, not for steps.
    fn census(&mut self) -> Result<Census>;
}

/// Runs, including those that have ended and are remembered.
pub(crate) trait RunRows {
    fn run(&mut self, ticket: Ticket) -> Result<Option<Run>>;
    /// Returns a few fields of a run's row, for callers that look at many runs.
    fn vitals(&mut self, ticket: Ticket) -> Result<Option<Vitals>>;
    /// Returns what wakes the process of a run, without reading the run's claims.
    fn wake(&mut self, ticket: Ticket) -> Result<Option<Wake>>;
    fn by_attempt(&mut self, attempt: &Attempt) -> Result<Option<Run>>;
    /// Returns the run with this id that has not ended; there is at most one.
    fn living(&mut self, id: &RunId) -> Result<Option<Run>>;
    fn insert_run(&mut self, run: &Run) -> Result<()>;
    /// Writes everything that can change about a run.
    fn update_run(&mut self, run: &Run) -> Result<()>;
    fn delete_run(&mut self, ticket: Ticket) -> Result<()>;
    /// Returns the runs that have not ended, by ticket, from `from` on.
    fn living_runs(&mut self, from: Ticket, limit: usize) -> Result<Vec<Run>>;
    /// Returns the latest run with this id, also an ended one; not a tombstone, whose request never
    /// arrived.
    fn latest_run(&mut self, id: &RunId) -> Result<Option<Run>>;
    /// Returns runs that are due at or before `upto_ms`, earliest first.
    fn due_runs(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, Ticket)>>;
    /// Returns ended runs that may be forgotten at or before `upto_ms`, earliest first.
    fn forgettable(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, Ticket)>>;
    fn next_forget(&mut self) -> Result<Option<i64>>;
    /// Returns when the last outcome may be forgotten.
    fn last_forget(&mut self) -> Result<Option<i64>>;
}

/// The holders of a name, the runs queued for it, and the runs parked at it.
pub(crate) trait PlaceRows {
    /// Announces that the step will ask who waits or has lapsed at these places; a store may read all of
    /// that at once.
    fn look_ahead(&mut self, _places: &[Resource]) -> Result<()> {
        Ok(())
    }
    fn hold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()>;
    fn unhold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()>;
    fn holds(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<bool>;
    /// Returns the holders of a name, combined.
    fn held(&mut self, space: Space, name: &Name, which: Which) -> Result<Crowd>;
    /// Returns the holders of a name: exclusive ones first, then by ticket.
    fn holders(&mut self, place: &Resource, which: Which, limit: usize) -> Result<Vec<Stake>>;
    fn enqueue(&mut self, place: &Resource, stake: Stake) -> Result<()>;
    fn dequeue(&mut self, place: &Resource, stake: Stake) -> Result<()>;
    /// Returns the runs queued for a name before `before`, combined. Units are counted only until they
    /// exceed `enough`: the rule needs no more.
    fn ahead(&mut self, space: Space, name: &Name, before: Ticket, enough: u64) -> Result<Crowd>;
    /// Returns the runs queued for a name, by ticket.
    fn line(&mut self, place: &Resource, part: Part, limit: usize) -> Result<Vec<Stake>>;
    /// Returns the last run queued for a name within `part`.
    fn last_in_line(&mut self, place: &Resource, part: Part) -> Result<Option<Ticket>>;
    fn park(&mut self, place: &Resource, ticket: Ticket) -> Result<()>;
    fn unpark(&mut self, place: &Resource, ticket: Ticket) -> Result<()>;
    fn first_parked(&mut self, place: &Resource) -> Result<Option<Ticket>>;
}

/// The runs and places that later steps must look at.
pub(crate) trait BacklogRows {
    /// Returns the hints after `after`, in order.
    fn hints(&mut self, after: Option<&Hint>, limit: usize) -> Result<Vec<Hint>>;
    /// Adds a hint, which may already exist.
    fn add_hint(&mut self, hint: &Hint) -> Result<()>;
    fn remove_hint(&mut self, hint: &Hint) -> Result<()>;
    fn is_dirty(&mut self, place: &Resource) -> Result<bool>;
    fn set_dirty(&mut self, place: &Resource, is_dirty: bool) -> Result<()>;
}

/// Records, and the waiting runs that may not overwrite them.
pub(crate) trait RecordRows {
    fn record(&mut self, name: &Name) -> Result<Option<Record>>;
    fn put_record(&mut self, record: &Record) -> Result<()>;
    fn delete_record(&mut self, name: &Name) -> Result<()>;
    /// Returns records whose time ends at or before `upto_us`, earliest first.
    fn due_records(&mut self, upto_us: i64, limit: usize) -> Result<Vec<(i64, Name)>>;
    fn next_expiry(&mut self) -> Result<Option<i64>>;
    /// Returns written records after `after`, in byte order, whose names begin with `prefix`.
    fn records(&mut self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Record>>;
    fn guard(&mut self, name: &Name, ticket: Ticket) -> Result<()>;
    fn unguard(&mut self, name: &Name, ticket: Ticket) -> Result<()>;
    /// Returns the first waiting run, from `from` on, that may not overwrite the name.
    fn next_guard(&mut self, name: &Name, from: Ticket) -> Result<Option<Ticket>>;
}

/// The processes of waiting runs, and when each was last heard.
pub(crate) trait ClientRows {
    /// Returns when the client was last heard; `None` if it was silent for too long or never waited.
    fn heard(&mut self, client: ClientId) -> Result<Option<i64>>;
    fn set_heard(&mut self, client: ClientId, at_ms: i64) -> Result<()>;
    fn forget_client(&mut self, client: ClientId) -> Result<()>;
    /// Returns clients that were last heard at or before `upto_ms`, earliest first.
    fn silent_clients(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, ClientId)>>;
    fn add_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()>;
    fn remove_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()>;
    /// Returns the client's waiting and granted runs, by ticket, from `from` on.
    fn of_client(&mut self, client: ClientId, from: Ticket, limit: usize) -> Result<Vec<Ticket>>;
    /// Returns the client's waiting runs that leave the queue when it is silent, by ticket: they are
    /// present and hold no place.
    fn reserving(&mut self, client: ClientId, limit: usize) -> Result<Vec<Ticket>>;
}

/// A part of a queue: from one ticket on, before another, all claims or only exclusive ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) from: Ticket,
    pub(crate) before: Ticket,
    pub(crate) exclusive_only: bool,
}

impl Part {
    /// Returns the part from `from` on.
    pub(crate) fn from(from: Ticket) -> Self {
        Self { from, before: Ticket(u64::MAX), exclusive_only: false }
    }

    /// Returns the part before `before` that conflicts with a claim of mode `wanted`.
    pub(crate) fn in_the_way_of(wanted: Mode, before: Ticket) -> Self {
        Self { from: Ticket(0), before, exclusive_only: wanted == Mode::Shared }
    }
}
