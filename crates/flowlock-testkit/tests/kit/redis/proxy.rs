//! The proxy: each fault has an effect, and only on the connection or request that it is for.

use std::time::{Duration, Instant};

use flowlock_testkit::{Direction, PATIENCE, Proxy, RedisServer, Then, until};
use redis::{Client, Connection, RedisError, RedisResult};

const SOON: Duration = Duration::from_millis(300);

/// A client that gives up soon.
fn client(line: &Proxy) -> RedisResult<Connection> {
    let connection = Client::open(format!("redis://127.0.0.1:{}/", line.port()))?.get_connection()?;
    connection.set_read_timeout(Some(SOON))?;
    Ok(connection)
}

fn connected(line: &Proxy) -> Connection {
    client(line).unwrap()
}

fn incr(connection: &mut Connection) -> RedisResult<u64> {
    redis::cmd("INCR").arg("n").query(connection)
}

fn is_timeout(error: &RedisError) -> bool {
    error.is_timeout()
}

/// What the server has counted, asked without the line.
fn counted(server: &RedisServer) -> u64 {
    redis::from_redis_value::<Option<u64>>(server.command(&["GET", "n"])).unwrap().unwrap_or_default()
}

#[test]
fn a_kind_line_passes_everything_on() {
    let server = RedisServer::start();
    let line = Proxy::to(&server);
    assert_eq!(line.url(), server.url().replace(&server.port().to_string(), &line.port().to_string()));
    let mut client = connected(&line);
    assert_eq!(incr(&mut client).unwrap(), 1);
    let large = "x".repeat(1 << 20);
    redis::cmd("SET").arg("large").arg(&large).exec(&mut client).unwrap();
    assert_eq!(redis::cmd("GET").arg("large").query::<String>(&mut client).unwrap(), large);
    assert_eq!((line.connections(), line.dropped_replies()), (1, 0));
}

#[test]
fn a_dropped_reply_means_done_and_not_heard_of() {
    for then in [Then::Reset, Then::Hang] {
        let server = RedisServer::start();
        let line = Proxy::to(&server);
        let mut client = connected(&line);
        line.drop_next_reply(then);
        let error = incr(&mut client).unwrap_err();
        assert_eq!(is_timeout(&error), then == Then::Hang, "{error:?}");
        assert_eq!((counted(&server), line.dropped_replies()), (1, 1));
        assert_eq!(incr(&mut connected(&line)).unwrap(), 2, "once is once");
    }
}

#[test]
fn only_the_reply_to_a_given_word_is_dropped() {
    let server = RedisServer::start();
    let line = Proxy::to(&server);
    let mut client = connected(&line);
    line.drop_reply_to("INCRBY", Then::Reset);
    assert_eq!(incr(&mut client).unwrap(), 1);
    assert!(redis::cmd("INCRBY").arg("n").arg(10).exec(&mut client).is_err());
    assert_eq!((counted(&server), line.dropped_replies()), (11, 1));
}

#[test]
fn a_black_hole_for_requests_keeps_them_from_the_server_until_it_closes() {
    let server = RedisServer::start();
    let line = Proxy::to(&server);
    let mut client = connected(&line);
    line.black_hole(Direction::Requests);
    assert!(is_timeout(&incr(&mut client).unwrap_err()));
    assert_eq!(counted(&server), 0);
    line.pass();
    until("the late request", PATIENCE, || (counted(&server) == 1).then_some(()));
}

#[test]
fn a_black_hole_for_replies_lets_the_server_work() {
    let server = RedisServer::start();
    let line = Proxy::to(&server);
    let mut client = connected(&line);
    line.black_hole(Direction::Replies);
    assert!(is_timeout(&incr(&mut client).unwrap_err()));
    assert_eq!(counted(&server), 1);
}

#[test]
fn a_reset_ends_what_stands_even_in_a_black_hole() {
    let server = RedisServer::start();
    let line = Proxy::to(&server);
    let mut first = connected(&line);
    line.black_hole(Direction::Requests);
    line.reset();
    let error = incr(&mut first).unwrap_err();
    assert!(!is_timeout(&error), "{error:?}");
    line.pass();
    assert_eq!(incr(&mut connected(&line)).unwrap(), 1);
}

#[test]
fn a_line_that_refuses_lets_nobody_in() {
    let server = RedisServer::start();
    let line = Proxy::to(&server);
    line.refuse();
    assert!(client(&line).and_then(|mut client| incr(&mut client)).is_err());
    assert_eq!(counted(&server), 0);
    line.pass();
    assert_eq!(incr(&mut connected(&line)).unwrap(), 1);
}

#[test]
fn a_delay_is_felt_each_time() {
    let server = RedisServer::start();
    let line = Proxy::to(&server);
    let mut client = connected(&line);
    line.delay(Direction::Replies, Duration::from_millis(100));
    for _ in 0..2 {
        let asked = Instant::now();
        incr(&mut client).unwrap();
        assert!(asked.elapsed() >= Duration::from_millis(100));
    }
}

#[test]
fn a_request_cut_in_two_is_not_carried_out_and_a_reply_cut_in_two_is_not_understood() {
    for (way, done) in [(Direction::Requests, 0), (Direction::Replies, 1)] {
        let server = RedisServer::start();
        let line = Proxy::to(&server);
        let mut client = connected(&line);
        line.cut_after(way, 2);
        let error = incr(&mut client).unwrap_err();
        assert!(!is_timeout(&error), "{error:?}");
        assert_eq!(counted(&server), done);
        assert_eq!(incr(&mut connected(&line)).unwrap(), done + 1, "once is once");
    }
}

#[test]
fn a_line_survives_its_server() {
    let server = RedisServer::start();
    let line = Proxy::to(&server);
    let mut before = connected(&line);
    server.kill();
    assert!(incr(&mut before).is_err());
    assert!(client(&line).and_then(|mut client| incr(&mut client)).is_err());
    server.restart();
    assert_eq!(incr(&mut connected(&line)).unwrap(), 1);
}
