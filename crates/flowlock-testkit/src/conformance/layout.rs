//! A little of everything that a store keeps, so that a change of the layout is noticed.

use flowlock::Bounds;

use super::stage::Stage;

/// Everything that happens is fixed: time stands still, and there is no randomness.
pub(super) fn play(stage: &Stage) {
    a_removed_namespace(stage);
    records(stage);
    absent(stage);
    holders(stage);
    waiting(stage);
    outcomes(stage);
    left_over(stage);
}

fn a_removed_namespace(stage: &Stage) {
    stage.enter("left");
    stage.create(&["a"]);
    stage.remove(&["a"]);
    assert_eq!(stage.remove_namespace(), "done");
    stage.enter("default");
}

/// Live, expired, removed, incomplete, incomplete only since its holder began, never written; with a note and a version.
fn records(stage: &Stage) {
    stage.create(&["in", "removed", "spoilt", "rewritten", "once"]);
    stage.create_for(&["expired"], 5);
    let maker = stage.run("maker").reads("in").writes("made").records_for(600).tries();
    assert_eq!(maker.commits_with("a note"), "committed");
    assert_eq!(stage.remove(&["removed"]), "done");
    assert_eq!(stage.run("spoiler").writes("spoilt").spoiling().tries().fails(), "failed");
    assert_eq!(stage.run("failed").writes("never").tries().fails(), "failed");
    stage.run("rewriting").writes("rewritten").spoiling().tries().is("running");
    stage.pass(5);
    assert!(stage.written().contains("made live"), "{}", stage.written());
}

/// A waiting run of a silent process, and a grant that was not accepted in time.
fn absent(stage: &Stage) {
    let gate = stage.run("gate").locks("p").tries();
    let slow = stage.run("slow").locks("p").waits_for(3_600);
    assert_eq!(gate.commits(), "committed");
    stage.run("silent").locks("p").waits();
    stage.pass(11);
    slow.is("granted, lapsed");
}

/// Exclusive, shared and counted; standing, lapsed, revoked and detached; a child.
fn holders(stage: &Stage) {
    for (id, seconds) in [("standing", 600), ("lapsing", 3)] {
        let name = |kind: &str| format!("{kind}.{id}");
        stage.run(&name("lock")).locks(&name("l")).lease(seconds).longest(3_600).tries();
        stage.run(&name("one")).shares(&name("s")).slot("g", 1, 9).lease(seconds).kept_for(900).tries();
        stage.run(&name("two")).shares(&name("s")).slot("g", 2, 8).reads("in").lease(seconds).tries();
    }
    stage.pass(4);
    let parent = stage.run("parent").writes("out").lease(600).tries();
    stage.run("child").writes("out.of.child").lease(600).child_of(&parent).tries().is("running");
    assert_eq!(stage.run("detached").locks("d").lease(600).tries().detaches(), "done");
    let mut known = stage.run("revoked").locks("r").lease(600);
    known.holder.origin = crate::by_hand();
    assert_eq!(known.tries().is_unlocked(flowlock::step::Unlock::WhenAcknowledged), "done");
}

/// Queued, at each kind of obstacle; awaiting an input; holding a place; not allowed to overwrite;
/// granted.
fn waiting(stage: &Stage) {
    stage.run("awaiting").reads("none").writes("out.of.none").once().waits();
    stage.run("queued").locks("l.standing").shares("s.standing").waits_for(500);
    stage.run("placed").slot("g", 9, 9).holds_place(60);
    stage.run("writer").reads("in").writes("in").waits();
    let first = stage.run("first").locks("h").tries();
    let handed = stage.run("handed").locks("h").shares("i").waits();
    assert_eq!(first.commits(), "committed");
    handed.is("granted");
}

/// Refused, withdrawn before it arrived, and two runs of one id.
fn outcomes(stage: &Stage) {
    stage.run("refused").locks("l.standing").tries();
    stage.run("unseen").locks("u").unsent(flowlock::step::Patience::Try).cancels();
    for _ in 0..2 {
        assert_eq!(stage.run("twice").locks("t").tries().commits(), "committed");
    }
    stage.run("last").writes("last").lease(600).tries().is("running");
}

/// There is more to do than one step may.
fn left_over(stage: &Stage) {
    let readers: Vec<_> = (0..3).map(|at| stage.run(&format!("reader.{at}")).reads("late").waits()).collect();
    stage.world(|world| world.bound_steps(Bounds { looks: 1, ..Bounds::default() }));
    assert_eq!(stage.create(&["late"]), "done");
    let waits = readers.iter().filter(|reader| reader.state() == "awaiting_input").count();
    assert!(waits > 0, "something is left over");
}
