//! How much a step looks at, counted: a bound, however much there is.

mod counted;
mod crowd;

use std::sync::Arc;
use std::time::Duration;

use self::crowd::{Crowd, locks, reads};
use crate::claim::Claims;
use crate::engine::tables::Tables as _;
use crate::id::{Attempt, ClientId, Nonce, Ticket};
use crate::name::{JobName, Name, RunId};
use crate::origin::{Holder, Origin};
use crate::run::{LostBy, Outcome, State};
use crate::spec::{IfWritten, KEEP_LAPSED_MS, OnFail, Spec};
use crate::step::{Acquire, Answer, Patience, Refreshed, Step, Who};
use crate::store::memory::{Rows, TestWorld};

/// A step of the size of the largest: some rows for each of 2,000 claims of runs that are looked at, ended and swept.
const A_STEP: u64 = 25_000;
/// So many times what one step may do.
const MANY: usize = 1_500;
/// So many times how many changes that are true no more it drops.
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
    // It speaks, and is silent again.
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
    // Each place changes, faster than steps can look; then nobody is parked there any more.
    let places: Vec<String> = (0..MANY_CHANGES).map(|at| format!("{at}")).collect();
    crowd.leaves_over(&places);
    for run in &runs {
        crowd.vanishes(run);
    }
    crowd.settles(10_000);
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

/// The first answer may have failed at the disk: a repeated one promises the same.
#[test]
fn a_repeated_commit_of_outputs_is_on_the_disk_before_it_is_answered() {
    let (mut rows, world) = (Rows::default(), TestWorld::default());
    let must_sync = |rows: &mut Rows, step: &Step| super::step(rows, &world, step).unwrap().must_sync;
    let attempt = Attempt { id: RunId::parse("writer").unwrap(), nonce: Nonce(1) };
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
    let holder = Holder { client: ClientId(1), life: None, origin: Arc::new(Origin::default()) };
    let request = Acquire {
        attempt: attempt.clone(),
        spec: Arc::new(spec),
        holder,
        patience: Patience::Try,
        latest_ms: 60_000,
    };
    must_sync(&mut rows, &Step::Acquire(request));
    // The ceiling of its token is on the disk by now.
    let mut meta = rows.meta().unwrap();
    meta.safe_ceiling = meta.token_ceiling;
    rows.set_meta(&meta).unwrap();
    let commit = Step::Commit { who: Who::from(&attempt), note: None };
    assert_eq!([(); 2].map(|()| must_sync(&mut rows, &commit)), [true, true]);
    assert!(!must_sync(&mut rows, &Step::Fail(Who::from(&attempt))), "not every step");
}
