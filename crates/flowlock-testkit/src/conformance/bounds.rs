//! A step does a bounded amount of work. Later steps continue it before they decide anything new.

use std::time::Duration;

use flowlock::step::{Answer, Refreshed, Standing, Step};
use flowlock::store::{Content, View};
use flowlock::{RunId, Ticket};

use super::Request;
use super::{Actor, Stage};

/// Makes runs that all wait for one input, each with a lock of its own.
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

/// Many runs end at once. Their outcomes are removed soon, but not all in one step.
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

/// Makes a holder of one lock, and so many others that all of them are due before anything of the fifth
/// second, and more than one step handles. The holder's lapse is among the oldest.
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

pub(super) fn an_input_that_had_expired_stays_so_though_the_clock_goes_back_before_its_end_is_written(
    stage: &Stage,
) {
    stage.create_for(&["x"], 5);
    due_before_the_fifth_second(stage);
    stage.world(|world| world.advance(std::time::Duration::from_secs(6)));
    let older = stage.run("older").reads("x").locks("a").waits();
    older.is("awaiting_input");
    stage.world(|world| world.shift_wall_clock(-3_600_000_000));
    stage.tick();
    let younger = stage.run("younger").reads("x").locks("a").waits();
    younger.is("awaiting_input");
    assert_eq!(stage.create(&["x"]), "done");
    older.is("granted");
    younger.is("queued");
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

/// Makes this many runs with short leases that lapse, each with what `claims` adds to its request.
fn lapsed<'s>(
    stage: &'s Stage,
    count: usize,
    claims: impl Fn(Request<'s>, usize) -> Request<'s>,
) -> Vec<Actor<'s>> {
    let runs: Vec<_> =
        (0..count).map(|at| claims(stage.run(&format!("{at:04}")).lease(2), at).tries()).collect();
    stage.world(|world| world.advance(Duration::from_secs(3)));
    while runs.iter().any(|run| run.state() != "running, lapsed") {
        stage.tick();
    }
    runs
}

/// Returns how many have ended. Asking one how it ended is a step, which continues with what is left
/// over.
fn over(runs: &[Actor<'_>]) -> usize {
    runs.iter().filter(|run| run.seen().is_none()).count()
}

fn with_locks(request: Request<'_>, count: usize) -> Request<'_> {
    let id = request.attempt.id.to_string();
    (0..count).fold(request, |request, lock| request.locks(&format!("{id} {lock}")))
}

pub(super) fn a_step_handles_deadlines_of_two_thousand_claims(stage: &Stage) {
    let runs: Vec<_> = ["a", "b", "c"].map(|id| with_locks(stage.run(id).lease(2), 999).tries()).into();
    stage.world(|world| world.advance(Duration::from_secs(3)));
    for lapsed in [2, 3] {
        stage.tick();
        assert_eq!(count(&runs, "running, lapsed"), lapsed);
    }
}

pub(super) fn a_step_ends_sixty_four_lapsed_holders_and_the_waiting_run_begins_behind_the_last(
    stage: &Stage,
) {
    let readers = lapsed(stage, 150, |reader, _| reader.shares("x"));
    let lost = || over(&readers);
    let writer = stage.run("writer").locks("x").waits();
    assert_eq!((lost(), writer.state()), (64, "queued".into()));
    let Answer::Standing(Standing::Waiting(told)) = writer.first() else { panic!("it waits") };
    assert_eq!(told.look_again_ms, Some(0), "its process goes on at once");
    stage.run("newcomer").shares("x").tries().is("refused(busy)");
    assert_eq!((lost(), writer.state()), (128, "queued".into()), "any step goes on with it");
    assert_eq!(writer.beats(), ["writer granted"]);
    assert_eq!((lost(), writer.claims()), (150, "running".into()));
    assert_eq!(count(&readers, "lost(taken)"), 150);
}

pub(super) fn a_step_ends_lapsed_holders_of_two_thousand_claims(stage: &Stage) {
    let readers = lapsed(stage, 3, |reader, _| with_locks(reader.shares("x"), 998));
    let writer = stage.run("writer").locks("x").waits();
    assert_eq!((over(&readers), writer.state()), (2, "queued".into()));
    stage.tick();
    assert_eq!((over(&readers), writer.state()), (3, "granted".into()));
}

pub(super) fn a_try_goes_on_until_the_last_lapsed_holder_has_ended(stage: &Stage) {
    let readers = lapsed(stage, 150, |reader, _| reader.shares("x"));
    for lost in [64, 128] {
        let refused = stage.run(&format!("try {lost}")).locks("x").tries();
        let blocked = refused.is("refused(busy)").first_blocked();
        assert_eq!((blocked.by, blocked.retry_after_ms), (Vec::new(), Some(0)), "at once");
        assert_eq!(over(&readers), lost);
    }
    stage.run("last try").locks("x").tries().is("running");
    assert_eq!(over(&readers), 150);
}

pub(super) fn lapsed_units_are_taken_in_several_steps(stage: &Stage) {
    let holders = lapsed(stage, 100, |holder, _| holder.slot("s", 1, 100));
    let all = stage.run("all").slot("s", 90, 100).waits();
    assert_eq!((over(&holders), all.state()), (64, "queued".into()));
    stage.tick();
    assert_eq!((over(&holders), all.state()), (90, "granted".into()));
    assert_eq!(count(&holders[90..], "running, lapsed"), 10, "only until it fits");
}

pub(super) fn whoever_comes_back_late_is_not_taken_though_others_were(stage: &Stage) {
    let readers = lapsed(stage, 100, |reader, _| reader.shares("x"));
    stage.run("try").locks("x").tries().is("refused(busy)");
    assert_eq!(readers[99].refreshes(), "held late");
    assert_eq!(stage.run("again").locks("x").tries().is("refused(busy)").first_blocked().by.len(), 1);
    readers[98].is("running, lapsed");
    assert_eq!(readers[99].commits(), "committed");
}

pub(super) fn a_step_gives_back_the_names_of_sixty_four_late_holders(stage: &Stage) {
    let late = lapsed(stage, 100, |holder, at| holder.locks(&format!("{at}")));
    let all = || Step::Refresh(late.iter().map(Actor::who).collect());
    let Answer::Refreshed(first) = stage.step(&all()) else { panic!("refreshed") };
    let held = first.iter().filter(|answer| matches!(answer, Refreshed::Held { late: true, .. })).count();
    let again = first.iter().filter(|answer| **answer == Refreshed::AskAgain).count();
    assert_eq!((held, again), (64, 36));
    let Answer::Refreshed(second) = stage.step(&all()) else { panic!("refreshed") };
    assert!(second.iter().all(|answer| matches!(answer, Refreshed::Held { .. })), "{second:?}");
}

pub(super) fn a_step_takes_sixty_four_runs_of_a_silent_process_out_of_line(stage: &Stage) {
    let _holder = stage.run("holder").locks("l").lease(600).tries();
    let first = stage.run("first").locks("l").waits();
    let mut runs: Vec<_> =
        (0..99).map(|at| stage.run(&format!("{at:02}")).locks("l").beside(&first).waits()).collect();
    runs.push(first);
    stage.world(|world| world.advance(Duration::from_secs(11)));
    for absent in [64, 100] {
        stage.tick();
        assert_eq!(count(&runs, "queued, absent"), absent);
    }
    // A run that is already absent costs the next silence nothing.
    assert_eq!(runs[99].again(), "queued");
    stage.world(|world| world.advance(Duration::from_secs(11)));
    stage.tick();
    assert_eq!(count(&runs, "queued, absent"), 100);
}

pub(super) fn a_heartbeat_explains_runs_of_two_thousand_claims_in_the_order_asked(stage: &Stage) {
    let _holder = stage.run("holder").locks("l").lease(600).tries();
    let first = with_locks(stage.run("a").locks("l"), 998).waits();
    let others = ["b", "c", "d"].map(|id| with_locks(stage.run(id).locks("l"), 998).beside(&first).waits());
    let explained = |asked: [&str; 4]| {
        let explain = asked.map(|id| RunId::parse(id).expect("a plain id")).into();
        let beat = Step::Heartbeat { client: first.holder.client, from: Ticket(0), explain };
        let Answer::Heard { runs, .. } = stage.step(&beat) else { panic!("heard") };
        let why = runs.into_iter().filter(|(_, standing)| matches!(standing, Standing::Waiting(_)));
        why.map(|(id, _)| id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(explained(["a", "b", "c", "d"]), ["a", "b"]);
    assert_eq!(explained(["d", "c", "b", "a"]), ["c", "d"]);
    assert_eq!(others.len(), 3);
}

pub(super) fn a_page_shows_runs_of_two_thousand_claims(stage: &Stage) {
    let runs: Vec<_> =
        (0..5).map(|at| with_locks(stage.run(&format!("{at}")).lease(600), 999).tries()).collect();
    let (mut from, mut pages) = (Ticket(0), Vec::new());
    loop {
        let Content::Runs(seen, next) = stage.view(&View::Runs { job: None, from, limit: 250 }) else {
            panic!("not runs")
        };
        pages.push(seen.len());
        match next {
            Some(next) => from = next,
            None => break,
        }
    }
    assert_eq!((runs.len(), pages), (5, vec![2, 2, 1]));
}
