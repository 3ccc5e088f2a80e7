//! Servers that are not what the URL says, and users who may not do what is needed.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::Instant;

use super::server::*;
use crate::store::StoreErrorKind::{Damaged, Full, Unreachable, Unusable};
use crate::store::redis::script::{Call, Script};

#[test]
fn what_is_not_there_is_unreachable() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    assert_error(open(&url), Unreachable, "Connection refused");
    assert_error(
        open("redis+unix:///no/such/socket"),
        Unreachable,
        "cannot connect to /no/such/socket: No such file",
    );
    assert_error(
        open("redis://no-such-host.invalid"),
        Unreachable,
        "cannot connect to no-such-host.invalid:6379",
    );
}

#[test]
fn a_server_of_another_kind_is_named() {
    let says = |answer: &[u8], kind, problem: &str| {
        let answer = answer.to_vec();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let _ = stream.read(&mut [0; 1_000]);
            let _ = stream.write_all(&answer);
        });
        assert_error(open(&url), kind, problem);
        server.join().unwrap();
    };
    says(b"HTTP/1.1 400 Bad Request\r\n\r\n", Unusable, "this looks like an HTTP server");
    says(b"\x15\x03\x01\x00\x02\x02\x46", Unusable, "this looks like a TLS port; use rediss://");
    says(b"220 mail ESMTP\r\n", Unusable, "does not speak Redis's protocol");
    says(b"", Unreachable, "closed the connection before it was set up; if it speaks TLS, use rediss://");
    says(b"-ERR max number of clients reached\r\n", Unreachable, "as many clients as maxclients allows");
    says(
        b"-DENIED Redis is running in protected mode\r\n",
        Unusable,
        "connections from its own machine only",
    );
    let needs = "flowlock needs Redis 7.0 or Valkey 7.2";
    says(&greeting("redis_version:6.2.1"), Unusable, &format!("is Redis 6.2.1; {needs}"));
    let info = "redis_version:7.0.0\r\nvalkey_version:7.1.9";
    says(&greeting(info), Unusable, &format!("is Valkey 7.1.9; {needs}"));
    says(&greeting("redis_version:7.0.0\r\nredis_mode:cluster"), Unusable, "use redis+cluster://HOST,HOST");
    says(
        &greeting("redis_version:7.0.0\r\nredis_mode:sentinel"),
        Unusable,
        "use redis+sentinel://HOST,HOST/MASTER",
    );
}

#[test]
fn a_full_house_passes() {
    let server = Server::start(&["--maxclients", "1"]);
    let _first = linked(&server.url());
    let error = open(&server.url()).unwrap_err();
    assert_eq!(error.kind(), Unreachable, "{error}");
}

#[test]
fn a_replica_names_its_primary() {
    let primary = Server::start(&[]);
    let replica = Server::start(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    let named = format!("is a replica; its primary is 127.0.0.1:{}: give that address", primary.port);
    assert_error(open(&replica.url()), Unusable, &named);

    // A former primary that is a replica now may be the primary again soon.
    let (client, script) = (linked(&primary.url()), counter());
    count(&client, &script, "a", "x", &soon()).unwrap();
    primary.cli(&["REPLICAOF", "127.0.0.1", &replica.port.to_string()]);
    assert_error(
        count(&client, &script, "a", "x", &soon()),
        Unreachable,
        "is a replica now and takes no writes",
    );
    primary.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("the loss was noticed", || {
        let error = count(&client, &script, "a", "x", &soon()).unwrap_err();
        assert!(error.is_transient(), "{error}");
        error.to_string().contains("make it the primary again")
    });
    primary.cli(&["REPLICAOF", "NO", "ONE"]);
    count(&client, &script, "a", "x", &soon()).unwrap();
}

#[test]
fn passwords_and_users_that_are_wrong_are_told_apart() {
    let server = Server::start(&["--requirepass", "right"]);
    let at = format!("127.0.0.1:{}", server.port);
    assert_error(open(&format!("redis://{at}")), Unusable, "wants a password; write redis://USER:PASSWORD@");
    let wrong = open(&format!("redis://:hunter2@{at}")).unwrap_err();
    assert!(
        wrong.kind() == Unusable && wrong.to_string().contains("refuses the user or the password"),
        "{wrong}"
    );
    assert!(!wrong.to_string().contains("hunter2"));
    assert_error(open(&format!("redis://nobody:right@{at}")), Unusable, "refuses the user or the password");
    linked(&format!("redis://:right@{at}"));
    linked(&format!("redis://default:right@{at}"));
    let open_house = Server::start(&[]);
    let at = format!("127.0.0.1:{}", open_house.port);
    assert_error(open(&format!("redis://:x@{at}")), Unusable, "has no password set for its default user");
}

#[test]
fn a_user_with_few_rights_works_and_a_missing_right_is_named() {
    let server = Server::start(&[]);
    let rights = ["on", "resetpass", ">pw", "resetkeys", "~{t}*", "resetchannels", "-@all"];
    let needed = ["+evalsha", "+eval", "+role", "+info", "+incr"];
    let set = |more: &[&str]| server.cli(&[&["ACL", "SETUSER", "flow"], &rights[..], more].concat());
    assert_eq!(set(&needed), "OK");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("pw");
    std::fs::write(&file, "pw\n").unwrap();
    let url = format!("redis://flow@127.0.0.1:{}?password_file={}", server.port, file.display());
    let (client, script) = (linked(&url), counter());
    assert_eq!(count(&client, &script, "t", "x", &soon()).unwrap().reply, counted(1, "x"));
    assert_error(count(&client, &script, "u", "x", &soon()), Unusable, "may not use flowlock's keys");
    for (right, named) in [("-evalsha", "may not run evalsha"), ("-incr", "flowlock needs")] {
        set(&needed);
        server.cli(&["ACL", "SETUSER", "flow", right]);
        assert_error(count(&client, &script, "t", "x", &soon()), Unusable, named);
    }
    // The password is changed while the client is in use.
    set(&needed);
    server.cli(&["ACL", "SETUSER", "flow", "resetpass", ">other"]);
    server.cli(&["CLIENT", "KILL", "USER", "flow"]);
    std::fs::write(&file, "other\n").unwrap();
    let _lost = count(&client, &script, "t", "x", &soon());
    count(&client, &script, "t", "x", &soon()).unwrap();
    std::fs::write(&file, "pw").unwrap();
    set(&needed);
    assert_error(open(&format!("{url}&durability=replicas(1,5)")), Unusable, "may not run wait");
    for right in ["-role", "-info"] {
        set(&needed);
        server.cli(&["ACL", "SETUSER", "flow", right]);
        assert_error(open(&url), Unusable, &format!("may not run {}", &right[1..]));
    }
}

#[test]
fn a_server_without_room_is_full_and_one_with_foreign_keys_is_damaged() {
    let server = Server::start(&[]);
    let (client, script) = (linked(&server.url()), counter());
    server.cli(&["LPUSH", "{a}:n", "x"]);
    assert_error(count(&client, &script, "a", "x", &soon()), Damaged, "WRONGTYPE");
    let broken = Script::new("local t = nil; return t.x".into());
    let call = Call { tag: "a", script: &broken, keys: &[], args: &[], most: SHORT, replicas: None };
    assert_error(client.eval(&call, &soon()), Damaged, "attempt to index local 't'");
    server.cli(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_error(count(&client, &script, "b", "x", &soon()), Full, "raise maxmemory");
    server.cli(&["CONFIG", "SET", "maxmemory", "0"]);
    server.cli(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_error(
        count(&client, &script, "b", "x", &soon()),
        Unreachable,
        "fewer replicas than min-replicas-to-write",
    );
}

/// A server or a proxy that is restarted closes connections that it has just accepted: that says nothing
/// about TLS.
#[test]
fn a_server_that_has_answered_before_is_not_asked_whether_it_speaks_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let heard = std::thread::spawn(move || {
        // The first connection is greeted and then closed, the second one as soon as it has sent
        // something.
        let mut heard = Vec::new();
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let mut arguments = vec![0; 1_000];
            let count = stream.read(&mut arguments).unwrap();
            heard.push(arguments[..count].to_vec());
            if heard.len() == 1 {
                stream.write_all(&greeting("redis_version:7.0.0")).unwrap();
                let _ = stream.read(&mut arguments);
            }
        }
        (listener, heard)
    });
    let client = linked(&url);
    for _ in 0..2 {
        assert!(count(&client, &counter(), "t", "x", &soon()).is_err());
    }
    let (listener, heard) = heard.join().unwrap();
    assert!(heard.iter().all(|arguments| arguments.starts_with(b"*3\r\n$6\r\nCLIENT")));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came to ask");
}

#[test]
fn the_question_for_tls_leaves_time_for_another_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1_000]);
        drop(stream);
        // A server without TLS waits for the rest of what looks like a command.
        let _silent = listener.accept();
        std::thread::park();
    });
    let begun = Instant::now();
    assert_error(open(&url), Unreachable, "closed the connection before it was set up");
    assert!(begun.elapsed() < PATIENCE / 2, "{:?}", begun.elapsed());
}
