//! The store over the connection: what it does not understand it leaves alone.

use std::time::Duration;

use super::server::Server;
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
        assert!(said.contains("written in schema 2, and this flowlock knows schema 1"), "{said}");
    };
    refused(flowlock.job("report").input("sales").acquire().unwrap_err());
    refused(flowlock.create(&["other"], crate::Creation::default()).unwrap_err());
    refused(flowlock.runs().unwrap_err());
    assert_eq!(dump(), before, "nothing was written");
}
