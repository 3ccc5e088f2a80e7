//! A step does a bounded amount of work; later steps continue it, and nothing new is decided before.

use flowlock::step::Step;

use super::{Actor, Stage};

/// Runs that all wait for one input, each with a lock of its own.
fn crowd(stage: &Stage, count: usize) -> Vec<Actor<'_>> {
    let waits = |at| stage.run(&format!("{at:04}")).reads("x").locks(&format!("lock {at}")).waits();
    (0..count).map(waits).collect()
}

fn count(runs: &[Actor<'_>], state: &str) -> usize {
    runs.iter().filter(|run| run.state() == state).count()
}

pub(super) fn a_step_looks_at_sixty_four_waiting_runs_lowest_ticket_first(stage: &Stage) {
    let runs = crowd(stage, 150);
    assert_eq!(stage.create(&["x"]), "done");
    for granted in [64, 128, 150] {
        assert_eq!((count(&runs[..granted], "granted"), count(&runs, "granted")), (granted, granted));
        stage.tick();
    }
}

pub(super) fn a_step_looks_at_two_thousand_claims(stage: &Stage) {
    let big = |id: &str| {
        (0..999).fold(stage.run(id).reads("x"), |run, at| run.locks(&format!("{id} {at}"))).waits()
    };
    let runs: Vec<_> = ["a", "b", "c"].map(big).into();
    assert_eq!(stage.create(&["x"]), "done");
    assert_eq!((count(&runs[..2], "granted"), count(&runs, "granted")), (2, 2));
    stage.tick();
    assert_eq!(count(&runs, "granted"), 3);
}

pub(super) fn a_step_handles_sixty_four_due_deadlines(stage: &Stage) {
    let lease = |at: u64| stage.run(&format!("{at:03}")).locks(&format!("{at}")).lease(1 + at / 50).tries();
    let runs: Vec<_> = (0..150).map(lease).collect();
    stage.world(|world| world.advance(std::time::Duration::from_secs(10)));
    for lapsed in [64, 128, 150] {
        stage.tick();
        assert_eq!(count(&runs, "running, lapsed"), lapsed);
        assert_eq!(count(&runs[..lapsed / 50 * 50], "running, lapsed"), lapsed / 50 * 50, "oldest first");
    }
}

/// A rush leaves its outcomes behind; they are gone soon, and no step pays for all of them.
pub(super) fn a_step_forgets_two_hundred_and_fifty_six_outcomes(stage: &Stage) {
    let runs: Vec<_> =
        (0..300).map(|at| stage.run(&format!("{at:03}")).locks(&format!("{at}")).tries()).collect();
    for run in &runs {
        assert_eq!(run.commits(), "committed");
    }
    let remembered = || runs.iter().filter(|run| run.is_remembered()).count();
    stage.world(|world| world.advance(std::time::Duration::from_secs(599)));
    stage.tick();
    assert_eq!(remembered(), 300, "for ten minutes");
    stage.world(|world| world.advance(std::time::Duration::from_secs(1)));
    stage.tick();
    assert_eq!(remembered(), 300 - 256);
    assert!(runs[256..].iter().all(Actor::is_remembered), "the oldest first");
    stage.tick();
    assert_eq!(remembered(), 0);
}

pub(super) fn nothing_new_is_decided_while_work_is_left_over(stage: &Stage) {
    stage.create(&["free"]);
    let _runs = crowd(stage, 350);
    assert_eq!(stage.create(&["x"]), "done");
    // 286 are left. Each step looks at 64 before it comes to what it was asked.
    let refused = stage.run("try").locks("nobody's").tries();
    assert_eq!(refused.is("refused(busy)").first_blocked().retry_after_ms, Some(0));
    assert_eq!(stage.remove(&["free"]), "refused, again in Some(0)");
    assert_eq!(stage.create(&["new"]), "refused, again in Some(0)");
    let waits = stage.run("waits").locks("nobody's").waits();
    waits.is("queued");
    stage.tick();
    stage.tick();
    waits.is("granted");
    assert_eq!(stage.remove(&["free"]), "done");
    assert_eq!(stage.written(), "x live");
}

pub(super) fn later_steps_of_any_kind_continue_what_is_left_over(stage: &Stage) {
    let holder = stage.run("holder").locks("h").lease(600).tries();
    let runs = crowd(stage, 64 * 4);
    assert_eq!(stage.create(&["x"]), "done");
    assert_eq!(count(&runs, "granted"), 64);
    assert_eq!(holder.refreshes(), "held", "a timely refresh is not held up");
    assert_eq!(count(&runs, "granted"), 128);
    stage.step(&Step::Bury(Vec::new()));
    assert_eq!(count(&runs, "granted"), 192);
    assert_eq!(holder.commits(), "committed", "nor is a timely commit");
    assert_eq!(count(&runs, "granted"), 256);
}

/// A holder of one lock, and so many others that all of them are due before anything of the fifth second, and more
/// than one step handles. The holder's lapse is among the oldest.
fn due_before_the_fifth_second(stage: &Stage) {
    stage.run("holder").locks("l").lease(3).tries();
    for at in 0..100 {
        stage.run(&format!("{at}")).locks(&format!("{at}")).lease(4).tries();
    }
}

pub(super) fn an_expired_record_lets_nobody_in_while_its_end_is_left_over(stage: &Stage) {
    stage.create_for(&["x"], 5);
    due_before_the_fifth_second(stage);
    let reader = stage.run("reader").reads("x").locks("l").waits();
    let writer = stage.run("writer").writes("x").once().waits();
    stage.world(|world| world.advance(std::time::Duration::from_secs(6)));
    stage.tick();
    reader.is("awaiting_input");
    stage.tick();
    reader.is("awaiting_input");
    assert_eq!(writer.state(), "refused(output_exists)");
    stage.run("second writer").writes("x").once().tries().is("running");
}

pub(super) fn a_run_is_not_granted_while_the_end_of_its_wait_is_left_over(stage: &Stage) {
    due_before_the_fifth_second(stage);
    let waiter = stage.run("waiter").locks("l").waits_for(5);
    let behind = stage.run("behind").locks("l").waits();
    stage.world(|world| world.advance(std::time::Duration::from_secs(6)));
    stage.tick();
    waiter.is("timed_out");
    behind.is("granted");
}

pub(super) fn a_late_holder_asks_again_while_older_deadlines_are_left_over(stage: &Stage) {
    due_before_the_fifth_second(stage);
    let late = stage.run("late").locks("m").lease(5).tries();
    let waiter = stage.run("waiter").locks("m").waits();
    stage.world(|world| world.advance(std::time::Duration::from_secs(6)));
    assert_eq!(late.commits(), "ask_again");
    assert_eq!(late.commits(), "lost(taken)");
    waiter.is("granted");
}
