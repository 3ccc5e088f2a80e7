//! 3.4: hand-over, accepting, silence, held places.

use std::time::Duration;

use flowlock::step::{Answer, Patience, Standing, Step, Unlock};
use flowlock::{RunId, State, Ticket};

use super::Stage;

pub(super) fn a_commit_hands_over_in_the_same_step(stage: &Stage) {
    let a = stage.run("A").writes("x").tries();
    let b = stage.run("B").reads("x").waits();
    let c = stage.run("C").reads("x").waits();
    assert_eq!(a.commits(), "committed");
    b.is("granted");
    c.is("granted");
    assert!(b.token() < c.token(), "by ticket");
}

pub(super) fn every_way_to_free_names_hands_over(stage: &Stage) {
    let hold = |id: &str| stage.run(id).locks(id).lease(600).tries();
    let wait = |id: &str| stage.run(&format!("after {id}")).locks(id).waits();
    let [fails, unlocked, dies] = ["fails", "unlocked", "dies"].map(hold);
    let [after_fail, after_unlock, after_death] = ["fails", "unlocked", "dies"].map(wait);
    assert_eq!(fails.fails(), "failed");
    after_fail.is("granted");
    assert_eq!(unlocked.is_unlocked(Unlock::Now), "done");
    after_unlock.is("granted");
    dies.dies();
    assert_eq!(dies.is_buried(), "done");
    after_death.is("granted");
    assert_eq!(after_death.cancels(), "withdrawn");
    stage.run("after the cancel").locks("dies").tries().is("running");
}

pub(super) fn a_handed_over_run_must_claim_before_it_runs(stage: &Stage) {
    let a = stage.run("A").locks("l").tries();
    let b = stage.run("B").locks("l").lease(20).waits();
    assert_eq!(a.commits(), "committed");
    b.is("granted");
    stage.run("C").locks("l").tries().is("refused(busy)");
    stage.pass(9);
    assert_eq!(b.claims(), "running");
    assert_eq!(b.claims(), "running", "a repeated claim changes nothing");
    // The lease counts from the claim.
    stage.pass(19);
    b.is("running");
    stage.pass(1);
    b.is("running, lapsed");
}

pub(super) fn only_the_run_that_got_the_names_is_woken(stage: &Stage) {
    let a = stage.run("A").locks("l").tries();
    let b = stage.run("B").locks("l").waits();
    let c = stage.run("C").locks("l").waits();
    let [mut inbox_b, mut inbox_c] = [&b, &c].map(|run| stage.inbox(run));
    assert_eq!(a.commits(), "committed");
    assert_eq!(inbox_b.wait(crate::PATIENCE).runs, std::slice::from_ref(&b.attempt.id));
    assert!(inbox_c.wait(Duration::ZERO).runs.is_empty());
}

pub(super) fn a_waiter_silent_for_ten_seconds_reserves_nothing(stage: &Stage) {
    stage.run("holder").locks("l").lease(600).tries();
    let silent = stage.run("silent").locks("l").locks("m").waits();
    let behind = stage.run("behind").locks("m").waits();
    stage.pass_hearing(9, &[&behind]);
    silent.is("queued");
    behind.is("queued");
    stage.pass_hearing(1, &[&behind]);
    silent.is("queued, absent");
    behind.is("granted");
}

pub(super) fn a_process_that_asks_for_something_else_is_heard(stage: &Stage) {
    stage.run("holder").locks("l").lease(600).tries();
    let waiter = stage.run("waiter").locks("l").waits();
    stage.pass(9);
    stage.run("elsewhere").beside(&waiter).locks("free").tries().is("running");
    stage.pass(9);
    waiter.is("queued");
    stage.pass(2);
    waiter.is("queued, absent");
}

pub(super) fn a_heartbeat_keeps_its_place_and_names_silent_runs_without_reviving_them(stage: &Stage) {
    stage.run("holder").locks("l").lease(600).tries();
    let a = stage.run("A").locks("l").waits();
    let b = stage.run("B").beside(&a).locks("l").waits();
    stage.pass_hearing(30, &[&a]);
    assert_eq!(a.beats(), ["A queued", "B queued"]);
    stage.pass(10);
    assert_eq!(a.beats(), ["A queued, absent", "B queued, absent"]);
    assert_eq!(a.beats(), ["A queued, absent", "B queued, absent"]);
    assert_eq!(b.again(), "queued");
    assert_eq!(a.beats(), ["A queued, absent", "B queued"]);
}

pub(super) fn a_heartbeat_speaks_of_a_thousand_runs_and_says_where_to_go_on(stage: &Stage) {
    let first = stage.run("0000").reads("x").waits();
    let _others: Vec<_> =
        (1..=1_000).map(|at| stage.run(&format!("{at:04}")).beside(&first).reads("x").waits()).collect();
    let stranger = stage.run("stranger").reads("x").waits();
    let said = |ids: std::ops::RangeInclusive<u32>| -> Vec<String> {
        ids.map(|at| format!("{at:04} awaiting_input")).collect()
    };
    let (heard, next) = first.beats_from(Ticket(0));
    let next = next.expect("one run is left");
    assert_eq!(heard, said(0..=999));
    assert_eq!(first.beats_from(next), (said(1_000..=1_000), None));
    assert_eq!(stranger.beats(), ["stranger awaiting_input"]);
}

pub(super) fn a_heartbeat_explains_the_sixteen_runs_it_asks_about_and_no_other(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let first = stage.run("00").locks("l").waits();
    let others: Vec<_> =
        (1..20).map(|at| stage.run(&format!("{at:02}")).beside(&first).locks("l").waits()).collect();
    let all = || std::iter::once(&first).chain(&others);
    let beat = |explain: Vec<RunId>| {
        let client = first.holder.client;
        match stage.step(&Step::Heartbeat { client, from: Ticket(0), explain }) {
            Answer::Heard { runs, .. } => runs,
            other => panic!("{other:?}"),
        }
    };
    let id = |at: usize| all().nth(at).unwrap().attempt.id.clone();
    let explained = |heard: &[(RunId, Standing)]| -> Vec<RunId> {
        heard
            .iter()
            .filter(|(_, standing)| matches!(standing, Standing::Waiting(waiting) if !waiting.blocked.by.is_empty()))
            .map(|(run, _)| run.clone())
            .collect()
    };
    let none = beat(Vec::new());
    let still = Standing::StillWaiting { state: State::Queued, present: true };
    assert_eq!(none, all().map(|run| (run.attempt.id.clone(), still.clone())).collect::<Vec<_>>());
    assert_eq!(explained(&beat(vec![id(19), id(3), id(3)])), [id(3), id(19)]);
    let asked: Vec<_> = (0..20).rev().map(id).collect();
    assert_eq!(explained(&beat(asked)), (4..20).map(id).collect::<Vec<_>>());
    // A grant is always in the answer, whichever runs it was asked about.
    assert_eq!(holder.commits(), "committed");
    assert!(matches!(beat(Vec::new())[0].1, Standing::Granted { .. }));
}

pub(super) fn a_silent_run_without_a_limit_is_given_up_after_ten_minutes_and_one_with_a_limit_at_its_end(
    stage: &Stage,
) {
    let holder = stage.run("holder").locks("l").lease(3_600).tries();
    let for_ever = stage.run("for-ever").locks("l").waits();
    let [half, whole] =
        [("half", 1_800), ("whole", 3_500)].map(|(id, end)| stage.run(id).locks("l").waits_for(end));
    stage.pass(10);
    stage.pass(599);
    for_ever.is("queued, absent");
    stage.pass(1);
    for_ever.is("timed_out");
    half.is("queued, absent");
    whole.is("queued, absent");
    stage.pass(1_190);
    half.is("timed_out");
    assert_eq!(whole.again(), "queued");
    assert_eq!(holder.commits(), "committed");
    whole.is("granted");
    // A new attempt with the same request waits like any other.
    let anew = stage.run("for-ever").beside(&for_ever).locks("l").waits();
    anew.is("queued");
}

pub(super) fn a_silent_run_resumes_its_ticket_when_it_asks_again(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let first = stage.run("first").locks("l").waits();
    let second = stage.run("second").locks("l").waits();
    stage.pass_hearing(10, &[&second]);
    first.is("queued, absent");
    assert_eq!(first.again(), "queued");
    assert_eq!(holder.commits(), "committed");
    first.is("granted");
    second.is("queued");
    // A claim does the same, and takes the grant at once if the way is free.
    assert_eq!(first.claims(), "running");
    stage.pass_hearing(20, &[]);
    second.is("queued, absent");
    assert_eq!(first.commits(), "committed");
    second.is("queued, absent");
    assert_eq!(second.claims(), "running");
}

pub(super) fn a_grant_must_be_claimed_within_ten_seconds_of_the_last_sign_of_life(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let a = stage.run("A").locks("l").waits();
    stage.pass_hearing(8, &[&a]); // heard at 5
    assert_eq!(holder.commits(), "committed");
    a.is("granted");
    stage.pass(1);
    a.beats();
    stage.pass(5);
    a.is("granted");
    // 10 s after it was heard before the grant; the heartbeat since then did not extend that.
    stage.pass(1);
    a.is("granted, lapsed");
}

pub(super) fn an_unclaimed_grant_goes_back_to_its_ticket_when_somebody_else_is_granted(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let stuck = stage.run("stuck").locks("l").waits();
    assert_eq!(holder.commits(), "committed");
    stage.pass(10);
    stuck.is("granted, lapsed");
    let other = stage.run("other").locks("l").tries();
    other.is("running");
    stuck.is("queued, absent");
    assert_eq!(stuck.claims(), "queued");
    let later = stage.run("later").locks("l").waits();
    assert_eq!(other.commits(), "committed");
    stuck.is("granted");
    later.is("queued");
}

pub(super) fn a_late_claim_succeeds_if_nobody_needed_the_names(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let a = stage.run("A").locks("l").waits();
    assert_eq!(holder.commits(), "committed");
    stage.pass(300);
    a.is("granted, lapsed");
    assert_eq!(a.claims(), "running");
    stage.run("B").locks("l").tries().is("refused(busy)");
}

pub(super) fn a_late_claim_asks_again_while_older_work_is_left_over(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let slow = stage.run("slow").locks("l").waits();
    stage.run("crowded").locks("crowd").lease(10).tries();
    let crowd: Vec<_> = (0..200).map(|at| stage.run(&format!("{at}")).shares("crowd").waits()).collect();
    let next = stage.run("next").locks("l").waits();
    assert_eq!(holder.commits(), "committed");
    stage.world(|world| world.advance(Duration::from_secs(5)));
    for waiter in crowd.iter().chain([&next]) {
        waiter.beats();
    }
    stage.world(|world| world.advance(Duration::from_secs(5)));
    for _ in 0..3 {
        assert_eq!(slow.claims(), "ask_again");
    }
    assert_eq!(slow.claims(), "queued", "the next one in line was granted first");
    next.is("granted");
}

pub(super) fn a_held_place_reserves_to_its_end_and_each_return_renews_it(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let placed = stage.run("placed").locks("l").holds_place(30);
    placed.is("queued");
    stage.pass(29);
    placed.is("queued");
    assert_eq!(placed.again(), "queued");
    stage.pass(29);
    placed.is("queued");
    stage.run("try").locks("l").tries().is("refused(busy)");
    assert_eq!(holder.commits(), "committed");
    placed.is("granted");
    stage.run("second try").locks("l").tries().is("refused(busy)");
}

pub(super) fn a_grant_to_a_held_place_is_claimed_by_coming_back(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let placed = stage.run("placed").locks("l").holds_place(60);
    stage.pass(1);
    assert_eq!(holder.commits(), "committed");
    stage.pass(58);
    placed.is("granted");
    assert_eq!(placed.again(), "running");
}

pub(super) fn a_held_place_ends_by_itself(stage: &Stage) {
    stage.run("holder").locks("l").lease(600).tries();
    let placed = stage.run("placed").locks("l").holds_place(5);
    let too_long = stage.run("too long").locks("l").holds_place(3_600);
    stage.pass(4);
    placed.is("queued");
    stage.pass(1);
    placed.is("timed_out");
    stage.pass(54);
    too_long.is("queued");
    stage.pass(1);
    too_long.is("timed_out");
    assert_eq!(super::word::word(&placed.sends(Patience::HoldPlace(5_000))), "timed_out");
}

/// As if another process had kept the liveness file locked when the run was first sent.
pub(super) fn a_process_that_has_its_liveness_lock_later_is_found_dead_all_the_same(stage: &Stage) {
    stage.run("holder").locks("l").tries();
    let mut waiter = stage.run("waiter").locks("l").unsent(Patience::Wait(None));
    let liveness = waiter.holder.liveness.take();
    assert_eq!(waiter.again(), "queued");
    waiter.holder.liveness = liveness;
    assert_eq!(waiter.again(), "queued");
    waiter.dies();
    assert_eq!(waiter.is_buried(), "done");
    waiter.is("cancelled");
}

pub(super) fn a_cancelled_waiter_makes_room(stage: &Stage) {
    stage.create(&["x"]);
    let reader = stage.run("reader").reads("x").tries();
    let writer = stage.run("writer").writes("x").waits();
    let late = stage.run("late reader").reads("x").waits();
    assert_eq!(writer.cancels(), "withdrawn");
    writer.is("cancelled");
    late.is("granted");
    assert_eq!(reader.commits(), "committed");
}

pub(super) fn an_absent_run_that_may_not_overwrite_is_refused_when_it_comes_back(stage: &Stage) {
    let holder = stage.run("holder").writes("x").lease(600).tries();
    let silent = stage.run("silent").writes("x").once().waits();
    stage.pass(11);
    silent.is("queued, absent");
    assert_eq!(holder.commits(), "committed");
    silent.is("queued, absent");
    assert_eq!(silent.again(), "refused(output_exists)");
}
