//! 3.1 and 3.2: which requests are granted, wait, or are refused.

use flowlock::LostBy;

use super::Stage;

pub(super) fn a_request_for_nothing_is_granted_at_once(stage: &Stage) {
    stage.run("A").tries().is("running");
    stage.run("B").waits().is("running");
}

pub(super) fn free_names_are_granted_in_the_acquire_itself(stage: &Stage) {
    let a = stage.run("A").writes("x").locks("l").slot("s", 1, 2).tries();
    a.is("running");
    let began = a.began();
    assert_eq!(began.token, a.token());
    assert_eq!(began.lease_left_ms, 60_000);
    assert!(began.inputs.is_empty());
}

pub(super) fn an_input_must_have_been_written(stage: &Stage) {
    stage.run("try").reads("x").tries().is("refused(busy)");
    let reader = stage.run("reader").reads("x").waits();
    assert_eq!(reader.is("awaiting_input").blockers(), ["input_missing x"]);
    let writer = stage.run("writer").writes("x").tries();
    assert_eq!(reader.is("awaiting_input").blockers(), ["input_being_written x by writer"]);
    assert_eq!(writer.fails(), "failed");
    assert_eq!(reader.is("awaiting_input").blockers(), ["input_missing x"]);
    assert_eq!(stage.run("writer again").writes("x").tries().commits(), "committed");
    reader.is("granted");
}

pub(super) fn readers_share_and_a_writer_is_alone(stage: &Stage) {
    stage.create(&["x"]);
    let [one, two] = ["one", "two"].map(|id| stage.run(id).reads("x").shares("l").tries());
    one.is("running");
    two.is("running");
    let writer = stage.run("writer").writes("x").tries();
    assert_eq!(
        writer.is("refused(busy)").first_blocked().by.iter().map(super::word::blocker).collect::<Vec<_>>(),
        ["output_being_read x by one", "output_being_read x by two"]
    );
    stage.run("locker").locks("l").tries().is("refused(busy)");
    for reader in [one, two] {
        assert_eq!(reader.commits(), "committed");
    }
    let writer = stage.run("writer again").writes("x").locks("l").tries();
    writer.is("running");
    stage.run("reader").reads("x").tries().is("refused(busy)");
    stage.run("second writer").writes("x").tries().is("refused(busy)");
    stage.run("sharer").shares("l").tries().is("refused(busy)");
}

pub(super) fn locks_need_no_record_and_leave_none(stage: &Stage) {
    let a = stage.run("A").locks("l").shares("m").slot("s", 1, 1).tries();
    assert_eq!(a.is("running").commits(), "committed");
    assert_eq!(stage.written(), "");
}

pub(super) fn a_name_both_read_and_written_is_held_alone_and_must_exist(stage: &Stage) {
    let a = stage.run("A").reads("x").writes("x").waits();
    a.is("awaiting_input");
    let reader = stage.run("reader").reads("x").waits();
    stage.create(&["x"]);
    a.is("granted");
    reader.is("queued");
    assert_eq!(a.claims(), "running");
    assert_eq!(a.commits(), "committed");
    reader.is("granted");
}

pub(super) fn the_same_word_in_three_spaces_is_three_names(stage: &Stage) {
    stage.run("A").writes("x").tries().is("running");
    stage.run("B").locks("x").tries().is("running");
    stage.run("C").slot("x", 1, 1).tries().is("running");
    for again in [stage.run("D").writes("x"), stage.run("E").locks("x"), stage.run("F").slot("x", 1, 1)] {
        again.tries().is("refused(busy)");
    }
}

pub(super) fn all_names_are_granted_or_none(stage: &Stage) {
    let holder = stage.run("holder").locks("a").tries();
    let both = stage.run("both").locks("a").locks("b").waits();
    assert_eq!(both.is("queued").blockers(), ["lock_held a by holder"]);
    // It holds neither name, but is queued for both.
    let bystander = stage.run("bystander").locks("b").waits();
    assert_eq!(bystander.is("queued").blockers(), ["queued_behind b by both"]);
    assert_eq!(holder.commits(), "committed");
    both.is("granted");
    bystander.is("queued");
    assert_eq!(both.claims(), "running");
    assert_eq!(both.commits(), "committed");
    bystander.is("granted");
}

pub(super) fn conflicting_runs_are_served_in_the_order_of_arrival(stage: &Stage) {
    let mut holder = stage.run("holder").writes("x").tries();
    let line = ["1", "2", "3", "4"].map(|id| stage.run(id).writes("x").waits());
    for (at, next) in line.into_iter().enumerate() {
        assert_eq!(holder.commits(), "committed");
        next.is("granted");
        assert_eq!(next.claims(), "running", "place {at}");
        stage.run(&format!("try {at}")).writes("x").tries().is("refused(busy)");
        holder = next;
    }
}

pub(super) fn runs_that_do_not_conflict_pass_freely(stage: &Stage) {
    stage.run("holder").locks("a").tries().is("running");
    stage.run("waiter").locks("a").locks("b").waits().is("queued");
    stage.run("passer").locks("c").waits().is("running");
}

pub(super) fn a_reader_waits_behind_a_waiting_writer(stage: &Stage) {
    stage.create(&["x"]);
    let reader = stage.run("reader").reads("x").tries();
    let writer = stage.run("writer").writes("x").waits();
    let late = stage.run("late reader").reads("x").waits();
    assert_eq!(late.is("queued").blockers(), ["queued_behind x by writer"]);
    assert_eq!(reader.commits(), "committed");
    writer.is("granted");
    assert_eq!(late.is("queued").blockers(), ["input_being_written x by writer"]);
}

pub(super) fn a_writer_waits_behind_a_waiting_reader(stage: &Stage) {
    stage.create(&["x"]);
    let holder = stage.run("holder").locks("l").tries();
    let reader = stage.run("reader").reads("x").locks("l").waits();
    let writer = stage.run("writer").writes("x").waits();
    assert_eq!(writer.is("queued").blockers(), ["queued_behind x by reader"]);
    stage.run("other reader").reads("x").tries().is("refused(busy)");
    assert_eq!(holder.commits(), "committed");
    reader.is("granted");
    assert_eq!(writer.is("queued").blockers(), ["output_being_read x by reader"]);
}

pub(super) fn an_awaiting_run_reserves_nothing(stage: &Stage) {
    stage
        .run("awaiting")
        .reads("missing")
        .writes("y")
        .locks("l")
        .slot("s", 1, 1)
        .waits()
        .is("awaiting_input");
    stage.run("passer").writes("y").locks("l").slot("s", 1, 1).tries().is("running");
}

pub(super) fn a_try_obeys_the_queue_and_never_enters_it(stage: &Stage) {
    let holder = stage.run("holder").locks("a").tries();
    stage.run("waiter").locks("a").locks("b").waits().is("queued");
    stage.run("try").locks("b").tries().is("refused(busy)");
    stage.run("after the try").locks("c").tries().is("running");
    let next = stage.run("next").locks("a").waits();
    assert_eq!(next.blockers(), ["lock_held a by holder", "queued_behind a by waiter"]);
    assert_eq!(holder.commits(), "committed");
}

pub(super) fn a_refused_try_says_when_the_first_deadline_in_its_way_is(stage: &Stage) {
    stage.run("short").locks("a").lease(7).tries();
    stage.run("long").locks("b").lease(600).tries();
    let retry = |actor: super::Actor<'_>| actor.first_blocked().retry_after_ms;
    assert_eq!(retry(stage.run("1").locks("a").locks("b").tries()), Some(7_000));
    assert_eq!(retry(stage.run("2").locks("b").tries()), Some(30_000));
    stage.pass(5);
    assert_eq!(retry(stage.run("3").locks("a").tries()), Some(2_000));
}

pub(super) fn an_output_that_exists_refuses_for_good(stage: &Stage) {
    stage.create(&["x"]);
    let once = stage.run("once").writes("x").once().waits();
    once.is("refused(output_exists)");
    assert_eq!(
        once.first_blocked().by.iter().map(super::word::blocker).collect::<Vec<_>>(),
        ["output_exists x"]
    );
    stage.remove(&["x"]);
    assert_eq!(once.again(), "refused(output_exists)", "the answer is final");
    stage.run("anew").writes("x").once().tries().is("running");
}

pub(super) fn an_output_that_exists_refuses_even_while_an_input_is_missing(stage: &Stage) {
    stage.create(&["x"]);
    stage.run("waits").reads("missing").writes("x").once().waits().is("refused(output_exists)");
    stage.run("tries").reads("missing").writes("x").once().tries().is("refused(output_exists)");
}

pub(super) fn the_step_that_writes_refuses_waiting_runs_that_may_not_overwrite(stage: &Stage) {
    let writer = stage.run("writer").writes("x").tries();
    let queued = stage.run("queued").writes("x").once().waits();
    let placed = stage.run("placed").writes("x").once().holds_place(60);
    let awaiting = stage.run("awaiting").reads("missing").writes("x").once().waits();
    let may = stage.run("may").writes("x").waits();
    assert_eq!(writer.commits(), "committed");
    for run in [queued, placed, awaiting] {
        run.is("refused(output_exists)");
    }
    may.is("granted");
}

pub(super) fn a_wait_ends_when_its_time_is_over(stage: &Stage) {
    let holder = stage.run("holder").locks("a").tries();
    let short = stage.run("short").locks("a").waits_for(8);
    let long = stage.run("long").locks("a").waits_for(20);
    let mut inbox = stage.inbox(&short);
    stage.pass_hearing(7, &[&short, &long]);
    short.is("queued");
    stage.pass_hearing(1, &[]);
    short.is("timed_out");
    // Its process may use another clock, or not have been scheduled.
    assert_eq!(inbox.wait(crate::PATIENCE).runs, std::slice::from_ref(&short.attempt.id));
    assert_eq!(holder.fails(), "failed");
    long.is("granted");
    assert_eq!(short.again(), flowlock::Outcome::TimedOut.as_str());
    // The answer to its request may have been lost, and its wait may have ended before it was sent
    // again.
    let told = |actor: &super::Actor<'_>| {
        actor.blocked_again().by.iter().map(super::word::blocker).collect::<Vec<_>>()
    };
    assert_eq!(told(&short), ["lock_held a by long"]);
    let missing = stage.run("missing").reads("never").waits_for(1);
    stage.pass_hearing(1, &[]);
    assert_eq!(told(&missing), ["input_missing never"]);
    assert_ne!(flowlock::Outcome::TimedOut, flowlock::Outcome::Lost(LostBy::Taken));
}

pub(super) fn a_run_that_awaits_becomes_queued_with_the_place_its_arrival_earned(stage: &Stage) {
    let holder = stage.run("holder").locks("l").tries();
    let early = stage.run("early").reads("x").locks("l").waits();
    let late = stage.run("late").locks("l").waits();
    early.is("awaiting_input");
    stage.create(&["x"]);
    early.is("queued");
    assert_eq!(late.blockers(), ["lock_held l by holder", "queued_behind l by early"]);
    assert_eq!(holder.commits(), "committed");
    early.is("granted");
    late.is("queued");
}

pub(super) fn a_queued_run_goes_back_when_its_input_is_removed_and_those_behind_move_up(stage: &Stage) {
    stage.create(&["x"]);
    let holder = stage.run("holder").locks("l").tries();
    let reader = stage.run("reader").reads("x").locks("l").locks("m").waits();
    let behind = stage.run("behind").locks("m").waits();
    behind.is("queued");
    assert_eq!(stage.remove(&["x"]), "done");
    reader.is("awaiting_input");
    behind.is("granted");
    assert_eq!(holder.commits(), "committed");
    reader.is("awaiting_input");
}

pub(super) fn a_queued_run_goes_back_when_its_input_expires(stage: &Stage) {
    stage.create_for(&["x"], 5);
    stage.run("holder").locks("l").tries();
    let reader = stage.run("reader").reads("x").locks("l").locks("m").waits();
    let behind = stage.run("behind").locks("m").waits();
    stage.pass(4);
    reader.is("queued");
    stage.pass(1);
    reader.is("awaiting_input");
    behind.is("granted");
}
