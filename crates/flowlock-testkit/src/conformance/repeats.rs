//! S8: repetitions are harmless, late arrivals are never granted, outcomes are remembered.

use flowlock::step::{Answer, Invalid, Patience, Standing, Unlock};

use super::stage::ByHand;
use super::{Actor, Stage};

/// Makes another process that comes for a run.
fn comes_for<'s>(run: &Actor<'s>, process: &str) -> Actor<'s> {
    let mut comer = run.stage.run(process).unsent(Patience::HoldPlace(60_000));
    (comer.attempt, comer.spec) = (run.attempt.clone(), run.spec.clone());
    comer
}

pub(super) fn a_repeated_request_gets_the_current_state(stage: &Stage) {
    let a = stage.run("A").locks("l").waits();
    assert_eq!(a.again(), "running");
    let token = a.token();
    let b = stage.run("B").locks("l").waits();
    assert_eq!(b.again(), "queued");
    assert_eq!(a.commits(), "committed");
    assert_eq!(a.again(), "committed");
    assert_eq!(b.again(), "granted", "asking again is not yet the claim");
    assert_eq!(b.claims(), "running");
    assert!(b.token() > token);
    assert_eq!(b.again(), "running");
    assert_eq!(b.fails(), "failed");
    assert_eq!(b.again(), "failed");
}

pub(super) fn a_process_that_comes_for_the_run_of_a_dead_one_continues_it(stage: &Stage) {
    let first = stage.run("first").locks("x").holds_place(60);
    first.dies();
    let second = comes_for(&first, "second");
    assert_eq!(second.again(), "running");
    assert_eq!(second.seen().map(|run| run.holder).as_ref(), Some(&second.holder));
    stage.run("next").locks("x").tries().is("refused(busy)");
    assert_eq!(second.is_buried(), "done");
    assert_eq!(second.refreshes(), "held");
    second.dies();
    stage.run("next").locks("x").tries().is("running");
    second.is("lost(died)");
}

pub(super) fn neither_of_two_processes_ends_the_run_they_share_by_its_death(stage: &Stage) {
    let first = stage.run("first").locks("x").lease(60).holds_place(60);
    let second = comes_for(&first, "second");
    assert_eq!(second.again(), "running");
    for process in [&first, &second] {
        let origin = |run: flowlock::Run| run.holder.origin;
        assert_eq!(process.again(), "running");
        assert_eq!(first.seen().map(origin), Some(process.holder.origin.clone()), "who came last");
    }
    for process in [&first, &second] {
        process.dies();
        assert_eq!(process.is_buried(), "done");
        stage.run("next").locks("x").tries().is("refused(busy)");
    }
    stage.pass(60);
    first.is("running, lapsed");
}

pub(super) fn a_process_that_comes_for_an_unlocked_run_is_told_so(stage: &Stage) {
    let first = stage.run("first").locks("x").lease(600).holds_place(60);
    let next = stage.run("next").locks("x").waits();
    assert_eq!(first.is_unlocked(Unlock::WhenAcknowledged), "done");
    let second = comes_for(&first, "second");
    assert_eq!(second.again(), "lost(broken)");
    first.is("running, revoked");
    next.is("queued");
    first.dies();
    assert_eq!(second.again(), "lost(broken)");
    next.is("granted");
}

pub(super) fn nobody_is_the_process_of_a_detached_run(stage: &Stage) {
    let run = stage.run("run").locks("x").holds_place(60);
    assert_eq!(run.detaches(), "done");
    let second = comes_for(&run, "second");
    assert_eq!(second.again(), "running");
    assert_eq!(second.seen().map(|run| (run.detached, run.holder.liveness)), Some((true, None)));
}

pub(super) fn the_same_attempt_with_another_body_is_refused(stage: &Stage) {
    let a = stage.run("A").locks("l").tries();
    let mut other = stage.run("A").locks("m").unsent(Patience::Try);
    other.attempt = a.attempt.clone();
    assert_eq!(other.sends(Patience::Try), Answer::Invalid(Invalid::RunIdReused));
    a.is("running");
    assert_eq!(a.commits(), "committed");
    assert_eq!(other.sends(Patience::Try), Answer::Invalid(Invalid::RunIdReused));
    stage.run("B").locks("m").tries().is("running");
}

pub(super) fn a_living_run_id_belongs_to_its_first_attempt(stage: &Stage) {
    let a = stage.run("A").locks("l").tries();
    stage.run("A").locks("m").tries().is("run_id_in_use");
    let waiting = stage.run("W").locks("l").waits();
    stage.run("W").locks("m").waits().is("run_id_in_use");
    waiting.is("queued");
    a.is("running");
    stage.run("B").locks("m").tries().is("running");
    // A dead process has no run to protect.
    a.dies();
    stage.run("A").locks("n").tries().is("running");
}

pub(super) fn a_finished_run_id_may_be_used_again(stage: &Stage) {
    let first = stage.run("A").writes("x").tries();
    assert_eq!(first.commits(), "committed");
    let second = stage.run("A").writes("x").tries();
    second.is("running");
    assert_eq!(first.commits(), "committed", "the first attempt's answer stays");
    assert_eq!(first.again(), "committed");
    assert_eq!(second.fails(), "failed");
    assert_eq!(first.refreshes(), "committed");
}

pub(super) fn a_repeated_commit_gets_the_same_answer(stage: &Stage) {
    let a = stage.run("A").writes("x").tries();
    assert_eq!(a.commits_with("one"), "committed");
    let record = stage.record("x");
    stage.pass(1);
    assert_eq!(a.commits_with("two"), "committed");
    assert_eq!(a.fails(), "committed");
    assert_eq!(stage.record("x"), record);
}

pub(super) fn a_request_that_arrives_after_its_latest_arrival_is_refused(stage: &Stage) {
    let a = stage.run("A").locks("l").latest(2_000).unsent(Patience::Try);
    stage.pass(3);
    assert_eq!(a.sends(Patience::Try), Answer::Invalid(Invalid::ArrivedTooLate));
    stage.run("B").locks("l").tries().is("running");
}

pub(super) fn a_latest_arrival_is_at_most_five_minutes_ahead(stage: &Stage) {
    stage.run("A").locks("l").latest(300_001).tries().is("latest_too_far");
    stage.run("B").locks("l").latest(300_000).tries().is("running");
}

pub(super) fn a_request_cancelled_before_it_arrives_is_never_granted(stage: &Stage) {
    let a = stage.run("A").locks("l").latest(5_000).unsent(Patience::Wait(None));
    assert_eq!(a.cancels(), "withdrawn");
    assert_eq!(a.cancels(), "withdrawn");
    for _ in 0..8 {
        let answer = a.sends(Patience::Wait(None));
        let harmless = matches!(
            answer,
            Answer::Standing(Standing::Ended { outcome: flowlock::Outcome::Cancelled, .. })
                | Answer::Invalid(Invalid::ArrivedTooLate)
        );
        assert!(harmless, "{answer:?}");
        stage.pass(1);
    }
    stage.run("B").locks("l").tries().is("running");
}

pub(super) fn outcomes_are_remembered_for_ten_minutes(stage: &Stage) {
    let committed = stage.run("committed").writes("x").tries();
    assert_eq!(committed.commits(), "committed");
    let lost = stage.run("lost").locks("l").lease(5).tries();
    stage.pass(5);
    stage.run("taker").locks("l").tries();
    stage.pass(594);
    assert_eq!(committed.commits(), "committed");
    assert_eq!(lost.commits(), "lost(taken)");
    stage.pass(5);
    assert_eq!(lost.commits(), "lost(taken)");
    stage.pass(600);
    // Forgotten, and still never a grant: its requests are too old.
    assert_eq!(committed.commits(), "not_found");
    assert_eq!(committed.again(), "arrived_too_late");
}

pub(super) fn a_cancel_after_the_start_changes_nothing(stage: &Stage) {
    let a = stage.run("A").writes("x").tries();
    assert_eq!(a.cancels(), "too late: running");
    a.is("running");
    assert_eq!(a.commits(), "committed");
    assert_eq!(a.cancels(), "too late: committed");
}

pub(super) fn what_is_done_by_hand_again_leaves_what_was_written_since(stage: &Stage) {
    assert_eq!(stage.create(&["x"]), "done");
    let before = stage.version("x");
    assert_eq!(stage.remove(&["x"]), "done");
    assert_eq!(stage.version("x"), before, "it is remembered what the record was");
    let writer = stage.run("writer").writes("x").tries();
    assert_eq!(writer.commits(), "committed");
    let written = stage.record("x").unwrap();
    for what in [ByHand::Remove, ByHand::Create] {
        stage.by_hand_again(what, "x", before);
        assert_eq!(stage.record("x").unwrap(), written, "{what:?}");
    }
}

pub(super) fn what_is_done_by_hand_again_is_done_if_nothing_was_written_since(stage: &Stage) {
    assert_eq!(stage.by_hand_again(ByHand::Create, "x", stage.version("x")), "done");
    let made = stage.version("x");
    assert_eq!(stage.by_hand_again(ByHand::Create, "x", made), "done");
    assert!(stage.version("x") > made);
    assert_eq!(stage.by_hand_again(ByHand::Remove, "x", stage.version("x")), "done");
    assert_eq!(stage.record("x"), None);
    assert_eq!(stage.by_hand_again(ByHand::Create, "x", stage.version("x")), "done");
    // Evidence that was forgotten meanwhile does not mean that the record was written.
    let forgotten = stage.version("x");
    stage.pass(8 * 86_400);
    assert!(stage.record("x").is_some());
    assert_eq!(stage.remove(&["x"]), "done");
    stage.pass(8 * 86_400);
    assert_eq!(stage.version("x"), flowlock::Token(0));
    assert_eq!(stage.by_hand_again(ByHand::Create, "x", forgotten), "done");
    assert!(stage.record("x").is_some());
}
