//! Servers that are well, and servers that are not.

use std::time::Duration;

use flowlock_testkit::{Clock, PATIENCE, Persistence, RedisServer, until};

use super::{Report, cli_at};

#[test]
fn a_server_that_keeps_what_it_acknowledged_is_healthy() {
    let server = RedisServer::setup().persistence(Persistence::AofAlways).start();
    let cli = cli_at(server.url());
    cli.run(["outputs", "create", "a", "b"]).code(0);
    let report = Report::of(&cli);
    report.only_bad(&[]).code(0);
    let found: Vec<&str> = report.findings.keys().map(String::as_str).collect();
    assert_eq!(
        found,
        [
            "TLS",
            "clients",
            "eviction",
            "flowlock",
            "memory",
            "min-replicas",
            "namespace",
            "namespaces",
            "persistence",
            "primary",
            "records",
            "replicas",
            "rights",
            "round trip",
            "runs",
            "server",
            "server's clock",
            "store",
            "user",
            "wake-ups",
            "works"
        ]
    );
    report.good("primary", &format!("127.0.0.1:{}", server.port()));
    report.good("persistence", "append-only file, synced before each answer");
    report.good("eviction", "noeviction").good("TLS", "off, within this machine");
    report.good("user", "everybody on this machine may do everything");
    report.good("namespace", "0 runs alive, 0 of them waiting, ").good("namespace", ", 2 records, ");
    assert!(cli.run(["doctor"]).code(0).out().contains("ok  persistence     append-only file"));
}

#[test]
fn doctor_leaves_nothing_behind_and_counts_what_is_there() {
    let server = RedisServer::setup().persistence(Persistence::AofEverySecond).start();
    let cli = cli_at(server.url());
    let run = cli.run(["start", "build", "--duration", "1m", "-l", "x"]).out().trim_end().to_owned();
    let waiting = cli.start(["run", "-l", "x", "--", "true"]);
    until("a waiting run", PATIENCE, || {
        let status = cli.run(["status", "--json"]).json();
        (status["waiting"].as_array()?.len() == 1).then_some(())
    });
    let before = server.key_names("*");
    Report::of(&cli).only_bad(&[]).good("namespace", "2 runs alive, 1 of them waiting, ");
    assert_eq!(server.key_names("*"), before);
    cli.run(["commit", &run]).code(0);
    waiting.wait().code(0);
}

#[test]
fn a_server_that_may_forget_is_found_out() {
    let server = RedisServer::setup().max_memory("100mb", "allkeys-lru").start();
    let cli = cli_at(server.url());
    let report = Report::of(&cli);
    report.only_bad(&["eviction", "persistence"]).code(1);
    report.bad("eviction", "allkeys-lru: when memory is full any key can vanish");
    report.bad("eviction", "CONFIG SET maxmemory-policy noeviction");
    report.bad("persistence", "none: records do not survive a restart; CONFIG SET appendonly yes");
    report.good("memory", " of 100.0 MiB used");
    // What it says is to be done helps.
    server.command(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    server.command(&["CONFIG", "SET", "appendonly", "yes"]);
    until("a rewritten file", PATIENCE, || (server.info("aof_rewrite_in_progress") == "0").then_some(()));
    Report::of(&cli).only_bad(&[]).code(0);
    server.command(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]);
    server.command(&["CONFIG", "SET", "appendonly", "no"]);
    server.command(&["CONFIG", "SET", "save", "3600 1"]);
    let report = Report::of(&cli);
    report.good("eviction", "volatile-lru: keys that expire can vanish; flowlock's never expire");
    report.bad("persistence", "snapshots only (save 3600 1): a crash loses the records written since");
}

#[test]
fn a_server_without_room_is_found_out() {
    let server = RedisServer::setup().persistence(Persistence::AofAlways).line("maxclients 10").start();
    let cli = cli_at(server.url());
    cli.run(["doctor"]).code(0);
    let used: u64 = server.info("used_memory").parse().unwrap();
    server.command(&["CONFIG", "SET", "maxmemory", &(used + used / 20).to_string()]);
    let idle: Vec<_> = (0..7).map(|_| server.connect().unwrap()).collect();
    let report = Report::of(&cli);
    report.only_bad(&["clients", "memory"]).code(1);
    report.bad("memory", "when it is full nothing new is granted; raise maxmemory");
    report.bad(
        "clients",
        "10 of 10 connections used: a process of flowlock takes two or three; raise maxclients",
    );
    drop(idle);
}

#[test]
fn a_clock_that_is_far_off_is_told() {
    let clock = Clock::new();
    let server = RedisServer::setup().persistence(Persistence::AofAlways).clock(&clock).start();
    let cli = cli_at(server.url());
    Report::of(&cli).only_bad(&[]);
    clock.advance(Duration::from_mins(6));
    let report = Report::of(&cli);
    report
        .only_bad(&["clock step", "server's clock"])
        .code(1)
        .bad("server's clock", " ms ahead of this machine's; tokens and");
}

#[test]
fn replicas_are_told_with_how_far_behind_they_are() {
    let primary = RedisServer::setup().persistence(Persistence::AofAlways).start();
    let replica = RedisServer::setup().replica_of(&primary).start();
    until("a replica in step", PATIENCE, || (replica.info("master_link_status") == "up").then_some(()));
    until("an online replica", PATIENCE, || primary.info("slave0").contains("state=online").then_some(()));
    let report = Report::of(&cli_at(primary.url()));
    report.only_bad(&[]).good("replicas", &format!("1 replica: 127.0.0.1:{} online, ", replica.port()));
    report.good("min-replicas", "0: a primary that is cut off from its replicas continues");
    primary.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let one = primary.url_with("failover_pause=0s&durability=replicas(1,1000)");
    Report::of(&cli_at(&one)).only_bad(&[]).good("min-replicas", "1, heard within 10 s");
    let two = primary.url_with("failover_pause=0s&durability=replicas(2,100)");
    let report = Report::of(&cli_at(&two));
    report.only_bad(&["replicas", "works"]).code(1);
    report.bad("replicas", "the URL's durability needs 2 in sync: until then grants are given back");
    report.bad("works", "the grant was given back: 1 of 2 replicas had it within 100 ms");
    primary.command(&["CONFIG", "SET", "min-replicas-to-write", "2"]);
    let report = Report::of(&cli_at(primary.url()));
    report.code(69).bad("min-replicas", "2 wanted and fewer are in sync: every step is refused");
}

#[test]
fn a_clock_that_was_set_since_a_command_last_saw_it_is_told() {
    let clock = Clock::new();
    let server = RedisServer::setup().persistence(Persistence::AofAlways).clock(&clock).start();
    let cli = cli_at(server.url());
    cli.run(["run", "-l", "x", "--", "true"]).code(0);
    Report::of(&cli).only_bad(&[]).code(0);
    clock.advance(Duration::from_secs(200));
    Report::of(&cli).only_bad(&["clock step"]).code(1).bad("clock step", "was set ahead by 200 s");
    clock.shift_back(Duration::from_secs(400));
    Report::of(&cli).only_bad(&["clock step"]).code(1).bad("clock step", "was set back by 400 s");
}
