//! Waiting runs.

use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, PATIENCE, until};
use nix::sys::signal::Signal;

use super::{cli, took};

fn started(cli: &Cli, line: &[&str]) -> String {
    let started = cli.run(["start"].iter().chain(line));
    started.code(0).stderr("");
    started.out().trim_end().to_owned()
}

/// Waits until so many runs are in line.
fn in_line(cli: &Cli, count: usize) {
    let waiting = || cli.run(["status", "--json"]).json()["waiting"].as_array().map(Vec::len);
    until("runs in line", PATIENCE, || (waiting() == Some(count)).then_some(()));
}

#[test]
fn an_interrupt_during_the_wait_leaves_the_line_at_once() {
    let cli = cli();
    let holder = started(&cli, &["build", "--duration", "1m", "-l", "x"]);
    let waiter = cli.start(["run", "-l", "x", "--", "echo", "ran"]);
    in_line(&cli, 1);
    let begun = Instant::now();
    waiter.signal(Signal::SIGINT);
    waiter.wait().code(130).stdout("");
    took(begun, 0.0, 3.0);
    in_line(&cli, 0);
    cli.run(["fail", &holder]).code(0);
}

#[test]
fn a_killed_waiter_delays_others_by_fifteen_seconds_at_most() {
    let cli = cli();
    let holder = started(&cli, &["build", "--duration", "5m", "-l", "x"]);
    let first = cli.start(["run", "-l", "x", "--", "true"]);
    in_line(&cli, 1);
    let second = cli.start(["run", "-l", "x", "--", "echo", "ran"]);
    in_line(&cli, 2);
    first.signal(Signal::SIGKILL);
    let begun = Instant::now();
    cli.run(["fail", &holder]).code(0);
    second.wait_at_most(Duration::from_secs(40)).code(0).stdout("ran\n");
    took(begun, 0.0, 16.0);
}

#[test]
fn a_nested_run_that_would_wait_for_its_parent_is_refused_at_once() {
    let cli = cli();
    let program = env!("CARGO_BIN_EXE_flowlock");
    let begun = Instant::now();
    let script = format!("{program} run -l x -- echo ran; echo code $?");
    cli.run(["run", "-l", "x", "--", "sh", "-c", &script]).code(0).stdout("code 75\n");
    took(begun, 0.0, 5.0);
}
