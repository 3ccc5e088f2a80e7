//! What a store on a server can do to a command: fall silent, come back, forget everything, be far away.

mod commits;
mod leases;
mod reconnects;
mod starting;
mod waiting;

use std::time::Instant;

use flowlock_testkit::{Cli, Job, RedisServer};

/// The program in a fresh home, with a server of its own.
fn cli() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_flowlock")).on(RedisServer::start())
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

fn outcome(cli: &Cli) -> String {
    let result = std::fs::read_to_string(cli.home().join("result")).unwrap();
    let result: serde_json::Value = serde_json::from_str(&result).unwrap();
    result["outcome"].as_str().unwrap().to_owned()
}

#[track_caller]
fn took(begun: Instant, least: f64, most: f64) {
    let took = begun.elapsed().as_secs_f64();
    assert!((least..most).contains(&took), "{took} s");
}
