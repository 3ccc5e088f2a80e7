//! The tables of a namespace, as the engine sees them.
//!
//! A store that can run a step inside one transaction implements [`Tables`] and gets every rule of the
//! engine with it; it moves rows and decides nothing.

use crate::claim::{Mode, Space};
use crate::id::{Attempt, ClientId, Ticket};
use crate::name::{Name, RunId};
use crate::origin::Actor;
use crate::record::Record;
use crate::rule::Crowd;
use crate::run::{Resource, Run};
use crate::store::StoreError;
use crate::world::LivenessId;

pub(crate) type Result<T> = std::result::Result<T, StoreError>;

/// The one row of a namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The boot that wrote last; empty before the first step.
    pub(crate) boot_id: String,
    /// When it wrote last (wall clock).
    pub(crate) last_wall_us: i64,
    /// Rises with every step that changed anything.
    pub(crate) sequence: u64,
    pub(crate) last_ticket: u64,
    pub(crate) last_token: u64,
    /// No token above it is issued before a higher ceiling is safe on disk.
    pub(crate) token_ceiling: u64,
    /// The last ceiling known to be on disk. As long as it is another one every answer waits for a sync: the process
    /// that raised the ceiling may have died before its own.
    pub(crate) safe_ceiling: u64,
    /// Runs that wait, or were granted and have not claimed: rows of `of_client`.
    pub(crate) waiting: u64,
    /// Runs in line: nobody queues if it is 0.
    pub(crate) queued: u64,
    /// Holders whose deadline was found passed and whose names nobody has needed yet.
    pub(crate) lapsed: u64,
    /// Whether `backlog` has rows.
    pub(crate) has_backlog: bool,
    /// Not later than the first due run or silent client (boot clock).
    pub(crate) next_due_ms: i64,
    /// Not later than the first record to expire (wall clock).
    pub(crate) next_expiry_us: i64,
    /// Not later than the first outcome to forget (boot clock).
    pub(crate) next_forget_ms: i64,
    /// Who removed the namespace, if nobody has used it since.
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

/// Takes one from a count of the namespace's row, which counts at least that one unless the row was altered.
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

/// What tells whether a run may end soon, or has lost its rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Vitals {
    pub(crate) liveness: Option<LivenessId>,
    pub(crate) deadline_ms: Option<i64>,
    pub(crate) revoked: bool,
}

/// Which holders of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Those whose deadline has not been found passed.
    Standing,
    /// The others.
    Lapsed,
}

/// Why a run is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// Something changed at this place: whoever is parked there.
    Parked(Resource),
    /// This run alone.
    Alone,
    /// The record went: all who queue to read the name, from the given ticket on.
    Readers(Name),
    /// The record came: all waiting runs that may not overwrite it, from the given ticket on.
    Guards(Name),
}

/// Whom to look at, and why.
pub(crate) type Hint = (Ticket, Source);

/// How much a namespace's tables have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Census {
    /// Runs that have not ended.
    pub(crate) living: u64,
    /// Runs that have ended and are remembered.
    pub(crate) outcomes: u64,
    /// Written records.
    pub(crate) records: u64,
}

/// Reading and writing the rows of one namespace, inside one transaction.
pub(crate) trait Tables: RunRows + PlaceRows + BacklogRows + RecordRows + ClientRows {
    fn meta(&mut self) -> Result<Meta>;
    fn set_meta(&mut self, meta: &Meta) -> Result<()>;
    /// When the first run is due, or the first client silent (`silence` after it was heard).
    fn next_due(&mut self, silence_ms: i64) -> Result<Option<i64>>;
    /// Counts everything: for people, not for steps.
    fn census(&mut self) -> Result<Census>;
}

/// Runs, those that have ended and are remembered among them.
pub(crate) trait RunRows {
    fn run(&mut self, ticket: Ticket) -> Result<Option<Run>>;
    /// A few fields of a run's row, for who looks at many.
    fn vitals(&mut self, ticket: Ticket) -> Result<Option<Vitals>>;
    fn by_attempt(&mut self, attempt: &Attempt) -> Result<Option<Run>>;
    /// The run with this id that has not ended; at most one.
    fn living(&mut self, id: &RunId) -> Result<Option<Run>>;
    fn insert_run(&mut self, run: &Run) -> Result<()>;
    /// Writes everything that can change about a run.
    fn update_run(&mut self, run: &Run) -> Result<()>;
    fn delete_run(&mut self, ticket: Ticket) -> Result<()>;
    /// Runs that have not ended, by ticket, from `from` on.
    fn living_runs(&mut self, from: Ticket, limit: usize) -> Result<Vec<Run>>;
    /// The latest run with this id, ended ones too; no tombstone, which is an attempt that never came.
    fn latest_run(&mut self, id: &RunId) -> Result<Option<Run>>;
    /// Runs due at or before `upto`, earliest first.
    fn due_runs(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, Ticket)>>;
    /// Ended runs to forget at or before `upto`, earliest first.
    fn forgettable(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, Ticket)>>;
    fn next_forget(&mut self) -> Result<Option<i64>>;
    /// When the last outcome may be forgotten.
    fn last_forget(&mut self) -> Result<Option<i64>>;
}

/// Who holds a name, who stands in line for it, and who is parked at it.
pub(crate) trait PlaceRows {
    /// The step is about to ask who waits at these places, or has lapsed there: a store may read all of that at once.
    fn look_ahead(&mut self, _places: &[Resource]) -> Result<()> {
        Ok(())
    }
    fn hold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()>;
    fn unhold(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<()>;
    fn holds(&mut self, place: &Resource, stake: Stake, which: Which) -> Result<bool>;
    /// The holders of a name, as one.
    fn held(&mut self, space: Space, name: &Name, which: Which) -> Result<Crowd>;
    /// The holders themselves: exclusive ones first, then by ticket.
    fn holders(&mut self, place: &Resource, which: Which, limit: usize) -> Result<Vec<Stake>>;
    fn enqueue(&mut self, place: &Resource, stake: Stake) -> Result<()>;
    fn dequeue(&mut self, place: &Resource, stake: Stake) -> Result<()>;
    /// Those in line for a name before `before`, as one. Units are counted only until they exceed
    /// `enough`: the rule needs no more.
    fn ahead(&mut self, space: Space, name: &Name, before: Ticket, enough: u64) -> Result<Crowd>;
    /// Those in line for a name, by ticket.
    fn line(&mut self, place: &Resource, part: Part, limit: usize) -> Result<Vec<Stake>>;
    /// The last in line for a name within `part`.
    fn last_in_line(&mut self, place: &Resource, part: Part) -> Result<Option<Ticket>>;
    fn park(&mut self, place: &Resource, ticket: Ticket) -> Result<()>;
    fn unpark(&mut self, place: &Resource, ticket: Ticket) -> Result<()>;
    fn first_parked(&mut self, place: &Resource) -> Result<Option<Ticket>>;
}

/// Whom later steps look at, and where.
pub(crate) trait BacklogRows {
    /// Hints behind `after`, in order.
    fn hints(&mut self, after: Option<&Hint>, limit: usize) -> Result<Vec<Hint>>;
    /// Adds a hint, which may be there already.
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
    /// Records whose time is up at or before `upto`, earliest first.
    fn due_records(&mut self, upto_us: i64, limit: usize) -> Result<Vec<(i64, Name)>>;
    fn next_expiry(&mut self) -> Result<Option<i64>>;
    /// Written records after `after` in byte order whose names begin with `prefix`.
    fn records(&mut self, prefix: &str, after: Option<&Name>, limit: usize) -> Result<Vec<Record>>;
    fn guard(&mut self, name: &Name, ticket: Ticket) -> Result<()>;
    fn unguard(&mut self, name: &Name, ticket: Ticket) -> Result<()>;
    /// The first waiting run from `from` on that may not overwrite the name.
    fn next_guard(&mut self, name: &Name, from: Ticket) -> Result<Option<Ticket>>;
}

/// The processes of waiting runs, and when each was heard.
pub(crate) trait ClientRows {
    /// When the client was heard last; none if it was silent too long or never waited.
    fn heard(&mut self, client: ClientId) -> Result<Option<i64>>;
    fn set_heard(&mut self, client: ClientId, at_ms: i64) -> Result<()>;
    fn forget_client(&mut self, client: ClientId) -> Result<()>;
    /// Clients last heard at or before `upto`, earliest first.
    fn silent_clients(&mut self, upto_ms: i64, limit: usize) -> Result<Vec<(i64, ClientId)>>;
    fn add_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()>;
    fn remove_of_client(&mut self, client: ClientId, ticket: Ticket) -> Result<()>;
    /// The client's waiting and granted runs, by ticket, from `from` on.
    fn of_client(&mut self, client: ClientId, from: Ticket, limit: usize) -> Result<Vec<Ticket>>;
    /// The client's waiting runs that leave the line when it is silent, by ticket: they are present and hold no place.
    fn reserving(&mut self, client: ClientId, limit: usize) -> Result<Vec<Ticket>>;
}

/// A part of a line: from a ticket on, before another, all claims or only exclusive ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) from: Ticket,
    pub(crate) before: Ticket,
    pub(crate) exclusive_only: bool,
}

impl Part {
    /// Everybody from `from` on.
    pub(crate) fn from(from: Ticket) -> Self {
        Self { from, before: Ticket(u64::MAX), exclusive_only: false }
    }

    /// Those before `before` that conflict with a claim of mode `wanted`.
    pub(crate) fn in_the_way_of(wanted: Mode, before: Ticket) -> Self {
        Self { from: Ticket(0), before, exclusive_only: wanted == Mode::Shared }
    }
}
