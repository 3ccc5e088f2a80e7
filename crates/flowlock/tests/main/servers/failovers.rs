//! A primary that is replaced: what it alone knew is lost, and nobody is left to believe otherwise.

use std::time::{Duration, Instant};

use flowlock::step::Holders;
use flowlock::store::StoreErrorKind;
use flowlock::{Acquired, Begun, Creation, Error, Flowlock, Grant, Lost, Namespace, Progress};
use flowlock_testkit::{Clock, PATIENCE, RedisServer, Sentinels, until};

use super::{PATIENT, hears, impatient, is_lost, namespace, open, take_notices, told, version, write};

/// A client notices another primary when it looks for it: at least every five seconds.
const WITH_A_PAUSE: &str = "failover_pause=8s";

/// Waits until all replicas have what was written so far.
#[track_caller]
fn in_step(primary: &RedisServer, replicas: &str) {
    // WAIT waits for what was written on the same connection.
    primary.command(&["SET", "in step", "soon"]);
    let answer = primary.command(&["WAIT", replicas, "20000"]);
    assert_eq!(answer, redis::Value::Int(replicas.parse().unwrap()), "replicas in step");
}

/// A grant and a commit that only the old primary knew of, and then another primary.
fn what_only_the_old_primary_knew(watched: &Sentinels, disturb: impl FnOnce(&RedisServer)) {
    let (namespace, url) = (namespace(), watched.url_with(WITH_A_PAUSE));
    let [holder, next] = [(); 2].map(|()| open(&url, &namespace));
    let first = write(&next, "out");
    let old = watched.primary();
    let keeps = holder.job("keeps").lock("kept").lease(Duration::from_mins(2)).acquire().unwrap();
    in_step(old, "2");
    old.cut_replication();
    let grant = holder.job("holder").output("out").lease(Duration::from_mins(2)).acquire().unwrap();
    let lonely = holder.job("lonely").output("lonely").run_id("lonely.1").acquire().unwrap();
    let lonely = lonely.commit().unwrap().version;
    // The holder has seen far more of the old primary than the others will do on the new one before it asks.
    for _ in 0..50 {
        holder.job("busy").lock("busy").acquire().unwrap().fail();
    }
    let (tell, lost) = std::sync::mpsc::channel();
    grant.on_lost(move |by| tell.send((by, Instant::now())).unwrap());
    disturb(old);
    old.kill();
    watched.wait_for_another_primary_than(old.port());

    let taken = next.job("next").output("out").acquire().unwrap();
    let granted_at = Instant::now();
    let (by, lost_at) = lost.recv_timeout(PATIENT).expect("the holder hears of its loss");
    assert_eq!(by, Lost::WithTheStore);
    assert!(
        lost_at < granted_at,
        "the holder hears first: {:?} later",
        lost_at.checked_duration_since(granted_at)
    );
    assert!(keeps.lost().is_none(), "what the replicas had goes on");
    let highest = grant.token().max(lonely).max(keeps.token());
    assert!(taken.token() > highest && highest > first, "tokens rise over a failover");
    is_lost(&grant.commit(), Lost::WithTheStore);
    let version_taken = taken.commit().unwrap().version;
    assert_eq!(version(&next, "out"), Some(version_taken));
    keeps.commit().unwrap();

    let said = hears(&holder, "was committed");
    assert!(said.contains("lonely.1 was committed, but the store has lost that"), "{said}");
    assert_eq!(version(&holder, "lonely"), None);
    assert_eq!(said.matches("was committed").count(), 1, "{said}");
    assert!(!take_notices(&next).contains("was committed"), "only who made a commit misses it");
}

#[test]
fn a_holder_whose_grant_the_new_primary_does_not_have_hears_so_before_another_is_granted() {
    what_only_the_old_primary_knew(&Sentinels::start(), |old| {
        // A holder listens from its first second on: the channel of all, the waiting one's and its own.
        until("a listener", PATIENCE, || (old.info("pubsubshard_channels") == "3").then_some(()));
    });
}

#[test]
fn the_same_holds_if_the_old_primary_dies_before_the_holder_listens_and_the_new_ones_clock_is_behind() {
    let clock = Clock::new();
    let watched = Sentinels::setup().replica_clock(&clock).start();
    what_only_the_old_primary_knew(&watched, |_| clock.shift_back(Duration::from_secs(30)));
}

#[test]
fn a_commit_that_was_lost_while_its_grant_was_not_is_made_again() {
    let watched = Sentinels::start();
    let (namespace, url) = (namespace(), watched.url_with("failover_pause=0s"));
    let [holder, next] = [(); 2].map(|()| open(&url, &namespace));
    let grant = holder.job("holder").output("out").lease(Duration::from_mins(5)).acquire().unwrap();
    let old = watched.primary();
    in_step(old, "2");
    old.cut_replication();
    let version_told = grant.commit_with("kept").unwrap().version;
    old.kill();
    watched.wait_for_another_primary_than(old.port());
    // On the new primary the run still holds its name, for five minutes.
    assert!(matches!(next.job("next").output("out").try_acquire().unwrap(), Acquired::Blocked(_)));
    until("the commit", PATIENT, || (version(&holder, "out") == Some(version_told)).then_some(()));
    let reads = next.job("reads").input("out").wait(PATIENT).acquire().unwrap();
    assert_eq!(reads.inputs()[0].note.as_deref(), Some("kept"));
    reads.commit().unwrap();
    assert!(!take_notices(&holder).contains("was committed"), "nothing is missing");
}

/// A primary that was frozen until another had taken its place, and goes on as if nothing had been: it still takes writes
/// until the sentinels tell it otherwise, some eight seconds later.
struct Awoken {
    watched: Sentinels,
    namespace: Namespace,
    /// Two that have talked to it before, and have nothing to say meanwhile.
    idle: [Flowlock; 2],
    /// Was granted `out` by the new primary, after its question had lain with the old one.
    asks: Flowlock,
    grant: Grant,
    old: u16,
}

impl Awoken {
    fn after(watched: Sentinels) -> Self {
        let (namespace, url) = (namespace(), watched.url_with("failover_pause=0s"));
        let [asks, holder, waits] = [(); 3].map(|()| impatient(&url, &namespace, PATIENT));
        let idle = [(); 2].map(|()| open(&url, &namespace));
        for flowlock in [&asks, &idle[0], &idle[1]] {
            write(flowlock, "known");
        }
        let gate = holder.job("holder").output("gate").lease(Duration::from_mins(2)).acquire().unwrap();
        let Begun::Waiting(mut waiting) = waits.job("waits").input("gate").output("behind").begin().unwrap()
        else {
            panic!("granted what another one holds")
        };
        let old = watched.primary();
        in_step(old, "2");
        old.stop();
        let grant = std::thread::scope(|scope| {
            let asking = scope.spawn(|| asks.job("asks").output("out").acquire().unwrap());
            watched.wait_for_another_primary_than(old.port());
            asking.join().unwrap()
        });
        // What went on before goes on after.
        gate.commit().unwrap();
        let Progress::Granted(next) = waiting.wait(PATIENT).unwrap() else { panic!("never granted") };
        next.commit().unwrap();
        let old = old.port();
        let awoken = Self { watched, namespace, idle, asks, grant, old };
        awoken.old().cont();
        awoken
    }

    fn old(&self) -> &RedisServer {
        self.watched.nodes().iter().find(|node| node.port() == self.old).unwrap()
    }

    /// Waits until the old primary has been told, and has given up what it did in between.
    fn is_told(&self) {
        until("a replica of the new primary", PATIENT, || {
            (self.old().info("role") == "slave" && self.old().info("master_link_status") == "up")
                .then_some(())
        });
    }

    /// The one grant that counts is committed, and the one record is its.
    fn one_grant_counts(self) {
        let token = self.grant.token();
        assert_eq!(self.grant.commit().unwrap().version, token);
        let stranger = open(&self.watched.url(), &self.namespace);
        assert_eq!(version(&stranger, "out"), Some(token));
        let left: Vec<_> = stranger.runs().unwrap().into_iter().map(|seen| seen.run.attempt.id).collect();
        assert_eq!(left, []);
        assert!(write(&stranger, "out") > token);
    }
}

#[test]
fn a_primary_that_was_frozen_and_comes_back_grants_nothing_if_it_wants_replicas() {
    let awoken = Awoken::after(Sentinels::setup().min_replicas(1).start());
    // It refuses, the sentinels are asked anew, and the new primary knows the holder.
    let refusals = || awoken.old().errors("NOREPLICAS");
    let before = refusals();
    let Acquired::Blocked(blocked) = awoken.idle[0].job("idle").output("out").try_acquire().unwrap() else {
        panic!("granted twice")
    };
    assert!(blocked.summary().contains("asks."), "{}", blocked.summary());
    assert!(refusals() > before, "the old primary was asked, and refused");
    write(&awoken.idle[1], "more");
    awoken.is_told();
    assert_eq!(take_notices(&awoken.idle[1]), "", "nothing that was said is taken back");
    awoken.one_grant_counts();
}

#[test]
fn what_a_primary_grants_after_it_was_frozen_is_reported_lost_and_commits_nothing() {
    let awoken = Awoken::after(Sentinels::start());
    let [holder, lonely] = &awoken.idle;
    let second = holder.job("second").output("more").lease(Duration::from_mins(2)).try_acquire().unwrap();
    let Acquired::Granted(second) = second else { panic!("the old primary knows nobody: {second:?}") };
    let lost = told(&second);
    let lonely_run = lonely.job("lonely").output("lonely").run_id("lonely.1").acquire().unwrap();
    let lonely_token = lonely_run.commit().unwrap().version;
    let third = awoken.asks.job("third").output("more").acquire().unwrap();
    assert!(third.token() > second.token().max(lonely_token), "the higher token is the one that counts");
    assert_eq!(lost.recv_timeout(PATIENT), Ok(Lost::WithTheStore));
    is_lost(&second.commit(), Lost::WithTheStore);
    let token = third.commit().unwrap().version;
    assert_eq!(version(&awoken.asks, "more"), Some(token));
    awoken.is_told();
    assert_eq!(version(lonely, "lonely"), None);
    let said = hears(lonely, "was committed");
    assert!(said.contains("lonely.1 was committed, but the store has lost that"), "{said}");
    awoken.one_grant_counts();
}

#[test]
fn a_grant_that_no_replica_has_in_time_is_given_back_and_a_commit_is_told_of() {
    let primary = RedisServer::start();
    let replica = RedisServer::setup().replica_of(&primary).start();
    until("a replica in step", PATIENCE, || (replica.info("master_link_status") == "up").then_some(()));
    // Valkey's replica says so up to a second before its first acknowledgement.
    in_step(&primary, "1");
    let namespace = namespace();
    let plain = open(&primary.url(), &namespace);
    let durable = open(&primary.url_with("failover_pause=0s&durability=replicas(1,500)"), &namespace);
    write(&durable, "out");
    assert_eq!(take_notices(&durable), "");
    let grant = durable.job("holder").output("more").acquire().unwrap();

    primary.cut_replication();
    let next = durable.job("next").output("out").on_fail(flowlock::OnFail::Incomplete);
    let Err(Error::Store(error)) = next.try_acquire() else { panic!("granted") };
    assert_eq!(error.kind(), StoreErrorKind::NotReplicated);
    assert!(error.to_string().contains("0 of 1 replicas had it within 500 ms"), "{error}");
    let reads = plain.job("reader").input("out").try_acquire().unwrap();
    assert!(matches!(reads, Acquired::Granted(_)), "given back is not failed: {reads:?}");
    drop(reads);
    let Acquired::Granted(other) = plain.job("other").output("out").try_acquire().unwrap() else {
        panic!("something is left held")
    };
    other.commit().unwrap();
    let committed = grant.commit().unwrap();
    let said = take_notices(&durable);
    assert!(said.contains("holder.") && said.contains("is committed, but only 0 of 1 replicas"), "{said}");
    assert_eq!(version(&plain, "more"), Some(committed.version));
    durable.create(&["made"], Creation::default()).unwrap();
    let said = take_notices(&durable);
    assert!(said.contains("the change is made, but only 0 of 1 replicas"), "{said}");
    assert!(durable.remove(&["made"], Holders::Respect).unwrap());
    let said = take_notices(&durable);
    assert!(said.contains("the change is made, but only 0 of 1 replicas"), "{said}");

    primary.mend_replication();
    until("a replica in step", PATIENCE, || (primary.info("connected_slaves") == "1").then_some(()));
    in_step(&primary, "1");
    write(&durable, "out");
    assert_eq!(take_notices(&durable), "");
}
