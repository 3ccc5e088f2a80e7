//! A cluster of three primaries and three replicas.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use redis::RedisResult;

use super::RedisServer;
use super::address::NO_PAUSE;
use crate::{until, until_or};

/// How long elections and gossip may take.
const PATIENCE: Duration = Duration::from_mins(1);
const NODES: usize = 6;
/// How long a node counts the votes that it once received. If it is asked to replace its primary again before that
/// time is over, it may take over at once with those old votes and believe that it is the primary until the others
/// correct it; what was written to it in between is lost.
const VOTES_COUNT: Duration = Duration::from_secs(7);

/// Three primaries with one replica each. They notice a dead node after a second and a half.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<RedisServer>,
    /// When each node, named by its port, last became a primary.
    elected: Mutex<BTreeMap<u16, Instant>>,
}

/// How a replica becomes a primary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// In agreement with its primary; nothing is lost.
    Agreed,
    /// Without its primary, by a vote of the other primaries.
    Forced,
    /// Without asking any other node.
    TakenOver,
}

impl Cluster {
    /// Starts a cluster with the default configuration.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a cluster with these lines in every node's configuration.
    #[track_caller]
    pub fn start_with(lines: &[&str]) -> Self {
        let node = RedisServer::setup()
            .cluster_node()
            .line("cluster-enabled yes")
            .line("cluster-node-timeout 1500")
            .line("cluster-replica-validity-factor 0");
        let node = lines.iter().fold(node, |node, line| node.line(*line));
        let nodes = (0..NODES).map(|_| node.clone().start()).collect();
        let cluster = Cluster { nodes, elected: Mutex::default() };
        cluster.join();
        cluster.wait_until_ready();
        cluster
    }

    fn join(&self) {
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(self.hosts());
        create.args(["--cluster-replicas", "1", "--cluster-yes"]);
        let output = create.output().unwrap_or_else(|error| panic!("redis-cli does not start: {error}"));
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }

    fn hosts(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port())).collect()
    }

    /// The store's URL, with all nodes and without a pause after a failover.
    pub fn url(&self) -> String {
        self.url_with(NO_PAUSE)
    }

    /// The same URL with these parameters instead of `failover_pause=0s`.
    pub fn url_with(&self, parameters: &str) -> String {
        format!("redis+cluster://{}?{parameters}", self.hosts().join(","))
    }

    /// All nodes. The nodes that were primaries at the start come first.
    pub fn nodes(&self) -> &[RedisServer] {
        &self.nodes
    }

    /// The slot of a key.
    #[track_caller]
    pub fn slot(&self, key: &str) -> u16 {
        let slot = |node: &RedisServer| node.try_command(&["CLUSTER", "KEYSLOT", key]).ok();
        let answer = self.nodes.iter().find_map(slot).expect("a node is alive");
        redis::from_redis_value(answer).expect("a slot")
    }

    /// The primary of a slot, according to the first node that answers.
    #[track_caller]
    pub fn owner_of_slot(&self, slot: u16) -> &RedisServer {
        until("an owner of the slot", PATIENCE, || {
            let views = self.nodes.iter().filter_map(|node| View::of(node).ok());
            views.filter(|view| view.is_whole).find_map(|view| self.node(view.owner(slot)?))
        })
    }

    /// The primary of a key.
    #[track_caller]
    pub fn owner_of(&self, key: &str) -> &RedisServer {
        self.owner_of_slot(self.slot(key))
    }

    /// A replica of this primary.
    #[track_caller]
    pub fn replica_of(&self, primary: &RedisServer) -> &RedisServer {
        let port = primary.port().to_string();
        let replica = |node: &&RedisServer| follows(node, &port);
        until("a replica of the primary", PATIENCE, || self.nodes.iter().find(replica))
    }

    /// Makes this replica a primary in place of its own primary, and waits until every node that answers knows it.
    /// If the replica's last election was too recent, it first waits some seconds.
    ///
    /// Nodes remember an election for six seconds and may win with its votes again: wait that long before you kill
    /// the primary of the same pair.
    #[track_caller]
    pub fn failover(&self, replica: &RedisServer, how: Promotion) {
        let words: &[&str] = match how {
            Promotion::Agreed => &["CLUSTER", "FAILOVER"],
            Promotion::Forced => &["CLUSTER", "FAILOVER", "FORCE"],
            Promotion::TakenOver => &["CLUSTER", "FAILOVER", "TAKEOVER"],
        };
        self.let_votes_fade(replica);
        // A vote can be denied, for example because the last one is too recent; the replica then gives up after a
        // while.
        let mut asked: Option<Instant> = None;
        let knows = |node: &RedisServer| View::of(node).map_or(true, |view| view.owns(replica.port()));
        let promoted = || {
            let is_primary = replica.info("role") == "master";
            if !is_primary && asked.is_none_or(|asked| asked.elapsed() > Duration::from_secs(2)) {
                let _ = replica.try_command(words);
                asked = Some(Instant::now());
            }
            (is_primary && self.nodes.iter().all(knows)).then_some(())
        };
        until_or("a new primary that all nodes know", PATIENCE, promoted, || self.views());
        let mut elected = self.elected.lock().unwrap_or_else(PoisonError::into_inner);
        elected.insert(replica.port(), Instant::now());
    }

    fn let_votes_fade(&self, replica: &RedisServer) {
        let elected = self.elected.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = elected.get(&replica.port()).map(|at| VOTES_COUNT.saturating_sub(at.elapsed()));
        drop(elected);
        std::thread::sleep(fresh.unwrap_or_default());
    }

    /// Begins to move a slot: from now on its owner answers `ASK` for keys that it does not have, and the new owner
    /// accepts requests for them.
    #[track_caller]
    pub fn begin_migration(&self, slot: u16, to: &RedisServer) {
        let from = self.owner_of_slot(slot);
        let number = slot.to_string();
        to.command(&["CLUSTER", "SETSLOT", &number, "IMPORTING", &id(from)]);
        from.command(&["CLUSTER", "SETSLOT", &number, "MIGRATING", &id(to)]);
    }

    /// Moves the keys that the slot has now.
    #[track_caller]
    pub fn move_keys(&self, slot: u16, to: &RedisServer) {
        let from = self.owner_of_slot(slot);
        let keys: Vec<String> = from.read(&["CLUSTER", "GETKEYSINSLOT", &slot.to_string(), "100000"]);
        let port = to.port().to_string();
        for key in keys {
            from.command(&["MIGRATE", "127.0.0.1", &port, &key, "0", "10000"]);
        }
    }

    /// Ends the move: the slot now belongs to the new owner. All its keys must have been moved before.
    #[track_caller]
    pub fn finish_migration(&self, slot: u16, to: &RedisServer) {
        let (number, id) = (slot.to_string(), id(to));
        // The new owner is told first, so that the slot always has an owner; a node that is down learns it later.
        to.command(&["CLUSTER", "SETSLOT", &number, "NODE", &id]);
        for node in &self.nodes {
            let _ = node.try_command(&["CLUSTER", "SETSLOT", &number, "NODE", &id]);
        }
        until("a cluster that knows", PATIENCE, || {
            let knows =
                |node: &RedisServer| View::of(node).map_or(true, |view| view.owner(slot) == Some(to.port()));
            self.nodes.iter().all(knows).then_some(())
        });
    }

    /// Waits until every node sees a complete cluster and every replica is in sync.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        for node in &self.nodes {
            until("a node that sees all", PATIENCE, || {
                let view = View::of(node).ok()?;
                let in_step = node.info("role") == "master" || node.info("master_link_status") == "up";
                (view.is_whole && view.ranges.len() >= 3 && view.nodes == NODES && in_step).then_some(())
            });
        }
    }

    /// How each node sees the others, for the message when a wait times out.
    fn views(&self) -> String {
        let view = |node: &RedisServer| match node.try_command(&["CLUSTER", "NODES"]) {
            Ok(answer) => redis::from_redis_value(answer).unwrap_or_else(|error| format!("{error}\n")),
            Err(error) => format!("{error}\n"),
        };
        let told = self.nodes.iter().map(|node| format!("node {}:\n{}", node.port(), view(node)));
        told.collect::<Vec<_>>().concat()
    }

    fn node(&self, port: u16) -> Option<&RedisServer> {
        self.nodes.iter().find(|node| node.port() == port)
    }
}

fn follows(node: &RedisServer, port: &str) -> bool {
    node.try_command(&["PING"]).is_ok() && node.info("role") == "slave" && node.info("master_port") == port
}

#[track_caller]
fn id(node: &RedisServer) -> String {
    node.text(&["CLUSTER", "MYID"])
}

/// How a node sees the cluster.
struct View {
    is_whole: bool,
    nodes: usize,
    /// The first slot, the last slot and the port of their primary.
    ranges: Vec<(u16, u16, u16)>,
}

impl View {
    fn of(node: &RedisServer) -> RedisResult<Self> {
        let text = |words: &[&str]| -> RedisResult<String> {
            Ok(redis::from_redis_value(node.try_command(words)?)?)
        };
        let (info, nodes) = (text(&["CLUSTER", "INFO"])?, text(&["CLUSTER", "NODES"])?);
        let ranges = nodes.lines().filter(|line| is_primary(line)).flat_map(ranges).collect();
        Ok(View { is_whole: info.contains("cluster_state:ok"), nodes: nodes.lines().count(), ranges })
    }

    fn owner(&self, slot: u16) -> Option<u16> {
        self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).map(|(_, _, port)| *port)
    }

    fn owns(&self, port: u16) -> bool {
        self.ranges.iter().any(|range| range.2 == port)
    }
}

/// A line of `CLUSTER NODES`: `id host:port@bus flags primary ping pong epoch link slots…`.
fn is_primary(line: &str) -> bool {
    line.split(' ').nth(2).is_some_and(|flags| flags.contains("master"))
}

fn ranges(line: &str) -> Vec<(u16, u16, u16)> {
    let mut words = line.split(' ');
    let address = words.nth(1).unwrap_or_default();
    let port =
        address.split_once(':').and_then(|(_, rest)| rest.split('@').next()?.parse().ok()).unwrap_or(0);
    let range = |word: &str| {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        Some((first.parse().ok()?, last.parse().ok()?, port))
    };
    // A slot that is being moved is written as `[slot->-id]`, which is not a range.
    words.skip(6).filter_map(range).collect()
}
