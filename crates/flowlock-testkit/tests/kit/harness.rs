//! The command-line harness, tried on programs that are always there.

use std::time::Duration;

use flowlock_testkit::{Cli, PATIENCE, RedisServer, until};
use nix::sys::signal::{Signal, kill};

fn sh() -> Cli {
    Cli::new("/bin/sh")
}

#[test]
fn a_process_gets_a_fresh_home_and_nothing_else() {
    let done = sh().run(["-c", "cd; pwd; env | sed 's/=.*//' | sort | tr '\\n' ' '"]);
    done.code(0).stderr("");
    assert_eq!(done.out(), "~\nFLOWLOCK_STORE HOME LC_ALL OLDPWD PATH PWD TERM TESTKIT_PROCESS TZ ");
}

#[test]
fn outputs_code_and_input_are_whole() {
    let cli = sh().with_stdin("hello\n").with("WORD", "again");
    cli.run(["-c", "cat; echo \"$WORD\" >&2; exit 3"])
        .code(3)
        .stdout("hello\n")
        .stderr("again\n")
        .stderr_has("gai");
}

#[test]
fn a_background_process_speaks_is_signalled_and_waited_for() {
    let mut job =
        sh().start(["-c", "echo ready; trap 'echo bye >&2; exit 4' TERM; while :; do sleep 0.01; done"]);
    job.says("ready");
    assert!(job.is_running());
    job.signal(Signal::SIGTERM);
    job.warns("bye");
    job.wait().code(4);
}

#[test]
fn nothing_survives_the_test_that_started_it() {
    let cli = sh();
    let job = cli.start(["-c", "setsid sleep 1000 & echo $!; wait"]);
    let pid =
        until("a grandchild", PATIENCE, || job.stdout().trim().parse().ok().map(nix::unistd::Pid::from_raw));
    kill(pid, None).expect("the grandchild lives");
    drop(job);
    until("the grandchild's end", PATIENCE, || kill(pid, None).is_err().then_some(()));
}

/// A process has no environment while it is being started, and so no mark.
#[test]
fn a_process_that_is_started_again_and_again_does_not_survive_either() {
    let directory = tempfile::tempdir().unwrap();
    let script = directory.path().join("again");
    std::fs::write(&script, "#!/bin/sh\nexec \"$0\"\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for _ in 0..40 {
        let job = sh().start(["-c", &format!("setsid {} & echo $!; wait", script.display())]);
        let pid = until("a grandchild", PATIENCE, || {
            job.stdout().trim().parse().ok().map(nix::unistd::Pid::from_raw)
        });
        drop(job);
        let left = kill(pid, None).is_ok() && !is_zombie(pid);
        let _ = kill(pid, Signal::SIGKILL);
        assert!(!left);
    }
}

fn is_zombie(pid: nix::unistd::Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, fields)| fields.starts_with('Z') || fields.starts_with('X'))
}

#[test]
fn a_grandchild_can_be_left_to_go_on() {
    let job = sh().start(["-c", "sleep 1000 & echo $!"]);
    let (done, rest) = job.wait_leaving_others(PATIENCE);
    let pid = nix::unistd::Pid::from_raw(done.out().trim().parse().unwrap());
    kill(pid, None).expect("the grandchild lives on");
    drop(rest);
    until("the grandchild's end", PATIENCE, || kill(pid, None).is_err().then_some(()));
}

#[test]
#[should_panic(expected = "in vain for")]
fn a_process_that_hangs_is_given_up_on() {
    sh().run_within(Duration::from_millis(50), ["-c", "sleep 1000"]);
}

#[test]
#[should_panic(expected = "ended without \"hello\" on stdout, with \"hi\\n\" and \"oh\\n\"")]
fn a_process_that_ended_is_not_waited_for_to_speak() {
    sh().start(["-c", "echo hi; echo oh >&2"]).says("hello");
}

#[test]
fn what_a_process_left_behind_may_still_speak() {
    sh().start(["-c", "(sleep 0.2; echo hello) &"]).says("hello");
}

#[test]
fn the_address_of_a_server_reads_the_same_in_every_test() {
    sh().on(RedisServer::start())
        .run(["-c", "echo $FLOWLOCK_STORE"])
        .stdout("redis://server/0?failover_pause=0s\n");
}

#[test]
#[should_panic(expected = "exit code of")]
fn a_wrong_exit_code_fails_the_test() {
    sh().run(["-c", "exit 1"]).code(0);
}

#[test]
fn a_terminal_shows_lines_as_a_person_sees_them() {
    let terminal = sh().terminal([
        "-c",
        "test -t 0 && printf 'waiting 1\\rwaiting 2'; read -r answer; echo \"got $answer\"",
    ]);
    terminal.shows("waiting 2");
    assert!(!terminal.screen().contains("waiting 1"));
    terminal.types("yes\r");
    terminal.shows("got yes");
    terminal.wait().code(0);
}

#[test]
fn ctrl_c_reaches_the_process_on_the_terminal() {
    let terminal =
        sh().terminal(["-c", "trap 'echo caught; exit 5' INT; echo ready; while :; do sleep 0.01; done"]);
    terminal.shows("ready");
    terminal.types("\x03");
    let done = terminal.wait();
    done.code(5);
    assert!(done.out().contains("caught"), "{done:?}");
}
