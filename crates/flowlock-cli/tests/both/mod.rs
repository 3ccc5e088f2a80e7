//! What holds on every store.
//!
//! `main.rs` includes this file once for each store, and the module's name there says which it is. All that a test
//! here knows of its store comes from this file, so none can be on one store only; what is true of one alone stands in
//! `embedded_alone/`, with the reason.

mod admin;
mod bad_input;
mod codes;
mod looks;
mod namespaces;
mod operated;
mod pages;
mod runs;
mod signals;
mod terminal;
mod waits;

use std::fs::File;

use flowlock_testkit::{Call, Cli, Fault, Injected, Persistence, RedisServer};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

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

/// A store that lets nobody write, until it goes on.
enum Hung<'c> {
    Embedded { _turn: Flock<File> },
    Redis(&'c RedisServer),
}

/// Nobody gets an answer to what would change something.
fn hangs(cli: &Cli) -> Hung<'_> {
    match BACKING {
        Backing::Embedded => {
            let queue = File::open(format!("{}-lock", cli.store().display())).unwrap();
            Hung::Embedded { _turn: Flock::lock(queue, FlockArg::LockExclusive).unwrap() }
        }
        Backing::Redis => {
            cli.server().stop();
            Hung::Redis(cli.server())
        }
    }
}

impl Hung<'_> {
    fn goes_on(self) {
        if let Hung::Redis(server) = self {
            server.cont();
        }
    }
}

/// The program with the same store, which has no room for anything more; for as long as the other part lives.
fn filled(cli: &Cli) -> (Cli, Option<Injected>) {
    match BACKING {
        Backing::Embedded => {
            let below = Fault::below(cli.home().join("store"));
            let full = below.calls(&[Call::Write]).refuse_from(1, Errno::ENOSPC).inject();
            (cli.clone().with_faults(&full), Some(full))
        }
        Backing::Redis => {
            cli.server().command(&["CONFIG", "SET", "maxmemory", "1"]);
            (cli.clone(), None)
        }
    }
}

/// The URL of what answers and is no store.
fn unusable(cli: &Cli) -> String {
    match BACKING {
        Backing::Embedded => {
            let other = cli.home().join("other");
            std::fs::write(&other, "no store").unwrap();
            format!("sqlite:{}", other.display())
        }
        Backing::Redis => cli.server().url().replace("/0?", "/9999?"),
    }
}
