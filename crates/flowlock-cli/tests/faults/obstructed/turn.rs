//! Somebody keeps the queue of writers locked.

use std::fs::File;
use std::time::{Duration, Instant};

use flowlock_testkit::{Gate, PATIENCE, until};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;

use super::{beside, has, place, used};
use crate::{run, until_it_is};

#[test]
fn a_try_that_gets_no_turn_is_answered_within_the_stores_time_once() {
    let cli = used();
    let cli = cli.with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let _still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    for wait in ["--wait 0", "--wait 1h"] {
        let begun = Instant::now();
        cli.run(run(&format!("-l x {wait}"), "echo ran")).code(69).stdout("").stderr(&format!(
            "flowlock: the store is busy: no turn to write within 1 s; process {} has it {}\n",
            std::process::id(),
            place()
        ));
        assert!(begun.elapsed() < Duration::from_millis(1_900), "{wait}: {:?}", begun.elapsed());
    }
}

#[test]
fn a_signal_ends_a_wait_also_if_the_store_cannot_be_told_of_it() {
    let cli = used();
    let holder = cli.start(run("-l x", "echo in; exec sleep 1000"));
    holder.says("in\n");
    for (signal, code) in [(Signal::SIGHUP, 129), (Signal::SIGINT, 130), (Signal::SIGTERM, 143)] {
        // The one before is still in line: the store could not be told.
        let name = format!("waiter{code}");
        let waiter = cli.start(run(&format!("-l x --name {name}"), "echo ran"));
        until_it_is(&cli, &name, "queued");
        let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
        let still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
        let begun = Instant::now();
        waiter.signal(signal);
        let ended = waiter.wait();
        ended
            .code(code)
            .stdout("")
            .stderr_has(&format!("stopped waiting after {signal}, but the store could not"));
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
        drop(still);
    }
}

#[test]
fn keep_outlasts_a_store_that_does_not_answer_for_a_while() {
    let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let run = cli.run(["start", "build", "--duration", "30s", "-o", "b"]).code(0).out().trim().to_owned();
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let keeper = cli.start(["keep", &run, "--every", "1s"]);
    keeper.warns("could not renew; trying again until the lease ends");
    let left = || {
        let status = cli.run(["status", "--json"]).json();
        status["running"][0]["deadline"].as_str().unwrap().to_owned()
    };
    let before = left();
    drop(still);
    until("a renewal", PATIENCE, || (left() > before).then_some(()));
    keeper.signal(Signal::SIGTERM);
    keeper.wait().code(0);
}

#[test]
fn a_signal_ends_the_wait_for_a_turn_at_once() {
    let cli = used();
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    for wait in ["--wait 0", "--wait 1h"] {
        let waiting = cli.start(run(&format!("-l x {wait}"), "echo ran"));
        until("a process in the writers' queue", PATIENCE, || queues(waiting.pid()).then_some(()));
        waiting.signal(Signal::SIGTERM);
        let told = Instant::now();
        waiting
            .wait()
            .code(143)
            .stdout("")
            .stderr_has("not started after SIGTERM: interrupted while waiting");
        assert!(told.elapsed() < Duration::from_secs(1), "{wait}: {:?}", told.elapsed());
    }
    drop(still);
    cli.run(run("-l x --wait 0", "echo ran")).code(0).stdout("ran\n");
}

#[test]
fn a_signal_ends_the_wait_of_a_commit_whose_outcome_is_then_unknown() {
    let cli = used();
    let gate = Gate::new(cli.home().join("gate"));
    let holder = cli.start(run("-o b", &format!("echo in; {}", gate.wait())));
    holder.says("in\n");
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    gate.open();
    until("a process in the writers' queue", PATIENCE, || queues(holder.pid()).then_some(()));
    holder.signal(Signal::SIGINT);
    holder.wait().code(76).stderr_has(" is unknown: the store did not answer within ").stderr_has(
        "; `flowlock outputs b` shows which run wrote it last, and for 10 minutes `flowlock why sh.",
    );
    drop(still);
}

#[test]
fn a_command_has_most_of_its_lease_however_long_its_request_waited_for_a_turn() {
    let cli = used();
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let locked = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let runs: Vec<_> = ["2s", "4s"]
        .map(|lease| cli.start(run(&format!("-o {lease} --duration {lease}"), "sleep 0.3")))
        .into();
    std::thread::sleep(Duration::from_secs(3));
    drop(locked);
    for run in runs {
        run.wait().code(0).stderr("");
    }
}

#[test]
fn doctor_asks_a_store_with_a_locked_queue_for_as_long_as_any_command_does() {
    let cli = used().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let file = File::options().write(true).open(beside(&cli, "-lock")).unwrap();
    let _still = Flock::lock(file, FlockArg::LockExclusive).unwrap();
    let doctor = cli.run(["doctor"]);
    doctor.code(1);
    let named = format!("process {} has it", std::process::id());
    let told: Vec<_> = doctor.out().lines().filter(|line| line.contains("no turn to write")).collect();
    assert!(!told.is_empty(), "{doctor:#?}");
    assert!(told.iter().all(|line| line.contains("within 1 s") && line.contains(&named)), "{doctor:#?}");
}

/// Whether a process has a thread in the writers' queue.
fn queues(pid: nix::unistd::Pid) -> bool {
    has(pid, "flowlock-queue")
}
