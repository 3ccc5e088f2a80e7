//! Every exit code of `run`, reached by a command, on every store.

use flowlock_testkit::{Cli, Job, PATIENCE, until};
use nix::sys::signal::Signal;

use super::{cli, filled, hangs, unusable, was_asked};

/// What the documented table has in its first column, and the commands that end so.
type Row = (&'static str, fn(&Cli));

const ROWS: [Row; 14] = [
    ("the command's own", the_commands_own),
    ("0", nothing_to_do),
    ("64", usage),
    ("66", no_input),
    ("69", unreachable),
    ("73", exists),
    ("74", full),
    ("75", busy),
    ("76", unknown),
    ("78", configuration),
    ("79", lost),
    ("125", internal),
    ("126, 127", not_started),
    ("128 + N", interrupted),
];

#[test]
fn every_documented_code_is_reached() {
    for (code, reach) in ROWS {
        eprintln!("exit code {code}");
        reach(&cli());
    }
}

#[test]
fn the_documented_codes_are_those_that_are_tried() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md")).unwrap();
    let (_, section) = text.split_once("\n## Exit codes\n").unwrap();
    let rows = section.lines().skip_while(|line| !line.starts_with("|---")).skip(1);
    let codes = rows.map_while(|row| row.strip_prefix("| ")?.split_once(" |")).map(|(code, _)| code);
    assert_eq!(codes.collect::<Vec<_>>(), ROWS.map(|(code, _)| code));
}

/// `run` with these flags, and a command that says that it ran.
fn run(flags: &str) -> Vec<&str> {
    ["run"].into_iter().chain(flags.split_whitespace()).chain(["--", "echo", "ran"]).collect()
}

#[track_caller]
fn ends_with(cli: &Cli, flags: &str, code: i32) {
    cli.run(run(flags)).code(code).stdout("");
}

/// A job that holds its names until the file `done` is there.
fn holder(cli: &Cli, flags: &str) -> Job {
    let script = "echo held; while [ ! -e done ]; do sleep 0.02; done";
    let line = ["run", "--name", "holder"].into_iter().chain(flags.split_whitespace());
    let job = cli.start(line.chain(["--", "sh", "-c", script]));
    job.says("held");
    job
}

fn is_done(cli: &Cli) {
    std::fs::write(cli.home().join("done"), "").unwrap();
}

fn the_commands_own(cli: &Cli) {
    cli.run(["run", "-l", "x", "--", "sh", "-c", "exit 75"]).code(75);
    cli.run(["run", "-o", "a", "--check", "exit 9", "--", "true"]).code(9);
    cli.run(["run", "-l", "x", "--", "sh", "-c", "kill -KILL $$"]).code(137);
}

fn nothing_to_do(cli: &Cli) {
    cli.run(run("-o a")).code(0).stdout("ran\n");
    ends_with(cli, "-o a --if-written skip", 0);
    let holder = holder(cli, "-l x");
    ends_with(cli, "-l x --wait 0 --if-locked skip", 0);
    is_done(cli);
    holder.wait().code(0);
}

fn usage(cli: &Cli) {
    ends_with(cli, "", 64);
    ends_with(cli, "-l x --duration 0s", 64);
    ends_with(cli, "-o {when}", 64);
}

/// There is no record: it was never written, or expired, or nothing but an attempt to write it is there.
fn no_input(cli: &Cli) {
    ends_with(cli, "-i a --wait 0", 66);
    ends_with(cli, "-i a --wait 200ms", 66);
    cli.run(run("-o b")).code(0);
    cli.run(["run", "-o", "b", "--on-fail", "incomplete", "--", "false"]).code(1);
    ends_with(cli, "-i b --wait 0", 66);
    let first = holder(cli, "-o a");
    ends_with(cli, "-i a --wait 0", 66);
    ends_with(cli, "-i a --wait 200ms", 66);
    is_done(cli);
    first.wait().code(0);
}

fn unreachable(cli: &Cli) {
    cli.run(run("-l x")).code(0);
    let hung = hangs(cli);
    let hasty = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    ends_with(&hasty, "-l x --wait 0", 69);
    ends_with(&hasty, "-l x", 69);
    hung.goes_on();
    cli.run(run("-l x")).code(0);
}

/// Final, whatever else is in the way.
fn exists(cli: &Cli) {
    cli.run(run("-o a")).code(0);
    ends_with(cli, "-o a --if-written fail", 73);
    ends_with(cli, "-o a --if-written fail --wait 0", 73);
    ends_with(cli, "-i none -o a --if-written fail --wait 0", 73);
    ends_with(cli, "-i none -o a --if-written fail --wait 200ms", 73);
}

fn full(cli: &Cli) {
    cli.run(run("-o a")).code(0);
    let (full, _faults) = filled(cli);
    let hasty = full.with("FLOWLOCK_STORE_TIMEOUT", "1s");
    ends_with(&hasty, "-l x", 74);
    ends_with(&hasty, "-l x --wait 0", 74);
}

/// There is a record, but names are taken: an input that is being written anew among them.
fn busy(cli: &Cli) {
    cli.run(run("-o a")).code(0);
    let holder = holder(cli, "-o a -l x --slot g:2");
    for flags in ["-l x", "-i a", "-o a", "--slot g:2/2"] {
        ends_with(cli, &format!("{flags} --wait 0"), 75);
        ends_with(cli, &format!("{flags} --wait 200ms"), 75);
    }
    is_done(cli);
    holder.wait().code(0);
    let inner = format!("{} run -l x -- echo ran", env!("CARGO_BIN_EXE_flowlock"));
    cli.run(["run", "-l", "x", "--", "sh", "-c", &inner]).code(75).stdout("");
}

fn unknown(cli: &Cli) {
    let hasty = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s").with("FLOWLOCK_COMMIT_WAIT", "1s");
    let holder = holder(&hasty, "-o a --duration 3s");
    let hung = hangs(cli);
    is_done(cli);
    holder.wait().code(76);
    hung.goes_on();
}

fn configuration(cli: &Cli) {
    ends_with(&cli.clone().with("FLOWLOCK_NAMESPCE", "x"), "-l x", 78);
    ends_with(&cli.clone().with("FLOWLOCK_TZ", "Mars"), "-l x", 78);
    ends_with(&cli.clone().with("FLOWLOCK_STORE", unusable(cli)), "-l x", 78);
}

fn lost(cli: &Cli) {
    let holder = holder(cli, "-o a");
    cli.run(["unlock", "a", "--yes"]).code(0);
    holder.wait().code(79);
    ends_with(cli, "-i a --wait 0", 66);
}

fn internal(cli: &Cli) {
    ends_with(&cli.clone().with("TMPDIR", "/nowhere"), "-o a", 125);
    ends_with(cli, "-i a --wait 0", 66);
}

fn not_started(cli: &Cli) {
    std::fs::write(cli.home().join("text"), "").unwrap();
    cli.run(["run", "-l", "x", "--", "./text"]).code(126).stdout("");
    cli.run(["run", "-l", "x", "--", "no-such-command"]).code(127).stdout("");
}

fn interrupted(cli: &Cli) {
    for (signal, code) in [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let waiting = cli.start(run("--name waiting -i a"));
        until("a waiting run", PATIENCE, || cli.run(["status"]).out().contains("waiting.").then_some(()));
        waiting.signal(signal);
        waiting.wait().code(code).stdout("");
    }
}

/// What is wrong with the line that was typed is said before anything runs; of what the command wrote, in the same words.
#[test]
fn a_note_that_is_too_long_is_found_before_the_command_runs() {
    let cli = cli();
    let long = "n".repeat(4_097);
    let said = "flowlock: invalid note: it has 4097 bytes; at most 4096 are kept";
    let line = ["run", "-o", "a", "--note", &long, "--", "touch", "ran"];
    cli.run(line).code(64).stdout("").stderr(&format!("{said}\n"));
    assert!(!cli.home().join("ran").exists(), "the command ran");
    cli.run(["outputs", "create", "a", "--note", &long]).code(64).stderr(&format!("{said}\n"));
    cli.run(["commit", "none", "--note", &long]).code(64).stderr(&format!("{said}\n"));
    assert!(!was_asked(&cli), "the store was asked");
    let script = format!("printf {long} > $FLOWLOCK_NOTE_FILE");
    let unrecorded = format!("{said}; outputs are not recorded as written\n");
    cli.run(["run", "-o", "a", "--", "sh", "-c", &script]).code(64).stderr(&unrecorded);
    cli.run(["check", "a"]).code(1);
}

/// 4,096 bytes of it are kept: 2,048 of these characters.
#[test]
fn a_note_is_measured_in_bytes_whichever_way_it_comes() {
    let cli = cli();
    let (fits, too_long) = ("é".repeat(2_048), "é".repeat(2_048) + "!");
    let written = |note: &str| format!("printf %s {note} > $FLOWLOCK_NOTE_FILE");
    for (note, code) in [(&fits, 0), (&too_long, 64)] {
        cli.run(["run", "-o", "by-flag", "--note", note, "--", "true"]).code(code);
        cli.run(["run", "-o", "by-file", "--", "sh", "-c", &written(note)]).code(code);
        cli.run(["outputs", "create", "by-hand", "--note", note]).code(code);
        let run = format!("started.{code}");
        cli.run(["start", "started", "--id", &run, "--duration", "1m", "-o", "by-id"]).code(0);
        cli.run(["commit", &run, "--note", note]).code(code);
        cli.run(["outputs", "rm", "by-flag", "by-file", "by-hand", "by-id", "--break"]).code(0);
    }
}
