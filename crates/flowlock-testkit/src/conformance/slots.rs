//! Slots: counted names.

use flowlock::step::{Answer, Standing};

use super::{Actor, Stage};

pub(super) fn units_are_granted_up_to_the_capacity(stage: &Stage) {
    let first = stage.run("1").slot("s", 2, 4).tries();
    stage.run("2").slot("s", 1, 4).tries().is("running");
    assert_eq!(stage.run("3").slot("s", 2, 4).tries().is("refused(busy)").first_blocked().by.len(), 2);
    stage.run("4").slot("s", 1, 4).tries().is("running");
    stage.run("5").slot("s", 1, 4).tries().is("refused(busy)");
    assert_eq!(first.commits(), "committed");
    stage.run("6").slot("s", 2, 4).tries().is("running");
}

pub(super) fn the_smallest_capacity_anybody_states_counts(stage: &Stage) {
    let strict = stage.run("strict").slot("s", 1, 2).tries();
    stage.run("1").slot("s", 2, 4).tries().is("refused(busy)");
    stage.run("2").slot("s", 1, 4).tries().is("running");
    stage.run("3").slot("s", 1, 4).tries().is("refused(busy)");
    assert_eq!(strict.commits(), "committed");
    stage.run("4").slot("s", 3, 4).tries().is("running");
    // The capacity that it states counts as well.
    stage.run("5").slot("s", 1, 2).tries().is("refused(busy)");
}

pub(super) fn units_queued_ahead_count_so_that_a_big_request_is_not_starved(stage: &Stage) {
    let small = ["1", "2", "3"].map(|id| stage.run(id).slot("s", 1, 4).tries());
    let big = stage.run("big").slot("s", 2, 4).waits();
    let newcomer = stage.run("newcomer").slot("s", 1, 4).waits();
    assert_eq!(newcomer.is("queued").blockers(), ["queued_behind s by big"]);
    assert_eq!(small[0].commits(), "committed");
    big.is("granted");
    newcomer.is("queued");
    assert_eq!(small[1].commits(), "committed");
    newcomer.is("granted");
}

pub(super) fn the_capacity_stated_by_those_ahead_counts(stage: &Stage) {
    let holder = stage.run("holder").locks("l").tries();
    stage.run("ahead").slot("s", 2, 2).locks("l").waits().is("queued");
    // By its own stated capacity it would fit beside the one ahead; by that of the one ahead, it does
    // not.
    let behind = stage.run("behind").slot("s", 1, 9).waits();
    assert_eq!(behind.is("queued").blockers(), ["queued_behind s by ahead"]);
    assert_eq!(holder.commits(), "committed");
    behind.is("queued");
}

pub(super) fn lapsed_units_are_taken_oldest_first_and_only_until_it_fits(stage: &Stage) {
    let [oldest, second, third] = [("oldest", 9), ("second", 3), ("third", 6)]
        .map(|(id, lease)| stage.run(id).slot("s", 1, 3).lease(lease).tries());
    stage.pass(10);
    stage.run("one unit").slot("s", 1, 3).tries().is("running");
    oldest.is("lost(taken)");
    second.is("running, lapsed");
    third.is("running, lapsed");
    stage.run("one more").slot("s", 1, 3).tries().is("running");
    second.is("lost(taken)");
    assert_eq!(third.refreshes(), "held late");
}

/// Makes a slot with all its units taken, each by a run of its own; the last one has the shortest lease.
fn full_slot(stage: &Stage, capacity: u32) -> Vec<Actor<'_>> {
    let lease = |at| if at == capacity { 5 } else { 60 };
    (1..=capacity)
        .map(|at| stage.run(&format!("{at}")).slot("s", 1, capacity).lease(lease(at)).tries())
        .collect()
}

pub(super) fn a_dead_holder_behind_many_living_ones_makes_room_for_a_newcomer(stage: &Stage) {
    let holders = full_slot(stage, 70);
    holders[69].dies();
    stage.run("newcomer").slot("s", 1, 70).tries().is("running");
    holders[69].is("lost(died)");
}

pub(super) fn a_waiter_is_told_of_all_holders_whom_to_probe_and_of_the_first_deadline(stage: &Stage) {
    let holders = full_slot(stage, 70);
    let waiter = stage.run("waiter").slot("s", 1, 70).waits();
    let Answer::Standing(Standing::Waiting(waiting)) = waiter.first() else { panic!("it waits") };
    let expected: Vec<_> = holders.iter().map(|holder| holder.holder.liveness.unwrap()).collect();
    assert_eq!(waiting.probe.into_iter().map(|(_, liveness)| liveness).collect::<Vec<_>>(), expected);
    assert_eq!(waiting.look_again_ms, Some(5_000));
    assert_eq!(stage.run("try").slot("s", 1, 69).tries().first_blocked().retry_after_ms, Some(5_000));
    let beside = stage.run("other").slot("t", 1, 1).lease(9).tries();
    let refused = stage.run("second try").slot("t", 1, 1).tries();
    assert_eq!(refused.first_blocked().retry_after_ms, Some(9_000));
    beside.is("running");
}

/// However many of them it takes to fill it.
pub(super) fn the_units_of_all_who_are_queued_ahead_count(stage: &Stage) {
    stage.run("gate").locks("l").lease(600).tries().is("running");
    stage.run("holder").slot("s", 1, 4).lease(600).tries().is("running");
    for units in [1, 2] {
        stage.run(&format!("ahead {units}")).locks("l").slot("s", units, 4).waits().is("queued");
    }
    stage.run("one more").slot("s", 1, 4).tries().is("refused(busy)");
    stage.run("one more of five").slot("s", 1, 5).tries().is("refused(busy)");
}
