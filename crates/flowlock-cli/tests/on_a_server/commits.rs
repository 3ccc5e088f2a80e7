//! Commits while the server is silent, or whose answers are lost.

use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Proxy, Then};

use super::{cli, outcome, start, took};

/// Lets the job's command end well.
fn is_done(cli: &Cli) {
    std::fs::write(cli.home().join("done"), "").unwrap();
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
