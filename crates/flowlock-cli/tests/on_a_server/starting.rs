//! Commands that begin while the server is away, silent, or loses an answer.

use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, PATIENCE, Proxy, Then, until};
use nix::sys::signal::Signal;

use super::{cli, took};

#[test]
fn a_signal_while_the_store_is_opened_ends_with_a_message_and_its_result() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock"));
    let run = ["run", "-l", "x", "--json-result", "result", "--", "true"];
    let start = ["start", "build", "--duration", "1m", "-l", "x"];
    for line in [&run[..], &start, &["keep", "build.1"]] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let job = cli.clone().with("FLOWLOCK_STORE", url).start(line);
        let _silent = listener.accept().unwrap();
        let begun = Instant::now();
        job.signal(Signal::SIGTERM);
        let ended = job.wait();
        if line[0] == "keep" {
            ended.code(0).stderr("");
        } else {
            let said = "not started after SIGTERM: interrupted while opening the store (store redis://";
            ended.code(143).stderr_has(said);
        }
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    }
    let result = std::fs::read_to_string(cli.home().join("result")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!((result["outcome"].as_str(), result["exit_code"].as_i64()), (Some("cancelled"), Some(143)));
}

#[test]
fn a_server_that_is_down_starts_nothing() {
    let cli = cli().with("FLOWLOCK_STORE_TIMEOUT", "2s");
    cli.server().kill();
    let begun = Instant::now();
    let ended = cli.run(["run", "-l", "x", "--", "echo", "ran"]);
    ended.code(69).stdout("").stderr_has("store redis://server/0");
    took(begun, 0.0, 8.0);
    cli.run(["check", "a"]).code(69);
}

#[test]
fn a_server_that_comes_back_in_time_is_waited_for() {
    let cli = cli();
    cli.server().kill();
    let job = cli.start(["run", "-l", "x", "--", "echo", "ran"]);
    job.warns("the store does not answer; trying for 29 s more (store redis://server/0");
    cli.server().restart();
    job.wait().code(0).stdout("ran\n");
}

#[test]
fn it_is_said_how_long_a_silent_server_is_still_tried_as_it_was_set() {
    let cli = cli().with("FLOWLOCK_STORE_TIMEOUT", "5m");
    cli.server().stop();
    let job = cli.start(["run", "-l", "x", "--", "echo", "ran"]);
    job.warns("the store does not answer; trying for 299 s more (store redis://server/0");
    cli.server().cont();
    job.wait().code(0).stdout("ran\n");
}

#[test]
fn a_server_that_is_down_is_not_waited_for_after_an_interrupt() {
    let cli = cli();
    cli.server().stop();
    for command in [&["run", "-l", "x", "--", "echo", "ran"][..], &["keep", "build.1"], &["status"]] {
        let job = cli.start(command);
        std::thread::sleep(Duration::from_millis(500));
        let begun = Instant::now();
        job.signal(Signal::SIGINT);
        let ended = job.wait();
        if command[0] == "status" {
            ended.killed_by(Signal::SIGINT).stdout("");
        } else if command[0] == "keep" {
            ended.code(0).stdout("").stderr("");
        } else {
            ended
                .code(130)
                .stdout("")
                .stderr_has("not started after SIGINT: interrupted while opening the store");
        }
        took(begun, 0.0, 3.0);
    }
}

#[test]
fn a_server_that_hangs_starts_nothing() {
    let cli = cli().with("FLOWLOCK_STORE_TIMEOUT", "2s");
    cli.server().stop();
    let begun = Instant::now();
    cli.run(["run", "-l", "x", "--", "echo", "ran"]).code(69).stdout("");
    took(begun, 1.5, 8.0);
}

/// The last step of `start` got no answer: the run is there, and lives by its lease alone.
#[test]
fn a_started_run_whose_id_was_not_printed_is_named_and_can_be_unlocked() {
    let cli = cli();
    let line = Proxy::to(cli.server());
    line.drop_reply_to("detach", Then::Hang);
    let by_proxy = cli.clone().with("FLOWLOCK_STORE", line.url()).with("FLOWLOCK_STORE_TIMEOUT", "3s");
    let starts = by_proxy.start(["start", "build", "--duration", "1h", "-o", "package"]);
    until("a lost answer", PATIENCE, || (line.dropped_replies() == 1).then_some(()));
    line.refuse();
    line.reset();
    let ended = starts.wait();
    ended.code(69).stdout("");
    let (_, named) = ended.err().split_once("\n  run ").unwrap_or_else(|| panic!("{ended:?}"));
    let (run, _) = named.split_once(" may or may not hold its names").unwrap();
    cli.run(["why", &format!("run:{run}")]).code(0);
    cli.run(["unlock", &format!("run:{run}"), "--now", "--yes"]).code(0);
    cli.run(["run", "-o", "package", "--wait", "0", "--", "true"]).code(0);
}
