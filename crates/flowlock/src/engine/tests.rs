//! How much a step looks at is counted, and is bounded however much there is.

mod counted;
mod crowd;

use std::sync::Arc;
use std::time::Duration;

use self::crowd::{Crowd, locks, reads};
use crate::claim::Claims;
use crate::engine::tables::{Meta, Tables as _};
use crate::id::{Attempt, ClientId, Nonce, Ticket};
use crate::name::{JobName, Name, RunId};
use crate::origin::{Holder, Origin};
use crate::run::{LostBy, Outcome, State};
use crate::spec::{IfWritten, KEEP_LAPSED_MS, OnFail, Spec};
use crate::step::{Acquire, Answer, Patience, Refreshed, Step, Who};
use crate::store::memory::{Rows, TestWorld};
use crate::world::World as _;

/// The size of the largest step: some rows for each of 2,000 claims of runs that are looked at, ended
/// and swept.
const A_STEP: u64 = 25_000;
/// Many times what one step may do.
const MANY: usize = 1_500;
/// Many times the number of outdated changes that a step drops.
const MANY_CHANGES: usize = 2_500;

#[test]
fn a_writer_takes_thousands_of_lapsed_readers_in_bounded_steps() {
    let mut crowd = Crowd::new();
    let readers: Vec<_> = (0..MANY).map(|at| crowd.holds(&format!("{at}"), reads(1, "x"), 2)).collect();
    crowd.pass(Duration::from_secs(3));
    crowd.settles(A_STEP);
    let writer = crowd.asks("writer", locks(1, "x"), Patience::Wait(None));
    crowd.settles(A_STEP);
    assert_eq!(crowd.state(&writer), State::Granted);
    let lost =
        readers.iter().filter(|reader| crowd.state(reader) == State::Ended(Outcome::Lost(LostBy::Taken)));
    assert_eq!(lost.count(), MANY);
}

#[test]
fn deadlines_of_large_runs_pass_in_bounded_steps() {
    let mut crowd = Crowd::new();
    let runs: Vec<_> =
        (0..64).map(|at| crowd.holds(&format!("{at}"), locks(1_000, &format!("{at} ")), 2)).collect();
    crowd.pass(Duration::from_secs(3));
    crowd.settles(A_STEP);
    assert!(runs.iter().all(|run| crowd.run(run).lapsed));
}

#[test]
fn late_holders_come_back_in_bounded_steps() {
    let mut crowd = Crowd::new();
    let runs: Vec<_> =
        (0..64).map(|at| crowd.holds(&format!("{at}"), locks(1_000, &format!("{at} ")), 2)).collect();
    crowd.pass(Duration::from_secs(3));
    crowd.settles(A_STEP);
    let mut left: Vec<Who> = runs.iter().map(Who::from).collect();
    while !left.is_empty() {
        let (Answer::Refreshed(answers), looked) = crowd.step(&Step::Refresh(left.clone())) else {
            panic!("refreshed")
        };
        assert!(looked <= A_STEP, "{looked}");
        let before = left.len();
        let mut answers = answers.iter();
        left.retain(|_| answers.next() == Some(&Refreshed::AskAgain));
        assert!(left.len() < before, "none came back");
    }
}

#[test]
fn a_silent_process_costs_no_more_for_its_absent_runs() {
    let mut crowd = Crowd::new();
    crowd.holds("holder", locks(1, "l"), 3_600);
    let runs: Vec<_> = (0..MANY).map(|_| crowd.waits_of("silent", locks(1, "l"))).collect();
    crowd.pass(Duration::from_secs(11));
    crowd.settles(A_STEP);
    assert!(runs.iter().all(|run| !crowd.run(run).present));
    // It is heard, and is silent again.
    crowd.beat("silent", A_STEP);
    crowd.pass(Duration::from_secs(11));
    assert!(crowd.tick() < 1_000, "nobody is left to take out of line");
}

#[test]
fn what_is_left_over_and_true_no_more_is_dropped_in_bounded_steps() {
    let mut crowd = Crowd::new();
    let runs: Vec<_> = (0..MANY_CHANGES)
        .map(|at| {
            crowd.holds(&format!("holder {at}"), locks(1, &format!("{at}")), 3_600);
            crowd.asks(&format!("waits {at}"), locks(1, &format!("{at}")), Patience::Wait(None))
        })
        .collect();
    // Each place changes, faster than steps can look; then no run is parked there any more.
    let places: Vec<String> = (0..MANY_CHANGES).map(|at| format!("{at}")).collect();
    crowd.leaves_over(&places);
    for run in &runs {
        crowd.vanishes(run);
    }
    crowd.settles(10_000);
}

/// It would be looked at for ever.
#[test]
fn an_entry_of_a_place_where_the_run_does_not_wait_is_dropped() {
    let mut crowd = Crowd::new();
    crowd.holds("holder", locks(1, "l"), 3_600);
    let waiter = crowd.asks("waiter", locks(1, "l"), Patience::Wait(None));
    crowd.is_parked_at(&waiter, "elsewhere");
    crowd.settles(A_STEP);
    assert_eq!(crowd.state(&waiter), State::Queued);
}

#[test]
fn processes_in_the_way_of_many_runs_are_looked_for_in_bounded_steps() {
    let mut crowd = Crowd::new();
    for at in 0..300 {
        crowd.holds(&format!("reader {at}"), reads(64, "x"), 3_600);
    }
    let gate = crowd.holds("gate", locks(1, "gate"), 3_600);
    for at in 0..64 {
        let wants = reads(1, "gate").chain(locks(1, &format!("x{at}")));
        crowd.asks(&format!("writer {at}"), wants, Patience::Wait(None));
    }
    // Now all of them come to a place where hundreds of runs are in their way.
    let (_, looked) = crowd.step(&Step::Fail(Who::from(&gate)));
    assert!(looked <= A_STEP, "{looked}");
}

/// The work of a step grows with the claims, not with its square.
#[test]
fn a_large_run_that_leaves_the_line_ahead_of_another_one_costs_no_more_than_its_claims() {
    let looks = |claims: usize| {
        let mut crowd = Crowd::new();
        crowd.holds("holder", locks(1, "gate"), 3_600);
        let wants = || locks(1, "gate").chain(locks(claims - 1, "x"));
        let first = crowd.asks("first", wants(), Patience::Wait(None));
        crowd.asks("second", wants(), Patience::Wait(None));
        let looked = crowd.step_with_claims(&Step::Cancel { attempt: first.clone(), latest_ms: 0 });
        assert_eq!(crowd.state(&first), State::Ended(Outcome::Cancelled));
        looked
    };
    let (few, many) = (looks(100), looks(1_000));
    assert!(many <= 11 * few && many <= A_STEP, "{few} for 100 claims, {many} for 1,000");
}

#[test]
fn an_answer_says_only_so_much() {
    let mut crowd = Crowd::new();
    crowd.holds("holder", locks(1, "l"), 3_600);
    let runs: Vec<_> = (0..40)
        .map(|at| crowd.waits_of("process", locks(1, "l").chain(locks(999, &format!("{at} ")))))
        .collect();
    assert!(crowd.explains("process", &runs[..16]) <= A_STEP);
    assert!(crowd.page_of_runs(Ticket(0)) <= A_STEP);
}

/// The tables with one run that writes `a`, and what its process sends.
struct Writer {
    rows: Rows,
    world: TestWorld,
    attempt: Attempt,
}

impl Writer {
    fn new() -> Self {
        let attempt = Attempt { id: RunId::parse("writer").unwrap(), nonce: Nonce(1) };
        Self { rows: Rows::default(), world: TestWorld::default(), attempt }
    }

    /// Returns whether a step must be on disk before it is answered.
    fn must_sync(&mut self, step: &Step) -> bool {
        super::step(&mut self.rows, &self.world, step).unwrap().must_sync
    }

    /// The request, with another nonce each time.
    fn request(&mut self) -> Step {
        self.attempt.nonce.0 += 1;
        let spec = Spec {
            job: JobName::parse("writer").unwrap(),
            claims: Claims::builder().output(Name::parse("a").unwrap()).build().unwrap(),
            lease_ms: 60_000,
            if_written: IfWritten::default(),
            on_fail: OnFail::default(),
            parent: None,
            record_life_ms: None,
            max_runtime_ms: None,
            keep_lapsed_ms: KEEP_LAPSED_MS,
        };
        let holder = Holder { client: ClientId(1), liveness: None, origin: Arc::new(Origin::default()) };
        let latest_ms = self.world.now().boot_ms + 60_000;
        Step::Acquire(Acquire {
            attempt: self.attempt.clone(),
            spec: Arc::new(spec),
            holder,
            patience: Patience::Try,
            latest_ms,
        })
    }

    fn who(&self) -> Who {
        Who::from(&self.attempt)
    }

    fn meta(&mut self) -> Meta {
        self.rows.meta().unwrap()
    }

    /// Notes that the ceiling of its tokens is on disk.
    fn is_synced(&mut self) {
        let mut meta = self.meta();
        meta.safe_ceiling = meta.token_ceiling;
        self.rows.set_meta(&meta).unwrap();
    }
}

/// The first answer may have failed at the disk: a repeated one promises the same.
#[test]
fn a_repeated_commit_of_outputs_is_on_the_disk_before_it_is_answered() {
    let mut writer = Writer::new();
    let request = writer.request();
    writer.must_sync(&request);
    writer.is_synced();
    let commit = Step::Commit { who: writer.who(), note: None };
    assert_eq!([(); 2].map(|()| writer.must_sync(&commit)), [true, true]);
    let fail = Step::Fail(writer.who());
    assert!(!writer.must_sync(&fail), "not every step");
}

/// After a power loss, tokens continue from the ceiling: a token above it could be issued twice. The
/// ceiling is an hour ahead, so that few steps wait for the disk because of it.
#[test]
fn no_token_is_above_the_ceiling_on_the_disk_and_the_ceiling_moves_once_an_hour() {
    let mut writer = Writer::new();
    let mut synced = Vec::new();
    for minute in 0..=120 {
        let request = writer.request();
        if writer.must_sync(&request) {
            synced.push(minute);
            writer.is_synced();
        }
        let meta = writer.meta();
        assert!(meta.last_token <= meta.safe_ceiling, "minute {minute}: {meta:?}");
        let fail = Step::Fail(writer.who());
        assert!(!writer.must_sync(&fail), "minute {minute}");
        writer.world.advance(Duration::from_mins(1));
    }
    // The token of minute 60 is the ceiling itself.
    assert_eq!(synced, [0, 61]);
}

/// Only a client that waits for something is remembered as heard.
#[test]
fn who_waits_for_nothing_leaves_no_trace_of_having_been_heard() {
    let mut crowd = Crowd::new();
    crowd.holds("holder", locks(1, "l"), 3_600);
    crowd.asks("waits", locks(1, "l"), Patience::Wait(None));
    crowd.beat("stranger", A_STEP);
    assert!(!crowd.remembers("stranger"));
    assert!(crowd.remembers("waits"));
}
