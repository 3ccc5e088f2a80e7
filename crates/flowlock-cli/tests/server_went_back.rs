//! A server that lost its newest steps, or all of them: said once, and used on. Nobody need acknowledge it.

use std::path::PathBuf;

use crate::Told as _;
use flowlock_testkit::{Cli, PATIENCE, Persistence, RedisServer, until};

use crate::place_of;

/// The program in a fresh home, with a server of its own that keeps what it saved.
fn cli() -> Cli {
    let server = RedisServer::setup().persistence(Persistence::Snapshots).start();
    Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(server)
}

/// Writes names, one run each, without a word.
#[track_caller]
fn write(cli: &Cli, names: &[&str]) {
    for name in names {
        cli.run(["run", "-o", name, "--", "true"]).code(0).stderr("");
    }
}

/// The server as it was at its last `SAVE`, or empty.
fn goes_back(cli: &Cli) {
    cli.server().kill();
    cli.server().restart();
}

/// The command says in one line that the store went back, and does its work; the next one says nothing.
#[track_caller]
fn is_told_once(cli: &Cli, command: &[&str], said: &str) {
    let told = cli.run(command);
    told.code(0).stderr_has(said);
    assert_eq!(told.err().lines().count(), 1, "{told:?}");
    let place = place_of("redis://server/0?failover_pause=0s", "default");
    assert!(told.err().starts_with("flowlock: ") && told.err().ends_with(&place), "{told:?}");
    cli.run(command).code(0).stderr("");
}

#[test]
fn an_older_state_is_told_of_once_and_used() {
    for command in [&["run", "-o", "c", "--", "true"][..], &["run", "-l", "x", "--", "true"], &["status"]] {
        let cli = cli();
        write(&cli, &["a"]);
        cli.server().command(&["SAVE"]);
        write(&cli, &["b", "b", "b"]);
        goes_back(&cli);
        is_told_once(&cli, command, "the store went back: in namespace default this process saw step ");
        cli.run(["check", "a"]).code(0);
        cli.run(["check", "b"]).code(1);
    }
}

#[test]
fn an_empty_server_is_told_of_once_and_used() {
    for command in [&["run", "-o", "c", "--", "true"][..], &["status"], &["why"]] {
        let cli = cli();
        write(&cli, &["a"]);
        goes_back(&cli);
        is_told_once(&cli, command, "namespace default");
        cli.run(["check", "a"]).code(1);
        // The new life is remembered as well as the old one was.
        write(&cli, &["b"]);
        goes_back(&cli);
        is_told_once(&cli, &["status"], "the store lost namespace default: this process saw step ");
    }
}

#[test]
fn another_host_hears_of_it_by_itself() {
    let here = cli();
    let there = Cli::new(env!("CARGO_BIN_EXE_flowlock")).with("FLOWLOCK_STORE", here.server().url());
    write(&here, &["a"]);
    there.run(["status"]).code(0).stderr("");
    goes_back(&here);
    is_told_once(&here, &["status"], "the store lost namespace default");
    there.run(["status"]).code(0).stderr_has("the store lost namespace default");
}

#[test]
fn what_is_there_now_is_accepted() {
    let cli = cli();
    let accept = |said: &str| {
        // What doctor finds besides is not the matter here.
        cli.run(["doctor", "--accept-restore"]).stderr_has(said);
    };
    accept("flowlock: flowlock remembers nothing about this store, so there is nothing to accept (store ");
    write(&cli, &["a"]);
    accept("flowlock: the store did not go back: it was at step ");
    goes_back(&cli);
    is_told_once(&cli, &["status"], "the store lost namespace default");
    cli.run(["doctor"]).stdout_has("it went back: it was at step ");
    accept("flowlock: accepted: the store was at step ");
    // Doctor took a lock there, which began the namespace anew.
    accept("flowlock: the store did not go back: it was at step ");
    write(&cli, &["b"]);
}

#[test]
fn a_command_whose_names_went_with_the_store_is_ended() {
    let cli = cli();
    let line =
        ["run", "--name", "writer", "--duration", "3s", "-o", "a", "--", "sh", "-c", "echo ready; sleep 60"];
    let job = cli.start(line);
    job.says("ready");
    goes_back(&cli);
    let ended = job.wait();
    ended.code(79).stderr_has("lost its names").stderr_has("; ending the command");
    ended.stderr_has("its outputs are not recorded as written");
    assert!(ended.err().matches(" this process saw ").count() < 2, "said twice: {}", ended.err());
    assert!(ended.err().contains("namespace default"), "{ended:?}");
    cli.run(["check", "a"]).code(1).stderr("");
    write(&cli, &["a"]);
}

/// Its command succeeds while the server is down. The server then knows the run only as waiting.
#[test]
fn a_command_whose_run_waits_again_in_an_older_state_is_not_recorded() {
    let cli = cli();
    let build = cli.run(["start", "build", "--duration", "5m", "-l", "x"]);
    let script = "echo ready; while [ ! -e done ]; do sleep 0.02; done; echo finished";
    let line = [
        "run",
        "--name",
        "writer",
        "-l",
        "x",
        "-o",
        "a",
        "--json-result",
        "result",
        "--",
        "sh",
        "-c",
        script,
    ];
    let job = cli.start(line);
    until("a waiter", PATIENCE, || cli.run(["status"]).out().contains("queued").then_some(()));
    cli.server().command(&["SAVE"]);
    cli.run(["commit", build.out().trim()]).code(0);
    job.says("ready");
    cli.server().kill();
    std::fs::write(cli.home().join("done"), "").unwrap();
    job.says("finished");
    cli.server().restart();
    let ended = job.wait();
    ended.code(79).stderr_has(
        "lost its names (the store was replaced by another or an older one); its outputs are not recorded",
    );
    let result = std::fs::read_to_string(cli.home().join("result")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    assert_eq!((&result["outcome"], &result["command_exit_code"]), (&"lost".into(), &0.into()), "{result}");
    cli.run(["check", "a"]).code(1);
}

/// The memory of this home's commands.
fn memories(cli: &Cli) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(cli.home().join(".local/state/flowlock/seen")) else { return vec![] };
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn what_is_remembered_holds_no_password() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::setup().password("s3cret").start());
    write(&cli, &["a"]);
    let [path] = &memories(&cli)[..] else { panic!("{:?}", memories(&cli)) };
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains("redis://:***@127.0.0.1:") && !text.contains("s3cret"), "{text}");
}
