//! Parents and children: deadlock by ancestry, and the one exception to the order of arrival.

use std::time::Duration;

use flowlock::Bounds;
use flowlock::step::{Patience, Unlock};

use super::Stage;

pub(super) fn a_child_that_wants_what_its_parent_holds_is_refused_at_once(stage: &Stage) {
    stage.create(&["r"]);
    let parent = stage.run("parent").writes("w").reads("r").locks("l").tries();
    for child in [
        stage.run("1").child_of(&parent).writes("w"),
        stage.run("2").child_of(&parent).writes("r"),
        stage.run("3").child_of(&parent).locks("l"),
        stage.run("4").child_of(&parent).shares("l"),
    ] {
        child.waits().is("refused(deadlock)");
    }
    stage.run("5").child_of(&parent).writes("w").holds_place(5).is("refused(deadlock)");
}

pub(super) fn a_child_that_awaits_what_its_parent_will_write_is_refused_at_once(stage: &Stage) {
    let parent = stage.run("parent").writes("x").tries();
    stage.run("child").child_of(&parent).reads("x").waits().is("refused(deadlock)");
    stage.run("other").child_of(&parent).reads("y").waits().is("awaiting_input");
}

pub(super) fn a_child_that_awaits_what_its_lapsed_parent_will_write_is_refused_too(stage: &Stage) {
    let parent = stage.run("parent").writes("x").locks("l").lease(5).tries();
    stage.pass(5);
    parent.is("running, lapsed");
    // The parent may still commit late, once its child is done, so the child would wait for ever.
    stage.run("reader").child_of(&parent).reads("x").waits().is("refused(deadlock)");
    // The same if the existing record became incomplete when the parent began.
    assert_eq!(stage.create(&["y"]), "done");
    let spoiler = stage.run("spoiler").writes("y").spoiling().lease(5).tries();
    stage.pass(5);
    spoiler.is("running, lapsed");
    stage.run("reader of it").child_of(&spoiler).reads("y").waits().is("refused(deadlock)");
    // Its lock is in no run's way any more.
    stage.run("taker").child_of(&parent).locks("l").waits().is("running");
    parent.is("lost(taken)");
}

pub(super) fn a_child_behind_one_who_waits_for_its_parent_is_refused_at_once(stage: &Stage) {
    let parent = stage.run("parent").locks("p").tries();
    stage.run("between").locks("p").locks("q").waits().is("queued");
    stage.run("child").child_of(&parent).locks("q").waits().is("refused(deadlock)");
}

pub(super) fn a_grandchild_is_refused_for_its_grandparent(stage: &Stage) {
    let grandparent = stage.run("grandparent").locks("l").tries();
    let parent = stage.run("parent").child_of(&grandparent).locks("m").tries();
    stage.run("child").child_of(&parent).locks("l").waits().is("refused(deadlock)");
}

pub(super) fn a_try_is_busy_not_deadlocked(stage: &Stage) {
    let parent = stage.run("parent").locks("l").tries();
    stage.run("child").child_of(&parent).locks("l").tries().is("refused(busy)");
}

pub(super) fn an_unrelated_run_waits_where_a_child_would_be_refused(stage: &Stage) {
    let parent = stage.run("parent").locks("l").tries();
    // From the same process, but not its child: sharing a process has no meaning.
    stage.run("sibling").beside(&parent).locks("l").waits().is("queued");
}

pub(super) fn a_child_shares_what_its_parent_shares_past_a_waiting_writer(stage: &Stage) {
    stage.create(&["x"]);
    let parent = stage.run("parent").reads("x").tries();
    stage.run("writer").writes("x").waits().is("queued");
    stage.run("stranger").reads("x").tries().is("refused(busy)");
    stage.run("child").child_of(&parent).reads("x").waits().is("running");
}

pub(super) fn naming_a_parent_without_its_proof_makes_nobody_its_child(stage: &Stage) {
    stage.create(&["x"]);
    let reader = stage.run("reader").reads("x").locks("l").tries();
    stage.run("writer").writes("x").waits().is("queued");
    // It passes no queued writer, and it waits for the lock like any other run.
    stage.run("1").pretends_to_be_child_of(&reader).reads("x").tries().is("refused(busy)");
    stage.run("2").pretends_to_be_child_of(&reader).locks("l").waits().is("queued");
    // The right proof of another run with the same name is wrong.
    let elsewhere = stage.run("reader").locks("elsewhere").unsent(Patience::Try);
    stage.run("3").child_of(&elsewhere).reads("x").tries().is("refused(busy)");
    stage.run("4").child_of(&reader).reads("x").tries().is("running");
}

pub(super) fn an_exclusive_child_has_no_such_privilege(stage: &Stage) {
    let parent = stage.run("parent").shares("l").tries();
    stage.run("writer").locks("m").waits().is("running");
    stage.run("line").locks("m").waits().is("queued");
    stage.run("child").child_of(&parent).locks("m").waits().is("queued");
}

pub(super) fn the_privilege_lasts_while_the_parent_is_lapsed_and_ends_when_it_is_revoked(stage: &Stage) {
    stage.create(&["x"]);
    let other = stage.run("other").reads("x").lease(600).tries();
    let lapsing = stage.run("lapsing").reads("x").lease(3).tries();
    let revoked = stage.run("revoked").reads("x").lease(600).tries();
    let child = |id: &str, parent| stage.run(id).child_of(parent).reads("x").lease(600);
    let writer = stage.run("writer").writes("x").waits();
    child("1", &lapsing).waits().is("running");
    assert_eq!(revoked.is_unlocked(Unlock::WhenAcknowledged), "done");
    child("2", &revoked).tries().is("refused(busy)");
    let middle = stage.run("middle").child_of(&lapsing).lease(600).tries();
    stage.pass_hearing(5, &[&writer]);
    lapsing.is("running, lapsed");
    child("3", &middle).waits().is("running");
    assert_eq!(other.commits(), "committed");
}

pub(super) fn slots_deadlock_only_if_the_capacity_cannot_hold_parent_and_child(stage: &Stage) {
    let parent = stage.run("parent").slot("s", 2, 3).tries();
    stage.run("other").slot("s", 1, 3).tries().is("running");
    stage.run("fits later").child_of(&parent).slot("s", 1, 3).waits().is("queued");
    stage.run("never fits").child_of(&parent).slot("s", 2, 3).waits().is("refused(deadlock)");
}

pub(super) fn units_of_all_ancestors_count_together(stage: &Stage) {
    let grandparent = stage.run("grandparent").slot("s", 2, 4).tries();
    let parent = stage.run("parent").child_of(&grandparent).slot("s", 1, 4).tries();
    parent.is("running");
    stage.run("fits").child_of(&parent).slot("s", 1, 4).tries().is("running");
    stage.run("fits later").child_of(&parent).slot("s", 1, 4).waits().is("queued");
    // Neither of them alone is in its way.
    stage.run("never fits").child_of(&parent).slot("s", 2, 4).waits().is("refused(deadlock)");
    stage.run("beside one").child_of(&grandparent).slot("s", 2, 4).waits().is("queued");
}

pub(super) fn the_smallest_capacity_that_an_ancestor_states_counts_for_a_deadlock(stage: &Stage) {
    let grandparent = stage.run("grandparent").slot("s", 1, 3).tries();
    let parent = stage.run("parent").child_of(&grandparent).slot("s", 1, 9).tries();
    stage.run("never fits").child_of(&parent).slot("s", 2, 9).waits().is("refused(deadlock)");
    // Another run states less, and may leave.
    stage.run("other").slot("s", 1, 3).tries().is("running");
    stage.run("fits later").child_of(&parent).slot("s", 1, 3).waits().is("queued");
}

pub(super) fn whoever_may_leave_makes_no_deadlock_on_slots(stage: &Stage) {
    let parent = stage.run("parent").locks("l").slot("s", 2, 5).tries();
    let other = stage.run("other").slot("s", 2, 5).tries();
    let ahead = stage.run("ahead").locks("l").slot("s", 1, 5).waits();
    ahead.is("queued");
    // The one ahead waits for the parent, but once the other one has left there is room for both.
    let child = stage.run("child").child_of(&parent).slot("s", 2, 5).waits();
    child.is("queued");
    stage.run("never fits").child_of(&parent).slot("s", 3, 5).waits().is("refused(deadlock)");
    assert_eq!(other.commits(), "committed");
    child.is("granted");
}

pub(super) fn a_lapsed_ancestor_makes_no_deadlock_on_slots(stage: &Stage) {
    let grandparent = stage.run("grandparent").slot("s", 2, 3).lease(5).tries();
    let parent = stage.run("parent").child_of(&grandparent).slot("s", 1, 3).lease(600).tries();
    stage.pass(5);
    stage.run("child").child_of(&parent).slot("s", 2, 3).waits().is("running");
    grandparent.is("lost(taken)");
}

/// The store has not handled the end of its lease yet, and must answer as if it had.
pub(super) fn an_ancestor_whose_lapse_is_left_over_makes_no_deadlock_on_slots(stage: &Stage) {
    stage.world(|world| world.bound_steps(Bounds { due: 1, ..Bounds::default() }));
    stage.run("due.first").locks("l").lease(4).tries();
    let grandparent = stage.run("grandparent").slot("s", 2, 3).lease(5).tries();
    let parent = stage.run("parent").child_of(&grandparent).slot("s", 1, 3).lease(600).tries();
    stage.world(|world| world.advance(Duration::from_secs(6)));
    let child = stage.run("child").child_of(&parent).slot("s", 2, 3).waits();
    child.is("queued");
    grandparent.is("running");
    stage.tick();
    child.is("granted");
}

pub(super) fn a_lost_parent_does_not_end_its_children(stage: &Stage) {
    let parent = stage.run("parent").locks("l").lease(3).tries();
    let child = stage.run("child").child_of(&parent).writes("x").lease(600).tries();
    stage.pass(4);
    stage.run("taker").locks("l").tries().is("running");
    parent.is("lost(taken)");
    assert_eq!(child.refreshes(), "held");
    assert_eq!(child.commits(), "committed");
}

pub(super) fn a_deadlock_that_arises_later_ends_by_its_time(stage: &Stage) {
    stage.create(&["n"]);
    let queuer = stage.run("queuer").reads("x").locks("m").writes("n").waits();
    let holder = stage.run("holder").locks("m").tries();
    let writer = stage.run("writer").writes("x").tries();
    let parent = stage.run("parent").reads("n").lease(600).tries();
    let child = stage.run("child").child_of(&parent).locks("m").waits_for(9);
    child.is("queued");
    assert_eq!(writer.commits(), "committed");
    assert_eq!(holder.fails(), "failed");
    // The parent waits for its child, the child behind the queued run, the queued run for the parent.
    queuer.is("queued");
    child.is("queued");
    stage.pass_hearing(9, &[&queuer, &child]);
    child.is("timed_out");
    assert_eq!(parent.fails(), "failed");
    queuer.is("granted");
}
