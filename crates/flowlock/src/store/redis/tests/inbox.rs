use std::time::{Duration, Instant};

use super::server::*;
use crate::name::RunId;
use crate::store::redis::inbox::RedisInbox;
use crate::store::{Inbox as _, Missed, StoreErrorKind};

const CHANNEL: &str = "fl:{t}:i:0";

fn run(name: &str) -> RunId {
    RunId::parse(name).unwrap()
}

/// Publishes until somebody listens, and waits for what comes.
fn publish_and_wait(server: &Server, inbox: &mut RedisInbox, word: &str) -> Vec<RunId> {
    eventually("somebody listens", || server.cli(&["SPUBLISH", CHANNEL, word]) == "1");
    next_runs(inbox)
}

#[test]
fn news_comes_at_once_and_only_through_the_own_channel() {
    let server = Server::start(&[]);
    let client = linked(&server.url());
    let mut inbox = listen(&client, [CHANNEL.into(), "fl:{t}:i:all".into()]).unwrap();
    let mut other = listen(&client, ["fl:{t}:i:1".into(), "fl:{t}:i:all".into()]).unwrap();
    let mut took = Vec::new();
    for number in 0..50 {
        let mut publish = redis::cmd("SPUBLISH");
        publish.arg(CHANNEL).arg(format!("job.{number}"));
        let sent = Instant::now();
        client.command("t", &publish, &soon()).unwrap();
        assert_eq!(inbox.wait(LONG).runs, [run(&format!("job.{number}"))]);
        took.push(sent.elapsed());
    }
    took.sort();
    assert!(took[25] < Duration::from_millis(50), "half of all news took longer than {:?}", took[25]);
    assert!(other.wait(Duration::ZERO).runs.is_empty());
}

#[test]
fn an_interrupter_ends_the_wait() {
    let server = Server::start(&[]);
    let mut inbox = listen(&linked(&server.url()), [CHANNEL.into(), "fl:{t}:i:all".into()]).unwrap();
    let interrupter = inbox.interrupter();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| interrupter.interrupt());
        assert!(inbox.wait(LONG).runs.is_empty());
    });
    assert!(begun.elapsed() < LONG / 2);
}

#[test]
fn what_is_told_to_all_may_concern_any_run() {
    let server = Server::start(&[]);
    let mut inbox = listen(&linked(&server.url()), [CHANNEL.into(), "fl:{t}:i:all".into()]).unwrap();
    server.cli(&["SPUBLISH", "fl:{t}:i:all", ""]);
    let news = inbox.wait(LONG);
    assert_eq!((news.runs.len(), news.missed), (0, Missed::Everywhere));
    assert_eq!(publish_and_wait(&server, &mut inbox, "real.1"), [run("real.1")]);
}

#[test]
fn a_server_that_was_away_is_listened_to_again() {
    let mut server = Server::start(&[]);
    let client = linked(&server.url());
    server.kill();
    let mut inbox = listen(&client, [CHANNEL.into(), "fl:{t}:i:all".into()]).unwrap();
    server.run();
    assert_eq!(publish_and_wait(&server, &mut inbox, "late.1")[0], run("late.1"));
    server.kill();
    server.run();
    assert_eq!(publish_and_wait(&server, &mut inbox, "later.1")[0], run("later.1"));
}

#[test]
fn a_dropped_inbox_leaves_the_server() {
    let server = Server::start(&[]);
    let client = linked(&server.url());
    let inbox = listen(&client, [CHANNEL.into(), "fl:{t}:i:all".into()]).unwrap();
    assert_eq!(server.cli(&["PUBSUB", "SHARDCHANNELS"]).lines().count(), 2);
    drop(inbox);
    let begun = Instant::now();
    eventually("nobody listens", || server.cli(&["PUBSUB", "SHARDCHANNELS"]).is_empty());
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_user_who_may_not_listen_is_told() {
    let server = Server::start(&[]);
    server.cli(&["ACL", "SETUSER", "deaf", "on", ">pw", "~*", "&*", "+@all", "-ssubscribe"]);
    let client = linked(&format!("redis://deaf:pw@127.0.0.1:{}", server.port));
    assert_error(
        listen(&client, [CHANNEL.into(), "fl:{t}:i:all".into()]),
        StoreErrorKind::Unusable,
        "may not run ssubscribe",
    );
}
