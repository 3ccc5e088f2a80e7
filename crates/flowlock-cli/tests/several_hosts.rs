//! Two homes and one server: a run is started on one host, operated and looked at on another.

use flowlock_testkit::{Cli, PATIENCE, RedisServer, until};
use nix::sys::signal::Signal;

use crate::Told as _;

/// Two hosts with one server.
fn hosts() -> (Cli, Cli) {
    let here = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::start());
    let there = Cli::new(env!("CARGO_BIN_EXE_flowlock")).with("FLOWLOCK_STORE", here.server().url());
    (here, there)
}

fn started(cli: &Cli, line: &[&str]) -> String {
    let started = cli.run(["start"].iter().chain(line));
    started.code(0).stderr("");
    started.out().trim_end().to_owned()
}

#[test]
fn a_build_goes_on_from_another_host() {
    let (here, there) = hosts();
    here.run(["outputs", "create", "sources"]).code(0);
    let run = started(&here, &["build", "--duration", "1m", "-i", "sources", "-o", "package"]);
    there.run(["verify", &run]).code(0).stderr("");
    there.run(["refresh", &run]).code(0).stderr("");
    there.run(["commit", &run, "--note", "p.1"]).code(0).stderr("");
    here.run(["commit", &run]).code(0).stderr("");
    assert_eq!(here.run(["outputs", "package", "--json"]).json()["records"][0]["note"], "p.1");
    here.run(["check", "package"]).code(0);
    there.run(["outputs", "rm", "package"]).code(0);
    here.run(["check", "package"]).code(1);
}

#[test]
fn a_build_that_fails_elsewhere_has_failed_everywhere() {
    let (here, there) = hosts();
    let run = started(&here, &["build", "--duration", "1m", "-o", "package"]);
    there.run(["fail", &run]).code(0).stderr("");
    here.run(["commit", &run]).code(79).stderr_has("is over: failed");
    there.run(["check", "package"]).code(1);
}

#[test]
fn another_host_sees_who_runs_and_why_somebody_waits() {
    let (here, there) = hosts();
    let run = started(&here, &["build", "--duration", "1m", "-o", "package"]);
    let waiter = here.start(["run", "--name", "reader", "-i", "package", "--", "echo", "ran"]);
    let waits = || there.run(["status"]).code(0).out().contains("awaiting_input").then_some(());
    until("a waiting run, seen from elsewhere", PATIENCE, waits);
    there.run(["status"]).stdout_has(&run);
    there.run(["why", "job:reader"]).code(0).stdout_has(&format!("(run {run}"));
    there.run(["why", "name:package"]).code(0).stdout_has(&run);
    there.run(["commit", &run]).code(0);
    waiter.wait().code(0).stdout("ran\n");
}

#[test]
fn a_build_is_kept_from_another_host_and_unlocked_from_it() {
    let (here, there) = hosts();
    let run = started(&here, &["build", "--duration", "1s", "-o", "package"]);
    let keeper = there.start(["keep", &run]);
    here.run(["run", "--wait", "2500ms", "-o", "package", "--", "true"]).code(75);
    there
        .run(["unlock", "package", "--yes", "--now"])
        .code(0)
        .stderr_has(&format!("the names of {run} are free"));
    here.run(["run", "--wait", "0", "-o", "package", "--", "true"]).code(0);
    keeper.wait().code(79).stderr_has("lost its names");
    here.run(["commit", &run]).code(79).stderr_has("lost its names");
}

#[test]
fn a_command_hears_that_it_was_unlocked_elsewhere() {
    let (here, there) = hosts();
    let job = here.start(["run", "--name", "writer", "-o", "a", "--", "sh", "-c", "echo ready; sleep 60"]);
    job.says("ready");
    // A run that lasts listens after a second.
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    let begun = std::time::Instant::now();
    there.run(["unlock", "a", "--yes"]).code(0);
    job.wait().code(79).stderr_has("lost its names (unlocked by hand)");
    assert!(begun.elapsed().as_secs() < 10, "its lease is of 3 min: {:?}", begun.elapsed());
    let heir = there.start(["run", "-o", "a", "--", "sh", "-c", "echo ready; sleep 60"]);
    heir.says("ready");
    heir.signal(Signal::SIGTERM);
    heir.wait().code(143);
}
