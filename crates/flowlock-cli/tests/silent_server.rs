//! A server that takes everything in and says nothing: a signal still ends a command at once.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Finished, Job, PATIENCE, RedisServer, until};
use nix::sys::signal::Signal;

/// How long the end of a command may take after a signal: a last word of a second, and a loaded machine.
const AT_ONCE: Duration = Duration::from_millis(2_500);
/// Those that ask a waiting command to end, and its exit code then.
const SIGNALS: [(Signal, i32); 4] =
    [(Signal::SIGINT, 130), (Signal::SIGTERM, 143), (Signal::SIGHUP, 129), (Signal::SIGQUIT, 131)];

/// The program, and a server for it that greets and never answers a script; it tells of each that it is asked to run.
fn greeted() -> (Cli, mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                let mut heard = vec![0; 64 << 10];
                while let Ok(count @ 1..) = stream.read(&mut heard) {
                    let heard = String::from_utf8_lossy(&heard[..count]);
                    if heard.contains("ROLE") {
                        let greeting = "+OK\r\n*1\r\n$6\r\nmaster\r\n$19\r\nredis_version:7.0.0\r\n";
                        let _ = stream.write_all(greeting.as_bytes());
                    }
                    if heard.contains("EVAL") {
                        let _ = tell.send(());
                    }
                }
            });
        }
    });
    (Cli::new(env!("CARGO_BIN_EXE_flowlock")).with("FLOWLOCK_STORE", url), told)
}

/// The command ends at once after the signal.
#[track_caller]
fn ends_at_once(job: Job, signal: Signal) -> Finished {
    let begun = Instant::now();
    job.signal(signal);
    let ended = job.wait();
    assert!(begun.elapsed() < AT_ONCE, "{:?} after {signal}: {ended:?}", begun.elapsed());
    ended
}

#[test]
fn a_signal_is_heard_while_a_server_that_greeted_is_silent() {
    let lines = [
        &["run", "-l", "x", "--", "echo", "ran"][..],
        &["run", "-l", "x", "--wait", "0", "--", "echo", "ran"],
        &["run", "-l", "x", "--wait", "1h", "--", "echo", "ran"],
        &["start", "build", "--duration", "1m", "-l", "x"],
        &["start", "build", "--duration", "1m", "-l", "x", "--wait", "0"],
        &["keep", "build.1"],
    ];
    for line in lines {
        std::thread::scope(|scope| {
            for (signal, code) in SIGNALS {
                scope.spawn(move || {
                    let (cli, told) = greeted();
                    let job = cli.start(line);
                    told.recv_timeout(PATIENCE).expect("it asks");
                    let ended = ends_at_once(job, signal);
                    ended.stdout("");
                    if line[0] == "keep" {
                        ended.code(0).stderr("");
                    } else {
                        let said =
                            format!("not started after {signal}: interrupted while waiting for the store");
                        ended.code(code).stderr_has(&said);
                    }
                });
            }
        });
    }
}

/// Its names may be taken until its lease is over, and whoever is to free them needs its id.
#[test]
fn a_run_that_may_be_there_is_named() {
    let lines = [
        &["run", "--name", "build", "-l", "x", "--json-result", "result", "--", "echo", "ran"][..],
        &["run", "--name", "build", "-l", "x", "--wait", "0", "--json-result", "result", "--", "echo", "ran"],
        &["start", "build", "--duration", "1m", "-l", "x"],
        &["start", "build", "--duration", "1m", "-l", "x", "--wait", "0"],
        &["start", "build", "--duration", "1m", "-l", "x", "--id", "mine"],
    ];
    std::thread::scope(|scope| {
        for line in lines {
            scope.spawn(move || {
                let (cli, _told) = greeted();
                let ended = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s").run(line);
                ended.code(69).stdout("");
                let (_, named) = ended.err().split_once("\n  run ").unwrap_or_else(|| panic!("{ended:?}"));
                let (run, _) = named.split_once(" may or may not hold its names: ").unwrap();
                assert!(run.starts_with("build.") || line.ends_with(&[run]), "{ended:?}");
                ended.stderr_has(&format!(
                    "`flowlock why run:{run}` shows it, and `flowlock unlock run:{run}`"
                ));
                if line[0] == "run" {
                    let result = std::fs::read(cli.home().join("result")).unwrap();
                    let result: serde_json::Value = serde_json::from_slice(&result).unwrap();
                    assert_eq!((&result["run"], &result["exit_code"]), (&run.into(), &69.into()));
                }
            });
        }
    });
}

#[test]
fn a_signal_ends_a_look_at_a_silent_server() {
    for line in [&["status"][..], &["outputs"], &["commit", "build.1"], &["check", "a"]] {
        let (cli, told) = greeted();
        let job = cli.start(line);
        told.recv_timeout(PATIENCE).expect("it asks");
        ends_at_once(job, Signal::SIGINT).killed_by(Signal::SIGINT).stdout("");
    }
}

#[test]
fn a_signal_is_heard_by_all_who_meet_a_frozen_server() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::start());
    let build = cli.run(["start", "build", "--duration", "5m", "-l", "x"]);
    let keeper = cli.start(["keep", build.out().trim(), "--every", "1s"]);
    let waiter = cli.start(["run", "-l", "x", "--", "echo", "ran"]);
    until("a waiter", PATIENCE, || cli.run(["status"]).out().contains("queued").then_some(()));
    let script = "echo ready; while [ ! -e done ]; do sleep 0.02; done; echo finished";
    let committer = cli.start(["run", "--name", "writer", "-o", "a", "--", "sh", "-c", script]);
    committer.says("ready");
    let running = cli.start(["run", "-l", "y", "--", "sh", "-c", "echo ready; exec sleep 60"]);
    running.says("ready");
    cli.server().stop();
    std::fs::write(cli.home().join("done"), "").unwrap();
    committer.says("finished");
    // Each is asking by now: a renewal every second, a heartbeat after five, and the commit.
    std::thread::sleep(Duration::from_secs(6));
    ends_at_once(keeper, Signal::SIGTERM).code(0);
    ends_at_once(waiter, Signal::SIGINT).code(130).stdout("").stderr_has("but the store could not be told");
    ends_at_once(committer, Signal::SIGTERM).code(76).stderr_has("the outcome of writer.");
    // The signal is the command's; telling the store of its end is the last word.
    ends_at_once(running, Signal::SIGTERM).code(143);
}
