//! A namespace in memory with very many runs.

use std::sync::Arc;
use std::time::Duration;

use super::counted::Counted;
use crate::claim::{ClaimsBuilder, Space};
use crate::engine::tables::{
    BacklogRows as _, ClientRows as _, PlaceRows as _, RunRows as _, Source, Tables as _,
};
use crate::engine::view::view;
use crate::engine::{SILENCE_MS, step};
use crate::id::{Attempt, ClientId, Nonce, Ticket};
use crate::name::{JobName, Name, RunId};
use crate::origin::{Holder, Origin};
use crate::run::{Resource, Run, State};
use crate::spec::{IfWritten, KEEP_LAPSED_MS, OnFail, Spec};
use crate::step::{Acquire, Answer, Patience, Standing, Step};
use crate::store::memory::{Rows, TestWorld};
use crate::view::View;
use crate::world::World as _;

/// What a run asks for: names, shared or exclusive.
#[derive(Debug, Clone)]
pub(super) struct Wants(Vec<(String, bool)>);

/// This many shared locks.
pub(super) fn reads(count: usize, name: &str) -> Wants {
    Wants((0..count).map(|at| (numbered(name, at, count), false)).collect())
}

/// This many locks.
pub(super) fn locks(count: usize, name: &str) -> Wants {
    Wants((0..count).map(|at| (numbered(name, at, count), true)).collect())
}

fn numbered(name: &str, at: usize, count: usize) -> String {
    if count == 1 { name.to_owned() } else { format!("{name}{at}") }
}

impl Wants {
    pub(super) fn chain(mut self, more: Self) -> Self {
        self.0.extend(more.0);
        self
    }
}

#[derive(Debug, Default)]
pub(super) struct Crowd {
    tables: Counted<Rows>,
    world: TestWorld,
    made: u64,
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a plain name")
}

impl Crowd {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn pass(&self, time: Duration) {
        self.world.advance(time);
    }

    /// Carries out a step; returns how much it looked at.
    pub(super) fn step(&mut self, what: &Step) -> (Answer, u64) {
        self.tables.looked = 0;
        let effect = step(&mut self.tables, &self.world, what).expect("a step works");
        (effect.answer, self.tables.looked)
    }

    /// The same; counts the claims of the runs that it reads as well.
    pub(super) fn step_with_claims(&mut self, what: &Step) -> u64 {
        self.tables.claims = 0;
        self.step(what).1 + self.tables.claims
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.step(&Step::Bury(Vec::new())).1
    }

    /// Makes steps until nothing is left over; none of them may look at more than `most`.
    pub(super) fn settles(&mut self, most: u64) {
        for _ in 0..MOST_STEPS {
            let looked = self.tick();
            assert!(looked <= most, "a step looked at {looked}");
            let meta = self.tables.rows.meta().expect("a row");
            let is_due = meta.next_due_ms <= self.world.now().boot_ms;
            if !meta.has_backlog && !is_due {
                return;
            }
        }
        panic!("work is left over after {MOST_STEPS} steps");
    }

    pub(super) fn asks(&mut self, id: &str, wants: Wants, patience: Patience) -> Attempt {
        self.sends(id, id, wants, 600, patience)
    }

    /// Adds a run with a lease of `lease` seconds.
    pub(super) fn holds(&mut self, id: &str, wants: Wants, lease: u64) -> Attempt {
        let attempt = self.sends(id, id, wants, lease, Patience::Try);
        assert_eq!(self.state(&attempt), State::Running);
        attempt
    }

    /// Adds a waiting run of a process that has many.
    pub(super) fn waits_of(&mut self, process: &str, wants: Wants) -> Attempt {
        self.made += 1;
        let id = format!("{process}.{}", self.made);
        self.sends(&id, process, wants, 600, Patience::Wait(None))
    }

    fn sends(&mut self, id: &str, process: &str, wants: Wants, lease: u64, patience: Patience) -> Attempt {
        let add = |claims: ClaimsBuilder, (text, alone): (String, bool)| {
            if alone { claims.lock(name(&text)) } else { claims.lock_shared(name(&text)) }
        };
        let spec = Spec {
            job: JobName::parse("job").expect("a plain job"),
            claims: wants.0.into_iter().fold(ClaimsBuilder::default(), add).build().expect("within limits"),
            lease_ms: lease * 1_000,
            if_written: IfWritten::Overwrite,
            on_fail: OnFail::Keep,
            parent: None,
            record_life_ms: None,
            max_runtime_ms: None,
            keep_lapsed_ms: KEEP_LAPSED_MS,
        };
        let attempt = Attempt { id: RunId::parse(id).expect("a plain id"), nonce: Nonce(1) };
        let holder = Holder { client: client(process), liveness: None, origin: Arc::new(Origin::default()) };
        let latest_ms = self.world.now().boot_ms + 60_000;
        let request = Acquire { attempt: attempt.clone(), spec: spec.into(), holder, patience, latest_ms };
        self.step(&Step::Acquire(request));
        attempt
    }

    pub(super) fn run(&mut self, attempt: &Attempt) -> Run {
        self.tables.rows.by_attempt(attempt).expect("tables in memory").expect("it is known")
    }

    pub(super) fn state(&mut self, attempt: &Attempt) -> State {
        self.run(attempt).state
    }

    /// Returns whether there is a row that says when a process was last heard.
    pub(super) fn remembers(&mut self, process: &str) -> bool {
        self.tables.rows.heard(client(process)).expect("tables in memory").is_some()
    }

    /// Reads all pages of a process's heartbeat.
    pub(super) fn beat(&mut self, process: &str, most: u64) {
        let mut page = Some(Ticket(0));
        while let Some(from) = page {
            let beat = Step::Heartbeat { client: client(process), from, explain: Vec::new() };
            let (Answer::Heard { next, .. }, looked) = self.step(&beat) else { panic!("heard") };
            assert!(looked <= most, "a heartbeat looked at {looked}");
            page = next;
        }
    }

    /// Sends a heartbeat that asks about these runs; returns how much it looks at.
    pub(super) fn explains(&mut self, process: &str, runs: &[Attempt]) -> u64 {
        let explain = runs.iter().map(|run| run.id.clone()).collect();
        let beat = Step::Heartbeat { client: client(process), from: Ticket(0), explain };
        let (Answer::Heard { runs, .. }, looked) = self.step(&beat) else { panic!("heard") };
        assert!(runs.iter().any(|(_, standing)| matches!(standing, Standing::Waiting(_))));
        looked
    }

    pub(super) fn page_of_runs(&mut self, from: Ticket) -> u64 {
        self.tables.looked = 0;
        view(&mut self.tables, &self.world, &View::Runs { job: None, from, limit: 250 }).expect("a page");
        self.tables.looked
    }

    /// Acts as if these locks had changed, and no step had looked yet.
    pub(super) fn leaves_over(&mut self, locks: &[String]) {
        let rows = &mut self.tables.rows;
        for lock in locks {
            let place = Resource::of(Space::Lock, &name(lock));
            let first = rows.first_parked(&place).expect("tables in memory").expect("somebody is parked");
            rows.set_dirty(&place, true).expect("tables in memory");
            rows.add_hint(&(first, Source::Parked(place))).expect("tables in memory");
        }
        let mut meta = rows.meta().expect("a row");
        meta.has_backlog = true;
        rows.set_meta(&meta).expect("tables in memory");
    }

    /// Acts as if somebody had altered the tables: a waiting run is also parked at this lock, where it
    /// does not wait.
    pub(super) fn is_parked_at(&mut self, attempt: &Attempt, lock: &str) {
        let ticket = self.run(attempt).ticket;
        let place = Resource::of(Space::Lock, &name(lock));
        self.tables.rows.park(&place, ticket).expect("tables in memory");
        self.leaves_over(&[lock.to_owned()]);
    }

    /// Acts as if its process had taken it out of the queue before.
    pub(super) fn vanishes(&mut self, attempt: &Attempt) {
        let mut run = self.run(attempt);
        let place = run.parked.take().expect("it is parked");
        run.present = false;
        run.absent_since_ms = Some(self.world.now().boot_ms - SILENCE_MS);
        self.tables.rows.unpark(&place, run.ticket).expect("tables in memory");
        self.tables.rows.update_run(&run).expect("tables in memory");
    }
}

/// More than any of the tests needs.
const MOST_STEPS: usize = 1_000;

/// The process with this name.
fn client(process: &str) -> ClientId {
    ClientId(process.bytes().fold(1, |sum: u128, byte| sum.wrapping_mul(257).wrapping_add(byte.into())))
}
