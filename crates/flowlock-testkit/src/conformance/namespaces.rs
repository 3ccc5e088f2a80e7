//! Namespaces as a whole: listed, counted, and removed once they are empty.

use std::time::Duration;

use flowlock::Bounds;
use flowlock::store::View;

use super::Stage;

pub(super) fn an_empty_namespace_is_removed_and_goes_on_where_it_was(stage: &Stage) {
    stage.enter("ci");
    assert_eq!(stage.counted(), "never used");
    assert_eq!(stage.listed(), [""; 0]);
    let first = stage.run("A").writes("x").tries();
    let token = first.token();
    assert_eq!(first.commits(), "committed");
    assert_eq!(stage.remove(&["x"]), "done");
    stage.pass(600);
    assert_eq!(stage.listed(), ["ci"]);
    let (sequence, _) = stage.page(&View::Namespace);
    assert_eq!(stage.remove_namespace(), "done");
    assert_eq!(stage.listed(), [""; 0]);
    assert_eq!(stage.counted(), "removed by ann@desk pid 7, 0 ms ago");
    // A repetition changes nothing, not even who did it.
    stage.world(|world| world.advance(Duration::from_secs(5)));
    assert_eq!(stage.remove_namespace(), "not_found");
    assert_eq!(stage.counted(), "removed by ann@desk pid 7, 5000 ms ago");
    // Neither a new process nor a clock that was set back can know what was there; the remaining row
    // does.
    stage.reopen();
    stage.world(|world| world.shift_wall_clock(-3_600_000_000));
    assert_eq!(stage.counted(), "removed by ann@desk pid 7, -3595000 ms ago");
    let again = stage.run("A").writes("x").tries();
    assert!(again.token() > token, "{:?} repeats or goes below {token:?}", again.token());
    assert_eq!(again.commits(), "committed");
    assert!(stage.page(&View::Namespace).0 > sequence, "its steps go on from where they were");
    assert_eq!(stage.counted(), "0 running, 0 waiting, 1 records, 1 outcomes");
    assert_eq!(stage.listed(), ["ci"]);
}

pub(super) fn tokens_of_a_namespace_made_anew_rise_over_a_reboot(stage: &Stage) {
    let first = stage.run("A").locks("l").tries();
    let token = first.token();
    assert_eq!(first.fails(), "failed");
    stage.pass(600);
    assert_eq!(stage.remove_namespace(), "done");
    stage.world(flowlock::store::memory::TestWorld::reboot);
    stage.reopen();
    stage.world(|world| world.shift_wall_clock(-60_000_000));
    let again = stage.run("A").locks("l").tries();
    assert!(again.token() > token);
}

pub(super) fn a_namespace_that_nobody_used_is_not_there_and_not_made(stage: &Stage) {
    assert_eq!(stage.remove_namespace(), "not_found");
    assert_eq!(stage.listed(), [""; 0]);
    stage.run("A").locks("l").tries().is("running");
    assert_eq!(stage.listed(), ["default"]);
}

pub(super) fn what_is_in_use_is_not_removed(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(10).kept_for(30).tries();
    assert_eq!(stage.remove_namespace(), "in use: runs");
    assert_eq!(stage.counted(), "1 running, 0 waiting, 0 records, 0 outcomes");
    let waiter = stage.run("waiter").locks("l").waits();
    assert_eq!(stage.counted(), "1 running, 1 waiting, 0 records, 0 outcomes");
    assert_eq!(holder.fails(), "failed");
    // Handed over, not begun.
    assert_eq!(stage.counted(), "0 running, 1 waiting, 0 records, 1 outcomes");
    assert_eq!(stage.remove_namespace(), "in use: runs");
    assert_eq!(waiter.claims(), "running");
    assert_eq!(waiter.fails(), "failed");
    let awaiting = stage.run("awaiting").reads("never").waits();
    assert_eq!(stage.remove_namespace(), "in use: runs");
    assert_eq!(awaiting.cancels(), "withdrawn");
    let lapsed = stage.run("lapsed").locks("m").lease(10).kept_for(30).tries();
    stage.pass(10);
    lapsed.is("running, lapsed");
    assert_eq!(stage.remove_namespace(), "in use: runs");
    stage.pass(30);
    lapsed.is("lost(died)");
    stage.create(&["x"]);
    assert_eq!(stage.remove_namespace(), "in use: records");
    assert_eq!(stage.remove(&["x"]), "done");
    // The last outcome is that of the lapsed run.
    assert_eq!(stage.remove_namespace(), "in use: outcomes, 600000 ms");
    stage.pass(599);
    assert_eq!(lapsed.commits(), "lost(died)");
    assert_eq!(stage.remove_namespace(), "in use: outcomes, 1000 ms");
    stage.pass(1);
    assert_eq!(stage.remove_namespace(), "done");
}

pub(super) fn a_withdrawn_request_on_its_way_keeps_its_namespace(stage: &Stage) {
    let late = stage.run("late").locks("l").latest(60_000).unsent(flowlock::step::Patience::Try);
    assert_eq!(late.cancels(), "withdrawn");
    assert!(stage.remove_namespace().starts_with("in use: outcomes"), "it could be granted to nobody");
    assert_eq!(late.again(), "cancelled");
}

pub(super) fn a_large_namespace_is_removed_in_many_small_steps(stage: &Stage) {
    for number in 0..7 {
        let run = stage.run(&format!("run {number}")).writes(&format!("x{number}")).tries();
        assert_eq!(run.fails(), "failed");
    }
    stage.world(|world| world.advance(Duration::from_mins(10)));
    stage.world(|world| world.bound_steps(Bounds { forgets: 2, ..Bounds::default() }));
    let (answer, steps) = stage.remove_namespace_in_steps();
    assert_eq!(answer, "done");
    assert!(steps > 3, "a step forgets two of seven, and was done after {steps}");
    stage.world(|world| world.bound_steps(Bounds::default()));
    // Nothing of what was there is left.
    let reader = stage.run("reader").reads("x1").tries();
    assert_eq!(reader.first_blocked().by[0].record.as_ref().map(|seen| seen.failure.is_some()), Some(false));
    assert_eq!(stage.counted(), "0 running, 0 waiting, 0 records, 1 outcomes");
}
