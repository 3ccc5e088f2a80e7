//! The server comes back with everything.

use std::time::Duration;

use flowlock_testkit::{Persistence, RedisServer, RedisSetup, until};

use super::{Before, PATIENT, PAUSE, refused, take_notices, version};

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
    assert_eq!(take_notices(&before.flowlock), "");
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
