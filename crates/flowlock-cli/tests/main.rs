//! The program as its users meet it: real processes, each test with a home and a store of its own.

mod admin;
mod bad_input;
mod bad_store;
mod help;
mod looks;
mod operated;
mod runs;
mod signals;
mod terminal;
mod unreachable;
mod waits;
mod went_back;

use flowlock_testkit::{Cli, Finished};

/// The program in a fresh home.
fn cli() -> Cli {
    Cli::new(env!("CARGO_BIN_EXE_flowlock"))
}

/// What every refusal ends with.
fn place() -> String {
    place_in("default")
}

/// The same in a namespace.
fn place_in(namespace: &str) -> String {
    format!("(store sqlite:~/store/flowlock.db, namespace {namespace}, user id {})\n", nix::unistd::getuid())
}

/// What the harness leaves to us.
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
