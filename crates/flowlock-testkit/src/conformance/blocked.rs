//! Every blocked answer names the same blockers with the same evidence.

use flowlock::step::{Answer, Standing, Waiting};
use flowlock::store::{Content, NameSeen, View};
use flowlock::{Space, World as _};

use super::{Actor, Stage};

fn waiting(actor: &Actor<'_>) -> Waiting {
    match actor.first() {
        Answer::Standing(Standing::Waiting(waiting)) => waiting,
        other => panic!("it does not wait: {other:?}"),
    }
}

pub(super) fn each_kind_of_blocker_names_who_is_behind_it(stage: &Stage) {
    stage.create(&["read", "written"]);
    let holder =
        stage.run("holder").reads("read").writes("written").writes("fresh").locks("lock").slot("slot", 2, 2);
    let holder = holder.tries();
    stage.run("ahead").locks("lock").locks("line").waits().is("queued");
    let expected = [
        (stage.run("1").reads("missing"), vec!["input_missing missing"]),
        (stage.run("2").reads("written"), vec!["input_being_written written by holder"]),
        (stage.run("3").reads("fresh"), vec!["input_being_written fresh by holder"]),
        (stage.run("4").writes("written"), vec!["output_being_written written by holder"]),
        (stage.run("5").writes("read"), vec!["output_being_read read by holder"]),
        (
            stage.run("6").writes("written").once(),
            vec!["output_exists written", "output_being_written written by holder"],
        ),
        (stage.run("7").shares("lock"), vec!["lock_held lock by holder", "queued_behind lock by ahead"]),
        (stage.run("8").slot("slot", 1, 2), vec!["slots_taken slot by holder"]),
        (stage.run("9").locks("line"), vec!["queued_behind line by ahead"]),
    ];
    for (request, words) in expected {
        let blocked = request.tries().first_blocked();
        assert_eq!(blocked.by.iter().map(super::word::blocker).collect::<Vec<_>>(), words);
        assert!(!blocked.more);
        let behind = blocked
            .by
            .iter()
            .filter_map(|blocker| blocker.by.as_ref())
            .filter(|by| by.run.as_str() == "holder");
        for by in behind {
            assert_eq!((by.job.as_str(), by.lease_left_ms), ("holder", Some(60_000)));
        }
    }
    assert_eq!(holder.commits(), "committed");
}

pub(super) fn a_waiting_run_is_told_its_position(stage: &Stage) {
    stage.run("holder").locks("l").tries();
    for at in 0..4 {
        assert_eq!(waiting(&stage.run(&format!("{at}")).locks("l").waits()).blocked.ahead, at);
    }
}

pub(super) fn ten_blockers_are_named_and_the_rest_is_more(stage: &Stage) {
    stage.create(&["x"]);
    for at in 0..11 {
        stage.run(&format!("reader {at}")).reads("x").tries().is("running");
        if at == 9 {
            let blocked = stage.run("ten").writes("x").tries().first_blocked();
            assert_eq!((blocked.by.len(), blocked.more), (10, false));
        }
    }
    let blocked = stage.run("eleven").writes("x").tries().first_blocked();
    assert_eq!((blocked.by.len(), blocked.more), (10, true));
}

pub(super) fn the_oldest_waiter_alone_is_told_when_to_look_again(stage: &Stage) {
    stage.run("holder").locks("l").lease(30).tries();
    let first = stage.run("first").locks("l").waits();
    let second = stage.run("second").locks("l").waits();
    assert_eq!(waiting(&first).look_again_ms, Some(30_000));
    assert_eq!(waiting(&second).look_again_ms, None);
}

/// Returns how a run is shown, and for how many seconds its process has been silent.
fn shown(actor: &Actor<'_>, stage: &Stage) -> (String, Option<i64>) {
    let Content::Run(Some(seen)) = stage.view(&View::Run(actor.attempt.id.clone())) else { panic!("no run") };
    let now_us = stage.world(|world| world.now().wall_us);
    let silent = seen.silent_since_us.map(|since_us| (now_us - since_us) / 1_000_000);
    let reason = seen.reason().expect("it waits");
    (reason.split([':', '(']).next().unwrap_or_default().trim().to_owned(), silent)
}

pub(super) fn an_absent_run_is_shown_as_absent(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let silent = stage.run("silent").locks("l").waits();
    let place = stage.run("place").locks("l").holds_place(60);
    assert_eq!(shown(&silent, stage), ("lock l is held by holder".into(), None));
    // Before any step notices it, and after.
    stage.world(|world| world.advance(std::time::Duration::from_secs(12)));
    assert_eq!(shown(&silent, stage), ("absent".into(), Some(12)));
    stage.tick();
    assert_eq!(silent.state(), "queued, absent");
    stage.world(|world| world.advance(std::time::Duration::from_secs(5)));
    assert_eq!(shown(&silent, stage), ("absent".into(), Some(15)), "at the latest since then");
    assert_eq!(shown(&place, stage).1, None, "a held place is there to its end");
    // Nothing else is in its way.
    assert_eq!(place.cancels(), "withdrawn");
    assert_eq!(holder.commits(), "committed");
    assert_eq!(silent.blockers(), Vec::<String>::new());
    assert_eq!(shown(&silent, stage).0, "absent");
    assert_eq!(silent.again(), "granted", "it goes on when it asks again");
}

pub(super) fn who_holds_a_place_is_told_when_to_come_back(stage: &Stage) {
    let comes_back = |actor: &Actor<'_>| actor.first_blocked().retry_after_ms;
    let _holder = stage.run("holder").locks("l").lease(9).tries();
    assert_eq!(comes_back(&stage.run("a").locks("l").holds_place(60)), Some(9_000), "the lease in its way");
    assert_eq!(comes_back(&stage.run("b").locks("l").holds_place(4)), Some(2_000), "half of its place");
    assert_eq!(comes_back(&stage.run("c").reads("missing").holds_place(60)), Some(30_000));
    assert_eq!(stage.run("d").locks("l").waits().first_blocked().retry_after_ms, None, "it is woken");
}

/// A slot with enough room is no obstacle, whichever runs hold units of it or are ahead.
pub(super) fn who_is_ahead_at_a_slot_with_room_is_no_blocker(stage: &Stage) {
    let gate = stage.run("gate").locks("l").lease(600).tries();
    let other = stage.run("other").locks("m").lease(600).tries();
    let _holder = stage.run("holder").slot("s", 1, 4).lease(600).tries();
    let ahead = stage.run("ahead").locks("m").slot("s", 1, 4).waits();
    let waiter = stage.run("waiter").locks("l").slot("s", 1, 4).waits();
    assert_eq!(ahead.blockers(), ["lock_held m by other"]);
    assert_eq!(waiter.blockers(), ["lock_held l by gate"]);
    assert_eq!(
        waiting(&waiter).probe.iter().map(|(_, liveness)| *liveness).collect::<Vec<_>>(),
        [&gate, &ahead].map(|run| run.holder.liveness.unwrap()),
        "it need not look at who holds units"
    );
    assert_eq!((other.commits(), gate.commits()), ("committed".into(), "committed".into()));
    ahead.is("granted");
    waiter.is("granted");
}

pub(super) fn a_blocker_whose_process_is_gone_is_shown_as_gone(stage: &Stage) {
    let holders = ["alive", "dead"].map(|id| stage.run(id).shares("l").lease(600).tries());
    holders[1].dies();
    let gone = || match stage.view(&View::Names(vec![super::stage::name("l")])) {
        Content::Names(seen) => seen[0].holders.iter().map(|(_, by, _)| by.process_gone).collect::<Vec<_>>(),
        other => panic!("not names: {other:?}"),
    };
    assert_eq!(gone(), [false, true]);
}

/// A run that may pass the writers queued for a name is not behind them.
pub(super) fn whom_a_child_may_pass_is_no_blocker_of_it(stage: &Stage) {
    let parent = stage.run("parent").shares("x").lease(600).tries();
    stage.run("other").locks("l").lease(600).tries().is("running");
    stage.run("writer").locks("x").waits().is("queued");
    let child = stage.run("child").child_of(&parent).shares("x").locks("l").waits();
    assert_eq!(child.is("queued").blockers(), ["lock_held l by other"]);
    let stranger = stage.run("stranger").shares("x").waits();
    assert_eq!(stranger.blockers(), ["queued_behind x by writer"]);
}

/// Returns the runs that wait for a name outside of its queue: the space, the run.
fn beside_line(seen: &NameSeen) -> Vec<(Space, &str)> {
    assert_eq!((&seen.line, seen.more_beside_line), (&Vec::new(), false), "{}", seen.name);
    seen.beside_line.iter().map(|(space, by)| (*space, by.run.as_str())).collect()
}

fn names(stage: &Stage, names: &[&str]) -> Vec<NameSeen> {
    let names: Vec<_> = names.iter().map(|text| super::stage::name(text)).collect();
    match stage.view(&View::Names(names)) {
        Content::Names(seen) => seen,
        other => panic!("not names: {other:?}"),
    }
}

pub(super) fn who_waits_in_no_line_is_found_by_each_name_it_asks_for(stage: &Stage) {
    stage.run("holder").locks("l").lease(600).tries().is("running");
    let first = stage.run("first").reads("a").reads("b").writes("c").locks("d").waits();
    let second = stage.run("second").reads("b").reads("e").waits();
    let silent = stage.run("silent").locks("l").waits();
    stage.pass_hearing(15, &[&first, &second]);
    assert_eq!(silent.state(), "queued, absent");
    let seen = names(stage, &["a", "b", "c", "d", "e", "l", "none"]);
    let found: Vec<_> = seen.iter().map(beside_line).collect();
    let (data, lock) = (Space::Data, Space::Lock);
    let expected = [
        vec![(data, "first")],
        vec![(data, "first"), (data, "second")],
        vec![(data, "first")],
        vec![(lock, "first")],
        vec![(data, "second")],
        vec![(lock, "silent")],
        vec![],
    ];
    assert_eq!(found, expected);
    assert_eq!(stage.create(&["a", "b"]), "done");
    let seen = names(stage, &["a", "b", "e"]);
    assert_eq!(first.state(), "granted");
    assert_eq!(
        seen.iter().map(beside_line).collect::<Vec<_>>(),
        [vec![], expected[4].clone(), expected[4].clone()]
    );
}

pub(super) fn of_many_who_wait_in_no_line_a_page_names_some_and_says_that_there_may_be_more(stage: &Stage) {
    for at in 0..12 {
        stage.run(&format!("r{at}")).reads("a").waits();
        let seen = names(stage, &["a"]).remove(0);
        assert_eq!((seen.beside_line.len(), seen.more_beside_line), ((at + 1).min(11), at == 11));
    }
    for at in 12..252 {
        stage.run(&format!("r{at}")).reads("b").waits();
    }
    stage.run("last").reads("c").waits();
    let seen = names(stage, &["c"]).remove(0);
    assert_eq!((seen.beside_line.len(), seen.more_beside_line), (0, true));
}
