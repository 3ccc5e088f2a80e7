//! SIGSTOP, then CONT: a process that sleeps through its time finds out, and nobody waits for it for long.

use std::time::{Duration, Instant};

use flowlock_testkit::{Call, Fault, Gate, PATIENCE, until};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{cli, records, run};

/// A word of the form `pid N` that a command said, as the process's number.
fn pid_of(said: &str) -> Pid {
    let number =
        said.split_whitespace().skip_while(|word| *word != "pid").nth(1).expect("the command said its pid");
    Pid::from_raw(number.parse().expect("a number"))
}

#[test]
fn a_wrapper_that_slept_while_somebody_was_granted_has_lost() {
    let cli = cli();
    let sleeper = cli.start(run("-o out --duration 1s --name sleeper", "echo pid $$ in; exec sleep 1000"));
    sleeper.says("in\n");
    let command = pid_of(&sleeper.stdout());
    cli.stops(&sleeper);
    let next = cli.start(run("-o out --name next", "echo in"));
    next.says("in\n");
    next.wait().code(0);
    let written = records(&cli);
    assert_eq!(written["out"].job, "next");
    kill(command, None).expect("the command goes on while its wrapper sleeps");
    sleeper.signal(Signal::SIGCONT);
    let ended = sleeper.wait();
    ended.code(79).stderr_has(" lost its names (expired); its outputs are not recorded as written");
    assert_eq!(kill(command, None), Err(Errno::ESRCH), "the command was ended");
    assert_eq!(records(&cli), written);
}

#[test]
fn a_command_that_ended_well_while_its_wrapper_slept_is_not_recorded_over_somebody_else() {
    let cli = cli();
    let gate = Gate::new(cli.home().join("gate"));
    let sleeper =
        cli.start(run("-o out --duration 1s --name sleeper", &format!("echo pid $$ in; {}", gate.wait())));
    sleeper.says("in\n");
    let command = pid_of(&sleeper.stdout());
    cli.stops(&sleeper);
    let next = cli.start(run("-o out --name next", "true"));
    next.wait().code(0);
    let written = records(&cli);
    gate.open();
    until("the end of the command", PATIENCE, || is_zombie(command).then_some(()));
    sleeper.signal(Signal::SIGCONT);
    sleeper
        .wait()
        .code(79)
        .stderr_has(" lost its names (taken: its lease had ended and another run needed its names)");
    assert_eq!(records(&cli), written);
}

#[test]
fn a_wrapper_that_slept_when_nobody_came_commits_late() {
    let cli = cli();
    let gate = Gate::new(cli.home().join("gate"));
    let result = cli.home().join("result.json");
    let claims = format!("-o out --duration 1s --name sleeper --json-result {}", result.display());
    let sleeper = cli.start(run(&claims, &format!("echo pid $$ in; {}", gate.wait())));
    sleeper.says("in\n");
    let command = pid_of(&sleeper.stdout());
    cli.stops(&sleeper);
    gate.open();
    until("the end of the command", PATIENCE, || is_zombie(command).then_some(()));
    until("the end of the lease", PATIENCE, || {
        (crate::states(&cli).get("sleeper").map(String::as_str) == Some("late")).then_some(())
    });
    sleeper.signal(Signal::SIGCONT);
    sleeper.wait().code(0);
    assert_eq!(records(&cli)["out"].job, "sleeper");
    let told: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(result).unwrap()).unwrap();
    assert_eq!(told["outcome"], "committed_late");
}

fn is_zombie(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}

#[test]
fn a_writer_stopped_in_the_middle_of_a_step_is_named_to_whoever_wants_to_write() {
    let cli = cli();
    cli.run(run("-o out --name first", "true")).code(0);
    // Somebody has the store open, so that the first write of the next one is in a step.
    let reader = cli.start(run("-i out", "echo in; exec sleep 1000"));
    reader.says("in\n");
    let stop = Fault::below(cli.home().join("store")).calls(&[Call::Write]).stop_before(1).inject();
    let stopped = cli.clone().with_faults(&stop).start(run("-o new --name stopped", "echo in"));
    until("a process stopped in a step", PATIENCE, || (stop.fired() == 1).then_some(()));
    let begun = Instant::now();
    let other = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s").run(run("-l other", "echo in"));
    let took = begun.elapsed();
    let place =
        format!("(store sqlite:~/store/flowlock.db, namespace default, user id {})", nix::unistd::getuid());
    other.code(69).stdout("").stderr(&format!(
        "flowlock: the store is busy: no turn to write within 1 s; process {} has it {place}\n",
        stopped.pid()
    ));
    assert!(took < Duration::from_secs(5), "answered after {took:?}");
    assert_eq!(records(&cli)["out"].job, "first", "readers are not held up");
    stopped.signal(Signal::SIGCONT);
    stopped.wait().code(0).stdout("in\n");
    assert_eq!(records(&cli)["new"].job, "stopped");
}
