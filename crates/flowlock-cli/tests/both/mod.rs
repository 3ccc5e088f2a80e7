//! What holds on every store.
//!
//! `main.rs` includes this file once for each store, and the module's name there says which it is. All that a test
//! here knows of its store comes from this file, so none can be on one store only; what is true of one alone stands in
//! `embedded_alone.rs`, with the reason.

mod admin;
mod bad_input;
mod looks;
mod operated;
mod runs;
mod signals;
mod terminal;
mod waits;

use flowlock_testkit::{Cli, Persistence, RedisServer};

use crate::{Backing, place_of};

const BACKING: Backing = Backing::named(module_path!());

/// The program in a fresh home, with an empty store of its own.
fn cli() -> Cli {
    let cli = Cli::new(env!("CARGO_BIN_EXE_flowlock"));
    match BACKING {
        Backing::Embedded => cli,
        Backing::Redis => cli.on(RedisServer::start()),
    }
}

/// The same with a store that keeps what it acknowledged.
fn cli_that_keeps() -> Cli {
    match BACKING {
        Backing::Embedded => cli(),
        Backing::Redis => Cli::new(env!("CARGO_BIN_EXE_flowlock"))
            .on(RedisServer::setup().persistence(Persistence::AofEverySecond).start()),
    }
}

/// The store's URL in texts.
fn shown() -> &'static str {
    match BACKING {
        Backing::Embedded => "sqlite:~/store/flowlock.db",
        Backing::Redis => "redis://server/0?failover_pause=0s",
    }
}

/// What every refusal ends with.
fn place() -> String {
    place_in("default")
}

/// The same in a namespace.
fn place_in(namespace: &str) -> String {
    place_of(shown(), namespace)
}

/// Whether anything was asked of the store.
fn was_asked(cli: &Cli) -> bool {
    match BACKING {
        Backing::Embedded => cli.store().exists(),
        Backing::Redis => {
            // The kit itself looks whether the server is up.
            let ours = |command: &String| command == "ping" || command == "info";
            !cli.server().command_counts().keys().all(ours)
        }
    }
}
