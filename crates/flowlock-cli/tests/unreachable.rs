//! A store that does not answer while a command runs: it is ended before its names may be somebody else's, or goes on if
//! that was asked for.

use flowlock_testkit::{Cli, Finished, Job};
use nix::sys::signal::Signal;

use crate::cli_with_a_file as cli;

/// Somebody stops in the middle of a step and lets nobody else write, until it is told to go on.
struct Hog<'a> {
    cli: &'a Cli,
    job: Job,
}

impl<'a> Hog<'a> {
    fn new(cli: &'a Cli) -> Self {
        let queue = format!("{}-lock", cli.store().display());
        let script = "echo held; while [ ! -e let-go ]; do sleep 0.02; done";
        let job = cli.clone().with_program("/usr/bin/flock").start([queue.as_str(), "sh", "-c", script]);
        job.says("held");
        Self { cli, job }
    }

    fn lets_go(self) {
        std::fs::write(self.cli.home().join("let-go"), "").unwrap();
        self.job.wait().code(0);
    }
}

/// A job with a lease of 4 s that writes `a` until it is told to end.
fn start(cli: &Cli, flags: &[&str]) -> Job {
    let script = "echo ready; while [ ! -e done ]; do sleep 0.02; done; echo finished";
    let line = ["run", "--name", "writer", "--duration", "4s", "--json-result", "result", "-o", "a"];
    let line = [&line, flags, &["--", "sh", "-c", script]].concat();
    let job = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s").start(line);
    job.says("ready");
    job
}

fn done(cli: &Cli, job: Job) -> Finished {
    std::fs::write(cli.home().join("done"), "").unwrap();
    job.wait()
}

fn outcome(cli: &Cli) -> String {
    let result = std::fs::read_to_string(cli.home().join("result")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    result["outcome"].as_str().unwrap().to_owned()
}

/// What flowlock itself said, without its log.
fn lines(ended: &Finished) -> Vec<&str> {
    ended.err().lines().filter(|line| line.starts_with("flowlock: ")).collect()
}

#[test]
fn a_command_is_ended_before_its_names_may_be_somebody_elses() {
    let cli = cli();
    let job = start(&cli, &[]);
    let hog = Hog::new(&cli);
    let ended = job.wait();
    ended.code(79).stdout("ready\n");
    ended.stderr_has("could not renew its lease in time: the store is busy: no turn to write within 1 s");
    ended.stderr_has("; ending the command");
    assert_eq!(outcome(&cli), "lost");
    hog.lets_go();
    cli.run(["check", "a"]).code(1);
}

#[test]
fn a_command_that_is_to_go_on_is_recorded_when_the_store_is_back() {
    let cli = cli();
    let job = start(&cli, &["--on-unreachable", "warn"]);
    let hog = Hog::new(&cli);
    job.warns("; the command continues, as requested");
    // It ends well while nobody can be told of it.
    std::fs::write(cli.home().join("done"), "").unwrap();
    job.says("finished");
    hog.lets_go();
    let ended = job.wait();
    ended.code(0).stdout("ready\nfinished\n");
    let said = lines(&ended);
    assert_eq!(said.len(), 1, "{ended:?}");
    assert!(said[0].contains("could not renew its lease in time: the store is busy: "), "{said:?}");
    assert!(outcome(&cli).starts_with("committed"));
    cli.run(["check", "a"]).code(0);
}

#[test]
fn a_command_that_went_on_has_its_names_again_when_the_store_is_back() {
    let cli = cli();
    let job = start(&cli, &["--on-unreachable", "warn"]);
    let hog = Hog::new(&cli);
    job.warns("; the command continues, as requested");
    std::thread::sleep(std::time::Duration::from_secs(4));
    hog.lets_go();
    let held = || {
        let status = cli.run(["status", "--json"]).json();
        (status["running"][0]["state"] == "running").then_some(())
    };
    flowlock_testkit::until("a lease that began anew", flowlock_testkit::PATIENCE, held);
    cli.run(["run", "-o", "a", "--wait", "3s", "--", "true"]).code(75);
    let ended = done(&cli, job);
    ended.code(0);
    assert_eq!((lines(&ended).len(), outcome(&cli).as_str()), (1, "committed"), "{ended:?}");
}

#[test]
fn a_command_that_went_on_while_its_names_were_taken_is_not_recorded() {
    for (on_lost, said) in
        [("kill", "; ending the command"), ("warn", "; the command continues, as requested")]
    {
        let cli = cli();
        let job = start(&cli, &["--on-unreachable", "warn", "--on-lost", on_lost]);
        job.signal(Signal::SIGSTOP);
        cli.run(["run", "--name", "heir", "--wait", "10s", "-o", "a", "--", "true"]).code(0);
        job.signal(Signal::SIGCONT);
        job.warns("lost its names (taken: its lease had ended and another run needed its names)");
        let ended = done(&cli, job);
        ended.code(79).stderr_has(said);
        assert_eq!(outcome(&cli), "lost");
        assert_eq!(cli.run(["outputs", "--json"]).json()["records"][0]["job"], "heir");
    }
}

#[test]
fn a_command_that_went_on_still_runs_no_longer_than_it_may() {
    let cli = cli();
    let job = start(&cli, &["--on-unreachable", "warn", "--max-runtime", "6s"]);
    let hog = Hog::new(&cli);
    job.warns("; the command continues, as requested");
    let ended = job.wait();
    ended.code(79).stdout("ready\n").stderr_has("reached its --max-runtime; ending the command");
    hog.lets_go();
    cli.run(["check", "a"]).code(1);
}

#[test]
fn how_long_a_commit_is_tried_is_a_setting() {
    let cli = cli();
    let job = start(&cli.clone().with("FLOWLOCK_COMMIT_WAIT", "1s"), &[]);
    let hog = Hog::new(&cli);
    let begun = std::time::Instant::now();
    let ended = done(&cli, job);
    ended.code(76).stderr_has("the outcome of writer.");
    let took = begun.elapsed().as_secs_f64();
    assert!((1.0..10.0).contains(&took), "{took} s");
    assert_eq!(outcome(&cli), "unknown");
    hog.lets_go();
    cli.clone()
        .with("FLOWLOCK_COMMIT_WAIT", "0")
        .run(["status"])
        .code(78)
        .stderr_has("commit_wait \"0\" from $FLOWLOCK_COMMIT_WAIT");
}
