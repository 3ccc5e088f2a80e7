//! The command: its streams, its environment, its exit code, and what is recorded.

use std::fs;

use flowlock_testkit::Cli;

use super::{cli, shown, was_asked};

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
