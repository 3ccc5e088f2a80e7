//! A server that comes back: with everything, with an older state, with nothing.

use std::time::Duration;

use flowlock::{Flowlock, Grant, Lost, Namespace, Token};
use flowlock_testkit::{Persistence, RedisServer, RedisSetup, until};

use super::{PATIENT, hears, is_lost, namespace, notices, open, refused, told, version, write};

const PAUSE: Duration = Duration::from_secs(2);
const WITH_A_PAUSE: &str = "failover_pause=2s";

/// A server, a namespace on it with a record, and a holder of another name.
struct Before {
    server: RedisServer,
    namespace: Namespace,
    flowlock: Flowlock,
    written: Token,
    grant: Grant,
}

impl Before {
    fn on(server: RedisServer) -> Self {
        let namespace = namespace();
        let flowlock = open(&server.url_with(WITH_A_PAUSE), &namespace);
        let written = write(&flowlock, "written");
        let grant = flowlock.job("holder").output("held").lease(Duration::from_secs(6)).acquire().unwrap();
        assert!(grant.token() > written);
        Self { server, namespace, flowlock, written, grant }
    }

    fn stranger(&self) -> Flowlock {
        open(&self.server.url_with(WITH_A_PAUSE), &self.namespace)
    }
}

fn everything_is_there_after_kill_9(persistence: Persistence) {
    let before = Before::on(RedisServer::setup().persistence(persistence).start());
    // With everysec an answer may be ahead of the file while the disk is slow.
    until("a written file", PATIENT, || (before.server.info("aof_buffer_length") == "0").then_some(()));
    before.server.restart();
    let stranger = before.stranger();
    let (free, held) = (stranger.job("next").lock("free"), stranger.job("next").output("held"));
    let rest = refused(&free);
    assert!(rest <= PAUSE && rest > Duration::ZERO, "nothing new is granted for {PAUSE:?}: {rest:?}");
    let token = before.grant.token();
    before.grant.verify().unwrap();
    let committed = before.grant.commit().unwrap();
    assert_eq!((committed.version, committed.late), (token, false));
    let seen = ["written", "held"].map(|name| version(&stranger, name));
    assert_eq!(seen, [Some(before.written), Some(token)]);
    refused(&free);
    let next = held.acquire().unwrap();
    assert!(next.token() > token, "tokens rise over a restart");
    next.commit().unwrap();
    assert_eq!(notices(&before.flowlock), "");
}

#[test]
fn a_server_that_keeps_every_write_has_everything_after_kill_9_and_its_holders_go_on() {
    everything_is_there_after_kill_9(Persistence::AofAlways);
}

#[test]
fn a_server_that_syncs_every_second_has_everything_after_kill_9_too() {
    everything_is_there_after_kill_9(Persistence::AofEverySecond);
}

#[test]
fn a_server_that_still_loads_what_it_kept_is_waited_for() {
    // 100 keys of 2 kB at 20 ms each: it refuses commands for two seconds, and hears them every kilobyte.
    let slow = ["key-load-delay 20000", "loading-process-events-interval-bytes 1024", "rdbcompression no"];
    let setup = RedisServer::setup().persistence(Persistence::Snapshots);
    let before = Before::on(slow.into_iter().fold(setup, RedisSetup::line).start());
    let (server, filler) = (&before.server, "x".repeat(2_000));
    for number in 0..100 {
        server.command(&["SET", &format!("filler{number}"), &filler]);
    }
    server.command(&["SAVE"]);
    server.kill();
    std::thread::scope(|scope| {
        scope.spawn(|| server.restart());
        let token = before.grant.token();
        assert_eq!(before.grant.commit().unwrap().version, token);
        let refused = server.command_count("evalsha").refused + server.command_count("eval").refused;
        assert!(refused > 0, "it was asked while it loaded");
        assert_eq!(version(&before.flowlock, "held"), Some(token));
    });
}

/// What must be heard of a store that has nothing any more.
fn everything_was_lost(before: Before) {
    let lost = told(&before.grant);
    let token = before.grant.token();
    assert_eq!(lost.recv_timeout(PATIENT), Ok(Lost::WithTheStore));
    is_lost(&before.grant.commit(), Lost::WithTheStore);
    assert_eq!(["written", "held"].map(|name| version(&before.flowlock, name)), [None, None]);
    let said = hears(&before.flowlock, "was committed");
    assert!(said.contains("the store went back") || said.contains("the store lost namespace"), "{said}");
    assert!(
        said.contains("write.") && said.contains(" was committed, but the store does not know"),
        "{said}"
    );
    assert_eq!(said.matches("was committed").count(), 1, "{said}");
    let next = write(&before.flowlock, "held");
    assert!(next > token && next > before.written, "tokens rise over the loss of everything");
}

#[test]
fn a_server_that_comes_back_empty_costs_grants_and_commits_and_says_so() {
    let before = Before::on(RedisServer::start());
    before.server.restart();
    everything_was_lost(before);
}

#[test]
fn a_living_server_that_was_emptied_costs_the_same_and_says_so() {
    let before = Before::on(RedisServer::start());
    before.server.command(&["FLUSHALL"]);
    everything_was_lost(before);
}

#[test]
fn after_it_came_back_empty_nothing_is_granted_before_those_who_held_have_heard() {
    let before = Before::on(RedisServer::start());
    before.server.restart();
    let rest = refused(&before.stranger().job("next").output("held"));
    assert!(rest <= PAUSE && rest > Duration::ZERO, "{rest:?}");
    let lost = told(&before.grant);
    let next = before.stranger().job("next").output("held").acquire().unwrap();
    assert_eq!(lost.try_recv(), Ok(Lost::WithTheStore), "the holder hears first");
    next.commit().unwrap();
}

#[test]
fn an_older_snapshot_is_noticed_and_the_commits_since_are_named() {
    let server = RedisServer::setup().persistence(Persistence::Snapshots).start();
    let before = Before::on(server);
    before.server.command(&["SAVE"]);
    let flowlock = &before.flowlock;
    let later = flowlock.job("later").output("later").run_id("later.1").acquire().unwrap();
    let late = later.commit().unwrap().version;
    before.server.restart();
    assert_eq!(version(flowlock, "later"), None);
    let said = hears(flowlock, "was committed");
    assert!(said.contains("the store went back: of namespace "), "{said}");
    assert!(said.contains("later.1 was committed, but the store does not know of it any more"), "{said}");
    assert_eq!(said.matches("was committed").count(), 1, "the commit before the snapshot is there: {said}");
    assert_eq!(version(flowlock, "written"), Some(before.written));
    before.grant.commit().unwrap();
    assert!(write(flowlock, "later") > late, "tokens rise above those of the lost time");
}
