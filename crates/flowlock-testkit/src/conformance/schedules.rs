//! Schedules that broke earlier versions of the rules. Each was a bug on paper; none may become one in
//! code.

use flowlock::step::{Patience, Step, Who};

use super::{Actor, Stage};

/// More waiting runs than two steps can look at.
const CROWD: usize = 200;

pub(super) fn slots_do_not_starve_a_big_request(stage: &Stage) {
    let mut holders: Vec<Actor<'_>> =
        (0..4).map(|at| stage.run(&format!("small {at}")).slot("s", 1, 4).tries()).collect();
    let big = stage.run("big").slot("s", 2, 4).waits();
    for at in 0..2 {
        assert_eq!(holders.remove(0).commits(), "committed");
        stage.run(&format!("newcomer {at}")).slot("s", 1, 4).tries().is("refused(busy)");
    }
    big.is("granted");
}

pub(super) fn a_committed_input_activates_everybody_before_a_newcomer_decides(stage: &Stage) {
    let crowd: Vec<_> = (0..CROWD)
        .map(|at| stage.run(&format!("{at}")).reads("x").writes(&format!("out {at}")).waits())
        .collect();
    assert_eq!(stage.create(&["x"]), "done");
    // Neither the last one's output nor an unwanted name is given to a new request now.
    let last = format!("out {}", CROWD - 1);
    let newcomer = stage.run("newcomer").writes(&last).waits();
    newcomer.is("queued");
    stage.tick();
    stage.tick();
    for run in &crowd {
        run.is("granted");
    }
    newcomer.is("queued");
}

pub(super) fn a_late_holder_asks_again_while_older_work_is_left_over(stage: &Stage) {
    let [first, second] = ["a", "b"].map(|name| stage.run(name).locks(name).lease(9).tries());
    let reader_lock = stage.run("crowded").locks("crowd").lease(9).tries();
    for at in 0..CROWD {
        stage.run(&format!("{at}")).shares("crowd").waits();
    }
    let waits_for_b = stage.run("wants b").locks("b").waits();
    let waits_for_a = stage.run("wants a").locks("a").waits();
    stage.world(|world| world.advance(std::time::Duration::from_secs(9)));
    assert_eq!(first.refreshes(), "ask_again");
    assert_eq!(first.commits(), "ask_again");
    assert_eq!(first.refreshes(), "ask_again");
    // The work in between is done: first the crowd, then the runs that wait for these two.
    assert_eq!(first.refreshes(), "lost(taken)");
    waits_for_a.is("granted");
    waits_for_b.is("granted");
    second.is("lost(taken)");
    reader_lock.is("lost(taken)");
}

pub(super) fn work_is_done_by_ticket_over_all_names(stage: &Stage) {
    let writer = stage.run("writer").writes("x").locks("a").tries();
    let older = stage.run("older").reads("x").locks("b").waits();
    let younger = stage.run("younger").locks("a").locks("b").waits();
    older.is("awaiting_input");
    assert_eq!(writer.commits(), "committed");
    older.is("granted");
    assert_eq!(younger.is("queued").blockers(), ["lock_held b by older"]);
}

pub(super) fn a_stuck_thread_does_not_hold_a_grant_for_ever(stage: &Stage) {
    let holder = stage.run("holder").locks("l").tries();
    let thread = stage.run("stuck").locks("l").lease(600).waits();
    assert_eq!(holder.commits(), "committed");
    thread.is("granted");
    let mut served = 0;
    for second in 0..300 {
        stage.pass_hearing(1, &[]);
        if second % 5 == 0 {
            thread.beats(); // its process lives, the thread never claims
        }
        if second % 3 == 0 {
            let other = stage.run(&format!("{second}")).locks("l").tries();
            if other.state() == "running" {
                served += 1;
                assert_eq!(other.commits(), "committed");
            }
        }
    }
    assert!(served > 90, "only {served} of 100 others were served");
}

pub(super) fn a_dead_waiter_delays_a_bystander_by_at_most_fifteen_seconds(stage: &Stage) {
    let holder = stage.run("holder").locks("b").lease(600).tries();
    let dead = stage.run("dead").locks("a").locks("b").waits();
    let bystander = stage.run("bystander").locks("a").waits();
    stage.pass_hearing(9, &[&bystander]);
    assert_eq!(holder.commits(), "committed");
    dead.is("granted");
    stage.pass_hearing(6, &[&bystander]);
    bystander.is("granted");
}

pub(super) fn a_held_place_is_not_overtaken_while_it_is_silent(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let placed = stage.run("placed").locks("l").holds_place(60);
    stage.pass(12);
    assert_eq!(holder.commits(), "committed");
    stage.run("newcomer").locks("l").tries().is("refused(busy)");
    assert_eq!(placed.again(), "running");
}

pub(super) fn an_incomplete_record_can_be_repaired_by_a_run_that_may_not_overwrite(stage: &Stage) {
    stage.create(&["x"]);
    assert_eq!(stage.run("spoiler").writes("x").spoiling().tries().fails(), "failed");
    assert_eq!(stage.written(), "x incomplete");
    let repair = stage.run("repair").writes("x").once().tries();
    assert_eq!(repair.is("running").commits(), "committed");
    assert_eq!(stage.written(), "x live");
}

pub(super) fn a_run_granted_but_never_claimed_spoils_nothing(stage: &Stage) {
    stage.create(&["x"]);
    let holder = stage.run("holder").writes("x").lease(600).tries();
    let spoiler = stage.run("spoiler").writes("x").spoiling().waits();
    assert_eq!(holder.fails(), "failed");
    spoiler.is("granted");
    stage.pass(16);
    stage.run("reader").reads("x").tries().is("running");
    assert_eq!(stage.written(), "x live");
}

pub(super) fn a_delayed_duplicate_is_no_zombie_grant(stage: &Stage) {
    // It waits for ever and was withdrawn, and the network delivers its request again much later.
    let a = stage.run("A").locks("l").latest(5_000).waits();
    assert_eq!(a.fails(), "failed");
    for _ in 0..3 {
        stage.pass(400);
        let answer = a.sends(Patience::Wait(None));
        let said = super::word::word(&answer);
        assert!(["failed", "arrived_too_late"].contains(&said.as_str()), "{answer:?}");
    }
    stage.run("B").locks("l").tries().is("running");
}

pub(super) fn a_record_may_expire_between_hand_over_and_claim(stage: &Stage) {
    stage.create_for(&["x"], 6);
    let holder = stage.run("holder").locks("l").tries();
    let a = stage.run("A").reads("x").locks("l").waits();
    stage.pass(4);
    assert_eq!(holder.commits(), "committed");
    a.is("granted");
    stage.pass(3);
    assert_eq!(stage.written(), "");
    assert_eq!(a.claims(), "running");
}

pub(super) fn a_lapsed_parent_keeps_the_privilege_for_its_child(stage: &Stage) {
    stage.create(&["a", "b"]);
    let parent = stage.run("parent").reads("a").lease(5).tries();
    let other = stage.run("other").reads("a").lease(100).tries();
    let writer = stage.run("writer").writes("a").waits();
    let holder = stage.run("holder").writes("b").lease(100).tries();
    let child = stage.run("child").child_of(&parent).reads("a").writes("b").waits();
    child.is("queued");
    stage.pass_hearing(6, &[&writer, &child]);
    parent.is("running, lapsed");
    assert_eq!(holder.commits(), "committed");
    child.is("granted");
    assert_eq!(parent.refreshes(), "held late");
    let all = [parent.who(), other.who()];
    assert_eq!(super::word::word(&stage.step(&Step::Refresh(all.to_vec()))), "held, held");
    let _: &Who = &all[0];
}

pub(super) fn what_is_freed_while_other_work_is_left_over_is_handed_over_too(stage: &Stage) {
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let crowd: Vec<_> = (0..150)
        .map(|at| stage.run(&format!("{at:03}")).reads("x").locks(&format!("{at}")).waits())
        .collect();
    let waiter = stage.run("waiter").locks("l").waits();
    assert_eq!(stage.create(&["x"]), "done");
    assert_eq!(holder.commits(), "committed");
    crowd[149].is("awaiting_input");
    stage.tick();
    stage.tick();
    crowd[149].is("granted");
    waiter.is("granted");
}
