//! Namespaces, crashes, reboots, hosts, clocks, snapshots.

use std::time::Duration;

use flowlock::step::Step;
use flowlock::store::{Content, StoreErrorKind, View};
use flowlock::{Ticket, World as _};

use super::Stage;

pub(super) fn namespaces_do_not_touch(stage: &Stage) {
    // Names that would be equal if a store simply joined namespace and name.
    for (namespace, name) in
        [("a", "b:c"), ("a:b", "c"), ("a/b", "c"), ("a b", "c"), ("A", "b:c"), ("{a}", "b:c")]
    {
        stage.enter(namespace);
        assert_eq!(stage.written(), "", "{namespace}");
        let run = stage.run("run").writes(name).tries();
        assert_eq!(run.is("running").commits(), "committed");
        stage.run("holder").writes(name).tries().is("running");
    }
    stage.enter("elsewhere");
    stage.run("holder").writes("b:c").tries().is("running");
    let all = View::Runs { job: None, from: Ticket(0), limit: 100 };
    assert!(matches!(stage.view(&all), Content::Runs(runs, None) if runs.len() == 1));
    stage.enter("a");
    assert_eq!(stage.written(), "b:c live");
}

pub(super) fn everything_is_there_again_after_a_crash(stage: &Stage) {
    stage.create(&["x"]);
    let holder = stage.run("holder").reads("x").locks("l").tries();
    let queued = stage.run("queued").locks("l").waits();
    let awaiting = stage.run("awaiting").reads("y").waits();
    let lapsed = stage.run("lapsed").locks("m").lease(1).tries();
    stage.pass(1);
    let states = || [&holder, &queued, &awaiting, &lapsed].map(super::Actor::seen);
    let before = states();
    stage.reopen();
    assert_eq!(states(), before);
    assert_eq!(stage.written(), "x live");
    assert_eq!(holder.commits(), "committed");
    stage.reopen();
    queued.is("granted");
    assert_eq!(queued.claims(), "running");
    assert_eq!(holder.commits(), "committed", "outcomes too");
}

pub(super) fn what_was_remembered_over_a_reboot_is_forgotten_though_nothing_else_happens(stage: &Stage) {
    let over = stage.run("over").locks("o").tries();
    assert_eq!(over.fails(), "failed");
    stage.world(flowlock::store::memory::TestWorld::reboot);
    stage.reopen();
    stage.tick();
    assert!(over.is_remembered());
    stage.world(|world| world.advance(Duration::from_secs(601)));
    stage.tick();
    assert!(!over.is_remembered());
}

pub(super) fn a_reboot_voids_every_grant_and_keeps_every_record(stage: &Stage) {
    stage.create(&["x"]);
    stage.create_for(&["y"], 30);
    stage.pass(9); // so that the lease clock goes back, not only on
    let over = stage.run("over").locks("o").tries();
    assert_eq!(over.fails(), "failed");
    let running = stage.run("running").writes("z").locks("l").tries();
    let queued = stage.run("queued").locks("l").waits();
    let awaiting = stage.run("awaiting").reads("nothing").waits();
    let placed = stage.run("placed").locks("l").holds_place(60);
    stage.world(flowlock::store::memory::TestWorld::reboot); // a minute passes
    stage.reopen();
    stage.tick();
    running.is("lost(died)");
    assert_eq!(running.commits(), "lost(died)");
    for waiter in [queued, awaiting, placed] {
        waiter.is("cancelled");
    }
    assert_eq!(over.refreshes(), "failed");
    assert!(over.is_remembered());
    assert_eq!(stage.written(), "x live");
    let again = stage.run("again").reads("x").writes("z").locks("l").tries();
    assert_eq!(again.is("running").commits(), "committed");
    // What was remembered is kept for its time, and no longer.
    stage.world(|world| world.advance(Duration::from_secs(599)));
    stage.tick();
    assert!(over.is_remembered());
    stage.world(|world| world.advance(Duration::from_secs(2)));
    stage.tick();
    assert!(!over.is_remembered());
}

pub(super) fn a_wall_clock_that_was_set_back_makes_no_reboot_one_of_another_host(stage: &Stage) {
    stage.pass(600);
    stage.run("before").writes("x").tries().is("running");
    stage.world(|world| world.shift_wall_clock(-7_200_000_000));
    stage.tick();
    stage.world(flowlock::store::memory::TestWorld::reboot);
    stage.reopen();
    stage.run("after").writes("x").tries().is("running");
}

pub(super) fn tokens_rise_over_a_reboot(stage: &Stage) {
    let before = stage.run("before").writes("x").tries();
    let token = before.token();
    assert_eq!(before.commits(), "committed");
    stage.world(|world| {
        world.reboot();
        world.shift_wall_clock(-59_000_000);
    });
    stage.reopen();
    let after = stage.run("after").writes("x").tries();
    assert!(after.token() > token);
    assert_eq!(after.commits(), "committed");
}

pub(super) fn outcomes_are_remembered_for_ten_minutes_from_a_reboot_on(stage: &Stage) {
    let before = stage.run("before").writes("x").tries();
    assert_eq!(before.commits(), "committed");
    stage.world(flowlock::store::memory::TestWorld::reboot);
    stage.reopen();
    stage.run("holder").locks("l").lease(6_000).tries().is("running");
    // Its refusal is forgotten soon, and others are not forgotten with it.
    stage.run("refused").locks("l").latest(1_000).tries().is("refused(busy)");
    stage.pass(590);
    assert_eq!(before.commits(), "committed");
    stage.pass(11);
    assert_eq!(before.commits(), "not_found");
}

pub(super) fn two_hosts_are_not_taken_for_a_reboot(stage: &Stage) {
    stage.pass(600);
    let here = stage.run("here").writes("x").lease(6_000).tries();
    stage.world(|world| {
        world.become_another_host();
        world.advance(Duration::from_secs(10));
    });
    let error = stage
        .attempt(&Step::Heartbeat {
            client: flowlock::ClientId(1),
            from: flowlock::Ticket(0),
            explain: Vec::new(),
        })
        .unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unusable);
    assert!(error.to_string().contains("two hosts share the file"), "{error}");
    assert!(stage.attempt(&Step::Fail(here.who())).is_err(), "and nothing is done for it");
}

/// Under such a clock one token would be larger than any store can read, and none could ever be smaller
/// again.
pub(super) fn a_step_under_a_clock_that_no_machine_can_have_changes_nothing(stage: &Stage) {
    const YEAR_US: i64 = 365 * 86_400_000_000;
    let before = stage.run("before").writes("x").tries();
    let token = before.is("running").token();
    assert_eq!(before.commits(), "committed");
    for shift in [230 * YEAR_US, 10_000 * YEAR_US, -100 * YEAR_US] {
        stage.world(|world| world.shift_wall_clock(shift));
        let step = Step::Heartbeat { client: flowlock::ClientId(1), from: Ticket(0), explain: Vec::new() };
        let error = stage.attempt(&step).unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unusable);
        assert!(error.to_string().contains("clock says"), "{error}");
        assert!(stage.attempt(&Step::Fail(before.who())).is_err());
        stage.world(|world| world.shift_wall_clock(-shift));
    }
    stage.reopen();
    let after = stage.run("after").writes("x").tries();
    assert!(after.is("running").token() > token);
    assert_eq!(after.commits(), "committed");
}

pub(super) fn what_is_seen_says_what_the_stores_clock_said(stage: &Stage) {
    stage.create(&["x"]);
    stage.run("holder").locks("l").lease(600).tries().is("running");
    stage.pass(90);
    let (now_us, age) = (stage.world(|world| world.now().wall_us), Duration::from_secs(90));
    let all = View::Runs { job: None, from: Ticket(0), limit: 1 };
    let Content::Runs(runs, None) = stage.view(&all) else { panic!("no page of runs") };
    assert_eq!((runs[0].seen_us, runs[0].age()), (now_us, age));
    let Content::Names(names) = stage.view(&View::Names(vec![flowlock::Name::parse("x").unwrap()])) else {
        panic!("no names")
    };
    assert_eq!((names[0].seen_us, names[0].age()), (now_us, Some(age)));
    let Content::Namespace(Some(seen)) = stage.view(&View::Namespace) else { panic!("no namespace") };
    assert_eq!(seen.seen_us, now_us);
}

pub(super) fn the_wall_clock_touches_no_lease(stage: &Stage) {
    let a = stage.run("A").locks("l").lease(60).tries();
    for hours in [1, -5, 24] {
        stage.world(|world| world.shift_wall_clock(hours * 3_600_000_000));
        stage.run(&format!("{hours}")).locks("l").tries().is("refused(busy)");
        assert_eq!(a.refreshes(), "held");
    }
}

pub(super) fn a_page_that_is_too_large_is_cut_and_says_where_the_next_one_begins(stage: &Stage) {
    let names: Vec<String> = (0..2_100).map(|at| format!("n{at:04}")).collect();
    for some in names.chunks(1_000) {
        assert_eq!(stage.create(&some.iter().map(String::as_str).collect::<Vec<_>>()), "done");
    }
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let view = View::Records { prefix: "n".into(), after, limit: 12_000 };
        let Content::Records(records, next) = stage.view(&view) else { panic!("not records") };
        pages.push(records.len());
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(pages, [1_000, 1_000, 100]);
    let asked: Vec<_> = names.iter().map(|name| flowlock::Name::parse(name).unwrap()).collect();
    let Content::Names(seen) = stage.view(&View::Names(asked)) else { panic!("not names") };
    assert_eq!((seen.len(), seen[249].name.as_str()), (250, "n0249"));
    for at in 0..260 {
        stage.run(&format!("r{at:03}")).locks(&format!("l{at}")).tries();
    }
    let all = View::Runs { job: None, from: flowlock::Ticket(0), limit: 12_000 };
    let Content::Runs(runs, Some(next)) = stage.view(&all) else { panic!("not cut") };
    assert_eq!(runs.len(), 250);
    let rest = View::Runs { job: None, from: next, limit: 12_000 };
    assert!(matches!(stage.view(&rest), Content::Runs(runs, None) if runs.len() == 10));
}

pub(super) fn a_page_is_one_snapshot_with_its_sequence_number(stage: &Stage) {
    for at in 0..5 {
        stage.run(&format!("{at}")).writes(&format!("x{at}")).tries();
    }
    let (first, content) = stage.page(&View::Runs { job: None, from: Ticket(0), limit: 3 });
    let Content::Runs(runs, Some(next)) = content else { panic!("not a page of more: {content:?}") };
    assert_eq!(runs.len(), 3);
    let (second, content) = stage.page(&View::Runs { job: None, from: next, limit: 3 });
    assert!(matches!(content, Content::Runs(runs, None) if runs.len() == 2));
    assert_eq!(first, second, "nothing happened in between");
    stage.tick();
    assert!(stage.page(&View::Runs { job: None, from: Ticket(0), limit: 3 }).0 > second);
    stage.create(&["a1", "a2", "b1"]);
    let page = |after| View::Records { prefix: "a".into(), after, limit: 1 };
    let Content::Records(records, Some(after)) = stage.view(&page(None)) else { panic!("one of two") };
    assert_eq!(records[0].name.as_str(), "a1");
    let Content::Records(records, None) = stage.view(&page(Some(after))) else { panic!("the other") };
    assert_eq!(records[0].name.as_str(), "a2");
}

pub(super) fn a_page_of_runs_can_be_of_one_job(stage: &Stage) {
    for id in ["A", "B"] {
        stage.run(id).tries().is("running");
    }
    let job = Some(flowlock::JobName::parse("B").expect("a plain job"));
    match stage.view(&View::Runs { job, from: Ticket(0), limit: 10 }) {
        Content::Runs(seen, None) => {
            let seen: Vec<_> = seen.iter().map(|seen| seen.run.attempt.id.as_str()).collect();
            assert_eq!(seen, ["B"]);
        }
        other => panic!("not a page of runs: {other:?}"),
    }
}
