//! The promises against a hostile machine: real processes, killed, stopped, cut off from power, refused by the disk.
//!
//! Whatever is random comes from one seed, which a failing test prints; `FLOWLOCK_FAULTS_SEED` plays it again.
//! `FLOWLOCK_FAULTS_EFFORT` (1 if not set) multiplies rounds and durations: `cargo xtask torture` raises it.

mod contention;
mod crash_points;
mod disk;
mod exchanged;
mod file;
mod first_process;
mod idle;
mod killed;
mod obstructed;
mod order;
mod places;
mod planted;
mod power;
mod privileged;
mod redis_clients;
mod results;
mod sockets;
mod stopped;
mod unread;
mod users;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Job, PATIENCE, until};

/// How soon the names of a dead process are somebody else's.
const AT_ONCE: Duration = Duration::from_secs(1);

/// The program in a fresh home.
fn cli() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_flowlock"))
}

/// What a record says: the version, which is the token of the run that wrote it, and the job.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Written {
    version: u64,
    job: String,
}

/// Every record of the store.
#[track_caller]
fn records(cli: &Cli) -> BTreeMap<String, Written> {
    let listed = cli.run(["outputs", "--json"]);
    let records = listed.code(0).json()["records"].as_array().cloned().expect("a list of records");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let written = |record: &serde_json::Value| {
        let version = text(&record["version"]).parse().expect("a version is a number");
        (text(&record["name"]), Written { version, job: text(&record["job"]) })
    };
    records.iter().map(written).collect()
}

/// The states of all living runs, by job.
#[track_caller]
fn states(cli: &Cli) -> BTreeMap<String, String> {
    let status = cli.run(["status", "--json"]);
    let status = status.code(0).json();
    let lists = ["running", "waiting"].map(|list| status[list].as_array().cloned().expect("a list of runs"));
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    lists.iter().flatten().map(|run| (text(&run["job"]), text(&run["state"]))).collect()
}

/// Waits until a job is in a state.
#[track_caller]
fn until_it_is(cli: &Cli, job: &str, state: &str) {
    until(&format!("{job} {state}"), PATIENCE, || {
        states(cli).get(job).is_some_and(|found| found == state).then_some(())
    });
}

/// The arguments of a `flowlock run`: its claims, separated by spaces, and its command as a shell script.
fn run(claims: &str, script: &str) -> Vec<String> {
    let words = ["run"].into_iter().chain(claims.split_whitespace()).chain(["--", "sh", "-c", script]);
    words.map(str::to_owned).collect()
}

/// Asserts that a job says `in` at once, counted from `since`: within the promised time and what a process takes to
/// start on this machine at this moment.
#[track_caller]
fn starts_at_once(cli: &Cli, job: &Job, since: Instant) -> Duration {
    job.says("in\n");
    let took = since.elapsed();
    let begun = Instant::now();
    cli.run(run("-l nobody.else.wants", "true")).code(0);
    let start = begun.elapsed();
    assert!(took < AT_ONCE + start, "started after {took:?}; a process starts in {start:?}");
    took
}

/// A number from the environment.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

/// `short` times the effort that was asked for.
fn rounds(short: u64) -> u64 {
    short * flowlock_testkit::effort()
}

/// Reproducible chance (xorshift64*).
#[derive(Debug)]
struct Chance {
    state: u64,
}

impl Chance {
    /// From the seed asked for, else a fresh one; says which.
    fn new() -> Self {
        let fresh = || std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64;
        let seed = number("FLOWLOCK_FAULTS_SEED").unwrap_or_else(fresh) | 1;
        eprintln!("FLOWLOCK_FAULTS_SEED={seed}");
        Chance { state: seed }
    }

    /// From 0 to below `end`.
    fn below(&mut self, end: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    /// A random moment: this long from now.
    fn pause(&mut self, at_most: Duration) {
        std::thread::sleep(Duration::from_micros(self.below(at_most.as_micros() as u64)));
    }
}
