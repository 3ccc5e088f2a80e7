//! The next run in the queue knows of what time alone will change: it looks again at that time, and
//! begins.

use std::time::Duration;

use flowlock::Ticket;
use flowlock::step::{Answer, Patience, Standing, Step, Unlock};

use super::{Actor, Stage};

/// Returns in how many milliseconds a waiting run's process is told to look again, when it asks.
fn looks_again(actor: &Actor<'_>) -> Option<u64> {
    let explain = vec![actor.attempt.id.clone()];
    let heartbeat = Step::Heartbeat { client: actor.holder.client, from: Ticket(0), explain };
    match actor.stage.step(&heartbeat) {
        Answer::Heard { mut runs, .. } => match runs.remove(0).1 {
            Standing::Waiting(waiting) => waiting.look_again_ms,
            other => panic!("it does not wait: {other:?}"),
        },
        other => panic!("not an answer to a heartbeat: {other:?}"),
    }
}

/// Lets the time pass that the run's process was told; only this process looks again.
fn looks_in(actor: &Actor<'_>, ms: u64) {
    actor.stage.world(|world| world.advance(Duration::from_millis(ms)));
    actor.beats();
}

/// One run that waits for lock `free` and for another lock that is held for long; and one that waits
/// only for `free`.
fn ahead_and_behind(stage: &Stage, patience: Patience) -> [Actor<'_>; 2] {
    stage.run("elsewhere").locks("held").lease(600).tries().is("running");
    let ahead = stage.run("ahead").locks("free").locks("held").unsent(patience);
    ahead.sends(patience);
    let behind = stage.run("behind").locks("free").waits();
    ahead.is("queued");
    behind.is("queued");
    [ahead, behind]
}

pub(super) fn who_is_behind_a_held_place_begins_when_it_ends(stage: &Stage) {
    let [place, behind] = ahead_and_behind(stage, Patience::HoldPlace(7_000));
    assert_eq!(looks_again(&behind), Some(7_000));
    assert_eq!(stage.run("try").locks("free").tries().first_blocked().retry_after_ms, Some(30_000));
    looks_in(&behind, 7_000);
    behind.is("granted");
    place.is("timed_out");
}

pub(super) fn a_try_behind_a_held_place_is_told_to_come_back_at_its_end(stage: &Stage) {
    stage.run("holder").locks("l").lease(600).tries();
    stage.run("place").locks("l").holds_place(7).is("queued");
    assert_eq!(stage.run("try").locks("l").tries().first_blocked().retry_after_ms, Some(7_000));
}

pub(super) fn who_is_behind_a_held_place_is_told_if_it_is_to_end_sooner(stage: &Stage) {
    let [place, behind] = ahead_and_behind(stage, Patience::HoldPlace(60_000));
    let mut inbox = stage.inbox(&behind);
    place.sends(Patience::HoldPlace(60_000));
    assert!(inbox.wait(Duration::ZERO).runs.is_empty(), "it ends no sooner");
    place.sends(Patience::HoldPlace(2_000));
    assert_eq!(inbox.wait(crate::PATIENCE).runs, std::slice::from_ref(&behind.attempt.id));
    assert_eq!(looks_again(&behind), Some(2_000));
}

pub(super) fn who_is_behind_a_run_begins_when_its_wait_ends(stage: &Stage) {
    let [ahead, behind] = ahead_and_behind(stage, Patience::Wait(Some(4_000)));
    assert_eq!(looks_again(&behind), Some(4_000));
    looks_in(&behind, 4_000);
    ahead.is("timed_out");
    behind.is("granted");
}

pub(super) fn a_process_sees_to_the_ends_of_its_own_waits(stage: &Stage) {
    stage.run("elsewhere").locks("held").lease(600).tries();
    let ahead = stage.run("ahead").locks("free").locks("held").waits_for(4);
    let behind = stage.run("behind").locks("free").beside(&ahead).waits();
    assert_eq!(looks_again_of(&behind), None);
}

/// The same for one run among others of its process.
fn looks_again_of(actor: &Actor<'_>) -> Option<u64> {
    let explain = vec![actor.attempt.id.clone()];
    let heartbeat = Step::Heartbeat { client: actor.holder.client, from: Ticket(0), explain };
    let Answer::Heard { runs, .. } = actor.stage.step(&heartbeat) else { panic!("not heard") };
    let of_it = runs.into_iter().find(|(run, _)| *run == actor.attempt.id);
    let Some((_, Standing::Waiting(waiting))) = of_it else { panic!("it does not wait") };
    waiting.look_again_ms
}

pub(super) fn who_is_behind_a_silent_process_begins_when_it_is_given_up(stage: &Stage) {
    let [ahead, behind] = ahead_and_behind(stage, Patience::Wait(None));
    looks_in(&behind, 4_000);
    assert_eq!(looks_again(&behind), None, "nobody need look while it is heard as often as it should be");
    looks_in(&behind, 2_000);
    assert_eq!(looks_again(&behind), Some(4_000), "it is overdue");
    looks_in(&behind, 4_000);
    assert_eq!(ahead.state(), "queued, absent");
    behind.is("granted");
}

pub(super) fn who_is_behind_a_grant_begins_when_it_can_be_claimed_no_more(stage: &Stage) {
    let holder = stage.run("holder").locks("l").tries();
    let silent = stage.run("silent").locks("l").waits();
    let behind = stage.run("behind").locks("l").waits();
    stage.world(|world| world.advance(Duration::from_secs(3)));
    assert_eq!(holder.commits(), "committed");
    silent.is("granted");
    assert_eq!(looks_again(&behind), Some(7_000));
    looks_in(&behind, 7_000);
    behind.is("granted");
}

pub(super) fn who_is_behind_a_grant_is_told_if_its_lease_ends_sooner(stage: &Stage) {
    for (id, lease, is_told) in [("short", 2, true), ("long", 60, false)] {
        let holder = stage.run(&format!("holder.{id}")).locks(id).tries();
        let next = stage.run(&format!("next.{id}")).locks(id).lease(lease).waits();
        let behind = stage.run(&format!("behind.{id}")).locks(id).waits();
        assert_eq!(holder.commits(), "committed");
        assert_eq!(looks_again(&behind), Some(10_000));
        let mut inbox = stage.inbox(&behind);
        assert_eq!(next.claims(), "running");
        let patience = if is_told { crate::PATIENCE } else { Duration::ZERO };
        assert_eq!(!inbox.wait(patience).runs.is_empty(), is_told, "{id}");
        assert_eq!(looks_again(&behind), Some(lease * 1_000));
        if is_told {
            looks_in(&behind, lease * 1_000);
            behind.is("granted");
        }
    }
}

pub(super) fn who_is_behind_a_holder_begins_when_its_longest_run_time_is_over(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(60).longest(8).tries();
    let behind = stage.run("behind").locks("l").waits();
    stage.world(|world| world.advance(Duration::from_secs(3)));
    holder.refreshes();
    assert_eq!(looks_again(&behind), Some(5_000));
    looks_in(&behind, 5_000);
    behind.is("granted");
}

pub(super) fn who_is_behind_a_revoked_holder_begins_when_its_lease_ends(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(8).tries();
    let behind = stage.run("behind").locks("l").waits();
    assert_eq!(holder.is_unlocked(Unlock::WhenAcknowledged), "done");
    assert_eq!(looks_again(&behind), Some(8_000));
    looks_in(&behind, 8_000);
    holder.is("lost(broken)");
    behind.is("granted");
}

pub(super) fn a_reader_in_line_looks_when_its_input_expires_and_those_behind_it_begin(stage: &Stage) {
    assert_eq!(stage.create_for(&["n"], 5), "done");
    stage.run("elsewhere").locks("held").lease(600).tries();
    let reader = stage.run("reader").reads("n").locks("free").locks("held").waits();
    let behind = stage.run("behind").locks("free").waits();
    assert_eq!(looks_again(&reader), Some(5_000));
    looks_in(&reader, 5_000);
    reader.is("awaiting_input");
    behind.is("granted");
}

pub(super) fn nobody_looks_for_a_held_place_whose_input_expires_but_who_is_behind_it(stage: &Stage) {
    assert_eq!(stage.create_for(&["n"], 5), "done");
    stage.run("elsewhere").locks("held").lease(600).tries();
    let place = stage.run("place").reads("n").locks("free").locks("held").holds_place(60);
    let behind = stage.run("behind").locks("free").waits();
    assert_eq!(looks_again(&behind), Some(5_000));
    looks_in(&behind, 5_000);
    place.is("awaiting_input");
    behind.is("granted");
}

pub(super) fn a_reader_in_line_is_told_of_a_record_that_expires_sooner(stage: &Stage) {
    assert_eq!(stage.create(&["n"]), "done");
    stage.run("elsewhere").locks("held").lease(600).tries();
    let reader = stage.run("reader").reads("n").locks("held").waits();
    assert_eq!(looks_again(&reader), Some(600_000));
    let mut inbox = stage.inbox(&reader);
    assert_eq!(stage.create_for(&["n"], 5), "done");
    assert_eq!(inbox.wait(crate::PATIENCE).runs, std::slice::from_ref(&reader.attempt.id));
    assert_eq!(looks_again(&reader), Some(5_000));
    assert_eq!(stage.create(&["n"]), "done");
    assert!(inbox.wait(Duration::ZERO).runs.is_empty(), "this one stays");
}
