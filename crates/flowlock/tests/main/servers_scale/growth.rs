//! What is left when runs are over: nothing that nobody asked to be kept.

use std::collections::BTreeMap;
use std::time::Duration;

use flowlock::step::{Answer, Patience, Sent, Step, Who};
use flowlock::store::Store as _;
use flowlock::{ClaimsBuilder, ClientId, Ticket};
use flowlock_testkit::{Clock, RedisServer};

use super::{Run, Stage, lock, name};

/// Outcomes are remembered for ten minutes.
const LONG_AFTER: Duration = Duration::from_mins(11);
/// A step forgets 64 outcomes, or handles 64 deadlines.
const A_STEP: usize = 64;

/// A stage whose server's time of day can be moved.
fn stage() -> (Stage, Clock) {
    let clock = Clock::new();
    (Stage::on(RedisServer::setup().clock(&clock).start()), clock)
}

impl Stage {
    /// The last letters of the namespace's keys, none of which has a time to live, and how many fields its hash has: two
    /// are the namespace's own row.
    fn left(&self) -> (String, u64) {
        let keys = self.server.key_names("*");
        let own = format!("fl:{{{}}}:", self.namespace.as_str());
        for key in &keys {
            let left = self.server.command(&["TTL", key]);
            assert_eq!(format!("{left:?}"), "int(-1)", "{key} goes away by itself");
        }
        let letter = |key: &str| key.strip_prefix(&own).unwrap_or_else(|| panic!("a key {key}")).to_owned();
        let fields = self.server.command(&["HLEN", &format!("{own}h")]);
        let fields = match format!("{fields:?}").strip_prefix("int(") {
            Some(number) => number.trim_end_matches(')').parse().expect("a number"),
            None => panic!("{fields:?} fields"),
        };
        (keys.iter().map(|key| letter(key)).collect(), fields)
    }

    /// Steps that do nothing of their own: each goes on with what is due.
    fn ticks(&self, count: usize) {
        (0..count).for_each(|_| drop(self.step(&Step::Bury(Vec::new()))));
    }
}

#[test]
fn long_after_the_last_run_only_the_namespaces_own_row_is_left() {
    let (stage, clock) = stage();
    for number in 0..100 {
        stage.passes(&Run::new(
            format!("run.{number}"),
            lock("a").lock_shared(name("b")).slot(name("c"), 1, 4),
        ));
    }
    assert_eq!(stage.left().0, "dh", "runs, and when they may be forgotten");
    clock.advance(LONG_AFTER);
    stage.ticks(100 / A_STEP + 1);
    assert_eq!(stage.left(), ("h".to_owned(), 2));
}

#[test]
fn a_cycle_costs_the_same_whatever_others_do_at_other_names() {
    let (stage, clock) = stage();
    let data = |read: &str, write: &str| ClaimsBuilder::default().input(name(read)).output(name(write));
    stage.passes(&Run::new("writer", ClaimsBuilder::default().output(name("in"))));
    stage.runs(&Run::new("lapses", lock("elsewhere")).with(|spec| spec.lease_ms = 1_000));
    let cycle = |number: usize| stage.passes(&Run::new(format!("cycle.{number}"), data("in", "out")));
    cycle(0);
    let alone = stage.calls(|| cycle(1));
    stage.runs(&Run::new("holder", lock("somewhere")));
    stage.waits(&Run::new("waits", lock("somewhere").output(name("w"))));
    stage.send(&Run::new("awaits", data("never written", "x")), Patience::Wait(None));
    clock.advance(Duration::from_secs(2));
    stage.ticks(2);
    let mut beside = stage.calls(|| cycle(2));
    // Whether the process itself waits for something is looked up once more.
    *beside.entry("zrangebylex".into()).or_default() -= 1;
    beside.retain(|_, calls| *calls > 0);
    assert_eq!(beside, alone);
    // At their own names they do matter.
    let reader = Run::new("reader", ClaimsBuilder::default().lock(name("elsewhere")).input(name("in")));
    assert!(stage.calls(|| stage.passes(&reader)).values().sum::<u64>() > alone.values().sum());
}

/// The commands that a refresh, a heartbeat and an accept call.
fn calls_of_what_is_repeated(stage: &Stage, number: usize) -> [BTreeMap<String, u64>; 3] {
    let run = |what: &str| Run::new(format!("{what}.{number}"), lock("own gate"));
    let (holder, waiter) = (run("repeats"), run("follows"));
    stage.runs(&holder);
    stage.waits(&waiter);
    let refresh = Step::Refresh(vec![Who::from(&holder.attempt)]);
    let beat = Step::Heartbeat { client: waiter.holder.client, from: Ticket(0), explain: Vec::new() };
    let (refresh, beat) =
        (stage.calls(|| drop(stage.step(&refresh))), stage.calls(|| drop(stage.step(&beat))));
    stage.commit(&holder);
    let accept = stage.calls(|| drop(stage.claim(&waiter)));
    stage.commit(&waiter);
    [refresh, beat, accept]
}

#[test]
fn what_a_process_repeats_calls_few_commands_whatever_others_do_at_other_names() {
    let (stage, clock) = stage();
    stage.runs(&Run::new("lapses", lock("elsewhere")).with(|spec| spec.lease_ms = 1_000));
    calls_of_what_is_repeated(&stage, 0);
    let alone = calls_of_what_is_repeated(&stage, 1);
    let expected = |calls: &[(&str, u64)]| {
        let always = [("evalsha", 1), ("time", 1), ("zadd", 1), ("hset", 1)];
        always.iter().chain(calls).map(|(name, calls)| ((*name).to_owned(), *calls)).collect()
    };
    let all: [BTreeMap<String, u64>; 3] = [
        expected(&[("hmget", 1)]),
        expected(&[("hget", 1), ("hmget", 1), ("zrangebylex", 1)]),
        expected(&[("hmget", 2), ("zcard", 1), ("zrangebylex", 1), ("zrem", 2)]),
    ];
    assert_eq!(alone, all);
    stage.runs(&Run::new("holder", lock("somewhere")));
    stage.waits(&Run::new("waits", lock("somewhere").output(name("w"))));
    clock.advance(Duration::from_secs(2));
    stage.ticks(2);
    assert_eq!(calls_of_what_is_repeated(&stage, 2), all);
}

#[test]
fn records_are_what_outlasts_the_runs_that_wrote_them() {
    let (stage, clock) = stage();
    for number in 0..100 {
        let claims = ClaimsBuilder::default().output(name(&format!("output {number}"))).output(name("hot"));
        stage.passes(&Run::new(format!("run.{number}"), claims));
    }
    clock.advance(LONG_AFTER);
    stage.ticks(100 / A_STEP + 1);
    assert_eq!(stage.left(), ("hn".to_owned(), 2 + 101), "the row, records, and their names in order");
    let names: Vec<_> =
        (0..100).map(|number| name(&format!("output {number}"))).chain([name("hot")]).collect();
    let holders = flowlock::step::Holders::Respect;
    let (sent, by) = (Sent::First, std::sync::Arc::default());
    assert_eq!(stage.step(&Step::Remove { names, holders, sent, by }), Answer::Done);
    clock.advance(Duration::from_hours(24 * 8));
    stage.ticks(100 / A_STEP + 1);
    assert_eq!(stage.left(), ("h".to_owned(), 2), "evidence of a removed record goes after a week");
}

/// One of each fate, behind a holder that stays.
fn one_of_each_fate(stage: &Stage, number: usize) {
    let run =
        |fate: &str| Run::new(format!("{fate}.{number}"), lock("gate").slot(name("s"), 1, 9)).of(number % 7);
    let cancel = |run: &Run| {
        let latest_ms = stage.store.clock_ms(&stage.namespace).unwrap() + 60_000;
        stage.step(&Step::Cancel { attempt: run.attempt.clone(), latest_ms })
    };
    let cancelled = run("cancelled");
    stage.waits(&cancelled);
    cancel(&cancelled);
    cancel(&run("never.arrived"));
    stage.send(&run("timed.out"), Patience::Wait(Some(1_000)));
    stage.send(&run("held.a.place"), Patience::HoldPlace(1_000));
    stage.send(&run("refused"), Patience::Try);
    stage.waits(&run("process.died"));
    let awaits = ClaimsBuilder::default().input(name("never written"));
    stage.send(&Run::new(format!("awaits.{number}"), awaits), Patience::Wait(Some(2_000)));
    let short = |spec: &mut flowlock::Spec| spec.lease_ms = 1_000;
    stage.runs(&Run::new(format!("holder.died.{number}"), lock(&format!("own {number}"))).with(short));
    let failed = Run::new(format!("failed.{number}"), lock(&format!("other {number}")));
    stage.runs(&failed);
    stage.step(&Step::Fail(Who::from(&failed.attempt)));
}

#[test]
fn nothing_is_left_of_two_thousand_runs_that_came_to_nothing() {
    const EACH: usize = 225;
    let (stage, clock) = stage();
    let holder = Run::new("holder", lock("gate")).with(|spec| spec.lease_ms = 86_400_000);
    stage.runs(&holder);
    (0..EACH).for_each(|number| one_of_each_fate(&stage, number));
    stage.left();
    // Who takes over from the lapsed ones makes them lost.
    clock.advance(Duration::from_secs(5));
    stage.ticks(9 * EACH / A_STEP + 1);
    for number in 0..EACH {
        stage.passes(&Run::new(format!("successor.{number}"), lock(&format!("own {number}"))));
    }
    // The silent ones reserve nothing, then are given up, then forgotten.
    for _ in 0..3 {
        clock.advance(LONG_AFTER);
        stage.ticks(10 * EACH / A_STEP + 1);
    }
    let (letters, fields) = stage.left();
    assert_eq!(letters, "dhi", "the holder, its lease, and that it lives");
    assert!(fields < 10, "{fields} fields for one run");
    stage.commit(&holder);
    clock.advance(LONG_AFTER);
    stage.ticks(1);
    assert_eq!(stage.left(), ("h".to_owned(), 2));
}

/// The commands behind one step of each kind, `remembered` outcomes and 30 records being there.
fn commands_of_each_step(remembered: usize) -> Vec<(&'static str, BTreeMap<String, u64>)> {
    let stage = Stage::new();
    let records = |number: usize| ClaimsBuilder::default().output(name(&format!("output {}", number % 30)));
    (0..remembered.max(30))
        .for_each(|at| stage.passes(&Run::new(format!("old.{at}"), records(at)).of(at % 4)));
    let (first, second) = (Run::new("first", lock("gate")), Run::new("second", lock("gate")));
    let third = Run::new("third", lock("gate").input(name("output 1")));
    let beat = Step::Heartbeat {
        client: ClientId(second.holder.client.0),
        from: Ticket(0),
        explain: vec![second.attempt.id.clone()],
    };
    let anew = Run::new("old.1", lock("other")).with(|spec| spec.lease_ms = 700_000).renewed();
    let calls = |step: &dyn Fn()| stage.calls(step);
    vec![
        ("acquire", calls(&|| stage.runs(&first))),
        ("wait", calls(&|| stage.waits(&second))),
        ("wait for more", calls(&|| stage.waits(&third))),
        ("try", calls(&|| drop(stage.send(&Run::new("try", lock("gate")), Patience::Try)))),
        ("heartbeat", calls(&|| drop(stage.step(&beat)))),
        ("refresh", calls(&|| drop(stage.step(&Step::Refresh(vec![Who::from(&first.attempt)]))))),
        ("commit", calls(&|| stage.commit(&first))),
        ("commit again", calls(&|| stage.commit(&first))),
        ("claim", calls(&|| drop(stage.claim(&second)))),
        ("fail", calls(&|| drop(stage.step(&Step::Fail(Who::from(&second.attempt)))))),
        ("claim an input", calls(&|| drop(stage.claim(&third)))),
        ("an old id anew", calls(&|| stage.runs(&anew))),
        ("nothing", calls(&|| stage.ticks(1))),
    ]
}

impl Run {
    /// Another attempt under the same id.
    fn renewed(mut self) -> Self {
        self.attempt.nonce.0 ^= 1;
        self
    }
}

#[test]
fn no_step_does_more_among_ten_thousand_remembered_outcomes_than_among_thirty() {
    let (few, many) = (commands_of_each_step(30), commands_of_each_step(10_000));
    for (few, many) in few.into_iter().zip(many) {
        assert_eq!(few, many);
    }
}
