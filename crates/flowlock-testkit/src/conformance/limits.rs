//! Exactly at the limit: the last moment, the last item that is shown, the last one that a step may
//! handle.

use std::time::Duration;

use flowlock::step::{Answer, Patience};
use flowlock::store::{Content, View};
use flowlock::{Blocked, Bounds};

use super::stage::{Stage, name};
use super::word::word;

fn bound(stage: &Stage, bounds: Bounds) {
    stage.world(|world| world.bound_steps(bounds));
}

/// Lets time pass without a step.
fn time(stage: &Stage, seconds: u64) {
    stage.world(|world| world.advance(Duration::from_secs(seconds)));
}

pub(super) fn a_request_counts_until_its_latest_arrival_and_its_refusal_is_remembered_as_long(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let refused = stage.run("refused").locks("l").latest(2_000).tries();
    let slow = stage.run("slow").locks("m").latest(2_000).unsent(Patience::Try);
    assert_eq!(holder.commits(), "committed");
    time(stage, 2);
    assert_eq!(refused.again(), "refused(busy)", "though the lock is free by now");
    assert_eq!(word(&slow.sends(Patience::Try)), "running");
    stage.pass(1);
    assert_eq!(refused.again(), "arrived_too_late");
}

pub(super) fn a_withdrawn_request_is_remembered_for_five_minutes_at_most(stage: &Stage) {
    stage.pass(100);
    let unseen = stage.run("unseen").locks("l").latest(86_400_000).unsent(Patience::Wait(None));
    assert_eq!(unseen.cancels(), "withdrawn");
    stage.pass(300);
    assert_eq!(stage.counted(), "0 running, 0 waiting, 0 records, 1 outcomes");
    stage.pass(1);
    assert_eq!(stage.counted(), "0 running, 0 waiting, 0 records, 0 outcomes");
}

pub(super) fn only_the_nearest_ancestors_count(stage: &Stage) {
    bound(stage, Bounds { ancestors: 1, ..Bounds::default() });
    let grandparent = stage.run("grandparent").locks("g").tries();
    let parent = stage.run("parent").child_of(&grandparent).locks("p").tries();
    stage.run("child").child_of(&parent).locks("p").waits().is("refused(deadlock)");
    stage.run("other child").child_of(&parent).locks("g").waits().is("queued");
}

/// Blockers of every kind are counted to one more than an answer shows, over all names of a request.
pub(super) fn whether_there_are_more_blockers_is_said_whatever_they_are(stage: &Stage) {
    let shows = |blocked: &Blocked| (blocked.by.len(), blocked.more);
    for at in 0..12 {
        stage.run(&format!("holder {at}")).locks(&format!("l{at}")).lease(600).tries().is("running");
    }
    for (id, count, shown) in [("ten", 10, (10, false)), ("twelve", 12, (10, true))] {
        let locks = (0..count).fold(stage.run(id), |run, at| run.locks(&format!("l{at}")));
        assert_eq!(shows(&locks.tries().first_blocked()), shown, "locks");
        let inputs =
            (0..count).fold(stage.run(&format!("{id} inputs")), |run, at| run.reads(&format!("i{at}")));
        assert_eq!(shows(&inputs.tries().first_blocked()), shown, "inputs");
    }
    // Beside readers, only the runs ahead in the queue are in the way of a reader.
    stage.run("reader").shares("x").lease(600).tries();
    for at in 0..11 {
        stage.run(&format!("writer {at}")).locks("x").waits().is("queued");
    }
    let behind = stage.run("behind").shares("x").waits();
    let blocked = behind.first_blocked();
    assert_eq!((shows(&blocked), blocked.ahead), ((10, true), 11));
}

pub(super) fn whoever_makes_a_record_by_hand_is_told_of_ten_holders_and_whether_there_are_more(
    stage: &Stage,
) {
    let held = |count: usize, of: &str| {
        (0..count)
            .map(|at| stage.run(&format!("{of} {at}")).writes(&format!("{of} {at}")).lease(600).tries())
            .collect::<Vec<_>>()
    };
    let refused = |names: &[&str]| match stage.creates(names) {
        Answer::Refused(blocked) => (blocked.by.len(), blocked.more),
        other => panic!("{other:?}"),
    };
    let _holders = held(12, "x");
    let names: Vec<String> = (0..12).map(|at| format!("x {at}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    assert_eq!(refused(&names[..9]), (9, false));
    assert_eq!(refused(&names[..10]), (10, false));
    assert_eq!(refused(&names[..11]), (10, true));
    assert_eq!(refused(&names), (10, true));
    // Eleven that read one name.
    stage.create(&["read"]);
    for at in 0..11 {
        stage.run(&format!("reader {at}")).reads("read").lease(600).tries().is("running");
    }
    assert_eq!(refused(&["read"]), (10, true));
}

pub(super) fn a_step_that_just_handled_as_many_deadlines_as_it_may_decides_all_the_same(stage: &Stage) {
    for at in 0..64 {
        stage.run(&format!("{at:02}")).locks(&format!("{at}")).lease(2).tries().is("running");
    }
    time(stage, 3);
    stage.run("next").locks("nobody's").tries().is("running");
}

pub(super) fn what_is_due_is_handled_oldest_first_whatever_it_is(stage: &Stage) {
    for (name, seconds) in [("first", 1), ("last", 5)] {
        stage.create_for(&[name], seconds);
        stage.run(&format!("gate {name}")).locks(name).lease(600).tries();
    }
    let readers = ["first", "last"].map(|name| stage.run(name).reads(name).locks(name).waits());
    for at in 0..100 {
        stage.run(&format!("{at:03}")).locks(&format!("{at}")).lease(3).tries();
    }
    time(stage, 6);
    let seen = || readers.each_ref().map(|reader| reader.seen().expect("it waits").state.as_str());
    stage.tick();
    assert_eq!(seen(), ["awaiting_input", "queued"]);
    stage.tick();
    assert_eq!(seen(), ["awaiting_input", "awaiting_input"]);
}

/// A page about names that many runs hold or wait for is limited: at most eleven for each, and no more
/// names than fit.
pub(super) fn a_page_of_names_is_cut_before_it_shows_too_much(stage: &Stage) {
    for of in ["a", "b", "c"] {
        for at in 0..2 {
            stage.run(&format!("{of} {at}")).shares(of).lease(600).tries().is("running");
        }
    }
    for at in 0..12 {
        stage.run(&format!("d {at}")).shares("d").lease(600).tries().is("running");
    }
    for at in 0..12 {
        stage.run(&format!("e {at}")).locks("d").waits().is("queued");
    }
    let seen = |names: &[&str]| match stage.view(&View::Names(names.iter().map(|text| name(text)).collect()))
    {
        Content::Names(seen) => {
            seen.iter().map(|name| (name.holders.len(), name.line.len())).collect::<Vec<_>>()
        }
        other => panic!("not names: {other:?}"),
    };
    assert_eq!(seen(&["d"]), [(11, 11)]);
    bound(stage, Bounds { claims: 4, ..Bounds::default() });
    assert_eq!(seen(&["a", "b"]), [(2, 0), (2, 0)]);
    assert_eq!(seen(&["a", "b", "c"]), [(2, 0), (2, 0)]);
    assert_eq!(seen(&["d", "a"]), [(11, 11)], "the first one at least");
}

pub(super) fn each_of_many_explained_runs_is_told_of_its_share_of_those_in_its_way(stage: &Stage) {
    bound(stage, Bounds { probes: 8, explained: 4, ..Bounds::default() });
    for at in 0..8 {
        stage.run(&format!("reader {at}")).shares("x").shares("y").lease(600).tries().is("running");
    }
    let first = stage.run("first").locks("x").waits();
    stage.run("second").locks("y").beside(&first).waits().is("queued");
    let explain = ["first", "second"].map(|id| flowlock::RunId::parse(id).expect("a plain id")).into();
    let beat =
        flowlock::step::Step::Heartbeat { client: first.holder.client, from: flowlock::Ticket(0), explain };
    let Answer::Heard { runs, .. } = stage.step(&beat) else { panic!("heard") };
    let told = runs.iter().map(|(_, standing)| match standing {
        flowlock::step::Standing::Waiting(waiting) => waiting.probe.len(),
        other => panic!("it does not wait: {other:?}"),
    });
    assert_eq!(told.collect::<Vec<_>>(), [8, 2]);
}
