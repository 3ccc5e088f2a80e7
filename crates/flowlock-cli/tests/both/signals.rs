//! Signals, deaths and deadlines of real processes.

use std::time::{Duration, Instant};

use flowlock_testkit::until;
use nix::sys::signal::Signal;

use super::cli;

const PATIENCE: Duration = Duration::from_secs(20);

#[test]
fn signals_reach_the_command_and_its_code_comes_back() {
    let cli = cli();
    for (signal, name) in [
        (Signal::SIGINT, "INT"),
        (Signal::SIGTERM, "TERM"),
        (Signal::SIGHUP, "HUP"),
        (Signal::SIGQUIT, "QUIT"),
        (Signal::SIGUSR1, "USR1"),
        (Signal::SIGUSR2, "USR2"),
    ] {
        let script =
            format!("trap 'echo got {name}; exit 5' {name}; echo ready; while :; do sleep 0.02; done");
        let job = cli.start(["run", "-o", "a", "--", "sh", "-c", &script]);
        job.says("ready");
        job.signal(signal);
        job.wait().code(5).stdout(&format!("ready\ngot {name}\n"));
    }
    cli.run(["check", "a"]).code(1);
}

#[test]
fn a_signal_the_command_does_not_handle_ends_it_with_128_and_the_number() {
    let cli = cli();
    let job = cli.start(["run", "-l", "x", "--", "sh", "-c", "echo ready; sleep 60"]);
    job.says("ready");
    job.signal(Signal::SIGTERM);
    job.wait().code(143);
}

/// It was for the command, which ended well: the store is asked as long as it would have been without it.
#[test]
fn a_signal_that_the_command_took_well_cuts_no_commit_short() {
    let cli = cli().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let script = "trap 'exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let job = cli.start(["run", "--duration", "30s", "-o", "a", "--", "sh", "-c", script]);
    job.says("ready");
    let hung = super::hangs(&cli);
    job.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(2_500));
    hung.goes_on();
    job.wait().code(0);
    cli.run(["check", "a"]).code(0);
}

/// Its names are nobody else's before its lease is over, so there is time for the commit until then, and for the wait
/// that is set beyond that.
#[test]
fn a_commit_is_asked_for_while_the_lease_lasts() {
    let cli = cli().with("FLOWLOCK_STORE_TIMEOUT", "1s").with("FLOWLOCK_COMMIT_WAIT", "1s");
    let script = "echo ready; while [ ! -e done ]; do sleep 0.02; done";
    let job = cli.start(["run", "--duration", "30s", "-o", "a", "--", "sh", "-c", script]);
    job.says("ready");
    let hung = super::hangs(&cli);
    std::fs::write(cli.home().join("done"), "").unwrap();
    std::thread::sleep(Duration::from_secs(5));
    hung.goes_on();
    job.wait().code(0);
}

/// A command that was stopped ends as another does: it is continued, so that it hears of its end.
#[test]
fn a_stopped_command_that_is_ended_can_still_tidy_up() {
    let cli = cli();
    let script = "trap 'echo tidied; exit' TERM; echo ready $$; while :; do sleep 0.02; done";
    let job =
        cli.start(["run", "--name", "victim", "--duration", "30s", "-o", "a", "--", "sh", "-c", script]);
    job.says("\n");
    let command = nix::unistd::Pid::from_raw(crate::number(&job, "ready "));
    nix::sys::signal::kill(command, Signal::SIGSTOP).unwrap();
    cli.run(["unlock", "a", "--yes"]).code(0);
    job.wait().code(79).stdout(&format!("ready {command}\ntidied\n"));
}

/// The loss of its names gives a command that is about to be killed no more time.
#[test]
fn a_command_is_killed_when_that_is_first_due() {
    let cli = cli();
    let script = "trap '' INT TERM; echo ready; while :; do sleep 0.02; done";
    let line = ["run", "--duration", "30s", "--kill-after", "5s", "-o", "a", "--", "sh", "-c", script];
    let job = cli.start(line);
    job.says("ready");
    job.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(100));
    job.signal(Signal::SIGINT);
    let second = Instant::now();
    std::thread::sleep(Duration::from_secs(3));
    cli.run(["unlock", "a", "--yes"]).code(0);
    job.wait().code(79);
    assert!(second.elapsed() < Duration::from_millis(7_500), "{:?}", second.elapsed());
}

#[test]
fn a_second_interrupt_kills_after_a_while() {
    let script = "trap '' INT; echo ready; while :; do sleep 0.02; done";
    let cli = cli();
    let job = cli.start(["run", "-l", "x", "--kill-after", "300ms", "--", "sh", "-c", script]);
    job.says("ready");
    job.signal(Signal::SIGINT);
    std::thread::sleep(Duration::from_millis(100));
    let second = Instant::now();
    job.signal(Signal::SIGINT);
    job.wait().code(137);
    assert!(second.elapsed() >= Duration::from_millis(300));
}

#[test]
fn what_nohup_ignores_stays_ignored() {
    let program = env!("CARGO_BIN_EXE_flowlock");
    let script =
        format!("trap '' HUP; exec {program} run -l x -- sh -c 'kill -HUP $PPID; kill -HUP $$; echo alive'");
    let shell = cli().with_program("/bin/sh");
    shell.run(["-c", &script]).code(0).stdout("alive\n");
}

#[test]
fn signals_that_were_blocked_by_whoever_started_flowlock_are_heard() {
    let cli = cli().with_program("env");
    let blocked =
        ["--block-signal=CHLD", "--block-signal=TERM", env!("CARGO_BIN_EXE_flowlock"), "run", "-l", "x"];
    cli.run(blocked.iter().chain(&["--", "true"])).code(0);
    let holder = cli.start(blocked.iter().chain(&["--", "sh", "-c", "echo held; sleep 60"]));
    holder.says("held");
    let waiter = cli.start(blocked.iter().chain(&["--", "true"]));
    let status = [env!("CARGO_BIN_EXE_flowlock"), "status"];
    until("a waiter", PATIENCE, || cli.run(status).out().contains("queued").then_some(()));
    waiter.signal(Signal::SIGTERM);
    waiter.wait().code(143);
    holder.signal(Signal::SIGTERM);
    holder.wait().code(143);
}

#[test]
fn a_limit_on_file_sizes_is_an_error_of_the_store_and_the_commands_own_affair() {
    let cli = cli();
    cli.run(["run", "-l", "x", "--", "sh", "-c", "kill -XFSZ $$"]).code(128 + Signal::SIGXFSZ as i32);
    if cli.store().exists() {
        let script = format!("ulimit -f 0; exec {} run -o a -- true", env!("CARGO_BIN_EXE_flowlock"));
        cli.with_program("/bin/sh").run(["-c", &script]).code(74);
    }
}

#[test]
fn a_signal_while_waiting_leaves_the_line_at_once() {
    let cli = cli();
    let holder = cli.start(["run", "-l", "x", "--", "sh", "-c", "echo held; sleep 60"]);
    holder.says("held");
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130), (Signal::SIGHUP, 129)] {
        let waiter = cli.start(["run", "--name", "waiter", "-l", "x", "--", "echo", "ran"]);
        until("a waiter", PATIENCE, || cli.run(["status"]).out().contains("queued").then_some(()));
        let asked = Instant::now();
        waiter.signal(signal);
        waiter
            .wait()
            .code(code)
            .stdout("")
            .stderr_has(&format!("left the queue after {signal}: lock x is held by sh"));
        assert!(asked.elapsed() < Duration::from_secs(2));
        assert!(!cli.run(["status"]).out().contains("waiting"));
    }
}

#[test]
fn unlocking_a_run_ends_its_command() {
    let cli = cli();
    let job = cli.start([
        "run",
        "--name",
        "victim",
        "--duration",
        "3s",
        "-o",
        "a",
        "--",
        "sh",
        "-c",
        "echo ready; sleep 60",
    ]);
    job.says("ready");
    cli.run(["unlock", "a", "--yes"])
        .code(0)
        .stderr_has("is revoked: it can neither renew nor commit; its names are free when it notices, in ");
    let ended = job.wait();
    ended.code(79).stderr_has("lost its names (unlocked by hand); ending the command");
    ended.stderr_has("its outputs are not recorded as written");
    cli.run(["check", "a"]).code(1);
    cli.run(["run", "--wait", "5s", "-o", "a", "--", "true"]).code(0);
}

#[test]
fn on_lost_warn_lets_the_command_finish_and_records_nothing() {
    let cli = cli();
    let script = "echo ready; while [ ! -e done ]; do sleep 0.02; done";
    let line = [
        "run",
        "--name",
        "victim",
        "--duration",
        "3s",
        "--on-lost",
        "warn",
        "-o",
        "a",
        "--",
        "sh",
        "-c",
        script,
    ];
    let job = cli.start(line);
    job.says("ready");
    cli.run(["unlock", "a", "--yes", "--now"]).code(0).stderr_has("the names of victim.");
    job.warns("lost its names (unlocked by hand); the command continues, as requested");
    std::fs::write(cli.home().join("done"), "").unwrap();
    job.wait().code(79);
    cli.run(["check", "a"]).code(1);
}

#[test]
fn max_runtime_ends_a_hung_command() {
    let cli = cli();
    let line =
        ["run", "--name", "hung", "--duration", "1s", "--max-runtime", "2s", "-o", "a", "--", "sleep", "60"];
    let begun = Instant::now();
    cli.run(line).code(79).stderr_has("reached its --max-runtime; ending the command");
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    cli.run(["run", "--wait", "0", "-o", "a", "--", "true"]).code(0);
}

#[test]
fn a_wrapper_that_slept_past_its_lease_commits_late_if_nobody_came() {
    let cli = cli();
    let script = "echo ready; while [ ! -e done ]; do sleep 0.02; done; echo finished";
    let line = ["run", "--duration", "1s", "--json-result", "result", "-o", "a", "--", "sh", "-c", script];
    let job = cli.start(line);
    job.says("ready");
    cli.stops(&job);
    std::fs::write(cli.home().join("done"), "").unwrap();
    job.says("finished");
    std::thread::sleep(Duration::from_millis(1_500));
    job.signal(Signal::SIGCONT);
    job.wait().code(0);
    let result = std::fs::read_to_string(cli.home().join("result")).unwrap();
    assert!(result.contains(r#""outcome":"committed_late""#), "{result}");
}

#[test]
fn a_wrapper_that_slept_past_its_lease_is_refused_if_somebody_came() {
    let cli = cli();
    let line =
        ["run", "--name", "sleeper", "--duration", "1s", "-o", "a", "--", "sh", "-c", "echo ready; sleep 60"];
    let job = cli.start(line);
    job.says("ready");
    cli.stops(&job);
    cli.run(["run", "--name", "heir", "--wait", "10s", "-o", "a", "--", "true"]).code(0);
    job.signal(Signal::SIGCONT);
    job.wait().code(79).stderr_has("lost its names");
    assert!(cli.run(["outputs", "--json"]).json()["records"][0]["job"] == "heir");
}
