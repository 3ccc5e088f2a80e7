use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::server::*;
use crate::store::redis::connection::Connection;
use crate::store::redis::failure::Trouble;
use crate::store::redis::url::Address;
use crate::store::{Limits, StoreErrorKind};

#[test]
fn a_server_that_stops_answering_leaves_the_step_unknown_in_time() {
    let server = Server::start(&[]);
    let (client, script) = (linked(&server.url()), counter());
    count(&client, &script, "a", "x", &soon()).unwrap();
    server.freeze();
    let begun = Instant::now();
    let asked = count(&client, &script, "a", "x", &Limits::within(Duration::from_millis(300)));
    assert!((290..1_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_error(asked, StoreErrorKind::Unknown, "did not answer in time");
    // Now there is no connection, and none can be made: nothing is sent, which is a different case.
    let begun = Instant::now();
    let asked = count(&client, &script, "a", "x", &Limits::within(Duration::from_millis(300)));
    assert!((290..1_000).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    assert_error(asked, StoreErrorKind::Unreachable, "did not answer in time");
    server.thaw();
    // The unanswered step took effect.
    assert_eq!(count(&client, &script, "a", "x", &soon()).unwrap().reply, counted(3, "x"));
}

#[test]
fn a_server_that_was_killed_and_is_back_is_used_again() {
    let mut server = Server::start(&[]);
    let (client, script) = (linked(&server.url()), counter());
    count(&client, &script, "a", "x", &soon()).unwrap();
    server.kill();
    let first = count(&client, &script, "a", "x", &soon()).unwrap_err();
    assert!(first.is_transient(), "{first}");
    assert_error(
        count(&client, &script, "a", "x", &soon()),
        StoreErrorKind::Unreachable,
        "Connection refused",
    );
    server.run();
    assert_eq!(count(&client, &script, "a", "y", &soon()).unwrap().reply, counted(1, "y"));
}

#[test]
fn a_connection_that_was_closed_while_idle_costs_no_error() {
    let server = Server::start(&[]);
    let (client, script) = (linked(&server.url()), counter());
    count(&client, &script, "a", "x", &soon()).unwrap();
    server.cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!(count(&client, &script, "a", "y", &soon()).unwrap().reply, counted(2, "y"));
}

#[test]
fn calls_of_many_threads_end_in_time_while_the_server_is_frozen_killed_and_restarted() {
    let mut server = Server::start(&[]);
    let (client, script) = (linked(&server.url()), counter());
    let over = flowlock_testkit::Over::default();
    let good = std::sync::atomic::AtomicU64::new(0);
    std::thread::scope(|scope| {
        let _calling = over.when_dropped();
        for thread in 0..8 {
            let (client, script, over, good) = (&client, &script, &over, &good);
            scope.spawn(move || {
                while !over.is_over() {
                    let begun = Instant::now();
                    let word = thread.to_string();
                    match count(client, script, "a", &word, &Limits::within(Duration::from_millis(200))) {
                        Ok(done) => {
                            let redis::Value::Array(reply) = done.reply else { panic!("{done:?}") };
                            assert_eq!(reply[1], redis::Value::BulkString(word.into_bytes()));
                            good.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        }
                        Err(error) => assert!(error.is_transient(), "{error}"),
                    }
                    assert!(begun.elapsed() < Duration::from_secs(1), "a call took {:?}", begun.elapsed());
                }
            });
        }
        for _ in 0..3 {
            std::thread::sleep(Duration::from_millis(150));
            server.freeze();
            std::thread::sleep(Duration::from_millis(300));
            server.thaw();
            std::thread::sleep(Duration::from_millis(150));
            server.kill();
            std::thread::sleep(Duration::from_millis(100));
            server.run();
        }
        let before = good.load(std::sync::atomic::Ordering::SeqCst);
        eventually("steps succeed again", || good.load(std::sync::atomic::Ordering::SeqCst) > before + 100);
    });
}

#[test]
fn a_reply_that_trickles_ends_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let trickling = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1_000]);
        let _ = stream.write_all(&greeting("redis_version:7.0.15"));
        let _ = stream.read(&mut [0; 1_000]);
        let _ = stream.write_all(b"$9\r\n");
        while stream.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    let client = linked(&url);
    let begun = Instant::now();
    let mut slow = redis::cmd("GET");
    slow.arg("x");
    let asked = client.command("", &slow, &Limits::within(Duration::from_millis(200)));
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let error = asked.unwrap_err();
    assert_eq!(error.kind(), StoreErrorKind::Unknown, "{error}");
    drop(client);
    trickling.join().unwrap();
}

#[test]
fn a_reply_that_comes_in_halves_is_whole_after_a_deadline_in_between() {
    let (said, says) = std::sync::mpsc::channel::<&[u8]>();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        for bytes in says {
            stream.write_all(bytes).unwrap();
        }
    });
    let address = Address::Tcp { host: "127.0.0.1".into(), port };
    let mut connection = Connection::connect(&address, None, &soon()).unwrap();
    said.send(b"*2\r\n$3\r\nab").unwrap();
    let early = connection.receive(&Limits::within(Duration::from_millis(100)));
    assert!(matches!(early, Err(Trouble::Io(_))), "{early:?}");
    said.send(b"c\r\n:7\r\n").unwrap();
    let both = redis::Value::Array(vec![redis::Value::BulkString(b"abc".to_vec()), redis::Value::Int(7)]);
    assert_eq!(connection.receive(&soon()).unwrap(), both);
    drop(said);
    assert!(matches!(connection.receive(&soon()), Err(Trouble::Closed)));
    server.join().unwrap();
}
