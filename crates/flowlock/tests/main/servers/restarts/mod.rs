//! A server that comes back: with everything, with an older state, with nothing.

mod empty;
mod older;
mod tokens;
mod whole;

use std::time::Duration;

use flowlock::{Flowlock, Grant, Namespace, Token};
use flowlock_testkit::RedisServer;

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
