//! Every blocked answer names the same blockers with the same evidence.

use flowlock::step::{Answer, Standing, Waiting};

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
