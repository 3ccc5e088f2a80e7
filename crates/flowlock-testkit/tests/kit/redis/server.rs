//! One server: its doors, its memory, its clock, its deaths.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use flowlock_testkit::{
    Certificates, Cli, Clock, PATIENCE, Persistence, RedisServer, fresh_namespace, until,
};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use redis::Value;

fn text(value: Value) -> String {
    redis::from_redis_value(value).unwrap()
}

fn is_alive(pid: Pid) -> bool {
    // A zombie is dead.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// What `redis-cli` with these arguments answers.
fn redis_cli(arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_server_answers_on_its_port_and_on_its_socket() {
    let server = RedisServer::start();
    let port = server.port().to_string();
    assert_eq!(redis_cli(&["-p", &port, "SET", "key", "value"]), "OK\n");
    assert_eq!(redis_cli(&["-s", server.socket().to_str().unwrap(), "GET", "key"]), "value\n");
    assert_eq!(server.keys(), 1);
    assert_eq!(server.key_names("*"), ["key"]);
    assert_eq!(server.url(), format!("redis://127.0.0.1:{port}/0?failover_pause=0s"));
    assert_eq!(server.url_with("failover_pause=2s"), format!("redis://127.0.0.1:{port}/0?failover_pause=2s"));
    assert_eq!(
        server.unix_url(),
        format!("redis+unix://{}?db=0&failover_pause=0s", server.socket().display())
    );
}

#[test]
fn servers_side_by_side_do_not_meet() {
    let servers: Vec<_> = (0..8).map(|_| std::thread::spawn(RedisServer::start)).collect();
    let servers: Vec<_> = servers.into_iter().map(|server| server.join().unwrap()).collect();
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(server.keys(), 0);
        server.command(&["SET", "number", &number.to_string()]);
    }
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(text(server.command(&["GET", "number"])), number.to_string());
    }
}

#[test]
fn the_shared_server_is_one_and_namespaces_are_many() {
    let of_another_thread = std::thread::spawn(|| RedisServer::shared().port()).join().unwrap();
    // The thread that started it has ended, and it goes on.
    assert_eq!(text(RedisServer::shared().command(&["PING"])), "PONG");
    assert_eq!(RedisServer::shared().port(), of_another_thread);
    assert_ne!(fresh_namespace(), fresh_namespace());
}

#[test]
fn nothing_is_left_of_a_server_that_was_dropped() {
    let server = RedisServer::start();
    let (pid, directory) = (server.pid(), server.directory().to_owned());
    assert!(is_alive(pid) && directory.exists());
    server.stop();
    drop(server);
    assert!(!is_alive(pid) && !directory.exists());
}

#[test]
fn nothing_is_left_of_a_server_whose_test_was_killed_or_ended() {
    for killed in [true, false] {
        let probe = Cli::new(env!("CARGO_BIN_EXE_probe"));
        let job = probe.start(if killed { &["server", "hang"][..] } else { &["server"] });
        job.says("server ok");
        let said = job.stdout();
        let (pid, directory) = said.lines().next().unwrap().split_once(' ').unwrap();
        let pid = Pid::from_raw(pid.parse().unwrap());
        if killed {
            job.signal(Signal::SIGKILL);
        }
        until("the server's end", PATIENCE, || (!is_alive(pid)).then_some(()));
        until("the directory's end", PATIENCE, || (!Path::new(directory).exists()).then_some(()));
    }
}

#[test]
fn what_a_server_keeps_is_as_wanted() {
    let survives = |persistence: Persistence, end: fn(&RedisServer)| {
        let server = RedisServer::setup().persistence(persistence).start();
        server.command(&["SET", "key", "value"]);
        let port = server.port();
        end(&server);
        assert!(server.try_command(&["PING"]).is_err());
        server.restart();
        assert_eq!(server.port(), port);
        server.keys() == 1
    };
    assert!(!survives(Persistence::None, RedisServer::shutdown));
    assert!(survives(Persistence::AofAlways, RedisServer::kill));
    assert!(survives(Persistence::AofEverySecond, RedisServer::kill));
    assert!(survives(Persistence::Snapshots, RedisServer::shutdown));
    assert!(!survives(Persistence::Snapshots, RedisServer::kill));
}

#[test]
fn a_full_server_refuses_writes() {
    let server = RedisServer::setup().max_memory("3mb", "noeviction").start();
    let large = "x".repeat(1 << 20);
    let refused = (0..5).find_map(|n| server.try_command(&["SET", &n.to_string(), &large]).err());
    assert_eq!(refused.unwrap().code(), Some("OOM"));
}

#[test]
fn a_password_is_needed_where_one_is_set() {
    let server = RedisServer::setup().password("secret").start();
    let port = server.port().to_string();
    assert!(redis_cli(&["-p", &port, "PING"]).starts_with("NOAUTH"));
    assert!(redis_cli(&["-p", &port, "-a", "secret", "PING"]).contains("PONG"));
    assert_eq!(text(server.command(&["PING"])), "PONG");
    assert_eq!(server.url(), format!("redis://:secret@127.0.0.1:{port}/0?failover_pause=0s"));
}

#[test]
fn users_may_do_what_their_rules_say_and_the_default_user_nothing() {
    let server = RedisServer::setup().user("flowlock", "on >secret ~fl:* &fl:* +@all").start();
    let port = server.port().to_string();
    let as_user = |words: &[&str]| {
        redis_cli(
            &[&["-p", &port, "--no-auth-warning", "--user", "flowlock", "--pass", "secret"], words].concat(),
        )
    };
    assert!(redis_cli(&["-p", &port, "PING"]).starts_with("NOAUTH"));
    assert_eq!(as_user(&["SET", "fl:a", "1"]), "OK\n");
    assert!(as_user(&["SET", "other", "1"]).starts_with("NOPERM"));
    assert_eq!(server.keys(), 1);
    assert_eq!(
        server.url_as("flowlock", "secret"),
        format!("redis://flowlock:secret@127.0.0.1:{port}/0?failover_pause=0s")
    );
}

#[test]
fn tls_wants_a_certificate_of_both_sides() {
    let server = RedisServer::setup().tls().start();
    let port = server.tls_port().to_string();
    let Certificates { ca, client, client_key, .. } = server.certificates();
    let [ca, client, key] = [ca, client, client_key].map(|path| path.to_str().unwrap());
    let with = |more: &[&str]| redis_cli(&[&["-p", &port, "--tls"], more, &["PING"]].concat());
    assert_eq!(with(&["--cacert", ca, "--cert", client, "--key", key]), "PONG\n");
    assert!(!with(&["--cacert", ca]).contains("PONG"));
    assert!(!with(&["--cert", client, "--key", key]).contains("PONG"));
    let parameters = format!("failover_pause=0s&ca={ca}&cert={client}&key={key}");
    assert_eq!(server.tls_url(), format!("rediss://127.0.0.1:{port}/0?{parameters}"));
}

#[test]
fn a_replica_follows_its_primary() {
    let primary = RedisServer::setup().password("secret").start();
    let replica = RedisServer::setup().replica_of(&primary).start();
    primary.command(&["SET", "key", "value"]);
    until("a copy", PATIENCE, || (replica.keys() == 1).then_some(()));
    assert_eq!((primary.info("role"), replica.info("role")), ("master".into(), "slave".into()));
}

#[test]
fn a_clock_moves_the_time_of_its_servers_and_of_nobody_else() {
    let clock = Clock::new();
    let (moved, still) = (RedisServer::setup().clock(&clock).start(), RedisServer::start());
    let apart = || (moved.time_us() - still.time_us()).abs_diff(0) / 1_000_000;
    assert!(apart() < 60);
    moved.command(&["SET", "key", "value", "EX", "3000"]);
    clock.advance(Duration::from_hours(1));
    assert!((3_540..3_660).contains(&apart()), "{}", apart());
    until("the key's end", PATIENCE, || (moved.keys() == 0).then_some(()));
    clock.shift_back(Duration::from_hours(2));
    assert!(moved.time_us() < still.time_us());
    assert!((3_540..3_660).contains(&apart()), "{}", apart());
}

#[test]
fn a_stopped_server_is_silent_until_it_goes_on() {
    let server = RedisServer::start();
    server.stop();
    let port = server.port();
    let asked = std::thread::spawn(move || redis_cli(&["-p", &port.to_string(), "PING"]));
    std::thread::sleep(Duration::from_millis(100));
    assert!(!asked.is_finished());
    assert!(server.try_command(&["PING"]).is_err(), "the kit itself does not wait");
    server.cont();
    assert_eq!(asked.join().unwrap(), "PONG\n");
}

#[test]
fn a_server_counts_what_was_asked_of_it() {
    let server = RedisServer::start();
    server.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]);
    server.command(&["CONFIG", "RESETSTAT"]);
    for _ in 0..3 {
        server.command(&["SET", "key", "value"]);
    }
    let set = server.command_count("set");
    assert_eq!(set.calls, 3);
    assert!(set.microseconds < 1_000_000);
    assert_eq!(server.command_count("get").calls, 0);
    assert!(server.command_counts().contains_key("info"));
    let processed = server.commands_processed();
    assert!((5..=10).contains(&processed), "{processed}");
    let slow = server.slow_log();
    assert_eq!(slow.iter().filter(|entry| entry.words == ["SET", "key", "value"]).count(), 3);
}

#[test]
#[should_panic(expected = "wrong number of arguments")]
fn a_refused_command_fails_the_test() {
    RedisServer::shared().command(&["SET", "key"]);
}

#[test]
#[should_panic(expected = "has ended: ")]
fn a_server_that_does_not_start_shows_its_log() {
    RedisServer::setup().line("no-such-setting 1").start();
}
