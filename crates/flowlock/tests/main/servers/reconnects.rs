//! What a new connection must not change: commits that are there, leases that nobody renewed, a clock that was set.

use std::time::Duration;

use flowlock::{Acquired, Flowlock, RunId};
use flowlock_testkit::{Clock, PATIENCE, RedisServer, until};

use super::{namespace, open, take_notices, told, version, write};

fn cut_all(server: &RedisServer) {
    server.command(&["CLIENT", "KILL", "TYPE", "normal"]);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
}

fn commit_as(flowlock: &Flowlock, id: &str) {
    flowlock.job("daily").output("out").run_id(id).acquire().unwrap().commit().unwrap();
}

#[test]
fn a_commit_is_not_taken_for_lost_because_its_run_id_was_used_again() {
    let (server, namespace) = (RedisServer::start(), namespace());
    let flowlock = open(&server.url(), &namespace);
    commit_as(&flowlock, "twice");
    commit_as(&flowlock, "twice");
    commit_as(&flowlock, "refused");
    let holder = open(&server.url(), &namespace).job("holder").output("out").acquire().unwrap();
    let refused = flowlock.job("daily").output("out").run_id("refused").try_acquire().unwrap();
    assert!(matches!(refused, Acquired::Blocked(_)));
    for _ in 0..2 {
        cut_all(&server);
        assert!(version(&flowlock, "out").is_some());
    }
    assert_eq!(take_notices(&flowlock), "");
    holder.fail();
}

#[test]
fn a_verified_grant_is_the_one_that_asks_not_another_one_with_its_run_id() {
    let (server, namespace) = (RedisServer::start(), namespace());
    let [first, second] = [(); 2].map(|()| open(&server.url(), &namespace));
    let lost = first
        .job("j")
        .lock("l")
        .run_id("same")
        .lease(Duration::from_secs(1))
        .fixed_lease()
        .acquire()
        .unwrap();
    let lost_run = lost.run_id().clone();
    let next = until("a lease that ends", PATIENCE, || {
        match second.job("j").lock("l").run_id("other").try_acquire().unwrap() {
            Acquired::Granted(grant) => Some(grant),
            Acquired::Blocked(_) => None,
        }
    });
    next.fail();
    let same = second.job("j").lock("l").run_id(lost_run.as_str()).acquire().unwrap();
    same.verify().unwrap();
    assert!(lost.verify().is_err());
    same.commit().unwrap();
}

#[test]
fn a_lease_that_is_renewed_by_hand_is_not_renewed_by_a_new_connection() {
    let (server, namespace) = (RedisServer::start(), namespace());
    let [holder, other] = [(); 2].map(|()| open(&server.url(), &namespace));
    let grant = holder.job("fixed").lock("l").lease(Duration::from_mins(1)).fixed_lease().acquire().unwrap();
    let listens = || (server.info("pubsubshard_channels") == "2").then_some(());
    until("a listener", PATIENCE, listens);
    let left = || other.run(grant.run_id()).unwrap().unwrap().lease_left_ms.unwrap();
    let before = left();
    let asked = || server.command_count("evalsha").calls;
    let calls = asked();
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    until("a look at what is held", PATIENCE, || (asked() > calls).then_some(()));
    let (by_store, by_holder) = (left(), grant.time_left());
    assert!(by_store < before, "asking renewed the lease: {before} ms, then {by_store}");
    assert!(by_holder <= Duration::from_millis(before.unsigned_abs()), "{by_holder:?}");
    grant.refresh().unwrap();
    assert!(left() > by_store, "by hand it is renewed");

    // What such a look is for: a loss is told at once.
    let lost = told(&grant);
    until("a listener", PATIENCE, listens);
    server.command(&["FLUSHALL"]);
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(lost.recv_timeout(PATIENCE), Ok(flowlock::Lost::WithTheStore));
}

#[test]
fn a_commit_that_the_server_forgot_by_its_own_clock_is_not_taken_for_lost() {
    let clock = Clock::new();
    let (server, namespace) = (RedisServer::setup().clock(&clock).start(), namespace());
    let [flowlock, other] = [(); 2].map(|()| open(&server.url(), &namespace));
    commit_as(&flowlock, "slept");
    // So it is for a process whose machine slept: the clocks that count only what it was awake stand still.
    clock.advance(Duration::from_mins(11));
    write(&other, "elsewhere");
    write(&other, "elsewhere");
    assert!(other.run(&RunId::parse("slept").unwrap()).unwrap().is_none(), "its outcome is forgotten");
    cut_all(&server);
    assert!(version(&flowlock, "out").is_some());
    assert_eq!(take_notices(&flowlock), "");
}

#[test]
fn a_request_is_sent_once_more_if_the_servers_clock_was_set() {
    let clock = Clock::new();
    let (server, namespace) = (RedisServer::setup().clock(&clock).start(), namespace());
    let flowlock = open(&server.url(), &namespace);
    write(&flowlock, "out");
    for _ in 0..2 {
        clock.advance(Duration::from_secs(400));
        write(&flowlock, "out");
        clock.shift_back(Duration::from_secs(400));
        let grant = flowlock.job("tries").output("out").try_acquire().unwrap();
        let Acquired::Granted(grant) = grant else { panic!("{grant:?}") };
        grant.commit().unwrap();
    }
}
