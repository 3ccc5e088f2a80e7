//! Clocks of this machine that are shifted or wrong.

use std::fs;

use flowlock_testkit::{Cli, Fault, Gate, PATIENCE, until};

use crate::cli_with_a_file as cli;

/// This command line in a time namespace whose clocks are shifted so; none where this machine does not allow it.
fn shifted(cli: &Cli, shift: &[&'static str]) -> Option<(Cli, Vec<&'static str>)> {
    let line = [shift, &["--fork"]].concat();
    let is_allowed = std::process::Command::new("unshare").args(&line).arg("true").output();
    if !is_allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user may not make a time namespace");
        return None;
    }
    Some((cli.clone().with_program("unshare"), [&line[..], &[env!("CARGO_BIN_EXE_flowlock")]].concat()))
}

/// Alone: a server has a clock of its own.
#[test]
fn deadlines_are_kept_where_the_time_since_boot_is_not_the_time_without_sleep() {
    // As after a day of being suspended.
    let elsewhen = ["--time", "--boottime", "100000", "--monotonic", "5000"];
    let Some((cli, flowlock)) = shifted(&cli(), &elsewhen) else { return };
    let run = |flags: &[&str]| {
        let line = [&flowlock[..], &["run", "-o", "a"], flags].concat();
        let begun = std::time::Instant::now();
        (cli.run(line), begun.elapsed())
    };
    let (hung, took) = run(&["--duration", "1s", "--max-runtime", "2s", "--", "sleep", "60"]);
    hung.code(79).stderr_has("reached its --max-runtime; ending the command");
    assert!(took < std::time::Duration::from_secs(6), "{took:?}");
    // Its lease of 1 s is renewed all the time.
    run(&["--duration", "1s", "--", "sleep", "2.5"]).0.code(0).stderr("");
}

/// Alone: a server has a clock of its own.
#[test]
fn a_command_under_a_clock_that_cannot_be_right_changes_nothing() {
    let cli = cli();
    let run = ["run", "-o", "a", "--", "echo", "ran"];
    cli.run(run).code(0);
    let faults = Fault::below(cli.home()).inject();
    faults.shift_wall_clock(230 * 365 * 86_400_000);
    let wrong = cli.clone().with_faults(&faults);
    wrong.run(run).code(78).stdout("").stderr_has("this machine's clock says 22").stderr_has("set it");
    cli.run(run).code(0).stdout("ran\n").stderr("");
}

/// Alone: a server has a clock of its own.
#[test]
fn a_lease_is_as_long_in_every_time_namespace() {
    let plain = cli();
    let shift = ["--time", "--boottime", "86400"];
    let Some((elsewhen, flowlock)) = shifted(&plain, &shift) else { return };
    let here: (&Cli, &[&str]) = (&plain, &[]);
    let there: (&Cli, &[&str]) = (&elsewhen, &flowlock);
    for ((holders, holding), (others, trying)) in [(here, there), (there, here)] {
        // Who lives keeps its names.
        let gate = Gate::new(plain.home().join("gate"));
        let script = format!("echo in; {}", gate.wait());
        let hold = ["run", "--name", "holder", "-l", "x", "--", "sh", "-c", &script];
        let holder = holders.start([holding, &hold].concat());
        holder.says("in\n");
        let said = others.run([trying, &["run", "-l", "x", "--wait", "0", "--", "true"]].concat());
        said.code(75).stderr_has("lock x is held by holder");
        // So does who waits keep its place.
        let wait = ["run", "--name", "second", "-l", "x", "--wait", "60s", "--", "true"];
        let second = holders.start([holding, &wait].concat());
        until("a waiter", PATIENCE, || plain.run(["status"]).out().contains("queued").then_some(()));
        others.run([trying, &["run", "-l", "y", "--", "true"]].concat()).code(0);
        assert!(plain.run(["status"]).out().contains("queued"), "it was taken for one whose wait is over");
        gate.open();
        fs::remove_file(plain.home().join("gate")).unwrap();
        holder.wait().code(0).stderr("");
        second.wait().code(0).stderr("");
        // A lease that nobody renews ends, and no later than it should.
        let start = ["start", "build", "-l", "x", "--duration", "2s"];
        holders.run([holding, &start].concat()).code(0);
        let lapsed = ["run", "-l", "x", "--wait", "20s", "--", "true"];
        others.run([trying, &lapsed].concat()).code(0);
    }
}
