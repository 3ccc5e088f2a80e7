//! What a run has begun, while no new connection to the server can be made although it answers.

use std::path::PathBuf;

use flowlock_testkit::{Cli, Job, Proxy, RedisServer, Then};

use super::{outcome, start};

/// A program whose server wants the password in a file.
struct Guarded {
    cli: Cli,
    file: PathBuf,
}

impl Guarded {
    fn new() -> Self {
        let server = RedisServer::setup().password("s3cret").start();
        let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(server);
        let file = cli.home().join("password");
        let guarded = Self { cli, file };
        guarded.password("s3cret");
        let port = guarded.cli.server().port();
        Self { cli: guarded.through(port), ..guarded }
    }

    /// The same program, but it reaches the server at this port.
    fn through(&self, port: u16) -> Cli {
        let file = self.file.display();
        let url = format!("redis://127.0.0.1:{port}/0?password_file={file}&failover_pause=0s");
        self.cli.clone().with("FLOWLOCK_STORE", url)
    }

    fn password(&self, password: &str) {
        std::fs::write(&self.file, password).unwrap();
    }

    fn cut(&self) {
        cut(&self.cli);
    }
}

/// Cuts all connections to the server.
fn cut(cli: &Cli) {
    for kind in ["normal", "pubsub"] {
        cli.server().command(&["CLIENT", "KILL", "TYPE", kind]);
    }
}

/// Lets the job's command end well.
fn is_done(cli: &Cli) {
    std::fs::write(cli.home().join("done"), "").unwrap();
}

#[track_caller]
fn is_recorded(cli: &Cli, job: Job) {
    job.wait().code(0);
    assert!(outcome(cli).starts_with("committed"), "{}", outcome(cli));
    cli.run(["check", "a"]).code(0);
}

const WAITS: &str = " is not committed yet; trying again";

#[test]
fn a_commit_outlasts_a_password_that_is_refused_for_a_while() {
    let guarded = Guarded::new();
    let job = start(&guarded.cli, &[]);
    guarded.password("old");
    guarded.cut();
    is_done(&guarded.cli);
    job.warns("refuses the user or the password");
    guarded.password("s3cret");
    is_recorded(&guarded.cli, job);
}

#[test]
fn a_commit_outlasts_a_password_file_that_is_missing_for_a_while() {
    let guarded = Guarded::new();
    let job = start(&guarded.cli, &[]);
    std::fs::remove_file(&guarded.file).unwrap();
    guarded.cut();
    is_done(&guarded.cli);
    job.warns(WAITS);
    guarded.password("s3cret");
    is_recorded(&guarded.cli, job);
}

#[test]
fn a_commit_outlasts_a_certificate_authority_that_is_missing_for_a_while() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::setup().tls().start());
    let cli = cli.clone().with("FLOWLOCK_STORE", cli.server().tls_url());
    let job = start(&cli, &[]);
    let ca = &cli.server().certificates().ca;
    let aside = ca.with_extension("aside");
    std::fs::rename(ca, &aside).unwrap();
    cut(&cli);
    is_done(&cli);
    job.warns(WAITS);
    std::fs::rename(&aside, ca).unwrap();
    is_recorded(&cli, job);
}

#[test]
fn a_commit_whose_answer_was_lost_outlasts_a_password_that_is_refused_then() {
    let guarded = Guarded::new();
    let line = Proxy::to(guarded.cli.server());
    let cli = guarded.through(line.port());
    let job = start(&cli, &[]);
    guarded.password("old");
    line.drop_reply_to("commit", Then::Reset);
    is_done(&cli);
    job.warns(WAITS);
    guarded.password("s3cret");
    is_recorded(&guarded.cli, job);
    assert_eq!(line.dropped_replies(), 1);
}

#[test]
fn a_commit_that_finds_no_connection_to_the_end_says_what_is_not_recorded_and_why() {
    let guarded = Guarded::new();
    let job = start(&guarded.cli.clone().with("FLOWLOCK_COMMIT_WAIT", "1s"), &[]);
    guarded.password("old");
    guarded.cut();
    is_done(&guarded.cli);
    let ended = job.wait();
    ended
        .code(78)
        .stderr_has("the command succeeded, but its outputs are not recorded: ")
        .stderr_has("refuses the user or the password");
    assert_eq!(ended.err().matches(WAITS).count(), 1, "{ended:?}");
    guarded.password("s3cret");
    guarded.cli.run(["check", "a"]).code(1);
}

#[test]
fn a_failure_is_told_once_the_password_is_accepted_again() {
    let guarded = Guarded::new();
    let script = "echo ready; while [ ! -e done ]; do sleep 0.02; done; exit 3";
    let job = guarded.cli.start(["run", "-vv", "-o", "a", "--", "sh", "-c", script]);
    job.says("ready");
    guarded.password("old");
    guarded.cut();
    is_done(&guarded.cli);
    job.warns("; asking again");
    guarded.password("s3cret");
    job.wait().code(3);
    guarded.cli.run(["run", "-o", "a", "--wait", "0", "--", "true"]).code(0);
}

#[test]
fn keep_goes_on_though_the_password_is_refused_for_a_while() {
    let guarded = Guarded::new();
    let started = guarded.cli.run(["start", "build", "--duration", "6s", "-o", "a"]);
    let run = started.code(0).out().trim().to_owned();
    let hasty = guarded.cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    let keeping = hasty.start(["keep", "--every", "1s", &run]);
    // It keeps the run for longer than the lease lasts, so it has begun.
    guarded.cli.run(["run", "--wait", "7s", "-o", "a", "--", "true"]).code(75);
    guarded.password("old");
    guarded.cut();
    keeping.warns("could not renew; trying again until the lease ends");
    guarded.password("s3cret");
    guarded.cli.run(["commit", &run]).code(0);
    keeping.wait().code(0);
}
