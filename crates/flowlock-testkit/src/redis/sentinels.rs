//! A primary with replicas, watched by sentinels.

use std::time::Duration;

use redis::RedisResult;

use super::address::NO_PAUSE;
use super::{Clock, RedisServer, RedisSetup};
use crate::until;

/// The name by which the sentinels know the primary.
const MASTER: &str = "mymaster";

/// How long elections, and the sentinels' discovery of each other, may take: they announce themselves every two
/// seconds.
const PATIENCE: Duration = Duration::from_mins(1);

/// A primary, two replicas, and three sentinels that notice a dead primary after half a second.
///
/// ```no_run
/// # use flowlock_testkit::Sentinels;
/// let watched = Sentinels::start();
/// let before = watched.primary();
/// before.kill();
/// let after = watched.wait_for_another_primary_than(before.port());
/// ```
#[derive(Debug)]
pub struct Sentinels {
    nodes: Vec<RedisServer>,
    sentinels: Vec<RedisServer>,
}

/// The setup of [`Sentinels`] that are not started yet.
#[derive(Debug, Clone)]
pub struct SentinelsSetup {
    node: RedisSetup,
    replica_clock: Option<Clock>,
    sentinel: Vec<String>,
}

impl SentinelsSetup {
    /// A primary that reaches fewer replicas than this refuses writes (`min-replicas-to-write`).
    #[must_use]
    pub fn min_replicas(self, count: u32) -> Self {
        self.node_line(format!("min-replicas-to-write {count}")).node_line("min-replicas-max-lag 2")
    }

    /// Adds a line to the configuration of the primary and the replicas.
    #[must_use]
    pub fn node_line(mut self, line: impl Into<String>) -> Self {
        self.node = self.node.line(line);
        self
    }

    /// Gives the replicas a wall clock that is not the primary's.
    #[must_use]
    pub fn replica_clock(mut self, clock: &Clock) -> Self {
        self.replica_clock = Some(clock.clone());
        self
    }

    /// Adds a line to the configuration of the sentinels, after those that name the primary.
    #[must_use]
    pub fn sentinel_line(mut self, line: impl Into<String>) -> Self {
        self.sentinel.push(line.into());
        self
    }

    /// Starts all nodes and waits until all of them know each other.
    #[track_caller]
    pub fn start(self) -> Sentinels {
        let primary = self.node.clone().start();
        let replica = match &self.replica_clock {
            Some(clock) => self.node.clone().clock(clock),
            None => self.node.clone(),
        };
        let replicas = [(); 2].map(|()| replica.clone().replica_of(&primary).start());
        for replica in &replicas {
            until("a replica in step", PATIENCE, || {
                (replica.info("master_link_status") == "up").then_some(())
            });
        }
        let sentinels = [(); 3].map(|()| self.sentinel(primary.port()).start()).into();
        let watched = Sentinels { nodes: [primary].into_iter().chain(replicas).collect(), sentinels };
        watched.wait_until_ready();
        watched
    }

    fn sentinel(&self, primary: u16) -> RedisSetup {
        let watch = RedisServer::setup()
            .sentinel()
            .line(format!("sentinel monitor {MASTER} 127.0.0.1 {primary} 2"))
            .line(format!("sentinel down-after-milliseconds {MASTER} 500"))
            .line(format!("sentinel failover-timeout {MASTER} 3000"));
        self.sentinel.iter().fold(watch, RedisSetup::line)
    }
}

impl Sentinels {
    /// Starts them with the default setup.
    #[track_caller]
    pub fn start() -> Self {
        Self::setup().start()
    }

    /// Creates a setup with which to change the defaults.
    pub fn setup() -> SentinelsSetup {
        SentinelsSetup { node: RedisServer::setup(), replica_clock: None, sentinel: Vec::new() }
    }

    /// The store's URL, with all sentinels and without a pause after a failover.
    pub fn url(&self) -> String {
        self.url_with(NO_PAUSE)
    }

    /// The same URL with these parameters instead of `failover_pause=0s`.
    pub fn url_with(&self, parameters: &str) -> String {
        let hosts: Vec<_> =
            self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
        format!("redis+sentinel://{}/{MASTER}/0?{parameters}", hosts.join(","))
    }

    /// The node that a majority of the sentinels calls the primary.
    #[track_caller]
    pub fn primary(&self) -> &RedisServer {
        until("sentinels of one mind", PATIENCE, || {
            let said: Vec<u16> =
                self.sentinels.iter().filter_map(|sentinel| primary_of(sentinel).ok()).collect();
            let agreed = |node: &&RedisServer| said.iter().filter(|port| **port == node.port()).count() >= 2;
            self.nodes.iter().find(agreed)
        })
    }

    /// The nodes other than the primary, whether they run or not.
    #[track_caller]
    pub fn replicas(&self) -> Vec<&RedisServer> {
        let primary = self.primary().port();
        self.nodes.iter().filter(|node| node.port() != primary).collect()
    }

    /// The primary and the replicas, as they were at the start.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The sentinels.
    pub fn sentinels(&self) -> &[RedisServer] {
        &self.sentinels
    }

    /// Makes a replica the primary while all nodes work, and waits until all follow it. Returns the new primary.
    #[track_caller]
    pub fn failover(&self) -> &RedisServer {
        let before = self.primary().port();
        // The sentinel refuses as long as it does not trust a replica yet.
        until("a failover that begins", PATIENCE, || {
            self.sentinels[0].try_command(&["SENTINEL", "FAILOVER", MASTER]).ok()
        });
        let primary = self.wait_for_another_primary_than(before);
        until("two replicas of the new primary", PATIENCE, || {
            (primary.info("connected_slaves") == "2").then_some(())
        });
        primary
    }

    /// Waits until the sentinels have made another node the primary in place of this one, and that node says that it is
    /// the primary.
    #[track_caller]
    pub fn wait_for_another_primary_than(&self, port: u16) -> &RedisServer {
        until("another primary", PATIENCE, || {
            let primary = self.primary();
            (primary.port() != port && primary.info("role") == "master").then_some(primary)
        })
    }

    /// Waits until the replicas are in sync and every sentinel knows the other two and both replicas.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        for sentinel in &self.sentinels {
            let knows = format!("name={MASTER},status=ok,address=127.0.0.1:{}", self.primary().port());
            until("a sentinel that knows all", PATIENCE, || {
                let line = sentinel.info("master0");
                (line.starts_with(&knows) && line.ends_with("slaves=2,sentinels=3")).then_some(())
            });
        }
    }
}

fn primary_of(sentinel: &RedisServer) -> RedisResult<u16> {
    let said = sentinel.try_command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER])?;
    let (_host, port): (String, u16) = redis::from_redis_value(said)?;
    Ok(port)
}
