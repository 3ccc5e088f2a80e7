//! A cluster. The nodes themselves tell which node has a namespace, when they redirect.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{ServerError, Value};

use super::dial::{Dialler, Part};
use super::failure::{self, Failure, quoted};
use super::pack;
use super::pipeline::Job;
use super::primary::Primary;
use super::url::Address;
use crate::store::Limits;
use crate::sync::lock;

/// For how many namespaces the node is remembered.
const MOST_ROUTES: usize = 10_000;
/// The largest map of all slots, in bytes: each of 16,384 by itself, with its nodes.
const LARGEST_MAP: usize = 16 << 20;
/// How many nodes are remembered, or asked one after the other.
const MOST_NODES: usize = 1_000;
/// How many nodes have connections, besides those that have namespaces: a node may redirect to any
/// number of others.
const MOST_CONNECTED: usize = 16;

/// The nodes of a cluster.
#[derive(Debug)]
pub(super) struct Cluster {
    dialler: Arc<Dialler>,
    patience: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Which nodes to ask if nothing is known about a namespace. The one that failed last comes last.
    nodes: VecDeque<Address>,
    /// The node that had a namespace last.
    routes: HashMap<String, Address>,
    primaries: HashMap<Address, Arc<Primary>>,
}

impl Known {
    /// If there are many connections, drops those to nodes that have no namespace of this process,
    /// except to `besides`. A thread that is using one keeps it.
    fn let_go(&mut self, besides: &Address) {
        if self.primaries.len() > MOST_CONNECTED {
            let used: HashSet<_> = self.routes.values().chain([besides]).collect();
            self.primaries.retain(|address, _| used.contains(address));
        }
    }
}

impl Cluster {
    pub(super) fn new(dialler: &Arc<Dialler>, seeds: &[Address], patience: Duration) -> Self {
        let known = Known { nodes: seeds.iter().cloned().collect(), ..Known::default() };
        Self { dialler: dialler.clone(), patience, known: Mutex::new(known) }
    }

    /// Connects to one of the nodes, and learns the others from it.
    pub(super) fn open(&self, limits: &Limits) -> Result<(), Failure> {
        let seeds = lock(&self.known).nodes.clone();
        let mut first = None;
        for (at, seed) in seeds.iter().enumerate() {
            let node = self.node(seed);
            match node.shared().open(&limits.share(seeds.len() - at)) {
                Ok(()) => {
                    self.learn(&node, limits);
                    return Ok(());
                }
                Err(failure) => {
                    self.note_lost("", &node);
                    first.get_or_insert(failure);
                }
            }
        }
        Err(first.unwrap_or_else(|| Failure::unreachable("no node of the cluster is known")))
    }

    /// Returns the node that had the namespace last, or any node.
    pub(super) fn primary(&self, tag: &str) -> Result<Arc<Primary>, Failure> {
        let mut known = lock(&self.known);
        let any = || Failure::unreachable("no node of the cluster is known");
        let address = known.routes.get(tag).or(known.nodes.front()).cloned().ok_or_else(any)?;
        Ok(self.node_in(&mut known, &address))
    }

    /// Returns all primaries, as any one node lists them.
    pub(super) fn primaries(&self, limits: &Limits) -> Result<Vec<Arc<Primary>>, Failure> {
        let nodes = lock(&self.known).nodes.len().max(1);
        let mut first = None;
        for _ in 0..nodes {
            let node = self.primary("")?;
            let head = pack::arguments(&[b"CLUSTER", b"SLOTS"]);
            match node.shared().ask(Job { head, most: LARGEST_MAP, ..Job::default() }, limits) {
                Ok(replies) => match replies.head {
                    Value::ServerError(error) => return Err(failure::refused(node.address(), &error)),
                    slots => {
                        let primaries = primaries_in(node.address(), &slots);
                        return Ok(primaries.iter().map(|address| self.node(address)).collect());
                    }
                },
                Err(failure) => {
                    self.note_lost("", &node);
                    first.get_or_insert(failure);
                }
            }
        }
        Err(first.unwrap_or_else(|| Failure::unreachable("no node of the cluster is known")))
    }

    /// Returns the node that had the namespace last.
    pub(super) fn known(&self, tag: &str) -> Option<Address> {
        lock(&self.known).routes.get(tag).cloned()
    }

    /// Forgets where the namespace is; from now on this node is asked last.
    pub(super) fn note_lost(&self, tag: &str, primary: &Arc<Primary>) {
        let mut known = lock(&self.known);
        let address = primary.address();
        known.routes.remove(tag);
        known.routes.retain(|_, other| other != address);
        known.nodes.retain(|other| other != address);
        known.nodes.push_back(address.clone());
    }

    /// Follows MOVED or ASK: returns the node that it names, and remembers where MOVED sends.
    pub(super) fn redirect(
        &self,
        tag: &str,
        from: &Address,
        error: &ServerError,
    ) -> Result<Arc<Primary>, Failure> {
        let details = error.details().unwrap_or("");
        let address = target(from, details).ok_or_else(|| {
            Failure::unusable(format!("{from} redirects to an invalid address ({})", quoted(details)))
                .of_a_connection()
        })?;
        let mut known = lock(&self.known);
        if !known.nodes.contains(&address) && known.nodes.len() < MOST_NODES {
            known.nodes.push_back(address.clone());
        }
        if error.code() == "MOVED" {
            if known.routes.len() >= MOST_ROUTES {
                known.routes.clear();
            }
            known.routes.insert(tag.to_owned(), address.clone());
        }
        Ok(self.node_in(&mut known, &address))
    }

    fn node(&self, address: &Address) -> Arc<Primary> {
        self.node_in(&mut lock(&self.known), address)
    }

    fn node_in(&self, known: &mut Known, address: &Address) -> Arc<Primary> {
        if let Some(node) = known.primaries.get(address) {
            return node.clone();
        }
        let node = Arc::new(Primary::new(&self.dialler, address, Part::Node, self.patience));
        known.primaries.insert(address.clone(), node.clone());
        known.let_go(address);
        node
    }

    /// Learns the other nodes. If it fails, there is only less choice when a node is lost.
    fn learn(&self, node: &Primary, limits: &Limits) {
        let head = pack::arguments(&[b"CLUSTER", b"SLOTS"]);
        let Ok(replies) = node.shared().ask(Job { head, most: LARGEST_MAP, ..Job::default() }, limits) else {
            return;
        };
        let mut known = lock(&self.known);
        for address in nodes_in(node.address(), &replies.head) {
            if !known.nodes.contains(&address) && known.nodes.len() < MOST_NODES {
                known.nodes.push_back(address);
            }
        }
    }
}

/// Returns the address in `SLOT HOST:PORT`; without a host, the host that answered is meant.
fn target(from: &Address, details: &str) -> Option<Address> {
    let (host, port) = details.split(' ').nth(1)?.rsplit_once(':')?;
    address(from, host, port.parse().ok()?)
}

fn address(from: &Address, host: &str, port: u16) -> Option<Address> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    match (host, port) {
        (_, 0) => None,
        ("" | "?", port) => Some(from.with_port(port)),
        (host, port) => Some(Address::Tcp { host: host.to_owned(), port }),
    }
}

/// Returns all nodes in the reply to CLUSTER SLOTS: ranges, each with its nodes, each with host and
/// port.
fn nodes_in(from: &Address, slots: &Value) -> Vec<Address> {
    let nodes = fields(slots).iter().flat_map(|range| fields(range).iter().skip(2));
    nodes.filter_map(|node| node_at(from, node)).collect()
}

/// Returns the first node of each range: its primary.
fn primaries_in(from: &Address, slots: &Value) -> HashSet<Address> {
    let first = fields(slots).iter().filter_map(|range| fields(range).get(2));
    first.filter_map(|node| node_at(from, node)).collect()
}

fn node_at(from: &Address, node: &Value) -> Option<Address> {
    match fields(node) {
        [Value::BulkString(host), Value::Int(port), ..] => {
            address(from, std::str::from_utf8(host).ok()?, u16::try_from(*port).ok()?)
        }
        [Value::Nil, Value::Int(port), ..] => address(from, "", u16::try_from(*port).ok()?),
        _ => None,
    }
}

fn fields(value: &Value) -> &[Value] {
    match value {
        Value::Array(fields) => fields,
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::super::url::Options;
    use super::*;

    /// A node may give another address with every reply, all of them its own.
    #[test]
    fn a_node_that_sends_on_and_on_gets_no_more_connections_than_nodes_with_namespaces_and_a_few() {
        let options = Options::parse("redis+cluster://127.0.0.1:1").unwrap();
        let seed = Address::Tcp { host: "127.0.0.1".into(), port: 1 };
        let dialler = Arc::new(Dialler::new(options));
        let cluster = Cluster::new(&dialler, std::slice::from_ref(&seed), Duration::from_secs(1));
        let sent_on = |tag: &str, code: &str, port: usize| {
            let reply = format!("-{code} 1 127.0.0.1:{port}\r\n");
            let Value::ServerError(error) = redis::parse_redis_value(reply.as_bytes()).unwrap() else {
                panic!("no error")
            };
            cluster.redirect(tag, &seed, &error).unwrap()
        };
        let other = sent_on("other", "MOVED", 7);
        for port in 10..1_000 {
            let node = sent_on("tag", if port % 2 == 0 { "MOVED" } else { "ASK" }, port);
            assert_eq!(node.address(), &seed.with_port(u16::try_from(port).unwrap()));
            let connected = lock(&cluster.known).primaries.len();
            assert!(connected <= MOST_CONNECTED, "{connected} after {port}");
        }
        assert!(
            Arc::ptr_eq(&other, &cluster.primary("other").unwrap()),
            "whoever has a namespace stays connected"
        );
    }
}
