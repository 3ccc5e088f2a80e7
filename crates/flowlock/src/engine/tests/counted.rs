//! Tables that count what is read from them and written to them.

use crate::claim::Space;
use crate::engine::tables::{
    BacklogRows, Census, ClientRows, Hint, Meta, Part, PlaceRows, RecordRows, Result, RunRows, Stake, Tables,
    Vitals, Which,
};
use crate::id::{Attempt, ClientId, Ticket};
use crate::name::{Name, RunId};
use crate::record::Record;
use crate::rule::Crowd;
use crate::run::{Resource, Run};
use crate::step::Wake;

#[derive(Debug, Default)]
pub(super) struct Counted<T> {
    pub(super) rows: T,
    /// How many calls there were, and how many rows and claims they moved.
    pub(super) looked: u64,
    /// How many claims were read with whole runs, as a store on disk does.
    pub(super) claims: u64,
}

impl<T> Counted<T> {
    fn count<A: Moved>(&mut self, call: impl FnOnce(&mut T) -> Result<A>) -> Result<A> {
        let answer = call(&mut self.rows)?;
        self.looked += 1 + answer.moved();
        self.claims += answer.claims();
        Ok(answer)
    }
}

/// How much an answer of the tables moves, beyond itself.
trait Moved {
    fn moved(&self) -> u64 {
        0
    }

    fn claims(&self) -> u64 {
        0
    }
}

impl Moved for () {}
impl Moved for bool {}
impl Moved for i64 {}
impl Moved for Meta {}
impl Moved for Crowd {}
impl Moved for Census {}
impl Moved for Vitals {}
impl Moved for Ticket {}
impl Moved for Record {}
impl Moved for Stake {}
impl Moved for Wake {}
impl Moved for Hint {}
impl<K> Moved for (i64, K) {}

impl Moved for Run {
    fn claims(&self) -> u64 {
        self.spec.claims.len() as u64
    }
}

impl<M: Moved> Moved for Option<M> {
    fn moved(&self) -> u64 {
        self.as_ref().map_or(0, Moved::moved)
    }

    fn claims(&self) -> u64 {
        self.as_ref().map_or(0, Moved::claims)
    }
}

impl<M: Moved> Moved for Vec<M> {
    fn moved(&self) -> u64 {
        self.iter().map(|one| 1 + one.moved()).sum()
    }

    fn claims(&self) -> u64 {
        self.iter().map(Moved::claims).sum()
    }
}

macro_rules! counted {
    ($($rows:ident { $(fn $name:ident($($given:ident: $type:ty),*) -> $answer:ty;)* })*) => {
        $(impl<T: Tables> $rows for Counted<T> {
            $(fn $name(&mut self, $($given: $type),*) -> Result<$answer> {
                self.count(|rows| rows.$name($($given),*))
            })*
        })*
    };
}

counted! {
    Tables {
        fn meta() -> Meta;
        fn set_meta(meta: &Meta) -> ();
        fn next_due(silence_ms: i64) -> Option<i64>;
        fn census() -> Census;
    }
    RunRows {
        fn run(ticket: Ticket) -> Option<Run>;
        fn vitals(ticket: Ticket) -> Option<Vitals>;
        fn wake(ticket: Ticket) -> Option<Wake>;
        fn by_attempt(attempt: &Attempt) -> Option<Run>;
        fn living(id: &RunId) -> Option<Run>;
        fn insert_run(run: &Run) -> ();
        fn update_run(run: &Run) -> ();
        fn delete_run(ticket: Ticket) -> ();
        fn living_runs(from: Ticket, limit: usize) -> Vec<Run>;
        fn latest_run(id: &RunId) -> Option<Run>;
        fn due_runs(upto_ms: i64, limit: usize) -> Vec<(i64, Ticket)>;
        fn forgettable(upto_ms: i64, limit: usize) -> Vec<(i64, Ticket)>;
        fn next_forget() -> Option<i64>;
        fn last_forget() -> Option<i64>;
    }
    PlaceRows {
        fn hold(place: &Resource, stake: Stake, which: Which) -> ();
        fn unhold(place: &Resource, stake: Stake, which: Which) -> ();
        fn holds(place: &Resource, stake: Stake, which: Which) -> bool;
        fn held(space: Space, name: &Name, which: Which) -> Crowd;
        fn holders(place: &Resource, which: Which, limit: usize) -> Vec<Stake>;
        fn enqueue(place: &Resource, stake: Stake) -> ();
        fn dequeue(place: &Resource, stake: Stake) -> ();
        fn ahead(space: Space, name: &Name, before: Ticket, enough: u64) -> Crowd;
        fn line(place: &Resource, part: Part, limit: usize) -> Vec<Stake>;
        fn last_in_line(place: &Resource, part: Part) -> Option<Ticket>;
        fn park(place: &Resource, ticket: Ticket) -> ();
        fn unpark(place: &Resource, ticket: Ticket) -> ();
        fn first_parked(place: &Resource) -> Option<Ticket>;
    }
    BacklogRows {
        fn hints(after: Option<&Hint>, limit: usize) -> Vec<Hint>;
        fn add_hint(hint: &Hint) -> ();
        fn remove_hint(hint: &Hint) -> ();
        fn is_dirty(place: &Resource) -> bool;
        fn set_dirty(place: &Resource, is_dirty: bool) -> ();
    }
    RecordRows {
        fn record(name: &Name) -> Option<Record>;
        fn put_record(record: &Record) -> ();
        fn delete_record(name: &Name) -> ();
        fn due_records(upto_us: i64, limit: usize) -> Vec<(i64, Name)>;
        fn next_expiry() -> Option<i64>;
        fn records(prefix: &str, after: Option<&Name>, limit: usize) -> Vec<Record>;
        fn guard(name: &Name, ticket: Ticket) -> ();
        fn unguard(name: &Name, ticket: Ticket) -> ();
        fn next_guard(name: &Name, from: Ticket) -> Option<Ticket>;
    }
    ClientRows {
        fn heard(client: ClientId) -> Option<i64>;
        fn set_heard(client: ClientId, at_ms: i64) -> ();
        fn forget_client(client: ClientId) -> ();
        fn silent_clients(upto_ms: i64, limit: usize) -> Vec<(i64, ClientId)>;
        fn add_of_client(client: ClientId, ticket: Ticket) -> ();
        fn remove_of_client(client: ClientId, ticket: Ticket) -> ();
        fn of_client(client: ClientId, from: Ticket, limit: usize) -> Vec<Ticket>;
        fn reserving(client: ClientId, limit: usize) -> Vec<Ticket>;
    }
}
