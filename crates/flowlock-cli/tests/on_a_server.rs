//! What a store on a server can do to a command: fall silent, come back, forget everything, be far away.

use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Direction, Fault, Job, PATIENCE, Proxy, RedisServer, Then, until};
use nix::sys::signal::Signal;

use crate::{is_alive, number};

/// The program in a fresh home, with a server of its own.
fn cli() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::start())
}

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

/// A job with a lease of 6 s that writes `a` until it is told to end.
fn start(cli: &Cli, flags: &[&str]) -> Job {
    let script = "echo ready $$; while [ ! -e done ]; do sleep 0.02; done; echo finished";
    let line = ["run", "--name", "writer", "--duration", "6s", "--json-result", "result", "-o", "a"];
    let line = [&line, flags, &["--", "sh", "-c", script]].concat();
    let job = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s").start(line);
    job.says("ready");
    job
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

/// Lets the job's command end well.
fn is_done(cli: &Cli) {
    std::fs::write(cli.home().join("done"), "").unwrap();
}

fn outcome(cli: &Cli) -> String {
    let result = std::fs::read_to_string(cli.home().join("result")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    result["outcome"].as_str().unwrap().to_owned()
}

fn started(cli: &Cli, line: &[&str]) -> String {
    let started = cli.run(["start"].iter().chain(line));
    started.code(0).stderr("");
    started.out().trim_end().to_owned()
}

/// Waits until so many runs are in line.
fn in_line(cli: &Cli, count: usize) {
    let waiting = || cli.run(["status", "--json"]).json()["waiting"].as_array().map(Vec::len);
    until("runs in line", PATIENCE, || (waiting() == Some(count)).then_some(()));
}

#[track_caller]
fn took(begun: Instant, least: f64, most: f64) {
    let took = begun.elapsed().as_secs_f64();
    assert!((least..most).contains(&took), "{took} s");
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
fn a_command_that_is_to_go_on_is_recorded_when_the_server_is_back() {
    let cli = cli();
    let job = start(&cli, &["--on-unreachable", "warn"]);
    cli.server().stop();
    job.warns("; the command continues, as requested");
    is_done(&cli);
    job.says("finished");
    cli.server().cont();
    let ended = job.wait();
    ended.code(0);
    assert!(outcome(&cli).starts_with("committed"), "{ended:?}");
    cli.run(["check", "a"]).code(0);
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

#[test]
fn a_commit_is_asked_again_until_its_time_is_over() {
    let cli = cli();
    let job = start(&cli.clone().with("FLOWLOCK_COMMIT_WAIT", "2s"), &[]);
    cli.server().stop();
    let begun = Instant::now();
    is_done(&cli);
    let ended = job.wait();
    ended.code(76).stderr_has("the outcome of writer.");
    took(begun, 2.0, 12.0);
    assert_eq!(outcome(&cli), "unknown");
}

#[test]
fn a_commit_reaches_a_server_that_comes_back_in_time() {
    let cli = cli();
    let job = start(&cli, &[]);
    cli.server().stop();
    is_done(&cli);
    job.says("finished");
    std::thread::sleep(Duration::from_millis(1500));
    cli.server().cont();
    job.wait().code(0);
    assert!(outcome(&cli).starts_with("committed"));
    cli.run(["check", "a"]).code(0);
}

#[test]
fn a_command_that_went_on_may_end_with_its_outcome_unknown() {
    let cli = cli().with("FLOWLOCK_COMMIT_WAIT", "1s");
    let job = start(&cli, &["--on-unreachable", "warn"]);
    cli.server().stop();
    job.warns("; the command continues, as requested");
    is_done(&cli);
    job.wait().code(76).stderr_has("the outcome of writer.");
    assert_eq!(outcome(&cli), "unknown");
}

#[test]
fn a_commit_whose_answer_got_lost_counts_once() {
    let cli = cli();
    let line = Proxy::to(cli.server());
    let job = start(&cli.clone().with("FLOWLOCK_STORE", line.url()), &[]);
    line.drop_reply_to("commit", Then::Reset);
    is_done(&cli);
    job.wait().code(0).stderr("");
    assert_eq!((line.dropped_replies(), outcome(&cli).as_str()), (1, "committed"));
    cli.run(["check", "a"]).code(0);
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
fn an_interrupt_during_the_wait_leaves_the_line_at_once() {
    let cli = cli();
    let holder = started(&cli, &["build", "--duration", "1m", "-l", "x"]);
    let waiter = cli.start(["run", "-l", "x", "--", "echo", "ran"]);
    in_line(&cli, 1);
    let begun = Instant::now();
    waiter.signal(Signal::SIGINT);
    waiter.wait().code(130).stdout("");
    took(begun, 0.0, 3.0);
    in_line(&cli, 0);
    cli.run(["fail", &holder]).code(0);
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

#[test]
fn a_killed_waiter_delays_others_by_fifteen_seconds_at_most() {
    let cli = cli();
    let holder = started(&cli, &["build", "--duration", "5m", "-l", "x"]);
    let first = cli.start(["run", "-l", "x", "--", "true"]);
    in_line(&cli, 1);
    let second = cli.start(["run", "-l", "x", "--", "echo", "ran"]);
    in_line(&cli, 2);
    first.signal(Signal::SIGKILL);
    let begun = Instant::now();
    cli.run(["fail", &holder]).code(0);
    second.wait_at_most(Duration::from_secs(40)).code(0).stdout("ran\n");
    took(begun, 0.0, 16.0);
}

#[test]
fn a_nested_run_that_would_wait_for_its_parent_is_refused_at_once() {
    let cli = cli();
    let program = env!("CARGO_BIN_EXE_flowlock");
    let begun = Instant::now();
    let script = format!("{program} run -l x -- echo ran; echo code $?");
    cli.run(["run", "-l", "x", "--", "sh", "-c", &script]).code(0).stdout("code 75\n");
    took(begun, 0.0, 5.0);
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
