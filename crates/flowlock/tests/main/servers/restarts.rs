//! A server that comes back: with everything, with an older state, with nothing.

use std::path::Path;
use std::time::{Duration, SystemTime};

use flowlock::{Acquired, Begun, Error, Flowlock, Grant, Lost, Namespace, Progress, RunId, Token};
use flowlock_testkit::{Clock, PATIENCE, Persistence, RedisServer, RedisSetup, until};

use super::{PATIENT, hears, is_lost, namespace, open, refused, rounds, take_notices, told, version, write};

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
    assert!(said.contains("the store went back: in namespace "), "{said}");
    assert!(said.contains("later.1 was committed, but the store has lost that"), "{said}");
    assert_eq!(said.matches("was committed").count(), 1, "the commit before the snapshot is there: {said}");
    assert_eq!(version(flowlock, "written"), Some(before.written));
    before.grant.commit().unwrap();
    assert!(write(flowlock, "later") > late, "tokens rise above those of the lost time");
}

/// What was in line when the server was saved is there again, though it was granted since.
#[test]
fn a_run_that_waits_again_in_an_older_snapshot_is_lost_with_the_store() {
    for ask in [
        |grant: Grant| grant.verify(),
        |grant: Grant| grant.refresh().map(drop),
        |grant: Grant| grant.commit().map(drop),
    ] {
        let server = RedisServer::setup().persistence(Persistence::Snapshots).start();
        let namespace = namespace();
        let [first, second] = [(); 2].map(|()| open(&server.url(), &namespace));
        let before = first.job("first").lock("l").lease(Duration::from_mins(1)).acquire().unwrap();
        let job = second.job("second").lock("l").output("out").fixed_lease();
        let Begun::Waiting(mut waiting) = job.begin().unwrap() else { panic!("granted beside the first") };
        server.command(&["SAVE"]);
        before.fail();
        let Progress::Granted(grant) = waiting.wait(PATIENT).unwrap() else {
            panic!("it was not handed over")
        };
        server.restart();
        // A renewal by hand takes effect once a second.
        std::thread::sleep(Duration::from_millis(1_010));
        let ended = ask(grant);
        assert!(matches!(ended, Err(Error::Lost { by: Lost::WithTheStore, .. })), "{ended:?}");
        assert_eq!(version(&first, "out"), None);
    }
}

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
