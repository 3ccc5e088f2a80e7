//! Tokens of a server that comes back from an older state again and again.

use std::path::Path;
use std::time::{Duration, SystemTime};

use flowlock::{Namespace, Token};
use flowlock_testkit::{Clock, Persistence, RedisServer};

use super::{namespace, open, rounds, write};

/// Copies the files of a stopped server's state.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// A server that comes back from an older state, again and again.
struct ComesBack {
    server: RedisServer,
    namespace: Namespace,
    tokens: Vec<Token>,
    persistence: Persistence,
}

impl ComesBack {
    fn with(persistence: Persistence, clock: &Clock) -> Self {
        let server = RedisServer::setup().persistence(persistence).clock(clock).start();
        Self { server, namespace: namespace(), tokens: Vec::new(), persistence }
    }

    /// A few runs; their tokens must be new.
    fn run_some(&mut self) {
        let flowlock = open(&self.server.url_with("failover_pause=0s"), &self.namespace);
        self.tokens.extend((0..3).map(|_| write(&flowlock, "out")));
    }

    fn saved(&self) -> (std::path::PathBuf, std::path::PathBuf) {
        (self.server.directory().join("appendonlydir"), self.server.directory().join("saved"))
    }

    /// What it comes back with from now on.
    fn save(&self) {
        if self.persistence == Persistence::Snapshots {
            self.server.command(&["SAVE"]);
        } else {
            let (live, saved) = self.saved();
            self.server.kill();
            copy(&live, &saved);
            self.server.restart();
        }
    }

    fn come_back(&self) {
        self.server.kill();
        if self.persistence != Persistence::Snapshots {
            let (live, saved) = self.saved();
            std::fs::remove_dir_all(&live).unwrap();
            copy(&saved, &live);
        }
        self.server.restart();
    }
}

/// Tokens of a server that loses what it granted since it was saved, five times from each of two states; then a clock that
/// is set back before each return.
fn no_token_is_given_twice(persistence: Persistence) {
    let clock = Clock::new();
    let mut comes_back = ComesBack::with(persistence, &clock);
    comes_back.run_some();
    for _ in 0..2 {
        comes_back.save();
        for _ in 0..rounds(5) {
            comes_back.run_some();
            comes_back.come_back();
        }
    }
    comes_back.run_some();
    let tokens = &comes_back.tokens;
    assert!(tokens.is_sorted_by(|a, b| a < b), "no clock went back, so tokens rise: {tokens:?}");
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_micros();
    assert!(u128::from(tokens[tokens.len() - 1].0) <= wall, "and are no later than the clock");

    for _ in 0..rounds(4) {
        clock.shift_back(Duration::from_mins(2));
        comes_back.come_back();
        comes_back.run_some();
    }
    let mut tokens = comes_back.tokens;
    let count = tokens.len();
    tokens.sort();
    tokens.dedup();
    assert_eq!(tokens.len(), count, "a clock went back: {tokens:?}");
    let ahead = u128::from(tokens[count - 1].0).saturating_sub(wall);
    assert!(ahead < Duration::from_hours(3).as_micros(), "tokens stay near the clock: {ahead} µs ahead");
}

#[test]
fn no_token_is_given_twice_however_often_a_server_comes_back_from_one_snapshot() {
    no_token_is_given_twice(Persistence::Snapshots);
}

#[test]
fn no_token_is_given_twice_however_often_an_older_append_only_file_is_put_back() {
    no_token_is_given_twice(Persistence::AofAlways);
}
