//! Several servers that replace each other.

use flowlock_testkit::{Cluster, PATIENCE, Promotion, RedisServer, Sentinels, until};

const KEY: &str = "fl:{default}:x";

#[test]
fn sentinels_put_another_primary_in_its_place_when_asked_and_when_it_dies() {
    let watched = Sentinels::start();
    let first = watched.primary();
    first.command(&["SET", "key", "value"]);
    assert_eq!(watched.replicas().len(), 2);
    assert_eq!(watched.url().matches("127.0.0.1:").count(), 3);
    assert!(watched.url().ends_with("/mymaster/0?failover_pause=0s"));

    let second = watched.failover();
    assert_ne!(second.port(), first.port());
    assert_eq!(first.info("role"), "slave");
    assert_eq!(watched.primary().keys(), 1);

    second.kill();
    let third = watched.wait_for_another_primary_than(second.port());
    assert_eq!(third.keys(), 1);
    second.restart();
    until("a primary that has become a replica", PATIENCE, || (second.info("role") == "slave").then_some(()));
}

#[test]
fn a_primary_can_be_told_to_write_only_with_replicas() {
    let watched = Sentinels::setup().min_replicas(1).start();
    let primary = watched.primary();
    primary.command(&["SET", "key", "value"]);
    watched.sentinels().iter().for_each(RedisServer::kill);
    watched.nodes().iter().filter(|node| node.port() != primary.port()).for_each(RedisServer::stop);
    let refused = until("a primary alone", PATIENCE, || primary.try_command(&["SET", "key", "value"]).err());
    assert_eq!(refused.code(), Some("NOREPLICAS"));
}

#[test]
fn a_cluster_changes_primaries_in_every_way() {
    let cluster = Cluster::start();
    assert_eq!(cluster.url().matches("127.0.0.1:").count(), 6);
    let ways = [Promotion::Agreed, Promotion::Forced, Promotion::TakenOver];
    for (primary, how) in cluster.nodes().iter().zip(ways) {
        let key =
            (0..1_000).map(|n| format!("key{n}")).find(|key| is_at(cluster.owner_of(key), primary)).unwrap();
        primary.command(&["SET", &key, "value"]);
        let replica = cluster.replica_of(primary);
        until("a copy", PATIENCE, || (replica.keys() == 1).then_some(()));
        cluster.failover(replica, how);
        assert!(is_at(cluster.owner_of(&key), replica), "{how:?}");
        assert_eq!(replica.keys(), 1);
    }
}

#[test]
fn a_cluster_replaces_a_silent_primary() {
    let cluster = Cluster::start();
    let primary = cluster.owner_of(KEY);
    primary.command(&["SET", KEY, "value"]);
    let replica = cluster.replica_of(primary);
    until("a copy", PATIENCE, || (replica.keys() == 1).then_some(()));
    primary.stop();
    until("an heir", PATIENCE, || is_at(cluster.owner_of(KEY), replica).then_some(()));
    assert_eq!(replica.keys(), 1);
    primary.cont();
    until("a primary that has become a replica", PATIENCE, || {
        (primary.info("role") == "slave").then_some(())
    });
    cluster.wait_until_ready();
}

fn is_at(one: &RedisServer, other: &RedisServer) -> bool {
    one.port() == other.port()
}

#[test]
fn a_slot_can_be_caught_half_way() {
    let cluster = Cluster::start();
    let slot = cluster.slot(KEY);
    let from = cluster.owner_of_slot(slot);
    let to = cluster.nodes()[..3].iter().find(|node| node.port() != from.port()).unwrap();
    from.command(&["SET", KEY, "value"]);

    cluster.begin_migration(slot, to);
    assert_eq!(cluster.owner_of(KEY).port(), from.port());
    from.command(&["GET", KEY]);
    let code = |node: &RedisServer, key: &str| {
        node.try_command(&["GET", key]).err().and_then(|error| error.code().map(str::to_owned))
    };
    assert_eq!(code(from, "fl:{default}:new").as_deref(), Some("ASK"));
    assert_eq!(code(to, KEY).as_deref(), Some("MOVED"));

    cluster.move_keys(slot, to);
    assert_eq!((from.keys(), to.keys()), (0, 1));
    assert_eq!(code(from, KEY).as_deref(), Some("ASK"));

    cluster.finish_migration(slot, to);
    assert_eq!(cluster.owner_of(KEY).port(), to.port());
    assert_eq!(code(from, KEY).as_deref(), Some("MOVED"));
    to.command(&["GET", KEY]);
}
