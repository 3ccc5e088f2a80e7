//! Runs inside of other runs.

use std::fs;
use std::time::Duration;

use flowlock_testkit::until;

use super::cli;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_nested_run_on_what_its_parent_holds_is_refused_at_once() {
    let cli = cli();
    let program = env!("CARGO_BIN_EXE_flowlock");
    let inner = format!("{program} run --name inner -o a -- true");
    cli.run(["run", "--name", "outer", "-o", "a", "--", "sh", "-c", &inner]).code(75).stderr_has(
        "flowlock: inner would wait for ever, because it is part of the run it waits for (deadlock): \
         output a is being written by outer",
    );
    let reads_too = format!("{program} run --name inner --lock-shared l -- echo nested");
    cli.run(["run", "--name", "outer", "--lock-shared", "l", "--", "sh", "-c", &reads_too])
        .code(0)
        .stdout("nested\n");
}

/// A run without outputs has no note, and one whose lists are short has no files: those of the run around it are not its
/// own.
#[test]
fn a_nested_commands_note_and_lists_are_never_those_of_the_run_around_it() {
    let cli = cli();
    let program = env!("CARGO_BIN_EXE_flowlock");
    let show = r#"echo "${FLOWLOCK_NOTE_FILE-none} ${FLOWLOCK_INPUTS_FILE-none} ${FLOWLOCK_OUTPUTS_FILE-none} $FLOWLOCK_INPUTS $FLOWLOCK_OUTPUTS""#;
    fs::write(cli.home().join("show"), show).unwrap();
    let inner = format!("{program} run -l inner -- sh show");
    cli.run(["run", "-o", "a", "--", "sh", "-c", &inner]).code(0).stdout("none none none [] []\n");
    let names: Vec<String> = (0..900).map(|n| format!("{}{n}", "long.".repeat(20))).collect();
    fs::write(cli.home().join("names"), names.join("\n")).unwrap();
    let create = ["outputs".to_owned(), "create".to_owned()];
    cli.run(create.iter().chain(&names)).code(0);
    // And the other way: who has a list in a file has none beside it.
    let all = format!("test -n \"$FLOWLOCK_INPUTS_FILE\" && echo \"${{FLOWLOCK_INPUTS-none}}\"; {inner}");
    fs::write(cli.home().join("all"), all).unwrap();
    let outer = format!("{program} run --inputs-from names -- sh all");
    cli.run(["run", "-o", "b", "--", "sh", "-c", &outer]).code(0).stdout("none\nnone none none [] []\n");
}

#[test]
fn nested_runs_that_want_more_units_than_their_ancestors_leave_are_refused_at_once() {
    let cli = cli();
    let program = env!("CARGO_BIN_EXE_flowlock");
    let inner = format!("{program} run --name inner --slot g:1/9 -- true");
    let said = "flowlock: inner would wait for ever, because it is part of the run it waits for (deadlock): \
        units of slot g are taken by ";
    cli.run(["run", "--slot", "g:4/4", "--", "sh", "-c", &inner]).code(75).stderr_has(said);
    let inner = format!("{program} run --slot g:2/4 -- {program} run --name inner --slot g:1/4 -- true");
    cli.run(["run", "--slot", "g:2/4", "--", "sh", "-c", &inner]).code(75).stderr_has(said);
}

#[test]
fn naming_a_run_does_not_let_a_stranger_pass_a_waiting_writer() {
    let cli = cli();
    cli.run(["outputs", "create", "a"]).code(0);
    let show = "echo \"$FLOWLOCK_RUN_ID $FLOWLOCK_PARENT_PROOF\"; sleep 60";
    let reader = cli.start(["run", "--name", "reader", "-i", "a", "--", "sh", "-c", show]);
    reader.says("\n");
    let writer = cli.start(["run", "--name", "writer", "-o", "a", "--", "true"]);
    until("a waiting writer", PATIENCE, || cli.run(["status"]).out().contains("queued").then_some(()));
    let said = reader.stdout();
    let (run, proof) = said.trim_end().split_once(' ').expect("an id and a proof");

    let stranger = cli.clone().with("FLOWLOCK_RUN_ID", run);
    let reads = ["run", "--wait", "300ms", "--name", "stranger", "-i", "a", "--", "echo", "jumped"];
    let named = stranger.run(reads);
    named.code(75).stdout("").stderr_has("stranger did not start within");
    named.stderr_has(&format!(
        "flowlock: waits independently, not as part of {run}: FLOWLOCK_RUN_ID names that run, but \
         FLOWLOCK_PARENT_PROOF is missing\n"
    ));
    let guessed = stranger.clone().with("FLOWLOCK_PARENT_PROOF", "0".repeat(40)).run(reads);
    guessed.code(75).stdout("").stderr_has("but FLOWLOCK_PARENT_PROOF does not prove it\n");
    stranger.run(["run", "-q", "--wait", "0", "-i", "a", "--", "true"]).code(75);
    // Its own children have the proof, and do not wait behind one who waits for their parent.
    stranger.with("FLOWLOCK_PARENT_PROOF", proof).run(reads).code(0).stdout("jumped\n").stderr("");
    drop((reader, writer));
}

#[test]
fn the_proof_of_a_parent_ends_and_renews_nothing() {
    let cli = cli();
    let show = "echo \"$FLOWLOCK_RUN_ID $FLOWLOCK_PARENT_PROOF\"; sleep 60";
    let holder = cli.start(["run", "--name", "holder", "-l", "x", "--", "sh", "-c", show]);
    holder.says("\n");
    let said = holder.stdout();
    let (run, proof) = said.trim_end().split_once(' ').expect("an id and a proof");
    let child = cli.with("FLOWLOCK_RUN_ID", run).with("FLOWLOCK_PARENT_PROOF", proof);
    for act in ["commit", "fail", "refresh"] {
        child.run([act, run]).code(79).stdout("");
    }
    assert!(child.run(["status"]).code(0).out().contains("running"));
}
