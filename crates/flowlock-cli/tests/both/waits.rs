//! Waiting: for inputs, for names, in a build's log and in silence.

use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Gate, until};
use nix::sys::signal::Signal;
use serde_json::Value;

use super::{BACKING, cli, hangs};
use crate::{Backing, Told as _};

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
    waiter.warns("waiting in the queue for ");
    waiter.warns("gives up in ");
    waiter.warns(": lock x is held by holder (run holder.");
    let said = waiter.stderr();
    let time = said.strip_prefix("flowlock: ").unwrap().split(' ').next().unwrap();
    assert!(time.len() == 20 && time.ends_with('Z') && time.contains('T'), "{said}");
}

/// The waiting runs, as `status` has them.
fn waiting(cli: &Cli, job: &str) -> Option<Value> {
    let status = cli.run(["status", "--json"]).json();
    status["waiting"].as_array().unwrap().iter().find(|run| run["job"] == job).cloned()
}

fn until_it_is(cli: &Cli, job: &str, state: &str) {
    until(&format!("{job} {state}"), PATIENCE, || {
        waiting(cli, job).is_some_and(|run| run["state"] == state).then_some(())
    });
}

/// Until its silence is noticed takes ten seconds of real time: what is shown of it then is looked at here as well.
#[test]
fn a_stopped_waiter_holds_nobody_up_is_shown_as_absent_and_comes_back_to_its_turn() {
    let cli = cli();
    let gate = Gate::new(cli.home().join("gate"));
    let locks = |job: &str, script: &str| {
        cli.start(["run", "-l", "printer", "--name", job, "--", "sh", "-c", script])
    };
    let holder = locks("holder", &format!("echo in; {}", gate.wait()));
    holder.says("in\n");
    let sleeper = locks("sleeper", "echo in");
    until_it_is(&cli, "sleeper", "queued");
    cli.stops(&sleeper);
    let behind = locks("behind", "echo in");
    until_it_is(&cli, "behind", "queued");
    gate.open();
    let freed = Instant::now();
    behind.says("in\n");
    assert!(freed.elapsed() < Duration::from_secs(15), "held up for {:?}", freed.elapsed());
    behind.wait().code(0);
    assert_eq!(sleeper.stdout(), "");
    is_shown_as_absent(&cli);
    sleeper.signal(Signal::SIGCONT);
    sleeper.wait().code(0).stdout("in\n");
}

/// Nothing is in the sleeper's way any more, and it is not said that something is.
fn is_shown_as_absent(cli: &Cli) {
    let seen = waiting(cli, "sleeper").expect("it waits");
    assert_eq!((&seen["state"], &seen["blockers"]), (&"absent".into(), &Value::Array(Vec::new())));
    let since = seen["silent_since"].as_str().expect("since when");
    assert!(since.len() == "2026-11-26T16:27:18.123Z".len() && since.ends_with('Z'), "{since}");
    let is_told = |said: &str| {
        let (_, reason) = said.split_once("absent: not heard from since ").expect("that it is absent");
        let (at, rest) = reason.split_once("; ").expect("since when");
        assert_eq!(at.len(), "2026-11-26 16:27:18 +01:00".len(), "{at}");
        assert!(rest.starts_with("it reserves nothing, and continues from its place when it asks again\n"));
    };
    let status = cli.run(["status"]);
    is_told(status.code(0).out());
    status.stdout_has("  absent  ");
    let why = cli.run(["why"]);
    is_told(why.code(0).out());
    why.stdout_has("(-l printer): absent, since ");
    assert!(cli.run(["why", "--json"]).json()["runs"][0]["silent_since"].is_string());
}

/// A job started by cron with a misspelt input would else wait for ever without a word.
#[test]
fn a_wait_that_looks_like_a_mistake_is_told_of_after_five_seconds() {
    let cli = cli();
    cli.run(["outputs", "create", "sales"]).code(0);
    let lost = cli.start(["run", "--name", "report", "-i", "salse", "--", "true"]);
    lost.warns(
        " waits: input salse was never written, and no running or waiting run will write it; did you mean sales?\n",
    );
    // Somebody waits who would write it: no mistake.
    let _maker = cli.start(["run", "--name", "maker", "-i", "raw", "-o", "made", "--", "true"]);
    until("a maker that waits", PATIENCE, || cli.run(["status"]).out().contains("maker").then_some(()));
    let fine = cli.start(["run", "--name", "consumer", "-i", "made", "--wait", "7s", "--", "true"]);
    let told = fine.wait();
    told.code(66);
    assert!(!told.err().contains("no running or waiting run"), "{told:?}");
    let quiet = cli.run(["run", "-q", "-i", "salse", "--wait", "7s", "--", "true"]);
    assert!(!quiet.code(66).err().contains("no running or waiting run"), "{quiet:?}");
}

#[test]
fn a_store_that_does_not_answer_is_told_of_while_it_is_tried() {
    let cli = cli();
    cli.run(["outputs", "create", "sales"]).code(0);
    let hung = hangs(&cli);
    let waits = cli.start(["run", "-l", "x", "--", "echo", "begun"]);
    let left = if BACKING == Backing::Embedded { 25 } else { 29 };
    waits.warns(&format!("the store does not answer; trying for {left} s more (store "));
    hung.goes_on();
    waits.wait().code(0).stdout("begun\n");
}
