//! The store over the connection: it does not touch what it does not understand.

use std::time::Duration;

use super::server::Server;
use crate::step::Holders;
use crate::store::redis::RedisStore;
use crate::{Error, Flowlock};

const PATIENCE: Duration = Duration::from_secs(2);

fn open(server: &Server) -> Flowlock {
    let store = RedisStore::open(&format!("{}?failover_pause=0s", server.url()), PATIENCE).unwrap();
    Flowlock::with_store(std::sync::Arc::new(store))
}

#[test]
fn a_namespace_of_a_newer_schema_is_left_alone() {
    let server = Server::start(&[]);
    open(&server).create(&["sales"], crate::Creation::default()).unwrap();
    // What a later release would write: the same row with the next number in its first byte.
    let newer = "local row = redis.call('HGET', KEYS[1], 'm') redis.call('HSET', KEYS[1], 'm', '\\2' .. string.sub(row, 2))";
    server.cli(&["EVAL", newer, "1", "fl:{default}:h"]);
    let dump = || server.cli(&["DEBUG", "DIGEST"]);
    let before = dump();
    let flowlock = open(&server);
    let refused = |error: Error| {
        let said = error.to_string();
        assert!(said.contains("written in schema 2, but this flowlock uses schema 1"), "{said}");
    };
    refused(flowlock.job("report").input("sales").acquire().unwrap_err());
    refused(flowlock.create(&["other"], crate::Creation::default()).unwrap_err());
    refused(flowlock.runs().unwrap_err());
    assert_eq!(dump(), before, "nothing was written");
}

#[test]
fn a_holder_that_does_not_hold_ends_what_would_end_it_with_an_error() {
    let server = Server::start(&[]);
    let flowlock = open(&server);
    flowlock.job("load").output("sales").acquire().unwrap().commit().unwrap();
    flowlock.job("write").output("report").acquire().unwrap().detach().unwrap();
    // The first run, which has ended, in place of the second; then one that is marked as lapsed.
    let instead = "redis.call('HSET', KEYS[1], 'hdreport', '0000000000000001')";
    let lapsed = "redis.call('HSET', KEYS[1], 'hdreport', '0000000000000002')
        redis.call('ZADD', KEYS[2], 0, 'ydreport' .. string.char(0) .. '0000000000000002x')";
    for altered in [instead, lapsed] {
        server.cli(&["EVAL", altered, "2", "fl:{default}:h", "fl:{default}:i"]);
        let creation = crate::Creation { holders: Holders::Break, ..crate::Creation::default() };
        let refusals =
            [flowlock.remove(&["report"], Holders::Break).map(drop), flowlock.create(&["report"], creation)];
        for refused in refusals {
            let said = refused.unwrap_err().to_string();
            assert!(said.contains("contradicts itself"), "{altered}: {said}");
        }
    }
}
