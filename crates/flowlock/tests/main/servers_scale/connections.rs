//! How many connections a process has.

use std::time::Duration;

use flowlock::{Begun, Flowlock, Progress};
use flowlock_testkit::{PATIENCE, RedisServer, until};

/// The connections to a server, the kit's own aside.
fn connections(server: &RedisServer) -> u32 {
    server.info("connected_clients").parse::<u32>().expect("a number") - 1
}

/// Nobody else writes what a worker writes.
fn run_some(flowlock: &Flowlock, worker: u32) {
    for number in 0..5 {
        flowlock.job("job").output(format!("output {worker} {number}")).acquire().unwrap().commit().unwrap();
    }
}

/// Two runs, one behind the other.
fn wait_for_some(flowlock: &Flowlock) {
    let first = flowlock.job("first").lock("gate").acquire().unwrap();
    let Begun::Waiting(mut second) = flowlock.job("second").lock("gate").begin().unwrap() else {
        panic!("no wait")
    };
    first.commit().unwrap();
    assert!(matches!(second.wait(PATIENCE).unwrap(), Progress::Granted(_)));
}

#[test]
fn a_process_that_runs_has_one_connection_and_one_that_waits_two() {
    let server = RedisServer::start();
    assert_eq!(connections(&server), 0);
    let flowlock = Flowlock::open(&server.url()).unwrap();
    run_some(&flowlock, 0);
    assert_eq!(connections(&server), 1);
    std::thread::scope(|scope| {
        let flowlock = &flowlock;
        for worker in 1..=8 {
            scope.spawn(move || run_some(flowlock, worker));
        }
    });
    assert_eq!(connections(&server), 1, "threads share it");
    wait_for_some(&flowlock);
    wait_for_some(&flowlock);
    assert_eq!(connections(&server), 2);
    drop(flowlock);
    until("the connections closed", PATIENCE, || (connections(&server) == 0).then_some(()));
}

#[test]
fn a_process_that_asks_for_replicas_has_one_connection_more() {
    let server = RedisServer::start();
    let replica = RedisServer::setup().replica_of(&server).start();
    until("a replica", PATIENCE, || (replica.info("master_link_status") == "up").then_some(()));
    let url = server.url_with("failover_pause=0s&durability=replicas(1,5000)");
    let flowlock = Flowlock::builder().store_timeout(Duration::from_secs(10)).open(&url).unwrap();
    run_some(&flowlock, 0);
    assert_eq!(connections(&server), 2);
    wait_for_some(&flowlock);
    assert_eq!(connections(&server), 3);
}
