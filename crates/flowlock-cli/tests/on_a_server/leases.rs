//! Commands whose lease cannot be renewed, and how long leases are.

use std::time::Instant;

use flowlock_testkit::{Direction, Fault, Job, PATIENCE, Proxy, until};
use nix::sys::signal::Signal;

use super::{cli, outcome, start, took};
use crate::{is_alive, number};

#[test]
fn a_commands_wrong_clock_neither_decides_nor_is_shown() {
    let cli = cli();
    cli.run(["outputs", "create", "a"]).code(0);
    let run = ["run", "--name", "holder", "--duration", "10m", "-l", "x", "--"];
    let holder = cli.start([&run[..], &["sh", "-c", "echo in; exec sleep 1000"]].concat());
    holder.says("in");
    let faults = Fault::below(cli.home()).inject();
    let wrong = cli.clone().with_faults(&faults);
    for hours in [7, -7] {
        faults.shift_wall_clock(hours * 3_600_000);
        let unlock = ["unlock", "x", "--yes", "--if-older", "6h"];
        wrong.run(unlock).code(1).stderr_has("has held its names for only ").stderr_has("; nothing was done");
        wrong.run(["check", "a", "--max-age", "1h"]).code(0).stdout("");
        for look in [&["status"][..], &["why", "x"], &["why", "job:holder"]] {
            let told = wrong.run(look);
            assert!(!told.out().contains("7h") && !told.out().contains("6h"), "{told:?}");
        }
        let status = wrong.run(["status", "--json"]).json();
        let at =
            |field: &str| status["running"][0][field].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
        let lease = at("deadline").duration_since(at("since")).as_secs();
        assert!((590..1_200).contains(&lease), "{status}");
    }
    holder.signal(Signal::SIGKILL);
    holder.wait();
}

/// The job's command ends within its lease of 6 s; flowlock itself tries a little longer to tell the store.
#[track_caller]
fn is_ended_in_time(job: Job, silent_since: Instant) {
    let pid = number(&job, "ready ");
    until("the end of the command", PATIENCE, || (!is_alive(pid)).then_some(()));
    took(silent_since, 0.0, 6.0);
    let ended = job.wait();
    ended.code(79).stdout(&format!("ready {pid}\n"));
    ended.stderr_has("could not renew its lease in time: ").stderr_has("; ending the command");
}

/// The lease ends at the moment of the KILL: either is noticed first, hence many.
#[test]
fn a_command_that_goes_on_until_it_is_killed_is_told_once_that_its_lease_ends() {
    let cli = cli().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let stubborn = |n: usize| {
        let lock = format!("l{n}");
        let line = ["run", "-l", &lock, "--duration", "3s", "--kill-after", "1s", "--", "sh", "-c"];
        let job = cli.start([&line[..], &["trap '' TERM; echo ready; exec sleep 1000"]].concat());
        job.says("ready\n");
        job
    };
    let jobs: Vec<_> = (0..16).map(stubborn).collect();
    cli.server().stop();
    let ended: Vec<_> = jobs.into_iter().map(Job::wait).collect();
    cli.server().cont();
    for ended in ended {
        ended.code(79);
        assert_eq!(ended.err().matches("could not renew its lease in time").count(), 1, "{ended:#?}");
    }
}

#[test]
fn a_command_is_ended_before_its_lease_is_over_if_the_server_hangs() {
    let cli = cli();
    let job = start(&cli, &[]);
    let begun = Instant::now();
    cli.server().stop();
    is_ended_in_time(job, begun);
    assert_eq!(outcome(&cli), "lost");
    cli.server().cont();
    cli.run(["check", "a"]).code(1);
}

#[test]
fn a_command_is_ended_before_its_lease_is_over_if_the_network_swallows_everything() {
    let cli = cli();
    let line = Proxy::to(cli.server());
    let job = start(&cli.clone().with("FLOWLOCK_STORE", line.url()), &[]);
    let begun = Instant::now();
    line.black_hole(Direction::Requests);
    line.black_hole(Direction::Replies);
    is_ended_in_time(job, begun);
    cli.run(["run", "--wait", "10s", "-o", "a", "--", "true"]).code(0);
}

#[test]
fn the_lease_on_a_server_outlasts_a_failover() {
    let cli = cli();
    let program = env!("CARGO_BIN_EXE_flowlock");
    let script = format!("{program} status --json");
    let status = cli.run(["run", "-l", "x", "--", "sh", "-c", &script]).json();
    let time =
        |field: &str| -> jiff::Timestamp { status["running"][0][field].as_str().unwrap().parse().unwrap() };
    assert_eq!((time("deadline") - time("since")).as_secs(), 180);
    cli.run(["run", "-l", "x", "--kill-after", "60s", "--", "true"]).code(0).stderr("");
    cli.run(["run", "-l", "x", "--kill-after", "61s", "--", "true"]).code(64).stderr_has(
        "--kill-after 61s is more than a third of the lease; with --duration 180s give at most 60s",
    );
}

#[test]
fn the_names_of_a_killed_holder_are_free_when_its_lease_is_over() {
    let cli = cli();
    let holder = cli.start(["run", "--duration", "2s", "-l", "x", "--", "sh", "-c", "echo ready; sleep 60"]);
    holder.says("ready");
    holder.signal(Signal::SIGKILL);
    let begun = Instant::now();
    cli.run(["run", "--wait", "15s", "-l", "x", "--", "true"]).code(0);
    took(begun, 0.5, 5.0);
}
