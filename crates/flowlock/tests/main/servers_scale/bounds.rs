//! What one script may do, counted in commands: a bound, however much there is.

use std::time::Duration;

use flowlock::step::{Answer, Holders, Patience, Refreshed, Sent, Standing, Step, Who};
use flowlock::store::{Content, Store as _, View};
use flowlock::{ClaimsBuilder, ClientId, Creation, Flowlock, Ticket};
use flowlock_testkit::{Clock, RedisServer};

use super::{Run, Stage, lock, name};

/// Some commands for each of the 2,000 claims that a step may look at of each kind, and for those of the run itself.
const A_STEP: u64 = 25_000;

/// A stage whose server's time of day can be moved.
fn stage() -> (Stage, Clock) {
    let clock = Clock::new();
    (Stage::on(RedisServer::setup().clock(&clock).start()), clock)
}

impl Stage {
    /// How many commands the scripts call in what is done.
    fn cost<T>(&self, act: impl FnOnce() -> T) -> (T, u64) {
        let mut answer = None;
        let calls = self.calls(|| answer = Some(act()));
        (answer.expect("it was done"), calls.values().sum())
    }

    /// A step that wants nothing, which must stay within its bounds.
    #[track_caller]
    fn tick(&self) {
        let (_, cost) = self.cost(|| self.step(&Step::Bury(Vec::new())));
        assert!(cost <= A_STEP, "a step that wants nothing calls {cost} commands");
    }

    /// Steps until a run is granted.
    #[track_caller]
    fn ticks_until_granted(&self, run: &Run) {
        for _ in 0..1_000 {
            let (answer, cost) = self.cost(|| self.claim(run));
            assert!(cost <= A_STEP, "a step calls {cost} commands");
            if matches!(answer, Answer::Standing(Standing::Running(_))) {
                return;
            }
        }
        panic!("never granted");
    }

    /// Steps until nothing is due any more.
    #[track_caller]
    fn settles(&self) {
        while let Answer::Refused(blocked) = self.step(&nothing()) {
            assert_eq!(blocked.retry_after_ms, Some(0));
            self.tick();
        }
    }
}

/// A step that is refused while work is left over, and changes nothing.
fn nothing() -> Step {
    let names = vec![name("nobody's")];
    Step::Remove { names, holders: Holders::Respect, sent: Sent::First, by: std::sync::Arc::default() }
}

fn locks(count: usize, prefix: &str) -> ClaimsBuilder {
    (0..count).fold(ClaimsBuilder::default(), |claims, at| claims.lock(name(&format!("{prefix} {at}"))))
}

fn shared(text: &str) -> ClaimsBuilder {
    ClaimsBuilder::default().lock_shared(name(text))
}

#[test]
fn a_writer_takes_twenty_thousand_lapsed_readers_in_bounded_steps() {
    let (stage, clock) = stage();
    for number in 0..20_000 {
        stage.runs(&Run::new(format!("reader.{number}"), shared("x")));
    }
    clock.advance(Duration::from_secs(601));
    stage.tick();
    let writer = Run::new("writer", lock("x"));
    let (_, cost) = stage.cost(|| stage.send(&writer, Patience::Wait(None)));
    assert!(cost <= A_STEP, "the request calls {cost} commands");
    stage.ticks_until_granted(&writer);
}

#[test]
fn deadlines_of_large_runs_pass_and_are_taken_back_in_bounded_steps() {
    let (stage, clock) = stage();
    let runs: Vec<_> =
        (0..64).map(|at| Run::new(format!("run.{at}"), locks(1_000, &format!("{at}")))).collect();
    for run in &runs {
        stage.runs(run);
    }
    // Somebody waits, so that each name counts: who is parked there is looked for.
    stage.waits(&Run::new("waits", lock("0 0")));
    clock.advance(Duration::from_secs(601));
    stage.tick();
    stage.settles();
    let mut left: Vec<Who> = runs.iter().map(|run| Who::from(&run.attempt)).collect();
    while !left.is_empty() {
        let (answer, cost) = stage.cost(|| stage.step(&Step::Refresh(left.clone())));
        assert!(cost <= A_STEP, "a refresh calls {cost} commands");
        let Answer::Refreshed(answers) = answer else { panic!("{answer:?}") };
        let mut answers = answers.iter();
        let before = left.len();
        left.retain(|_| answers.next() == Some(&Refreshed::AskAgain));
        assert!(left.len() < before, "none came back");
    }
}

#[test]
fn a_silent_process_costs_no_more_for_its_thousands_of_absent_runs() {
    let (stage, clock) = stage();
    stage.runs(&Run::new("holder", lock("l")).with(|spec| spec.lease_ms = 86_400_000));
    let runs: Vec<_> = (0..5_000).map(|at| Run::new(format!("run.{at}"), lock("l")).of(1)).collect();
    for run in &runs {
        stage.waits(run);
    }
    clock.advance(Duration::from_secs(11));
    stage.tick();
    stage.settles();
    // It speaks, and is silent again.
    let beat = Step::Heartbeat { client: ClientId(1), from: Ticket(0), explain: Vec::new() };
    let (_, cost) = stage.cost(|| stage.step(&beat));
    assert!(cost <= A_STEP, "a heartbeat calls {cost} commands");
    clock.advance(Duration::from_secs(11));
    let (_, cost) = stage.cost(|| stage.step(&Step::Bury(Vec::new())));
    assert!(cost <= 200, "nobody is left to take out of line, and that calls {cost} commands");
}

#[test]
fn a_page_of_runs_and_a_heartbeat_say_only_so_much() {
    let (stage, _) = stage();
    stage.runs(&Run::new("holder", lock("l")));
    let runs: Vec<_> = (0..40)
        .map(|at| Run::new(format!("run.{at}"), locks(999, &format!("{at}")).lock(name("l"))).of(1))
        .collect();
    for run in &runs {
        stage.waits(run);
    }
    let explain = runs[..16].iter().map(|run| run.attempt.id.clone()).collect();
    let beat = Step::Heartbeat { client: ClientId(1), from: Ticket(0), explain };
    let (_, cost) = stage.cost(|| stage.step(&beat));
    assert!(cost <= A_STEP, "a heartbeat calls {cost} commands");
    let (mut from, mut seen) = (Ticket(0), 0);
    loop {
        let view = View::Runs { job: None, from, limit: 250 };
        let (page, cost) = stage.cost(|| stage.store.view(&stage.namespace, &view).unwrap());
        assert!(cost <= A_STEP, "a page of runs calls {cost} commands");
        let Content::Runs(runs, next) = page.content else { panic!("not runs") };
        seen += runs.len();
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!(seen, 41);
}

#[test]
fn ten_thousand_records_are_listed_in_bounded_pages() {
    let (stage, _) = stage();
    let flowlock =
        Flowlock::builder().namespace(stage.namespace.clone()).open(&stage.server.unix_url()).unwrap();
    let names: Vec<String> = (0..10_000).map(|at| format!("record {at:05}")).collect();
    for part in names.chunks(1_000) {
        let part: Vec<_> = part.iter().map(String::as_str).collect();
        flowlock.create(&part, Creation::default()).unwrap();
    }
    let (mut after, mut seen) = (None, 0);
    loop {
        let view = View::Records { prefix: String::new(), after, limit: 10_000 };
        let (page, cost) = stage.cost(|| stage.store.view(&stage.namespace, &view).unwrap());
        assert!(cost <= A_STEP, "a page of records calls {cost} commands");
        let Content::Records(records, next) = page.content else { panic!("not records") };
        assert!(records.len() <= 1_000, "{} records", records.len());
        seen += records.len();
        match next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    assert_eq!(seen, 10_000);
}
