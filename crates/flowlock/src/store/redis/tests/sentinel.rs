use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::server::*;
use crate::store::StoreErrorKind;

/// A primary, its replica and a sentinel that watches both as `main`.
struct Group {
    servers: Vec<Server>,
    sentinel: Child,
    port: u16,
    _directory: tempfile::TempDir,
}

impl Group {
    fn start() -> Self {
        let primary = Server::start(&["--repl-diskless-sync-delay", "0"]);
        let follow =
            ["--replicaof", "127.0.0.1", &primary.port.to_string(), "--repl-diskless-sync-delay", "0"];
        let replica = Server::start(&follow);
        eventually("the replica follows", || primary.cli(&["INFO", "replication"]).contains("state=online"));
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = directory.path().join("sentinel.conf");
        let watched = primary.port;
        let configuration = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile log\nsentinel monitor main 127.0.0.1 {watched} 1\n\
             sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\nrequirepass guard\n",
            directory.path().display()
        );
        std::fs::write(&file, configuration).unwrap();
        let sentinel = Command::new(flowlock_testkit::redis_program())
            .arg(&file)
            .arg("--sentinel")
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let group = Self { servers: vec![primary, replica], sentinel, port, _directory: directory };
        eventually("the sentinel knows the replica", || {
            group.ask(&["SENTINEL", "REPLICAS", "main"]).contains("slave")
        });
        group
    }

    fn ask(&self, arguments: &[&str]) -> String {
        let port = self.port.to_string();
        let output = Command::new("redis-cli")
            .args(["-p", &port, "-a", "guard", "--no-auth-warning"])
            .args(arguments)
            .output();
        String::from_utf8(output.unwrap().stdout).unwrap()
    }

    /// Returns the URL, with a sentinel in front that does not exist.
    fn url(&self, password: &std::path::Path, master: &str) -> String {
        let file = password.display();
        format!(
            "redis+sentinel://127.0.0.1:{},127.0.0.1:{}/{master}?sentinel_password_file={file}",
            free_port(),
            self.port
        )
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _ = self.sentinel.kill();
        let _ = self.sentinel.wait();
    }
}

#[test]
fn the_primary_is_followed_through_failovers_and_the_inbox_too() {
    let mut group = Group::start();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&password, "guard").unwrap();
    let client = linked(&group.url(password.path(), "main"));
    let script = counter();
    assert_eq!(count(&client, &script, "t", "x", &soon()).unwrap().reply, counted(1, "x"));
    let channel = "fl:{t}:i:0";
    let mut inbox = listen(&client, [channel.into(), "fl:{t}:i:all".into()]).unwrap();
    let settled = |wanted| {
        eventually("steps succeed on the new primary", || match count(&client, &script, "t", "x", &soon()) {
            Ok(done) => done.reply == counted(wanted, "x"),
            Err(error) => {
                assert!(error.is_transient(), "{error}");
                std::thread::sleep(Duration::from_millis(50));
                false
            }
        });
    };
    assert!(
        group.servers[1].cli(&["WAIT", "0", "0"]).contains('0')
            || group.servers[1].cli(&["GET", "{t}:n"]) == "1"
    );
    group.servers[0].freeze();
    settled(2);
    assert_eq!(group.servers[1].cli(&["GET", "{t}:n"]), "2");
    eventually("the inbox has followed", || group.servers[1].cli(&["SPUBLISH", channel, "job.1"]) == "1");
    assert_eq!(next_runs(&mut inbox)[0].as_str(), "job.1");

    group.servers[0].thaw();
    eventually("the old primary follows", || {
        group.servers[1].cli(&["INFO", "replication"]).contains("state=online")
    });
    group.servers[1].kill();
    settled(3);
    assert_eq!(group.servers[0].cli(&["GET", "{t}:n"]), "3");
}

#[test]
fn what_is_wrong_with_sentinels_is_told() {
    let group = Group::start();
    let password = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&password, "guard").unwrap();
    let named = format!("127.0.0.1:{}", group.port);
    let unknown = open(&group.url(password.path(), "other"));
    assert_error(
        unknown,
        StoreErrorKind::Unusable,
        &format!("names the primary of \"other\": {named} does not watch such"),
    );
    std::fs::write(&password, "wrong").unwrap();
    assert_error(
        open(&group.url(password.path(), "main")),
        StoreErrorKind::Unusable,
        "refuses the user or the password",
    );
    let bare = open(&format!("redis+sentinel://{named}/main"));
    assert_error(bare, StoreErrorKind::Unusable, "wants a password");
    std::fs::write(&password, "guard").unwrap();
    let direct = open(&format!("redis://:guard@{named}"));
    assert_error(direct, StoreErrorKind::Unusable, "is a Sentinel; use redis+sentinel://HOST,HOST/MASTER");
    let not_one = open(&format!("redis+sentinel://127.0.0.1:{}/main", group.servers[0].port));
    assert_error(not_one, StoreErrorKind::Unusable, "is not a Sentinel; use redis://");
    let (one, two) = (free_port(), free_port());
    let away = open(&format!("redis+sentinel://127.0.0.1:{one},127.0.0.1:{two}/main"));
    assert_error(
        away,
        StoreErrorKind::Unreachable,
        &format!("no sentinel of 127.0.0.1:{one}, 127.0.0.1:{two} names"),
    );
}
