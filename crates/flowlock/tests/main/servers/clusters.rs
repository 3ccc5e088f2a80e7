//! A cluster whose nodes replace each other and whose slots move while jobs run.

use std::time::Duration;

use flowlock::{Begun, Error, Flowlock, Lost, Namespace, Progress, Token};
use flowlock_testkit::{Cluster, Over, PATIENCE, Promotion, RedisServer, until};

use super::{PATIENT, namespace, open, rounds, take_notices, version, write};

fn key_of(namespace: &Namespace) -> String {
    format!("fl:{{{}}}:h", namespace.as_str())
}

/// A namespace on each of the first three nodes.
fn spread(cluster: &Cluster) -> Vec<Namespace> {
    let on = |node: &RedisServer| {
        until("a namespace of this node", PATIENCE, || {
            let namespace = namespace();
            (cluster.owner_of(&key_of(&namespace)).port() == node.port()).then_some(namespace)
        })
    };
    cluster.nodes()[..3].iter().map(on).collect()
}

/// Writes the same name over and over until it is told to stop. What a replica does not know that takes over without
/// asking is lost, and said to be.
fn keep_writing(url: &str, namespace: &Namespace, how: Promotion, over: &Over) -> (Flowlock, Vec<Token>) {
    let flowlock = open(url, namespace);
    let mut tokens = Vec::new();
    while !over.is_over() {
        // Outcomes are kept for ten minutes: without a breath the copies to new replicas grow by the second.
        std::thread::sleep(Duration::from_millis(5));
        let grant = flowlock.job("write").output("out").acquire().unwrap();
        match grant.commit() {
            Ok(committed) => tokens.push(committed.version),
            Err(Error::Lost { by: Lost::WithTheStore, .. }) if how != Promotion::Agreed => {}
            Err(error) => panic!("{how:?}: {error}"),
        }
    }
    tokens.push(write(&flowlock, "out"));
    (flowlock, tokens)
}

#[test]
fn namespaces_of_all_nodes_are_listed_and_removed() {
    let cluster = Cluster::start();
    let (namespaces, url) = (spread(&cluster), cluster.url());
    for namespace in &namespaces {
        open(&url, namespace).create(&["a"], flowlock::Creation::default()).unwrap();
    }
    let listed = || -> Vec<Namespace> {
        let all = open(&url, &namespaces[0]).namespaces().unwrap();
        all.into_iter()
            .map(|(namespace, seen)| (namespace, seen.unwrap().records))
            .map(|(namespace, _)| namespace)
            .collect()
    };
    let mut expected = namespaces.clone();
    expected.sort();
    assert_eq!(listed(), expected);
    let last = open(&url, &namespaces[2]);
    last.remove(&["a"], flowlock::step::Holders::Respect).unwrap();
    assert!(last.remove_namespace().unwrap());
    expected.retain(|namespace| *namespace != namespaces[2]);
    assert_eq!(listed(), expected);
}

/// Changes primaries while jobs run on all of them; answers what the writers were told.
fn jobs_go_on(how: Promotion, times: usize) -> Vec<String> {
    let cluster = Cluster::start();
    let (namespaces, url, over) = (spread(&cluster), cluster.url(), Over::default());
    std::thread::scope(|scope| {
        let writing = over.when_dropped();
        let writers: Vec<_> = namespaces
            .iter()
            .map(|namespace| scope.spawn(|| keep_writing(&url, namespace, how, &over)))
            .collect();
        for round in 0..rounds(times) {
            let primary = cluster.owner_of(&key_of(&namespaces[round % 3]));
            cluster.failover(cluster.replica_of(primary), how);
        }
        drop(writing);
        let ended = writers.into_iter().map(|writer| writer.join().unwrap());
        let told = ended.zip(&namespaces).map(|((flowlock, tokens), namespace)| {
            assert!(tokens.is_sorted_by(|a, b| a < b), "versions rise over every change");
            assert_eq!(version(&flowlock, "out"), tokens.last().copied(), "the last commit counts");
            // Who held nothing before can lock afterwards.
            assert!(write(&open(&url, namespace), "out") > tokens[tokens.len() - 1]);
            take_notices(&flowlock)
        });
        told.collect()
    })
}

#[test]
fn jobs_on_all_nodes_go_on_while_primaries_are_changed_by_agreement_and_nothing_is_lost() {
    assert_eq!(jobs_go_on(Promotion::Agreed, 6), ["", "", ""]);
}

#[test]
fn jobs_go_on_when_a_replica_is_elected_without_asking_its_primary() {
    jobs_go_on(Promotion::Forced, 2);
}

#[test]
fn jobs_go_on_when_a_replica_takes_over_without_asking_anybody() {
    jobs_go_on(Promotion::TakenOver, 1);
}

#[test]
fn a_slot_that_moves_delays_who_holds_and_who_waits_and_loses_neither() {
    let cluster = Cluster::start();
    let (namespace, url) = (namespace(), cluster.url());
    let flowlock = open(&url, &namespace);
    let (key, first) = (key_of(&namespace), write(&flowlock, "out"));
    let held = flowlock.job("holder").output("out").acquire().unwrap();
    let Begun::Waiting(mut waiting) = open(&url, &namespace).job("waiter").output("out").begin().unwrap()
    else {
        panic!("granted twice")
    };
    let (slot, from) = (cluster.slot(&key), cluster.owner_of(&key));
    let to = cluster.nodes()[..3].iter().find(|node| node.port() != from.port()).unwrap();
    cluster.begin_migration(slot, to);
    from.command(&["MIGRATE", "127.0.0.1", &to.port().to_string(), &key, "0", "10000"]);
    std::thread::scope(|scope| {
        let committing = scope.spawn(|| held.commit().unwrap().version);
        let sent_on = || from.errors("TRYAGAIN") + from.errors("ASK") + to.errors("TRYAGAIN");
        until("a step caught half-way", PATIENCE, || (sent_on() > 0).then_some(()));
        assert!(!committing.is_finished(), "half of the namespace is elsewhere");
        cluster.move_keys(slot, to);
        cluster.finish_migration(slot, to);
        let committed = committing.join().unwrap();
        let Progress::Granted(next) = waiting.wait(PATIENT).unwrap() else { panic!("never granted") };
        assert!(first < committed && committed < next.token());
        assert_eq!(version(&flowlock, "out"), Some(committed));
        next.commit().unwrap();
    });
    assert_eq!(cluster.owner_of(&key).port(), to.port());
    assert_eq!(take_notices(&flowlock), "");
    assert!(flowlock.job("next").output("out").wait(Duration::from_secs(5)).acquire().is_ok());
}
