//! flowlock as the first process of a container: the kernel does nothing with a signal that it has no handler for.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Job, PATIENCE, until};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{cli, run};

/// Starts a command as process 1 of namespaces of its own; none where this machine does not allow them.
fn start_first(cli: &Cli, words: &[&str]) -> Option<(Job, Pid)> {
    let line = ["--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--"];
    let allowed = Command::new("unshare").args(line).arg("true").output();
    if !allowed.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: this user may not make a process namespace");
        return None;
    }
    let words = [&line[..], &[env!("CARGO_BIN_EXE_flowlock")], words].concat();
    let job = cli.clone().with_program("unshare").start(words);
    let children = PathBuf::from(format!("/proc/{0}/task/{0}/children", job.pid()));
    let first =
        until("the first process", PATIENCE, || fs::read_to_string(&children).ok()?.trim().parse().ok());
    Some((job, Pid::from_raw(first)))
}

#[test]
fn every_command_hears_signals_as_the_first_process_of_a_container() {
    let cli = cli().with("FLOWLOCK_STORE_TIMEOUT", "60s");
    cli.run(run("-o a", "true")).code(0);
    let started = cli.run(["start", "build", "--duration", "1h", "-l", "x"]).code(0).out().trim().to_owned();
    let lock = File::options().write(true).open(format!("{}-lock", cli.store().display())).unwrap();
    // Whoever comes is kept busy.
    let _still = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    let commands: [&[&str]; 5] = [
        &["outputs", "create", "b"],
        &["refresh", &started],
        &["commit", &started],
        &["run", "-l", "y", "--", "true"],
        &["doctor"],
    ];
    for (words, signal) in commands.into_iter().zip([Signal::SIGTERM, Signal::SIGINT].into_iter().cycle()) {
        let Some((job, first)) = start_first(&cli, words) else { return };
        // It has come so far that it waits for the turn to write.
        let waits = |line: &str| line.contains("-> FLOCK") && line.contains(&format!(" {first} "));
        until("a wait for the lock", PATIENCE, || {
            fs::read_to_string("/proc/locks").ok()?.lines().any(waits).then_some(())
        });
        let begun = Instant::now();
        kill(first, signal).unwrap();
        let ended = job.wait();
        assert!(begun.elapsed() < Duration::from_secs(20), "{words:?}: {:?}", begun.elapsed());
        assert_eq!(ended.status().code(), Some(128 + signal as i32), "{words:?}: {ended:?}");
    }
}
