//! `doctor` on Redis and Valkey: what it finds on servers of every kind, and what it says of addresses that are wrong.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use flowlock_testkit::{
    Cli, Cluster, Finished, PATIENCE, Persistence, RedisServer, Sentinels, fresh_namespace, until,
};
use serde_json::Value;

use crate::{Told as _, cli_with_a_file};

/// The access rule that `docs/redis.md` shows, without the user's name.
fn documented_rule() -> String {
    let page = include_str!("../../../docs/redis.md");
    let start = "ACL SETUSER flowlock ";
    let mut rules = page.lines().filter_map(|line| line.strip_prefix(start));
    let rule = rules.next().expect("docs/redis.md has the access rule").replace("PASSWORD", "secret");
    assert_eq!(rules.next(), None, "one rule");
    rule
}

/// The program with this store, whatever it is.
fn cli_at(url: impl AsRef<str>) -> Cli {
    cli_with_a_file().with("FLOWLOCK_STORE", url.as_ref()).with("FLOWLOCK_STORE_TIMEOUT", "5s")
}

/// What was found, by what it is about; each thing once.
struct Report {
    ended: Finished,
    findings: BTreeMap<String, (bool, String)>,
}

impl Report {
    #[track_caller]
    fn of(cli: &Cli) -> Self {
        let ended = cli.run(["doctor", "--json"]);
        let report = ended.json();
        let all = report["findings"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let findings: BTreeMap<_, _> = all
            .iter()
            .map(|found| (text(&found["what"]), (found["ok"].as_bool().unwrap(), text(&found["found"]))))
            .collect();
        assert_eq!(findings.len(), all.len(), "each thing once: {all:#?}");
        assert_eq!(report["ok"], findings.values().all(|(ok, _)| *ok));
        Report { ended, findings }
    }

    #[track_caller]
    fn found(&self, what: &str) -> &(bool, String) {
        self.findings.get(what).unwrap_or_else(|| panic!("nothing about {what:?}: {:#?}", self.findings))
    }

    #[track_caller]
    fn good(&self, what: &str, says: &str) -> &Self {
        let (ok, found) = self.found(what);
        assert!(*ok && found.contains(says), "no good {says:?} of {what:?}: {:#?}", self.findings);
        self
    }

    #[track_caller]
    fn bad(&self, what: &str, says: &str) -> &Self {
        let (ok, found) = self.found(what);
        assert!(!*ok && found.contains(says), "no bad {says:?} of {what:?}: {:#?}", self.findings);
        self
    }

    /// Asserts that all is well but these things.
    #[track_caller]
    fn only_bad(&self, expected: &[&str]) -> &Self {
        let bad: Vec<_> = self.findings.iter().filter(|(_, (ok, _))| !ok).map(|(what, _)| what).collect();
        assert_eq!(bad, expected, "{:#?}", self.findings);
        self
    }

    #[track_caller]
    fn code(&self, code: i32) -> &Self {
        self.ended.code(code);
        self
    }
}

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
            "persistence",
            "primary",
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
    report.bad("persistence", "snapshots only (save 3600 1): a crash takes the records written since");
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
    let clock = Clock::default();
    let server = RedisServer::setup().persistence(Persistence::AofAlways).clock(&clock).start();
    let cli = cli_at(server.url());
    Report::of(&cli).only_bad(&[]);
    clock.set_ahead(Duration::from_mins(6));
    let report = Report::of(&cli);
    report.only_bad(&["server's clock"]).code(1).bad("server's clock", " ms ahead of this machine's; tokens and");
}

#[test]
fn replicas_are_told_with_how_far_behind_they_are() {
    let primary = RedisServer::setup().persistence(Persistence::AofAlways).start();
    let replica = RedisServer::setup().replica_of(&primary).start();
    until("a replica in step", PATIENCE, || (replica.info("master_link_status") == "up").then_some(()));
    until("an online replica", PATIENCE, || primary.info("slave0").contains("state=online").then_some(()));
    let report = Report::of(&cli_at(primary.url()));
    report.only_bad(&[]).good("replicas", &format!("1 replica: 127.0.0.1:{} online, ", replica.port()));
    report.good("min-replicas", "0: a primary that is cut off from its replicas goes on");
    primary.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let one = primary.url_with("failover_pause=0s&durability=replicas(1,1000)");
    Report::of(&cli_at(&one)).only_bad(&[]).good("min-replicas", "1, heard of within 10 s");
    let two = primary.url_with("failover_pause=0s&durability=replicas(2,100)");
    let report = Report::of(&cli_at(&two));
    report.only_bad(&["replicas", "works"]).code(1);
    report
        .bad("replicas", "the URL's durability wants 2 in step: grants are given back until they are there");
    report.bad("works", "the grant was given back: 1 of 2 replicas had it within 100 ms");
    primary.command(&["CONFIG", "SET", "min-replicas-to-write", "2"]);
    let report = Report::of(&cli_at(primary.url()));
    report.code(69).bad("min-replicas", "2 wanted and fewer are in step: every step is refused");
}

#[test]
fn the_documented_access_rule_is_enough_and_no_word_of_it_is_idle() {
    // What only doctor asks, what only other arrangements need, and a name that nobody needs.
    const NOT_FOR_STEPS: [&str; 10] = [
        "+config|get",
        "+hlen",
        "+zlexcount",
        "+memory|usage",
        "+cluster|info",
        "+cluster|slots",
        "+asking",
        "+select",
        "+wait",
        "+client|setname",
    ];
    let rule = documented_rule();
    let server = RedisServer::setup().persistence(Persistence::AofAlways).start();
    let set_without = |words: &[&str]| {
        let kept = rule.split_whitespace().filter(|word| !words.contains(word));
        server.command(&["ACL", "SETUSER", "flowlock"].into_iter().chain(kept).collect::<Vec<_>>());
    };
    let cli = cli_at(server.url_as("flowlock", "secret"));
    set_without(&[]);
    let report = Report::of(&cli);
    report.only_bad(&[]).code(0).good("user", "flowlock").good("persistence", "synced before each answer");
    report.good("namespace", "about ");
    let commands: Vec<&str> = rule.split_whitespace().filter(|word| word.starts_with('+')).collect();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands.iter().filter(|command| !NOT_FOR_STEPS.contains(command)) {
        set_without(&[command]);
        let ended = cli.run(["doctor"]);
        let named = ended.out().to_lowercase().contains(&format!(" {}", &command[1..]));
        assert!(matches!(ended.status().code(), Some(1 | 78)) && named, "without {command}: {ended:#?}");
    }
    set_without(&["+config|get", "+memory|usage", "+hlen"]);
    let report = Report::of(&cli);
    report
        .only_bad(&[])
        .code(0)
        .good("persistence", "how often it is synced cannot be read (CONFIG GET is refused)");
    report.good("min-replicas", "cannot be read").good("namespace", "cannot be counted");
    set_without(&["&fl:*"]);
    Report::of(&cli).code(78).bad("wake-ups", "allow them with ACL SETUSER <user> &fl:*");
    set_without(&["~fl:*"]);
    Report::of(&cli).code(78);
}

#[test]
fn a_cluster_is_told_with_the_node_that_has_the_namespace() {
    let user = format!("user flowlock {}", documented_rule());
    let cluster = Cluster::start_with(&["appendonly yes", "appendfsync always", &user]);
    let cli = cli_at(cluster.url().replace("://", "://flowlock:secret@"));
    // Every namespace is somewhere: also where the node asked first has it.
    for _ in 0..4 {
        let namespace = fresh_namespace();
        let cli = cli.clone().with("FLOWLOCK_NAMESPACE", &namespace);
        let owner = cluster.owner_of(&format!("fl:{{{namespace}}}:m"));
        let report = Report::of(&cli);
        report.only_bad(&[]).code(0).good("cluster", "state ok, 3 primaries");
        report.good("primary", &format!("127.0.0.1:{} has the namespace", owner.port()));
        report.good("server", ", cluster, ").good("replicas", "1 replica: ");
    }
    // A namespace on its way to another node: the user may follow it.
    let namespace = fresh_namespace();
    let key = format!("fl:{{{namespace}}}:m");
    let from = cluster.owner_of(&key);
    let to = cluster.nodes()[..3].iter().find(|node| node.port() != from.port()).unwrap();
    let slot = cluster.slot(&key);
    cluster.begin_migration(slot, to);
    let job = cli.with("FLOWLOCK_NAMESPACE", &namespace).start(["run", "-o", "a", "--", "true"]);
    until("one who follows", PATIENCE, || (to.command_count("asking").calls > 0).then_some(()));
    cluster.finish_migration(slot, to);
    job.wait().code(0);
}

#[test]
fn sentinels_that_do_not_answer_are_named() {
    let watched = Sentinels::setup().node_line("appendonly yes").start();
    let cli = cli_at(watched.url());
    let report = Report::of(&cli);
    report.only_bad(&[]).code(0).good("sentinels", "3 of 3 answer, 3 know each other, quorum 2");
    report
        .good("primary", &format!("127.0.0.1:{}", watched.primary().port()))
        .good("replicas", "2 replicas: ");
    let silent = &watched.sentinels()[..2];
    silent[0].kill();
    let report = Report::of(&cli);
    report.only_bad(&["sentinels"]).code(1).bad("sentinels", &format!("127.0.0.1:{}", silent[0].port()));
    silent[1].kill();
    let report = Report::of(&cli);
    report.bad("sentinels", "1 of 3 answer, 3 know each other, quorum 2; 2 are needed for a failover: ");
}

#[test]
fn tls_is_told_and_hints_lead_from_one_port_to_the_other() {
    let server = RedisServer::setup().persistence(Persistence::AofAlways).tls().start();
    let report = Report::of(&cli_at(server.tls_url()));
    report.only_bad(&[]).code(0).good("TLS", "on, trusting the authority in ca=, with a client certificate");
    let ca = server.certificates().ca.display().to_string();
    let port = server.port();
    opens(&format!("rediss://127.0.0.1:{port}/?ca={ca}"), 78, "it does not speak TLS there; use redis://");
    let port = server.tls_port();
    opens(&format!("redis://127.0.0.1:{port}"), 78, "this is a port for TLS; use rediss://");
    opens(
        &format!("rediss://127.0.0.1:{port}/?ca={ca}"),
        78,
        "it wants a client certificate; add cert=PATH and key=PATH",
    );
    opens(&format!("rediss://127.0.0.1:{port}"), 78, "name the authority with ca=PATH");
}

/// Asserts what `doctor` and `run` say of a store that does not open.
#[track_caller]
fn opens(url: &str, code: i32, says: &str) {
    let cli = cli_at(url);
    Report::of(&cli).code(code).bad("opens", says);
    cli.run(["run", "-l", "x", "--", "echo", "ran"]).code(code).stdout("").stderr_has(says);
}

#[test]
fn what_is_no_such_server_is_said_with_what_to_use() {
    let gone = RedisServer::start();
    let port = gone.port();
    drop(gone);
    opens(
        &format!("redis://127.0.0.1:{port}"),
        69,
        &format!(
            "cannot connect to 127.0.0.1:{port}: Connection refused (os error 111); check that the server runs"
        ),
    );
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", web.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1_000]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    opens(&url, 78, "this looks like an HTTP server; give the address of a Redis or Valkey server");
    let locked = RedisServer::setup().password("right").start();
    let at = format!("127.0.0.1:{}", locked.port());
    opens(
        &format!("redis://{at}"),
        78,
        "wants a password; write redis://USER:PASSWORD@… or add password_file=PATH",
    );
    opens(&format!("redis://:wrong@{at}"), 78, "refuses the user or the password; check both");
    let replica = RedisServer::setup().replica_of(&locked).start();
    // The replica itself has no password.
    let primary = format!("is a replica; its primary is {at}: give that address, or use redis+sentinel://");
    opens(&format!("redis://127.0.0.1:{}", replica.port()), 78, &primary);
    opens(
        &format!("redis+cluster://127.0.0.1:{}", replica.port()),
        78,
        "is not a node of a cluster; use redis://",
    );
}

#[test]
fn a_sentinel_and_a_node_of_a_cluster_are_not_taken_for_plain_servers() {
    let watched = Sentinels::start();
    let sentinel = watched.sentinels()[0].port();
    opens(
        &format!("redis://127.0.0.1:{sentinel}"),
        78,
        "is a Sentinel; use redis+sentinel://HOST,HOST/MASTER",
    );
    opens(
        &format!("redis+sentinel://127.0.0.1:{sentinel}/another"),
        78,
        "watches no such primary; see SENTINEL MASTERS for the names it knows",
    );
    let plain = watched.primary().port();
    opens(
        &format!("redis+sentinel://127.0.0.1:{plain}/mymaster"),
        78,
        "is not a Sentinel; use redis://, or give the addresses of the sentinels",
    );
    let cluster = Cluster::start();
    let node = cluster.nodes()[0].port();
    opens(&format!("redis://127.0.0.1:{node}"), 78, "is a node of a cluster; use redis+cluster://HOST,HOST");
}

#[test]
fn a_password_among_the_arguments_is_warned_of_by_every_command() {
    const WARNING: &str = "flowlock: the password in --store can be read by everybody who lists the processes of this machine; put it into a file and write ?password_file=PATH, or set FLOWLOCK_STORE\n";
    let server = RedisServer::setup().password("secret").start();
    let cli = cli_with_a_file().on(server);
    let url = cli.server().url();
    // The environment is the user's own.
    cli.run(["status"]).code(0).stderr("");
    for line in
        [&["run", "-l", "x", "--", "true"][..], &["status"], &["outputs", "create", "a"], &["check", "a"]]
    {
        let line: Vec<&str> = ["--store", &url].into_iter().chain(line.iter().copied()).collect();
        cli.run(&line).code(0).stderr(WARNING);
        let quiet: Vec<&str> = ["--quiet"].into_iter().chain(line).collect();
        cli.run(&quiet).code(0).stderr("");
    }
    let file = cli.home().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let port = cli.server().port();
    let hidden = format!("redis://127.0.0.1:{port}/?failover_pause=0s&password_file={}", file.display());
    cli.run(["status", "--store", &hidden]).code(0).stderr("");
    for text in [cli.run(["doctor", "--store", &url]), cli.run(["config", "show", "--store", &url])] {
        assert!(!text.out().contains("secret") && text.out().contains(":***@"), "{text:?}");
    }
    let refused = format!("redis://:wrong-secret@127.0.0.1:{port}");
    let told = cli.run(["doctor", "--store", &refused]);
    told.code(78).stdout_has("refuses the user or the password");
    assert!(!told.out().contains("wrong-secret") && !told.err().contains("wrong-secret"), "{told:?}");
}
