use std::time::Duration;

use super::server::*;
use crate::store::redis::client::Client;
use crate::store::redis::script::Call;
use crate::store::{Inbox as _, StoreErrorKind};

/// Three primaries; with replicas, one of each.
struct Cluster {
    nodes: Vec<Server>,
}

impl Cluster {
    fn start(replicas: usize) -> Self {
        let nodes: Vec<_> = (0..3 * (1 + replicas)).map(|_| Self::node(free_port(), free_port())).collect();
        let ports = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let create = ["--cluster", "create"].map(str::to_owned).into_iter().chain(ports);
        let end = ["--cluster-replicas".to_owned(), replicas.to_string(), "--cluster-yes".to_owned()];
        let arguments: Vec<_> = create.chain(end).collect();
        nodes[0].cli(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        let cluster = Self { nodes };
        eventually("all nodes agree", || {
            cluster.nodes.iter().all(|node| {
                let nodes = node.cli(&["CLUSTER", "NODES"]);
                node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")
                    && nodes.matches(" slave ").count() + nodes.matches(",slave ").count() == 3 * replicas
                    && nodes.lines().count() == cluster.nodes.len()
            })
        });
        cluster
    }

    fn node(port: u16, bus: u16) -> Server {
        let bus = bus.to_string();
        Server::start_on(
            port,
            &["--cluster-enabled", "yes", "--cluster-port", &bus, "--cluster-node-timeout", "1000"],
        )
    }

    fn url(&self) -> String {
        let seeds: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", seeds.join(","))
    }

    /// The node that has a tag now.
    fn owner(&self, tag: &str) -> usize {
        let key = format!("{{{tag}}}");
        let has =
            |node: &Server| node.cli(&["ROLE"]).starts_with("master") && node.cli(&["TTL", &key]) == "-2";
        self.nodes.iter().position(has).expect("some node has every slot")
    }

    fn slot(&self, tag: &str) -> String {
        self.nodes[0].cli(&["CLUSTER", "KEYSLOT", &format!("{{{tag}}}")])
    }
}

fn count_until_it_works(client: &Client, tag: &str) -> redis::Value {
    let script = counter();
    let mut reply = None;
    eventually("the namespace is served again", || match count(client, &script, tag, "x", &soon()) {
        Ok(done) => {
            reply = Some(done.reply);
            true
        }
        Err(error) => {
            assert!(error.is_transient(), "{error}");
            false
        }
    });
    reply.unwrap()
}

#[test]
fn each_namespace_is_found_on_its_node_whichever_was_asked_first() {
    let cluster = Cluster::start(0);
    let first = format!("redis+cluster://127.0.0.1:{}", cluster.nodes[0].port);
    let client = linked(&first);
    let script = counter();
    let mut owners = std::collections::BTreeSet::new();
    for number in 0..20 {
        let tag = format!("tag{number}");
        assert_eq!(count(&client, &script, &tag, "x", &soon()).unwrap().reply, counted(1, "x"));
        assert_eq!(count(&client, &script, &tag, "x", &soon()).unwrap().reply, counted(2, "x"));
        owners.insert(cluster.owner(&tag));
    }
    assert_eq!(owners.len(), 3);
    assert_error(open(&cluster.nodes[0].url()), StoreErrorKind::Unusable, "use redis+cluster://HOST,HOST");
    let plain = Server::start(&[]);
    let url = format!("redis+cluster://127.0.0.1:{}", plain.port);
    assert_error(open(&url), StoreErrorKind::Unusable, "is not a node of a cluster; use redis://");
}

#[test]
fn a_slot_that_moves_is_followed_at_every_stage_and_the_inbox_too() {
    let cluster = Cluster::start(0);
    let client = linked(&cluster.url());
    let script = counter();
    count(&client, &script, "t", "x", &soon()).unwrap();
    let channel = "fl:{t}:i:0";
    let mut inbox = listen(&client, [channel.into(), "fl:{t}:i:all".into()]).unwrap();
    let from = cluster.owner("t");
    let to = (from + 1) % 3;
    let (old, new, slot) = (&cluster.nodes[from], &cluster.nodes[to], cluster.slot("t"));
    let (old_id, new_id) = (old.cli(&["CLUSTER", "MYID"]), new.cli(&["CLUSTER", "MYID"]));
    assert_eq!(new.cli(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &old_id]), "OK");
    assert_eq!(old.cli(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &new_id]), "OK");
    // The key still exists.
    assert_eq!(count(&client, &script, "t", "x", &soon()).unwrap().reply, counted(2, "x"));
    // One key exists, the other does not: neither node can run that now.
    let two = [b"{t}:n".to_vec(), b"{t}:other".to_vec()];
    let both =
        Call { tag: "t", script: &script, keys: &two, args: &[b"x".to_vec()], most: SHORT, replicas: None };
    assert_error(client.eval(&both, &soon()), StoreErrorKind::Unreachable, "handing the namespace's slot");
    // The key is on the other node: ASK, and the script is unknown there.
    let port = new.port.to_string();
    assert_eq!(old.cli(&["MIGRATE", "127.0.0.1", &port, "{t}:n", "0", "5000"]), "OK");
    let sent_back =
        || new.cli(&["INFO", "errorstats"]).lines().find(|line| line.contains("MOVED")).map(str::to_owned);
    let before = sent_back();
    assert_eq!(count(&client, &script, "t", "x", &soon()).unwrap().reply, counted(3, "x"));
    assert_eq!(count(&client, &script, "t", "x", &soon()).unwrap().reply, counted(4, "x"));
    assert_eq!(sent_back(), before, "ASK is for one command: the next one asks the old node again");
    for node in &cluster.nodes {
        node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &new_id]);
    }
    assert_eq!(count(&client, &script, "t", "x", &soon()).unwrap().reply, counted(5, "x"));
    eventually("the inbox has followed", || new.cli(&["SPUBLISH", channel, "job.1"]) == "1");
    assert_eq!(next_runs(&mut inbox)[0].as_str(), "job.1");
}

#[test]
fn a_failover_and_a_dead_primary_are_survived() {
    let mut cluster = Cluster::start(1);
    let client = linked(&cluster.url());
    count(&client, &counter(), "t", "x", &soon()).unwrap();
    let channel = "fl:{t}:i:0";
    let mut inbox = listen(&client, [channel.into(), "fl:{t}:i:all".into()]).unwrap();
    let before = cluster.owner("t");
    let id = cluster.nodes[before].cli(&["CLUSTER", "MYID"]);
    let replica = cluster.nodes.iter().find(|node| {
        node.cli(&["CLUSTER", "NODES"])
            .lines()
            .any(|line| line.contains("myself,slave") && line.contains(&id))
    });
    assert_eq!(replica.unwrap().cli(&["CLUSTER", "FAILOVER"]), "OK");
    eventually("the replica is the primary", || cluster.owner("t") != before);
    assert_eq!(count_until_it_works(&client, "t"), counted(2, "x"));

    let now = cluster.owner("t");
    eventually("the old primary follows", || {
        cluster.nodes[now].cli(&["INFO", "replication"]).contains("state=online")
    });
    cluster.nodes[now].kill();
    count_until_it_works(&client, "t");
    let last = cluster.owner("t");
    eventually("the inbox has followed", || cluster.nodes[last].cli(&["SPUBLISH", channel, "job.1"]) == "1");
    assert_eq!(next_runs(&mut inbox)[0].as_str(), "job.1");
    assert_eq!(inbox.wait(Duration::ZERO).runs, []);
}

#[test]
fn nodes_that_nobody_named_are_known_when_the_named_one_dies() {
    let mut cluster = Cluster::start(0);
    for node in &cluster.nodes {
        assert_eq!(node.cli(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]), "OK");
    }
    let client = linked(&format!("redis+cluster://127.0.0.1:{}", cluster.nodes[0].port));
    let elsewhere =
        (0..100).map(|number| format!("tag{number}")).find(|tag| cluster.owner(tag) != 0).unwrap();
    // Before any step was redirected: what is known was learnt when the connection was opened.
    cluster.nodes[0].kill();
    assert_eq!(count_until_it_works(&client, &elsewhere), counted(1, "x"));
}

#[test]
fn a_dead_seed_is_passed_over_and_no_living_one_is_an_error() {
    let mut cluster = Cluster::start(0);
    cluster.nodes[0].kill();
    linked(&cluster.url());
    cluster.nodes[1].kill();
    cluster.nodes[2].kill();
    assert_error(open(&cluster.url()), StoreErrorKind::Unreachable, "Connection refused");
}
