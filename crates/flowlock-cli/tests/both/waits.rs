//! Waiting: for inputs, for names, in a build's log and in silence.

use std::time::Duration;

use flowlock_testkit::until;

use super::cli;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn a_consumer_started_first_waits_for_its_producer() {
    let cli = cli();
    let consumer =
        cli.start(["run", "--name", "report", "-i", "sales", "-o", "report", "--", "echo", "made"]);
    until("a waiting consumer", PATIENCE, || {
        cli.run(["status"]).out().contains("awaiting_input").then_some(())
    });
    cli.run(["run", "-o", "sales", "--", "true"]).code(0);
    consumer.wait().code(0).stdout("made\n").stderr("");
}

#[test]
fn two_jobs_that_need_each_others_names_both_run() {
    let cli = cli();
    cli.run(["outputs", "create", "a", "b"]).code(0);
    let runs: Vec<_> = (0..6)
        .map(|n| {
            let (input, output) = if n % 2 == 0 { ("a", "b") } else { ("b", "a") };
            cli.start(["run", "-i", input, "-o", output, "--", "true"])
        })
        .collect();
    for run in runs {
        run.wait().code(0).stderr("");
    }
}

#[test]
fn slots_let_so_many_in() {
    let cli = cli();
    let hold = |line: &[&str]| {
        let job = cli.start(["run", "--name", "holder"].iter().chain(line).chain(&[
            "--",
            "sh",
            "-c",
            "echo held; sleep 60",
        ]));
        job.says("held");
        job
    };
    let _two = hold(&["--slot", "gpu:2/3"]);
    cli.run(["run", "--wait", "0", "--slot", "gpu:1/3", "--", "true"]).code(0);
    cli.run(["run", "--wait", "0", "--slot", "gpu:2/3", "--", "true"])
        .code(75)
        .stderr_has("units of slot gpu are taken by holder");
    let _one = hold(&["--slot", "gpu:3"]);
    cli.run(["run", "--wait", "0", "--slot", "gpu:3", "--", "true"]).code(75);
}

#[test]
fn a_wait_that_ends_in_vain_names_everything_in_the_way() {
    let cli = cli();
    let holder =
        cli.start(["run", "--name", "holder", "-o", "a", "-l", "b", "--", "sh", "-c", "echo held; sleep 60"]);
    holder.says("held");
    let refused = cli.run(["run", "--name", "j", "--wait", "300ms", "-o", "a", "-l", "b", "--", "true"]);
    refused.code(75).stdout("").stderr_has("flowlock: j did not start within 3");
    refused.stderr_has("output a is being written by holder (run holder.");
    refused.stderr_has("\n  lock b is held by holder (run holder.");
    assert_eq!(refused.err().lines().count(), 2);
}

#[test]
fn off_a_terminal_a_wait_is_silent() {
    let cli = cli();
    let holder = cli.start(["run", "-l", "x", "--", "sh", "-c", "echo held; sleep 1.5"]);
    holder.says("held");
    cli.run(["run", "-l", "x", "--", "true"]).code(0).stderr("");
}

#[test]
fn in_a_build_a_wait_is_logged_with_its_time() {
    let cli = cli().with("CI", "true");
    let holder = cli.start(["run", "--name", "holder", "-l", "x", "--", "sh", "-c", "echo held; sleep 60"]);
    holder.says("held");
    let waiter = cli.start(["run", "--wait", "1m", "-l", "x", "--", "true"]);
    waiter.warns("waiting in line for ");
    waiter.warns("gives up in ");
    waiter.warns(": lock x is held by holder (run holder.");
    let said = waiter.stderr();
    let time = said.strip_prefix("flowlock: ").unwrap().split(' ').next().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z') && time.contains('T'), "{said}");
}
