//! Processes that die, and processes that outlive them.

use flowlock_testkit::{PATIENCE, until};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::{cli_with_a_file as cli, is_alive, number};

/// Alone: the kernel tells of a death on the same host only; elsewhere a dead holder delays others by its lease.
#[test]
fn a_command_dies_with_its_wrapper_and_its_names_are_free() {
    let cli = cli();
    let job =
        cli.start(["run", "--name", "doomed", "-o", "a", "--", "sh", "-c", "echo pid $$; exec sleep 60"]);
    let pid = number(&job, "pid ");
    job.signal(Signal::SIGKILL);
    until("the command's death", PATIENCE, || (!is_alive(pid)).then_some(()));
    cli.run(["run", "--wait", "5s", "-o", "a", "--", "true"]).code(0).stderr("");
    assert!(
        cli.run(["outputs", "--json"]).json()["records"][0]["run"].as_str().unwrap().starts_with("true.")
    );
}

/// Alone: a grandchild keeps the names by the file lock that it inherited; on a server there is the lease.
#[test]
fn a_surviving_grandchild_keeps_the_names() {
    let cli = cli();
    let script = "sh -c 'echo pid $$; exec sleep 60' & wait";
    let job = cli.start(["run", "--name", "doomed", "-l", "x", "--", "sh", "-c", script]);
    let pid = number(&job, "pid ");
    job.signal(Signal::SIGKILL);
    let (_, leftover) = job.wait_leaving_others(PATIENCE);
    cli.run(["run", "--wait", "2s", "-l", "x", "--", "true"]).code(75).stderr_has("lock x is held by doomed");
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    cli.run(["run", "--wait", "5s", "-l", "x", "--", "true"]).code(0);
    drop(leftover);
}

/// Alone: the same file lock, not inherited.
#[test]
fn with_close_a_surviving_grandchild_keeps_nothing() {
    let cli = cli();
    let script = "sh -c 'echo pid $$; exec sleep 60' & wait";
    let job = cli.start(["run", "--close", "-l", "x", "--", "sh", "-c", script]);
    let pid = number(&job, "pid ");
    job.signal(Signal::SIGKILL);
    let (_, leftover) = job.wait_leaving_others(PATIENCE);
    cli.run(["run", "--wait", "5s", "-l", "x", "--", "true"]).code(0);
    assert!(is_alive(pid));
    drop(leftover);
}
