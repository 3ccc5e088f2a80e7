//! The server comes back with nothing.

use std::time::Duration;

use flowlock::{Acquired, Begun, Flowlock, Lost, RunId};
use flowlock_testkit::{PATIENCE, RedisServer, until};

use super::{Before, PATIENT, PAUSE, hears, is_lost, namespace, open, refused, told, version, write};

/// What must be heard of a store that has nothing any more.
fn everything_was_lost(before: Before) {
    let lost = told(&before.grant);
    let token = before.grant.token();
    assert_eq!(lost.recv_timeout(PATIENT), Ok(Lost::WithTheStore));
    is_lost(&before.grant.commit(), Lost::WithTheStore);
    assert_eq!(["written", "held"].map(|name| version(&before.flowlock, name)), [None, None]);
    let said = hears(&before.flowlock, "was committed");
    assert!(said.contains("the store went back") || said.contains("the store lost namespace"), "{said}");
    assert!(said.contains("write.") && said.contains(" was committed, but the store has lost"), "{said}");
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

/// The process that made the namespace makes it again, and brings it further than another process had seen it.
#[test]
fn who_was_not_the_first_one_at_an_emptied_server_misses_its_commit_too() {
    let server = RedisServer::start();
    let (url, namespace) = (server.url_with("failover_pause=0s"), namespace());
    let [maker, other] = [(); 2].map(|()| open(&url, &namespace));
    let seen = |flowlock: &Flowlock| flowlock.store().seen(&namespace).unwrap();
    write(&maker, "made");
    write(&other, "written");
    let before = seen(&other);
    server.command(&["FLUSHALL"]);
    while !maker.store().seen(&namespace).is_some_and(|now| now != before && now.sequence > before.sequence) {
        write(&maker, "made");
    }
    assert_ne!(seen(&maker).epoch, before.epoch, "two lives under one name");
    assert_eq!(version(&other, "written"), None);
    let said = hears(&other, "was committed");
    assert!(said.contains("write.") && said.contains(" was committed, but the store has lost"), "{said}");
}

/// What one process makes there again and again.
#[test]
fn each_life_of_a_namespace_has_an_epoch_of_its_own_whoever_makes_it() {
    let server = RedisServer::start();
    let namespace = namespace();
    let maker = open(&server.url_with("failover_pause=0s"), &namespace);
    let mut epochs: Vec<_> = (0..4)
        .map(|_| {
            write(&maker, "made");
            let epoch = maker.store().seen(&namespace).unwrap().epoch;
            server.command(&["FLUSHALL"]);
            epoch.to_string()
        })
        .collect();
    epochs.sort();
    epochs.dedup();
    assert_eq!(epochs.len(), 4, "{epochs:?}");
}

/// No process remembers all commits of a busy time.
#[test]
fn how_many_more_lost_commits_there_may_be_is_said_once() {
    let before = Before::on(RedisServer::start());
    for _ in 0..1_002 {
        write(&before.flowlock, "many");
    }
    before.server.command(&["FLUSHALL"]);
    // The one of the beginning is another one of them.
    let said = hears(&before.flowlock, "up to 3 earlier ones in namespace ");
    assert_eq!(said.matches(" earlier ones ").count(), 1, "{said}");
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
fn the_first_grant_of_a_namespace_whose_earlier_steps_granted_nothing_is_no_takeover() {
    let server = RedisServer::start();
    let url = server.url_with("failover_pause=1s");
    // Longer than the pause, so that the server cannot be one that has just lost everything.
    until("an older server", PATIENCE, || {
        (server.info("uptime_in_seconds").parse::<u32>().unwrap() > 1).then_some(())
    });
    let first_steps: [fn(&Flowlock); 4] = [
        |flowlock| assert!(matches!(flowlock.job("reads").input("a").begin().unwrap(), Begun::Waiting(_))),
        |flowlock| {
            assert!(matches!(flowlock.job("reads").input("a").try_acquire().unwrap(), Acquired::Blocked(_)));
        },
        |flowlock| {
            assert!(flowlock.job("reads").input("a").wait(Duration::from_millis(1)).acquire().is_err());
        },
        |flowlock| assert!(flowlock.fail(&RunId::parse("nobody.1").unwrap()).is_err()),
    ];
    for first_step in first_steps {
        let flowlock = open(&url, &namespace());
        first_step(&flowlock);
        let Acquired::Granted(grant) = flowlock.job("writes").output("a").try_acquire().unwrap() else {
            panic!("a pause for nothing")
        };
        grant.commit().unwrap();
    }
}
