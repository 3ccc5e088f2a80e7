//! `flowlock run`: what the command sees, what is written, and what the exit code says.

use std::fs;
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::Duration;

use flowlock_testkit::{Cli, until};

use super::{cli, place, shown, was_asked};

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn success_is_silent_and_its_outputs_are_written() {
    let cli = cli();
    cli.run(["run", "-o", "sales", "--", "true"]).code(0).stdout("").stderr("");
    cli.run(["check", "sales"]).code(0).stdout("").stderr("");
}

#[test]
fn the_streams_are_the_commands_own() {
    let cli = cli().with_stdin("in\n");
    let script = "cat; echo err >&2";
    cli.run(["run", "-l", "x", "--", "sh", "-c", script]).code(0).stdout("in\n").stderr("err\n");
}

#[test]
fn a_command_that_fails_writes_nothing_and_keeps_its_code() {
    let cli = cli();
    cli.run(["run", "-o", "sales", "--", "sh", "-c", "exit 7"]).code(7).stderr("");
    cli.run(["run", "-o", "sales", "--", "sh", "-c", "kill -TERM $$"]).code(143).stderr("");
    cli.run(["check", "sales"]).code(1);
}

#[test]
fn an_input_that_was_never_written_is_missing() {
    let cli = cli();
    let said = "true was not started: input sales is missing: it was never written";
    cli.run(["run", "--wait", "0", "-i", "sales", "--", "true"])
        .code(66)
        .stderr(&format!("flowlock: {said} {}", place()));
    let said = "true did not start within ";
    cli.run(["run", "--wait", "300ms", "-i", "sales", "--", "true"]).code(66).stderr_has(said);
}

#[test]
fn a_misspelt_input_gets_a_hint() {
    let cli = cli();
    cli.run(["outputs", "create", "upstream_revenue"]).code(0);
    cli.run(["run", "--wait", "0", "-i", "upsteam_revenue", "-i", "other", "--", "true"]).code(66).stderr(
        &format!(
            "flowlock: true was not started: input other is missing: it was never written (and 1 more) {}  \
         input upsteam_revenue is missing: it was never written\n  did you mean upstream_revenue?\n",
            place()
        ),
    );
}

#[test]
fn the_command_sees_its_run() {
    let cli = cli();
    cli.run(["run", "-o", "raw", "--note", "/data/raw.1", "--", "true"]).code(0);
    let show = r#"printf '%s\n' "$FLOWLOCK_JOB" "$FLOWLOCK_NAMESPACE" "$FLOWLOCK_STORE" "$FLOWLOCK_DATE" "$FLOWLOCK_INPUTS" "$FLOWLOCK_OUTPUTS" "$FLOWLOCK_TOKEN" "$FLOWLOCK_RUN_ID" "$OPENLINEAGE_PARENT_ID""#;
    let args = ["run", "--name", "clean", "--date", "2026-11-22", "-i", "raw", "-o", "raw.clean", "--"];
    let seen = cli.run(args.iter().copied().chain(["sh", "-c", show]));
    seen.code(0).stderr("");
    let lines: Vec<&str> = seen.out().lines().collect();
    assert_eq!(lines[..4], ["clean", "default", shown(), "2026-11-22"]);
    let inputs: serde_json::Value = serde_json::from_str(lines[4]).unwrap();
    assert_eq!((&inputs[0]["name"], &inputs[0]["note"]), (&"raw".into(), &"/data/raw.1".into()));
    assert!(inputs[0]["version"].is_string() && inputs[0]["run"].as_str().unwrap().starts_with("true."));
    let outputs: serde_json::Value = serde_json::from_str(lines[5]).unwrap();
    assert_eq!((&outputs[0]["name"], &outputs[0]["version"]), (&"raw.clean".into(), &lines[6].into()));
    assert!(lines[7].starts_with("clean."));
    assert_eq!(lines[8], format!("default/clean/{}", lines[7]));
}

#[test]
fn long_lists_reach_the_command_in_a_file() {
    let cli = cli();
    let names: Vec<String> = (0..900).map(|n| format!("{}{n}", "long.".repeat(20))).collect();
    fs::write(cli.home().join("names"), names.join("\n")).unwrap();
    let create = ["outputs".to_owned(), "create".to_owned()];
    cli.run(create.iter().chain(&names)).code(0);
    let show = r#"test -z "$FLOWLOCK_INPUTS" && grep -o '"name"' "$FLOWLOCK_INPUTS_FILE" | wc -l; echo "$FLOWLOCK_INPUTS_FILE""#;
    let seen = cli.run(["run", "--inputs-from", "names", "-o", "all", "--", "sh", "-c", show]);
    seen.code(0).stderr("");
    let (count, file) = seen.out().trim_end().split_once('\n').unwrap();
    assert_eq!(count.trim(), "900");
    assert!(!fs::exists(file).unwrap(), "{file} was left behind");
    let show = r#"grep -o '"name"' "$FLOWLOCK_OUTPUTS_FILE" | wc -l; echo "$FLOWLOCK_INPUTS ${FLOWLOCK_INPUTS_FILE-none} ${FLOWLOCK_OUTPUTS-none}""#;
    let outputs = names.iter().flat_map(|name| ["-o", name]);
    let line = ["run"].into_iter().chain(outputs).chain(["--", "sh", "-c", show]);
    cli.run(line).code(0).stdout("900\n[] none none\n");
}

#[test]
fn a_note_reaches_the_readers_from_the_flag_or_from_the_file() {
    let cli = cli();
    let note_of = |name: &str| {
        let listed = cli.run(["outputs", name, "--json"]);
        listed.json()["records"][0]["note"].clone()
    };
    cli.run(["run", "-o", "a", "--note", "from the flag", "--", "true"]).code(0);
    assert_eq!(note_of("a"), "from the flag");
    let leave =
        ["run", "-o", "b", "--note", "flag", "--", "sh", "-c", "echo /data/b.17 > $FLOWLOCK_NOTE_FILE"];
    cli.run(leave).code(0).stderr("");
    assert_eq!(note_of("b"), "/data/b.17");
    let long = "head -c 5000 /dev/zero | tr '\\0' x > $FLOWLOCK_NOTE_FILE";
    cli.run(["run", "-o", "c", "--", "sh", "-c", long]).code(64).stderr_has(
        "invalid note: it has 5000 bytes; at most 4096 are kept; outputs are not recorded as written",
    );
    cli.run(["check", "c"]).code(1);
}

#[test]
fn a_check_that_fails_keeps_the_outputs_unwritten() {
    let cli = cli();
    let args = ["run", "-o", "a", "--check", "test -s \"$FLOWLOCK_JOB.out\"", "--name", "j", "--"];
    let with = |command: &'static str| cli.run(args.iter().copied().chain(["sh", "-c", command]));
    with("true")
        .code(1)
        .stderr("flowlock: --check failed with exit code 1; outputs are not recorded as written\n");
    cli.run(["check", "a"]).code(1);
    with("echo x > j.out").code(0).stderr("");
    cli.run(["check", "a"]).code(0);
    with("exit 3").code(3).stderr("");
    cli.run(["run", "-o", "a", "--json-result", "result", "--check", "exit 9", "--", "true"]).code(9);
    let result: serde_json::Value =
        serde_json::from_slice(&fs::read(cli.home().join("result")).unwrap()).unwrap();
    assert_eq!((&result["exit_code"], &result["command_exit_code"]), (&9.into(), &0.into()));
}

#[test]
fn what_is_written_is_overwritten_refused_or_skipped_as_wanted() {
    let cli = cli();
    let run = |choice: &str| {
        cli.run(["run", "--if-written", choice, "-o", "a", "--name", "j", "--", "echo", "ran"])
    };
    run("fail").code(0).stdout("ran\n");
    run("overwrite").code(0).stdout("ran\n");
    run("skip").code(0).stdout("").stderr("");
    let refused = run("fail");
    refused.code(73).stdout("").stderr_has("flowlock: j was not started: output a is already written");
    refused.stderr_has(place().as_str());
}

#[test]
fn taken_names_are_refused_or_skipped_as_wanted() {
    let cli = cli();
    let holder = cli.start(["run", "--name", "holder", "-l", "x", "--", "sh", "-c", "echo held; sleep 60"]);
    holder.says("held");
    let run = |choice: &str| {
        cli.run(["run", "--wait", "0", "--if-locked", choice, "--name", "j", "-l", "x", "--", "echo", "ran"])
    };
    run("fail")
        .code(75)
        .stdout("")
        .stderr_has("flowlock: j was not started: lock x is held by holder (run holder.");
    let skipped = run("skip");
    skipped.code(0).stdout("").stderr_has("flowlock: skipped: j was not started: lock x is held by holder");
    assert_eq!(skipped.err().lines().count(), 1);
    cli.run(["run", "--wait", "0", "--if-locked", "skip", "-q", "--name", "j", "-l", "x", "--", "true"])
        .code(0)
        .stderr("");
    // A missing input is not what skipping is for.
    cli.run(["run", "--wait", "0", "--if-locked", "skip", "-i", "none", "--", "true"]).code(66);
}

#[test]
fn single_lets_one_run_of_a_job_in() {
    let cli = cli();
    let holder = cli.start(["run", "--single", "--name", "nightly", "--", "sh", "-c", "echo held; sleep 60"]);
    holder.says("held");
    let again = ["run", "--single", "--name", "nightly", "--wait", "0", "--", "true"];
    cli.run(again).code(75).stderr_has("lock nightly is held by nightly (run nightly.");
    cli.run(["run", "--single", "--wait", "0", "--", "true"]).code(0);
}

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

#[test]
fn the_result_file_says_what_happened() {
    let cli = cli();
    let result = |args: &[&str]| -> (i32, serde_json::Value) {
        let line = ["run", "--name", "j", "--json-result", "result.json"];
        let ended = cli.run(line.iter().chain(args));
        let text = fs::read_to_string(cli.home().join("result.json")).unwrap();
        (ended.status().code().unwrap(), serde_json::from_str(&text).unwrap())
    };
    let (code, told) = result(&["-o", "a", "--", "true"]);
    assert_eq!(
        (code, &told["outcome"], &told["exit_code"], &told["command_exit_code"]),
        (0, &"committed".into(), &0.into(), &0.into())
    );
    assert_eq!(
        (&told["version"], &told["job"], &told["namespace"]),
        (&1.into(), &"j".into(), &"default".into())
    );
    assert!(told["token"].is_string() && told["run"].as_str().unwrap().starts_with("j."));
    let outcome = |args: &[&str]| {
        let (code, told) = result(args);
        assert_eq!(told["exit_code"], code);
        told["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(outcome(&["-o", "a", "--", "false"]), "failed");
    assert_eq!(outcome(&["-o", "a", "--if-written", "skip", "--", "true"]), "skipped");
    assert_eq!(outcome(&["-o", "a", "--if-written", "fail", "--", "true"]), "output_exists");
    assert_eq!(outcome(&["-i", "none", "--wait", "0", "--", "true"]), "input_missing");
    assert_eq!(outcome(&["--", "true"]), "usage");
    assert_eq!(outcome(&["-l", "x", "--", "no-such-command"]), "not_found");
    let (_, told) = result(&["-i", "none", "--wait", "0", "--", "true"]);
    assert_eq!(told["blockers"][0]["kind"], "input_missing");
    assert_eq!(told["blockers"][0]["name"], "none");
}

/// The work is done by then, and scripts decide by the code.
#[test]
fn a_result_that_cannot_be_written_changes_no_exit_code() {
    let cli = cli();
    let told = |line: &[&str]| cli.run(["run", "--json-result", "/dev/full"].iter().chain(line));
    let said = |code: i32| {
        format!(
            "the run ended with {code} all the same; --json-result /dev/full could not be written: No space left on device"
        )
    };
    told(&["-o", "a", "--", "true"]).code(0).stderr_has(&said(0));
    cli.run(["check", "a"]).code(0);
    told(&["-o", "b", "--", "sh", "-c", "exit 9"]).code(9).stderr_has(&said(9));
    told(&["-i", "none", "--wait", "0", "--", "true"]).code(66).stderr_has(&said(66));
    // Whoever reads a pipe leaves before the end.
    nix::unistd::mkfifo(&cli.home().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut reader = fs::File::options();
    let reader = reader.read(true).custom_flags(nix::libc::O_NONBLOCK).open(cli.home().join("pipe")).unwrap();
    let script = "echo in; while [ ! -e left ]; do sleep 0.02; done; exit 7";
    let job = cli.start(["run", "--json-result", "pipe", "-l", "x", "--", "sh", "-c", script]);
    job.says("in");
    drop(reader);
    fs::write(cli.home().join("left"), "").unwrap();
    job.wait().code(7).stderr_has("--json-result pipe could not be written: Broken pipe");
}

#[test]
fn a_command_that_cannot_start_takes_no_name() {
    let cli = cli();
    fs::write(cli.home().join("plain"), "no program").unwrap();
    cli.run(["run", "-l", "x", "--", "no-such-command"])
        .code(127)
        .stderr("flowlock: cannot find no-such-command: No such file or directory (os error 2)\n");
    cli.run(["run", "-l", "x", "--", "./plain"])
        .code(126)
        .stderr("flowlock: cannot execute ./plain: Permission denied (os error 13)\n");
    cli.run(["run", "-l", "x", "--", "/"]).code(126).stderr_has("cannot execute /: Permission denied");
    assert!(!was_asked(&cli), "the store was asked");
}

#[test]
fn dates_are_filled_into_names_and_on_demand_into_the_command() {
    let cli = cli();
    let line = ["run", "--date", "2026-11-22", "--expand", "-o", "s.{date}", "-o", "s.{date-2d..date-1d:DD}"];
    cli.run(line.iter().copied().chain(["--", "echo", "{month-1m}", "{{x}}", "{date..date+1d}"]))
        .code(0)
        .stdout("2026-10 {x} 2026-11-22 2026-11-23\n");
    cli.run(["check", "s.2026-11-22", "s.20", "s.21"]).code(0);
    cli.run(["check", "--date", "2026-11-23", "s.{date-1d}"]).code(0);
    cli.run(["run", "-l", "x", "--", "echo", "{date} {user}"]).code(0).stdout("{date} {user}\n");
    let east = [
        "run",
        "--date",
        "2026-11-21T23:30Z",
        "--tz",
        "Asia/Tokyo",
        "-l",
        "x",
        "--expand",
        "--",
        "echo",
        "{date}",
    ];
    cli.run(east).stdout("2026-11-22\n");
    let east = cli.clone().with("FLOWLOCK_TZ", "Asia/Tokyo");
    east.run(["run", "--date", "2026-11-21T23:30Z", "-l", "x", "--expand", "--", "echo", "{date}"])
        .stdout("2026-11-22\n");
}

/// With `--on-fail incomplete` a run that fails makes its record unreadable; one that never began does not.
#[test]
fn a_run_whose_command_never_began_spoils_no_record() {
    use std::os::unix::fs::PermissionsExt as _;
    let cli = cli();
    cli.run(["outputs", "create", "a"]).code(0);
    let rewrite =
        |cli: &Cli, command: &str| cli.run(["run", "-o", "a", "--on-fail", "incomplete", "--", command]);
    rewrite(&cli.clone().with("TMPDIR", "/nonexistent"), "true").code(125);
    cli.run(["check", "a"]).code(0);
    // As a program for another machine: the kernel does not know it, and no shell gets it either.
    let garbage = cli.home().join("garbage");
    fs::write(&garbage, "\x7fELFgarbage\n").unwrap();
    fs::set_permissions(&garbage, fs::Permissions::from_mode(0o755)).unwrap();
    rewrite(&cli, "./garbage").code(126).stderr_has("cannot execute ./garbage: Exec format error");
    cli.run(["check", "a"]).code(0);
    rewrite(&cli, "false").code(1);
    cli.run(["check", "a"]).code(1);
}
