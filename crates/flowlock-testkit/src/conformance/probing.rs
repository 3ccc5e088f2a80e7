//! Which processes a waiting run's process must probe, and when it is told that they have changed: a
//! dead process is found by a process that knows that it is in the way.

use std::time::Duration;

use flowlock::step::{Answer, Standing, Step};
use flowlock::{Bounds, LivenessId, Ticket};

use super::{Actor, Stage};

/// Returns the processes that a waiting run's process is told to probe, when it asks.
fn probed(actor: &Actor<'_>) -> Vec<LivenessId> {
    let explain = vec![actor.attempt.id.clone()];
    let heartbeat = Step::Heartbeat { client: actor.holder.client, from: Ticket(0), explain };
    match actor.stage.step(&heartbeat) {
        Answer::Heard { mut runs, .. } => match runs.remove(0).1 {
            Standing::Waiting(waiting) => waiting.probe.into_iter().map(|(_, liveness)| liveness).collect(),
            other => panic!("it does not wait: {other:?}"),
        },
        other => panic!("not an answer to a heartbeat: {other:?}"),
    }
}

fn lives(actors: &[&Actor<'_>]) -> Vec<LivenessId> {
    actors.iter().filter_map(|actor| actor.holder.liveness).collect()
}

pub(super) fn a_waiter_of_a_slot_looks_at_its_holders_though_another_waits_ahead(stage: &Stage) {
    let elsewhere = stage.run("elsewhere").locks("l").tries();
    let holder = stage.run("holder").slot("s", 1, 2).tries();
    // The slot has room for it; the two together leave none for the next.
    let ahead = stage.run("ahead").locks("l").slot("s", 1, 2).waits();
    let waiter = stage.run("waiter").slot("s", 1, 2).waits();
    assert_eq!(probed(&ahead), lives(&[&elsewhere]));
    assert_eq!(probed(waiter.is("queued")), lives(&[&ahead, &holder]));
    holder.dies();
    assert_eq!(holder.is_buried(), "done");
    waiter.is("granted");
    ahead.is("queued");
}

pub(super) fn who_takes_its_place_in_line_is_told(stage: &Stage) {
    let waiter = stage.run("waiter").reads("n").locks("x").waits();
    waiter.is("awaiting_input");
    let holder = stage.run("holder").locks("x").tries();
    let mut inbox = stage.inbox(&waiter);
    assert_eq!(stage.create(&["n"]), "done");
    waiter.is("queued");
    assert_eq!(inbox.wait(crate::PATIENCE).runs, std::slice::from_ref(&waiter.attempt.id));
    assert_eq!(probed(&waiter), lives(&[&holder]));
}

pub(super) fn the_next_in_line_is_told_when_the_one_ahead_leaves(stage: &Stage) {
    let holder = stage.run("holder").locks("x").tries();
    let ahead = stage.run("ahead").locks("x").waits();
    let next = stage.run("next").locks("x").waits();
    let last = stage.run("last").locks("x").waits();
    let [mut next_inbox, mut last_inbox] = [&next, &last].map(|run| stage.inbox(run));
    assert_eq!(probed(&next), lives(&[&ahead]));
    assert_eq!(ahead.cancels(), "withdrawn");
    assert_eq!(next_inbox.wait(crate::PATIENCE).runs, std::slice::from_ref(&next.attempt.id));
    assert_eq!(probed(&next), lives(&[&holder]));
    assert!(last_inbox.wait(Duration::ZERO).runs.is_empty(), "the one ahead of it is the same");
}

pub(super) fn readers_are_not_told_of_a_reader_ahead_who_leaves(stage: &Stage) {
    stage.run("writer").locks("x").tries();
    let ahead = stage.run("ahead").shares("x").waits();
    let next = stage.run("next").shares("x").waits();
    let mut inbox = stage.inbox(&next);
    assert_eq!(ahead.cancels(), "withdrawn");
    assert!(inbox.wait(Duration::ZERO).runs.is_empty(), "it was not in its way");
}

pub(super) fn who_was_passed_by_a_child_of_the_holder_is_told_when_the_holder_leaves(stage: &Stage) {
    let parent = stage.run("parent").shares("x").tries();
    let waiter = stage.run("waiter").locks("x").waits();
    let child = stage.run("child").child_of(&parent).shares("x").tries();
    let mut inbox = stage.inbox(&waiter);
    assert_eq!(parent.commits(), "committed");
    assert_eq!(inbox.wait(crate::PATIENCE).runs, std::slice::from_ref(&waiter.attempt.id));
    assert_eq!(probed(waiter.is("queued")), lives(&[&child]));
}

pub(super) fn the_next_in_line_is_told_of_who_takes_its_place_ahead(stage: &Stage) {
    let holder = stage.run("holder").locks("x").tries();
    let ahead = stage.run("ahead").reads("n").locks("x").waits();
    let next = stage.run("next").locks("x").waits();
    assert_eq!(probed(&next), lives(&[&holder]));
    let mut inbox = stage.inbox(&next);
    assert_eq!(stage.create(&["n"]), "done");
    assert_eq!(inbox.wait(crate::PATIENCE).runs, std::slice::from_ref(&next.attempt.id));
    assert_eq!(probed(&next), lives(&[&ahead]));
}

pub(super) fn a_writer_is_told_of_all_readers_once_it_is_the_next(stage: &Stage) {
    let reader = stage.run("reader").shares("x").tries();
    let elsewhere = stage.run("elsewhere").locks("y").tries();
    let ahead = stage.run("ahead").shares("x").locks("y").waits();
    let writer = stage.run("writer").locks("x").waits();
    assert_eq!(probed(&writer), lives(&[&ahead]));
    let mut inbox = stage.inbox(&writer);
    assert_eq!(elsewhere.commits(), "committed");
    ahead.is("granted");
    assert_eq!(inbox.wait(crate::PATIENCE).runs, std::slice::from_ref(&writer.attempt.id));
    assert_eq!(probed(&writer), lives(&[&reader, &ahead]));
}

pub(super) fn who_stays_behind_the_same_runs_is_not_told(stage: &Stage) {
    let holder = stage.run("holder").locks("x").tries();
    let next = stage.run("next").locks("x").waits();
    let last = stage.run("last").locks("x").waits();
    let mut inbox = stage.inbox(&last);
    assert_eq!(holder.commits(), "committed");
    next.is("granted");
    assert_eq!(probed(last.is("queued")), lives(&[&next]));
    assert!(inbox.wait(Duration::ZERO).runs.is_empty());
}

pub(super) fn a_dead_process_ahead_is_found_when_a_run_behind_it_is_looked_at(stage: &Stage) {
    stage.run("elsewhere").locks("y").tries();
    let holder = stage.run("holder").locks("x").tries();
    let dead = stage.run("dead").shares("x").locks("y").waits();
    let between = stage.run("between").shares("x").locks("z").waits();
    let waiter = stage.run("waiter").locks("x").waits();
    dead.dies();
    // It probes the one ahead of it, which does not probe the dead one: they do not exclude each other.
    assert_eq!(probed(&waiter), lives(&[&between]));
    assert_eq!(holder.commits(), "committed");
    between.claims();
    assert_eq!(between.commits(), "committed");
    dead.is("cancelled");
    waiter.is("granted");
}

pub(super) fn whoever_comes_back_to_a_held_place_finds_that_the_holder_is_dead(stage: &Stage) {
    let holder = stage.run("holder").locks("x").tries();
    let placed = stage.run("placed").locks("x").holds_place(60);
    placed.is("queued");
    holder.dies();
    assert_eq!(placed.again(), "running");
    holder.is("lost(died)");
}

pub(super) fn a_held_place_outlives_the_process_that_asked_for_it(stage: &Stage) {
    let holder = stage.run("holder").locks("x").tries();
    let placed = stage.run("placed").locks("x").holds_place(60);
    let behind = stage.run("behind").locks("x").waits();
    placed.dies();
    assert_eq!(probed(&behind), lives(&[]), "there is no process to look at");
    assert_eq!(holder.commits(), "committed");
    placed.is("granted");
    let mut elsewhere = stage.run("elsewhere").locks("x").unsent(flowlock::step::Patience::HoldPlace(60_000));
    (elsewhere.attempt, elsewhere.spec) = (placed.attempt.clone(), placed.spec.clone());
    assert_eq!(elsewhere.again(), "running");
    behind.is("queued");
    elsewhere.dies();
    assert_eq!(elsewhere.is_buried(), "done", "whoever runs has a process");
    behind.is("granted");
}

pub(super) fn a_step_finds_the_dead_in_the_way_of_many_runs(stage: &Stage) {
    let gate = stage.run("gate").locks("a gate").lease(600).tries();
    let each = |at: usize| {
        let lock = format!("lock {at:02}");
        let holds = |who: &str| stage.run(&format!("{who} {at}")).shares(&lock).lease(600).tries();
        let holders = ["one", "other"].map(holds);
        (holders, stage.run(&format!("waiter {at}")).shares("a gate").locks(&lock).waits())
    };
    let all: Vec<_> = (0..12).map(each).collect();
    all.iter().flat_map(|(holders, _)| holders).for_each(Actor::dies);
    assert_eq!(gate.commits(), "committed");
    for (_, waiter) in &all {
        waiter.is("granted");
    }
}

pub(super) fn what_a_step_may_probe_counts_for_all_the_runs_it_looks_at(stage: &Stage) {
    let gate = stage.run("gate").locks("a gate").tries();
    let readers = |lock: &str, count| -> Vec<_> {
        (0..count).map(|at| stage.run(&format!("{lock} {at}")).shares(lock).tries()).collect()
    };
    let [_, second, third] = [("lock 1", 4), ("lock 2", 3), ("lock 3", 2)].map(|(lock, count)| {
        let all = readers(lock, count);
        stage.run(&format!("waits for {lock}")).shares("a gate").locks(lock).waits().is("queued");
        all
    });
    let last = [&second, &third].map(|all| all.last().expect("a reader"));
    for reader in &last {
        reader.dies();
    }
    stage.world(|world| world.bound_steps(Bounds { probes: 8, ..Bounds::default() }));
    // Of eight, four are in the way of the first, three of the second, and one is left for the third.
    assert_eq!(gate.commits(), "committed");
    last[0].is("lost(died)");
    last[1].is("running");
    stage.world(|world| world.bound_steps(Bounds::default()));
}
