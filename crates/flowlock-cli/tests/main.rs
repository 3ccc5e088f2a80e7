//! The program as its users meet it: real processes, each test with a home and a store of its own.

mod bad_store;
mod doctor_redis;
mod embedded_alone;
mod help;
mod on_a_server;
mod passwords;
mod projects;
mod server_went_back;
mod settings;
mod several_hosts;
mod silent_server;
mod unreachable;
mod unreadable_rows;
mod went_back;
mod zones;

#[path = "both/mod.rs"]
mod embedded;
#[expect(clippy::duplicate_mod, reason = "one list of tests for every store")]
#[path = "both/mod.rs"]
mod redis;

use flowlock_testkit::{Cli, Finished, Job, PATIENCE, until};

/// Where a test keeps its store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backing {
    /// In a file below its home.
    Embedded,
    /// On a server of its own.
    Redis,
}

impl Backing {
    /// The one that a module above is named after.
    const fn named(module: &str) -> Self {
        match module.as_bytes() {
            b"main::embedded" => Backing::Embedded,
            b"main::redis" => Backing::Redis,
            _ => panic!("this module is named after no store"),
        }
    }
}

/// The program in a fresh home, with a file that does not exist yet as its store: for what is about files, or about
/// no store at all.
fn cli_with_a_file() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_flowlock"))
}

/// What every refusal ends with.
fn place_of(store: &str, namespace: &str) -> String {
    format!("(store {store}, namespace {namespace}, user id {})\n", nix::unistd::getuid())
}

/// The number a command printed after `word`.
fn number(job: &Job, word: &str) -> i32 {
    until(word, PATIENCE, || {
        let said = job.stdout();
        let line = said.lines().find_map(|line| line.strip_prefix(word))?;
        line.trim().parse().ok()
    })
}

fn is_alive(pid: i32) -> bool {
    // A zombie is dead.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// Assertions that the harness does not have.
trait Told {
    /// Asserts that standard output contains `part`.
    fn stdout_has(&self, part: &str) -> &Self;
}

impl Told for Finished {
    #[track_caller]
    fn stdout_has(&self, part: &str) -> &Self {
        assert!(self.out().contains(part), "no {part:?} in stdout of {self:#?}");
        self
    }
}
