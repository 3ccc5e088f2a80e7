use std::time::{Duration, Instant};

use super::server::*;
use crate::store::StoreErrorKind;
use crate::store::redis::script::{Call, Script};

#[test]
fn a_script_runs_whether_the_server_knows_it_or_not() {
    let server = Server::start(&[]);
    for url in [server.url(), server.socket_url(), format!("redis://localhost:{}", server.port)] {
        server.cli(&["FLUSHALL"]);
        server.cli(&["SCRIPT", "FLUSH"]);
        let (client, script) = (linked(&url), counter());
        let before = crate::world::boot_now_ms();
        let first = count(&client, &script, "a", "x", &soon()).unwrap();
        assert_eq!((first.reply, first.replicas), (counted(1, "x"), None));
        assert!((before..before + 2_000).contains(&first.sent_ms));
        assert_eq!(count(&client, &script, "a", "y", &soon()).unwrap().reply, counted(2, "y"));
        server.cli(&["SCRIPT", "FLUSH"]);
        assert_eq!(count(&client, &script, "a", "z", &soon()).unwrap().reply, counted(3, "z"), "{url}");
    }
}

#[test]
fn scripts_that_vanish_all_the_time_run_exactly_once_each() {
    let server = Server::start(&[]);
    let (client, script) = (linked(&server.url()), counter());
    let flusher = linked(&server.url());
    let mut flush = redis::cmd("SCRIPT");
    flush.arg("FLUSH");
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| {
            for _ in 0..500 {
                flusher.command("", &flush, &soon()).unwrap();
            }
        });
        let mut number = 0;
        while !flushing.is_finished() || number < 500 {
            number += 1;
            assert_eq!(count(&client, &script, "a", "x", &soon()).unwrap().reply, counted(number, "x"));
        }
    });
}

#[test]
fn the_database_and_the_name_of_the_connection_are_set() {
    let server = Server::start(&[]);
    let client = linked(&format!("{}/3", server.url()));
    count(&client, &counter(), "a", "x", &soon()).unwrap();
    assert_eq!(server.cli(&["-n", "3", "GET", "{a}:n"]), "1");
    assert!(server.cli(&["CLIENT", "LIST"]).contains("name=flowlock"));
    assert_error(
        open(&format!("{}/16", server.url())),
        StoreErrorKind::Unusable,
        "does not have that database",
    );
}

#[test]
fn replicas_are_waited_for_on_another_connection() {
    let server = Server::start(&[]);
    let replica = Server::start(&[
        "--replicaof",
        "127.0.0.1",
        &server.port.to_string(),
        "--repl-diskless-sync-delay",
        "0",
    ]);
    eventually("the replica follows", || server.cli(&["INFO", "replication"]).contains("state=online"));
    let (client, script) = (linked(&server.url()), counter());
    let keys = [b"n".to_vec()];
    let ask = |count, within_ms| {
        let replicas = Some((count, Duration::from_millis(within_ms)));
        client
            .eval(
                &Call {
                    tag: "t",
                    script: &script,
                    keys: &keys,
                    args: &[b"w".to_vec()],
                    most: SHORT,
                    replicas,
                },
                &soon(),
            )
            .unwrap()
    };
    let done = ask(1, 20_000);
    assert_eq!((done.reply, done.replicas), (counted(1, "w"), Some(1)));
    replica.freeze();
    let begun = Instant::now();
    let done = ask(1, 200);
    assert_eq!((done.reply, done.replicas), (counted(2, "w"), Some(0)));
    assert!(begun.elapsed() >= Duration::from_millis(190));
    // The shared connection is free meanwhile.
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| ask(1, 1_000));
        let begun = Instant::now();
        client.command("t", &redis::cmd("PING"), &soon()).unwrap();
        assert!(begun.elapsed() < Duration::from_millis(500) && !waiting.is_finished());
    });
    replica.thaw();
}

#[test]
fn a_child_does_not_use_its_parents_sockets() {
    // Acts as if another process had opened it: a test may not fork.
    let server = Server::start(&[]);
    let client = open(&server.url()).unwrap().opened_by(1);
    assert_error(
        count(&client, &counter(), "a", "x", &soon()),
        StoreErrorKind::Unusable,
        "opened by process 1, before a fork",
    );
}

#[test]
fn a_connection_made_anew_is_to_the_same_database() {
    let (server, asks) = (Server::start(&[]), Script::new("return 1".into()));
    for (parameters, waiting) in
        [("", None), ("?durability=replicas(1,5)", Some((0, Duration::from_millis(5))))]
    {
        let (client, script) = (linked(&format!("{}/3{parameters}", server.url())), counter());
        let (keys, args) = ([b"{t}:n".to_vec()], [b"x".to_vec()]);
        let call =
            Call { tag: "t", script: &script, keys: &keys, args: &args, most: SHORT, replicas: waiting };
        for number in 1..=3 {
            assert_eq!(client.eval(&call, &soon()).unwrap().reply, counted(number, "x"));
            server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
            // The loss may be noticed by the step that meets it.
            eventually("a new connection", || client.eval(&Call { script: &asks, ..call }, &soon()).is_ok());
        }
        assert_eq!(server.cli(&["-n", "3", "GET", "{t}:n"]), "3");
        assert_eq!(server.cli(&["-n", "0", "DBSIZE"]), "0", "nothing went to another database");
        server.cli(&["-n", "3", "DEL", "{t}:n"]);
    }
}
