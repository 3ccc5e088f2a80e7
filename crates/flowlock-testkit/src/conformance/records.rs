//! Records: written, failed, expired, created and removed by hand, incomplete.

use std::time::Duration;

use flowlock::store::{Content, View};
use flowlock::{Failure, MadeFrom, Name, Outcome, RecordState};
use sha1::Digest as _;

use super::Stage;

pub(super) fn a_commit_writes_every_output_in_the_version_of_its_grant(stage: &Stage) {
    let a = stage.run("A").writes("x").writes("y").locks("l").tries();
    let token = a.token();
    assert_eq!(stage.written(), "");
    assert_eq!(a.commits_with("path/to/it"), "committed");
    assert_eq!(stage.written(), "x live, y live");
    for name in ["x", "y"] {
        let record = stage.record(name).unwrap();
        assert_eq!((record.version, record.run.as_str(), record.job.as_str()), (token, "A", "A"));
        assert_eq!((record.state, record.note.as_deref()), (RecordState::Live, Some("path/to/it")));
        assert_eq!((record.expires_at_us, record.failure), (None, None));
    }
}

pub(super) fn a_failed_run_writes_nothing_and_leaves_evidence(stage: &Stage) {
    let good = stage.run("good").writes("x").tries();
    let version = good.token();
    assert_eq!(good.commits(), "committed");
    let bad = stage.run("bad").writes("x").writes("y").tries();
    assert_eq!(bad.fails(), "failed");
    assert_eq!(stage.written(), "x live");
    let record = stage.record("x").unwrap();
    assert_eq!((record.version, record.run.as_str()), (version, "good"));
    let Some(Failure { run, outcome, .. }) = record.failure else { panic!("no evidence: {record:?}") };
    assert_eq!((run.as_str(), outcome), ("bad", Outcome::Failed));
    assert_eq!(stage.run("third").writes("x").tries().commits(), "committed");
    assert_eq!(stage.record("x").unwrap().failure, None);
}

pub(super) fn a_run_that_was_never_written_for_leaves_its_failure_as_evidence(stage: &Stage) {
    assert_eq!(stage.run("bad").writes("x").tries().fails(), "failed");
    let reader = stage.run("reader").reads("x").tries();
    let blocked = reader.first_blocked();
    let evidence = blocked.by[0].record.as_ref().unwrap();
    assert_eq!(evidence.state, RecordState::NeverWritten);
    assert_eq!(evidence.last_written, None);
    assert_eq!(evidence.failure.as_ref().unwrap().run.as_str(), "bad");
}

pub(super) fn a_reader_sees_versions_and_notes_of_its_inputs(stage: &Stage) {
    let writer = stage.run("writer").writes("x").tries();
    let version = writer.token();
    assert_eq!(writer.commits_with("s3://bucket/x"), "committed");
    let began = stage.run("reader").reads("x").locks("l").tries().began();
    let [input] = &began.inputs[..] else { panic!("one input: {began:?}") };
    assert_eq!((input.name.as_str(), input.version, input.run.as_str()), ("x", version, "writer"));
    assert_eq!(input.note.as_deref(), Some("s3://bucket/x"));
}

pub(super) fn a_record_names_what_it_was_made_from(stage: &Stage) {
    stage.create(&["a", "b"]);
    let [a, b] = ["a", "b"].map(|name| stage.record(name).unwrap());
    assert_eq!(stage.run("A").reads("a").reads("b").writes("c").tries().commits(), "committed");
    let expected = MadeFrom::Inputs(vec![(a.name, a.version), (b.name, b.version)]);
    assert_eq!(stage.record("c").unwrap().made_from, expected);

    let names: Vec<_> = (0..65).map(|n| format!("many.{n:03}")).collect();
    stage.create(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let most = names[..64].iter().fold(stage.run("most"), |run, name| run.reads(name)).writes("most").tries();
    assert_eq!(most.commits(), "committed");
    let listed = |made_from| matches!(made_from, MadeFrom::Inputs(inputs) if inputs.len() == 64);
    assert!(listed(stage.record("most").unwrap().made_from));
    let digest = |id: &str| {
        let run = names.iter().fold(stage.run(id), |run, name| run.reads(name)).writes(id).tries();
        let text = run
            .began()
            .inputs
            .iter()
            .fold(String::new(), |text, input| text + &format!("{}\0{}\0", input.name, input.version));
        assert_eq!(run.commits(), "committed");
        let expected = hex(&sha1::Sha1::digest(text));
        assert_eq!(
            stage.record(id).unwrap().made_from,
            MadeFrom::Digest { inputs: 65, sha1: expected.clone() }
        );
        expected
    };
    let first = digest("first");
    assert_eq!(first, digest("second"));
    stage.create(&["many.000"]);
    assert_ne!(first, digest("third"));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}

pub(super) fn a_record_written_anew_for_ever_outlives_the_time_of_the_old_one(stage: &Stage) {
    assert_eq!(stage.run("A").writes("x").records_for(60).tries().commits(), "committed");
    assert_eq!(stage.run("B").writes("x").tries().commits(), "committed");
    stage.create_for(&["y"], 60);
    stage.create(&["y"]);
    // Past the old time, and then past the seven days for which a record that is gone is remembered.
    for days in [1, 7, 7, 30] {
        stage.world(|world| world.advance(std::time::Duration::from_hours(24 * days)));
        stage.tick();
        stage.tick();
        assert_eq!(stage.written(), "x live, y live");
    }
    stage.run("reader").reads("x").reads("y").tries().is("running");
}

pub(super) fn a_record_expires(stage: &Stage) {
    assert_eq!(stage.run("A").writes("x").records_for(60).tries().commits(), "committed");
    stage.pass(59);
    assert_eq!(stage.run("B").reads("x").tries().is("running").commits(), "committed");
    stage.pass(1);
    assert_eq!(stage.written(), "");
    let late = stage.run("C").reads("x").tries();
    let blocked = late.is("refused(busy)").first_blocked();
    assert_eq!(super::word::blocker(&blocked.by[0]), "input_missing x");
    let evidence = blocked.by[0].record.as_ref().unwrap();
    assert_eq!(evidence.state, RecordState::Expired);
    assert_eq!(evidence.last_written.as_ref().unwrap().0.as_str(), "A");
    stage.run("D").writes("x").once().tries().is("running");
}

pub(super) fn a_record_whose_time_is_up_is_shown_as_written_nowhere_before_any_step(stage: &Stage) {
    stage.create(&["a", "d"]);
    stage.create_for(&["b", "c"], 5);
    stage.world(|world| world.advance(Duration::from_secs(5)));
    assert_eq!(stage.written(), "a live, d live");
    let page = |after, limit| match stage.view(&View::Records { prefix: String::new(), after, limit }) {
        Content::Records(records, next) => {
            (records.into_iter().map(|record| record.name).collect::<Vec<_>>(), next)
        }
        other => panic!("not records: {other:?}"),
    };
    let name = |text| Name::parse(text).unwrap();
    assert_eq!(page(None, 2), (vec![name("a")], Some(name("b"))));
    assert_eq!(page(Some(name("b")), 1), (vec![], Some(name("c"))), "a page of what counts no more goes on");
    assert_eq!(page(Some(name("c")), 2), (vec![name("d")], None));
    let Content::Names(mut seen) = stage.view(&View::Names(vec![name("b")])) else { panic!("not names") };
    let seen = seen.remove(0);
    assert_eq!((seen.record, seen.evidence.state), (None, RecordState::Expired));
}

pub(super) fn a_record_that_expires_after_the_grant_does_not_stop_the_run(stage: &Stage) {
    stage.create_for(&["x"], 5);
    let a = stage.run("A").reads("x").writes("y").tries();
    stage.pass(6);
    a.is("running");
    assert_eq!(a.commits(), "committed");
    assert_eq!(stage.written(), "y live");
}

pub(super) fn create_writes_by_hand_and_starts_who_awaited_it(stage: &Stage) {
    let reader = stage.run("reader").reads("x").reads("y").waits();
    assert_eq!(stage.create(&["x"]), "done");
    reader.is("awaiting_input");
    assert_eq!(reader.blockers(), ["input_missing y"]);
    assert_eq!(stage.create(&["y", "z"]), "done");
    reader.is("granted");
    assert_eq!(stage.written(), "x live, y live, z live");
    let [y, z] = ["y", "z"].map(|name| stage.record(name).unwrap().version);
    assert_eq!(y, z);
    assert!(y > stage.record("x").unwrap().version);
}

pub(super) fn a_name_that_is_given_twice_is_created_once(stage: &Stage) {
    assert_eq!(stage.create(&["x", "x"]), "done");
    assert_eq!(stage.written(), "x live");
}

pub(super) fn create_and_remove_are_refused_while_the_name_is_held(stage: &Stage) {
    stage.create(&["x"]);
    let reader = stage.run("reader").reads("x").tries();
    assert_eq!(stage.remove(&["x"]), "output_being_read x by reader");
    assert_eq!(stage.create(&["x", "y"]), "output_being_read x by reader");
    assert_eq!(stage.written(), "x live", "all or none");
    assert_eq!(reader.commits(), "committed");
    let writer = stage.run("writer").writes("x").lease(5).tries();
    assert_eq!(stage.remove(&["x"]), "output_being_written x by writer");
    stage.pass(5);
    assert_eq!(stage.remove(&["x"]), "done");
    writer.is("lost(taken)");
    assert_eq!(stage.remove(&["x"]), "not_found");
}

pub(super) fn a_removal_takes_only_the_names_that_it_removes(stage: &Stage) {
    stage.create(&["old"]);
    let writes_new = stage.run("new").writes("new").lease(5).tries();
    let writes_old = stage.run("old").writes("old").lease(5).tries();
    stage.pass(5);
    assert_eq!(stage.remove(&["new"]), "not_found");
    writes_new.is("running, lapsed");
    assert_eq!(stage.remove(&["new", "old"]), "done");
    writes_old.is("lost(taken)");
    assert_eq!(writes_new.is("running, lapsed").commits(), "committed late");
    assert_eq!(stage.written(), "new live");
    let broken = stage.run("third").writes("third").tries();
    assert_eq!(stage.remove_by_force(&["third"]), "not_found");
    broken.is("lost(broken)");
}

/// Makes readers of one name, the first `dead` of them killed.
fn readers(stage: &Stage, all: usize, dead: usize) -> Vec<super::Actor<'_>> {
    let readers: Vec<_> = (0..all).map(|at| stage.run(&format!("{at:03}")).reads("x").tries()).collect();
    readers[..dead].iter().for_each(super::Actor::dies);
    readers
}

pub(super) fn create_and_remove_take_nothing_from_one_living_reader_behind_many_dead_ones(stage: &Stage) {
    for dead in [10, 11, 12, 25] {
        assert_eq!(stage.create(&["x"]), "done");
        let readers = readers(stage, dead + 1, dead);
        let living = readers.last().unwrap();
        let refused = format!("output_being_read x by {}", living.attempt.id);
        assert_eq!(stage.create(&["y", "x"]), refused);
        assert_eq!(stage.remove(&["x"]), refused);
        assert_eq!(living.is("running").commits(), "committed");
    }
}

pub(super) fn create_and_remove_bury_the_dead_in_several_steps(stage: &Stage) {
    assert_eq!(stage.create(&["x"]), "done");
    let readers = readers(stage, 151, 150);
    let asked: Vec<_> = (0..3).map(|_| stage.remove(&["x"])).collect();
    let again = "refused, again in Some(0)";
    assert_eq!(asked, [again, again, "output_being_read x by 150"]);
    assert_eq!(readers[150].commits(), "committed");
    assert_eq!(stage.remove(&["x"]), "done");
}

pub(super) fn by_force_they_break_many_holders_in_several_steps(stage: &Stage) {
    assert_eq!(stage.create(&["x"]), "done");
    let readers = readers(stage, 150, 0);
    let asked: Vec<_> = (0..3).map(|_| stage.remove_by_force(&["x"])).collect();
    let again = "refused, again in Some(0)";
    assert_eq!(asked, [again, again, "done"]);
    for reader in &readers {
        reader.is("lost(broken)");
    }
}

pub(super) fn by_force_they_break_the_holder_first(stage: &Stage) {
    stage.create(&["x", "y"]);
    let reader = stage.run("reader").reads("x").tries();
    assert_eq!(stage.remove_by_force(&["x"]), "done");
    reader.is("lost(broken)");
    let writer = stage.run("writer").writes("y").tries();
    assert_eq!(stage.create_by_force(&["y"]), "done");
    writer.is("lost(broken)");
    assert_eq!(writer.commits(), "lost(broken)");
    assert_eq!(stage.written(), "y live");
}

pub(super) fn remove_ignores_the_queue(stage: &Stage) {
    stage.create(&["x"]);
    stage.run("holder").locks("l").tries();
    let reader = stage.run("reader").reads("x").locks("l").waits();
    assert_eq!(stage.remove(&["x"]), "done");
    reader.is("awaiting_input");
    assert_eq!(stage.create(&["x"]), "done");
    reader.is("queued");
}

pub(super) fn an_incomplete_record_lets_nobody_in_until_the_next_commit(stage: &Stage) {
    stage.create(&["x"]);
    let spoiler = stage.run("spoiler").writes("x").spoiling().tries();
    assert_eq!(stage.written(), "x incomplete");
    let reader = stage.run("reader").reads("x").waits();
    assert_eq!(reader.is("awaiting_input").blockers(), ["input_being_written x by spoiler"]);
    assert_eq!(spoiler.fails(), "failed");
    assert_eq!(reader.is("awaiting_input").blockers(), ["input_incomplete x"]);
    assert_eq!(stage.run("repair").writes("x").tries().commits(), "committed");
    assert_eq!(stage.written(), "x live");
    reader.is("granted");
}

pub(super) fn a_run_given_back_is_no_failure_and_leaves_the_record_as_it_was(stage: &Stage) {
    stage.create(&["x"]);
    let version = stage.record("x").unwrap().version;
    let run = stage.run("A").writes("x").writes("y").spoiling().tries();
    let reader = stage.run("reader").reads("x").waits();
    assert_eq!(stage.written(), "x incomplete");
    assert_eq!(run.gives_back(), "withdrawn");
    assert_eq!(stage.written(), "x live");
    let record = stage.record("x").unwrap();
    assert_eq!((record.version, record.failure), (version, None));
    assert_eq!(reader.is("granted").cancels(), "withdrawn");
    assert_eq!(run.gives_back(), "withdrawn");
    assert_eq!(run.commits(), "cancelled");
    // A record that another run left incomplete stays so, and so does one of a run that is revoked
    // before it is given back.
    assert_eq!(stage.run("B").writes("x").spoiling().tries().fails(), "failed");
    let third = stage.run("C").writes("x").spoiling().tries();
    assert_eq!(third.gives_back(), "withdrawn");
    assert_eq!(stage.written(), "x incomplete");
    assert_eq!(stage.run("D").unsent(flowlock::step::Patience::Try).gives_back(), "not_found");
    assert_eq!(stage.run("E").writes("x").tries().commits(), "committed");
    let revoked = stage.run("F").writes("x").spoiling().tries();
    assert_eq!(revoked.is_unlocked(flowlock::step::Unlock::WhenAcknowledged), "done");
    assert_eq!(revoked.gives_back(), "too late: lost(broken)");
    assert_eq!(stage.written(), "x live");
}

pub(super) fn a_takeover_itself_spoils_no_record(stage: &Stage) {
    stage.create(&["x"]);
    let keeper = stage.run("keeper").writes("x").lease(5).tries();
    stage.pass(5);
    stage.run("reader").reads("x").tries().is("running");
    keeper.is("lost(taken)");
    assert_eq!(stage.written(), "x live");
}

pub(super) fn readers_in_line_go_back_when_a_rewrite_begins(stage: &Stage) {
    stage.create(&["x"]);
    let gate = stage.run("gate").locks("g").tries();
    let rewriter = stage.run("rewriter").writes("x").locks("g").spoiling().waits();
    let reader = stage.run("reader").reads("x").locks("m").waits();
    let behind = stage.run("behind").locks("m").waits();
    assert_eq!(gate.commits(), "committed");
    rewriter.is("granted");
    reader.is("queued");
    assert_eq!(rewriter.claims(), "running");
    reader.is("awaiting_input");
    behind.is("granted");
    assert_eq!(rewriter.commits(), "committed");
    assert_eq!(reader.is("queued").blockers(), ["lock_held m by behind"]);
}
