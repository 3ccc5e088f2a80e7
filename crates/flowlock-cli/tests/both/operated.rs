//! Runs of several steps: start, refresh, keep, verify, commit, fail.

use std::time::Duration;

use flowlock_testkit::{Cli, until};
use nix::sys::signal::Signal;

use super::{cli, place};

const PATIENCE: Duration = Duration::from_secs(20);

fn started(cli: &Cli, line: &[&str]) -> String {
    let started = cli.run(["start"].iter().chain(line));
    started.code(0).stderr("");
    started.out().trim_end().to_owned()
}

#[test]
fn a_build_of_several_steps_commits_by_its_id() {
    let cli = cli();
    cli.run(["outputs", "create", "sources"]).code(0);
    let run = started(&cli, &["build", "--duration", "30m", "-i", "sources", "-o", "package"]);
    assert!(run.starts_with("build."), "{run}");
    cli.run(["run", "--wait", "0", "-o", "package", "--", "true"])
        .code(75)
        .stderr_has("output package is being written by build");
    cli.run(["refresh", &run]).code(0).stdout("").stderr("");
    cli.run(["verify", &run]).code(0).stdout("").stderr("");
    cli.run(["commit", &run, "--note", "/data/p.1"]).code(0).stdout("").stderr("");
    cli.run(["commit", &run]).code(0).stderr("");
    assert_eq!(cli.run(["outputs", "package", "--json"]).json()["records"][0]["note"], "/data/p.1");
}

#[test]
fn a_lapsed_build_is_kept_for_as_long_as_it_was_started_with() {
    let cli = cli().with("FLOWLOCK_KEEP_LAPSED", "1s");
    let as_set = started(&cli, &["build", "--duration", "1s", "-o", "a"]);
    let as_typed = started(&cli, &["build", "--duration", "1s", "--keep-lapsed", "1d", "-o", "b"]);
    // What a later command has set does not matter: what counts is what the run was started with.
    let later = cli.with("FLOWLOCK_KEEP_LAPSED", "30d");
    until("the end of one of them, by steps of somebody else", PATIENCE, || {
        later.run(["run", "-l", "elsewhere", "--", "true"]).code(0);
        let status = later.run(["status", "--json"]).json();
        (status["running"].as_array().unwrap().len() == 1).then_some(())
    });
    later.run(["commit", &as_set]).code(79).stderr_has("did not come back in time after its lease");
    later.run(["commit", &as_typed]).code(0);
    let said = "out of range; give 1s to 30d";
    later
        .run(["start", "build", "--duration", "1s", "--keep-lapsed", "31d", "-l", "x"])
        .code(64)
        .stderr_has(said);
}

#[test]
fn a_failed_build_writes_nothing() {
    let cli = cli();
    let run = started(&cli, &["build", "--duration", "1m", "-o", "package"]);
    cli.run(["fail", &run]).code(0).stderr("");
    cli.run(["fail", &run]).code(0).stderr("");
    cli.run(["commit", &run]).code(79).stderr(&format!("flowlock: {run} is over: failed {}", place()));
    cli.run(["check", "package"]).code(1);
    cli.run(["run", "--wait", "0", "-o", "package", "--", "true"]).code(0);
}

#[test]
fn a_given_id_is_taken_and_can_be_used_again_once_its_run_is_over() {
    let cli = cli();
    let line = ["build", "--id", "nightly-17", "--duration", "1m", "-o", "a"];
    assert_eq!(started(&cli, &line), "nightly-17");
    let again = ["start", "other", "--id", "nightly-17", "--duration", "1m", "-o", "b"];
    cli.run(again)
        .code(75)
        .stdout("")
        .stderr_has("run id nightly-17 is in use by another attempt that is still alive");
    cli.run(["stop", "nightly-17"]).code(0);
    assert_eq!(started(&cli, &line), "nightly-17");
}

#[test]
fn an_unknown_run_cannot_be_operated() {
    let cli = cli();
    let said = "no run x.1 that can be operated by its id alone: it is unknown, forgotten, or not detached (`flowlock start`)";
    for command in ["refresh", "commit", "fail", "verify", "keep"] {
        cli.run([command, "x.1"]).code(79).stdout("").stderr(&format!("flowlock: {said} {}", place()));
    }
}

#[test]
fn a_run_with_a_process_is_not_operated_by_its_id() {
    let cli = cli();
    let job = cli.start(["run", "-o", "a", "--", "sh", "-c", "echo $FLOWLOCK_RUN_ID; sleep 60"]);
    job.says("sh.");
    let run = job.stdout().trim_end().to_owned();
    for command in ["refresh", "commit", "fail"] {
        cli.run([command, &run]).code(79).stderr_has("not detached");
    }
    cli.run(["verify", &run]).code(0);
}

#[test]
fn a_lapsed_run_loses_its_names_when_somebody_needs_them() {
    let cli = cli();
    let run = started(&cli, &["build", "--duration", "1s", "-o", "a"]);
    cli.run(["run", "--name", "heir", "--wait", "10s", "-o", "a", "--", "true"]).code(0);
    let lost = format!(
        "flowlock: {run} lost its names (taken: its lease had ended and another run needed its names); its outputs are not recorded as written {}",
        place()
    );
    cli.run(["commit", &run]).code(79).stderr(&lost);
    cli.run(["refresh", &run]).code(79).stderr(&lost);
    cli.run(["verify", &run]).code(79).stderr(&lost);
}

#[test]
fn a_lapsed_run_that_nobody_minds_commits_late() {
    let cli = cli();
    let run = started(&cli, &["build", "--duration", "1s", "-o", "a"]);
    std::thread::sleep(Duration::from_millis(1_200));
    let lapsed = format!(
        "flowlock: the lease of {run} has ended, but no other run has needed its names yet; until one does, a commit succeeds, and so does a refresh unless the run reached its longest run time {}",
        place()
    );
    assert_eq!(cli.run(["verify", &run, "--json"]).code(79).stderr(&lapsed).json()["outcome"], "lapsed");
    let late =
        format!("flowlock: {run} was late: its lease had ended, but no other run had needed its names; ");
    cli.run(["refresh", &run]).code(0).stderr(&format!("{late}it holds them again\n"));
    cli.run(["verify", &run]).code(0).stderr("");
    cli.run(["refresh", &run, "--json"]).code(0).stderr("");
    std::thread::sleep(Duration::from_millis(1_200));
    cli.run(["commit", &run]).code(0).stderr(&format!("{late}it is committed\n"));
    let told = cli.run(["commit", &run, "--json"]);
    assert_eq!(told.code(0).stderr("").json()["outcome"], "committed_late");
}

#[test]
fn a_run_that_waits_is_not_over() {
    let cli = cli();
    let first = started(&cli, &["build", "--duration", "1m", "-o", "a"]);
    let second = cli.start(["start", "next", "--id", "next.1", "--duration", "1m", "-o", "a"]);
    until("a waiting start", PATIENCE, || cli.run(["status"]).out().contains("queued").then_some(()));
    let said = format!("flowlock: next.1 does not hold its names yet: it is queued {}", place());
    assert_eq!(cli.run(["verify", "next.1", "--json"]).code(79).stderr(&said).json()["outcome"], "not_begun");
    cli.run(["commit", &first]).code(0);
    second.wait().code(0);
    cli.run(["verify", "next.1"]).code(0);
}

#[test]
fn keep_renews_until_it_is_ended() {
    let cli = cli();
    let run = started(&cli, &["build", "--duration", "1s", "-o", "a"]);
    let keeper = cli.start(["keep", &run]);
    cli.run(["run", "--wait", "2500ms", "-o", "a", "--", "true"]).code(75);
    keeper.signal(Signal::SIGTERM);
    keeper.wait().code(0).stderr("");
    cli.run(["run", "--wait", "10s", "-o", "a", "--", "true"]).code(0);
    cli.run(["keep", &run]).code(79).stderr_has("lost its names");
}

#[test]
fn keep_refuses_to_renew_less_often_than_the_lease_is_long() {
    let cli = cli();
    let run = started(&cli, &["build", "--duration", "30s", "-o", "a"]);
    let refused = format!("--every 30s is not shorter than the lease of {run}, 30s");
    cli.run(["keep", &run, "--every", "30s"]).code(64).stdout("").stderr_has(&refused);
    cli.run(["verify", &run]).code(0);
}

#[test]
fn keep_ends_well_when_the_run_does() {
    let cli = cli();
    let run = started(&cli, &["build", "--duration", "1s", "-o", "a"]);
    let keeper = cli.start(["keep", &run]);
    cli.run(["commit", &run]).code(0);
    keeper.wait().code(0).stderr("");
}

#[test]
fn start_waits_for_its_turn() {
    let cli = cli();
    let first = started(&cli, &["build", "--duration", "1m", "-o", "a"]);
    let second = cli.start(["start", "build", "--duration", "1m", "-o", "a"]);
    until("a waiting start", PATIENCE, || cli.run(["status"]).out().contains("queued").then_some(()));
    cli.run(["commit", &first]).code(0);
    let second = second.wait();
    second.code(0);
    cli.run(["commit", second.out().trim_end()]).code(0);
}

#[test]
fn answers_as_json_name_run_and_outcome() {
    let cli = cli();
    let told = cli.run(["start", "build", "--duration", "1m", "-o", "a", "--json"]).json();
    let run = told["run"].as_str().unwrap();
    assert_eq!(
        (&told["version"], &told["job"], &told["lease_ms"]),
        (&1.into(), &"build".into(), &60_000.into())
    );
    let refreshed = cli.run(["refresh", run, "--json"]).json();
    assert_eq!((&refreshed["run"], &refreshed["outcome"]), (&run.into(), &"running".into()));
    assert!(refreshed["lease_left_ms"].as_u64().unwrap() > 59_000);
    assert_eq!(cli.run(["verify", run, "--json"]).json()["token"], told["token"]);
    assert_eq!(cli.run(["commit", run, "--json"]).json()["outcome"], "committed");
    let verified = cli.run(["verify", run, "--json"]);
    assert_eq!(verified.code(79).json()["outcome"], "over");
}

#[test]
fn a_later_step_is_part_of_a_started_run_by_its_proof_not_by_its_id() {
    let cli = cli();
    let told = cli.run(["start", "build", "--duration", "1m", "-l", "x", "--json"]).json();
    let (run, proof) = (told["run"].as_str().unwrap(), told["parent_proof"].as_str().unwrap());
    let step = cli.with("FLOWLOCK_RUN_ID", run);
    let line = ["run", "--wait", "200ms", "-l", "x", "--", "true"];
    step.run(line).code(75).stderr_has("did not start within").stderr_has("FLOWLOCK_PARENT_PROOF is missing");
    step.with("FLOWLOCK_PARENT_PROOF", proof).run(line).code(75).stderr_has("(deadlock)");
}

#[test]
fn verify_asks_about_the_run_it_is_part_of() {
    let cli = cli();
    let program = env!("CARGO_BIN_EXE_flowlock");
    let script = format!("{program} verify && echo held");
    cli.run(["run", "-o", "a", "--", "sh", "-c", &script]).code(0).stdout("held\n");
}

/// What was done is done: a script that decides by the exit code learns it.
#[test]
fn an_answer_that_cannot_be_written_changes_no_exit_code() {
    let cli = cli();
    let shell = cli.clone().with_program("sh");
    let flowlock = env!("CARGO_BIN_EXE_flowlock");
    let onto_a_full_disk = |line: &str| shell.run(["-c", &format!("{flowlock} {line} >/dev/full")]);
    let into_a_pipe_without_a_reader = |line: &str| {
        let script =
            format!("{{ sleep 0.1; {flowlock} {line}; echo $? >code; }} | true; sed 's/^/code /' code");
        shell.run(["-c", &format!("{script}; rm code")])
    };
    let build = |name: &str| started(&cli, &["build", "--duration", "1m", "-o", name]);
    for (name, act, end) in [("a", "commit", "committed"), ("b", "fail", "failed")] {
        let run = build(name);
        let refreshed = onto_a_full_disk(&format!("refresh {run} --json"));
        let said = |end: &str, why: &str| {
            format!("flowlock: {run} is {end}; standard output could not be written: {why}")
        };
        refreshed.code(0).stderr_has(&said("running", "No space left on device"));
        onto_a_full_disk(&format!("verify {run} --json")).code(0).stderr_has(&said("running", "No space"));
        onto_a_full_disk(&format!("{act} {run} --json")).code(0).stderr_has(&said(end, "No space left"));
        onto_a_full_disk(&format!("verify {run} --json")).code(79);
    }
    cli.run(["check", "a"]).code(0);
    let run = build("c");
    let ended = into_a_pipe_without_a_reader(&format!("commit {run} --json"));
    ended.stdout("code 0\n").stderr_has(&format!("flowlock: {run} is committed; standard output could not"));
    // Nobody could end a run whose id nobody learnt, so it is not there.
    // Nor did it begin, so what was written before stands.
    cli.run(["run", "-o", "d", "--", "true"]).code(0);
    for line in
        ["start build --duration 1m -o d --on-fail incomplete", "start build --duration 1m -o d --json"]
    {
        onto_a_full_disk(line).code(125).stderr_has("was ended; its id could not be written: No space left");
        let closed = into_a_pipe_without_a_reader(line);
        closed.stdout("code 141\n").stderr_has("was ended; its id could not be written: Broken pipe");
        assert_eq!(cli.run(["status", "--json"]).json()["running"].as_array().unwrap().len(), 0);
        cli.run(["check", "d"]).code(0);
    }
}
