//! The server that is measured on: a throw-away one without persistence, reached with the settings users get.

use std::thread;
use std::time::Duration;

use flowlock_testkit::RedisServer;

use crate::Trouble;

/// After a start nothing is granted in a new namespace for so long; see `failover_pause`.
const SETTLED: u64 = 11;

/// A server, once it grants.
pub(crate) struct Server {
    server: RedisServer,
}

/// What the server did since it was last asked to forget its counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    /// Calls of scripts.
    pub(crate) scripts: u64,
    /// The server's time for them, with the commands that they called.
    pub(crate) time: Duration,
}

impl Server {
    /// Starts it, and waits until the pause after a start is over.
    pub(crate) fn start() -> Result<Self, Trouble> {
        let server = RedisServer::start();
        while server.info("uptime_in_seconds").parse::<u64>()? < SETTLED {
            thread::sleep(Duration::from_millis(200));
        }
        Ok(Self { server })
    }

    /// Its version.
    pub(crate) fn version(&self) -> String {
        format!("Redis {} without persistence", self.server.info("redis_version"))
    }

    /// The store's URL over TCP.
    pub(crate) fn tcp(&self) -> String {
        self.server.url_with("failover_pause=10s")
    }

    /// The store's URL over the unix socket.
    pub(crate) fn unix(&self) -> String {
        self.server.unix_url().replace("failover_pause=0s", "failover_pause=10s")
    }

    /// The path of the unix socket.
    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.server.socket()
    }

    /// What the server does for scripts meanwhile.
    pub(crate) fn work_of(&self, work: impl FnOnce() -> Result<(), Trouble>) -> Result<Work, Trouble> {
        self.server.command(&["CONFIG", "RESETSTAT"]);
        work()?;
        let counts = ["evalsha", "eval"].map(|name| self.server.command_count(name));
        let scripts = counts.iter().map(|count| count.calls).sum();
        let microseconds = counts.iter().map(|count| count.microseconds).sum();
        Ok(Work { scripts, time: Duration::from_micros(microseconds) })
    }

    /// Bytes that came in meanwhile, with a few of the kit's own.
    pub(crate) fn bytes_of(&self, work: impl FnOnce() -> Result<(), Trouble>) -> Result<u64, Trouble> {
        let bytes = || self.server.info("total_net_input_bytes").parse::<u64>();
        let before = bytes()?;
        work()?;
        Ok(bytes()? - before)
    }

    /// Commands of clients so far.
    pub(crate) fn commands(&self) -> u64 {
        self.server.commands_sent()
    }

    /// Bytes of memory that its data take up.
    pub(crate) fn memory(&self) -> Result<f64, Trouble> {
        Ok(self.server.info("used_memory_dataset").parse()?)
    }

    /// What each key of a namespace takes up, by its last letter, from as many samples as there are elements.
    pub(crate) fn key_sizes(&self, namespace: &str) -> Vec<(String, u64)> {
        let begin = format!("fl:{{{namespace}}}:");
        let keys = self.server.key_names(&format!("{begin}*")).into_iter();
        keys.map(|key| (key[begin.len()..].to_owned(), self.server.memory_of(&key))).collect()
    }
}
