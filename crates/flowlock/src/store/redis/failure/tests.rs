use redis::Value;

use super::*;
use crate::store::StoreErrorKind::{Damaged, Full, Unknown, Unreachable, Unusable};

fn at() -> Address {
    Address::Tcp { host: "h".into(), port: 6379 }
}

fn said_by_server(text: &str) -> Failure {
    match redis::parse_redis_value(format!("-{text}\r\n").as_bytes()) {
        Ok(Value::ServerError(error)) => refused(&at(), &error),
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn every_refusal_has_its_kind_and_says_what_to_do() {
    let table = [
        ("LOADING Redis is loading the dataset in memory", Unreachable, "answers when that is done"),
        ("BUSY Redis is busy running a script.", Unreachable, "end it with SCRIPT KILL"),
        ("MASTERDOWN Link with MASTER is down", Unreachable, "this ends with the failover"),
        ("READONLY You can't write against a read only replica.", Unreachable, "takes no writes"),
        ("NOREPLICAS Not enough good replicas to write.", Unreachable, "bring them back"),
        ("MOVED 1 h:1", Unreachable, "handing the namespace's slot"),
        ("ASK 1 h:1", Unreachable, "handing the namespace's slot"),
        (
            "TRYAGAIN Multiple keys request during rehashing of slot",
            Unreachable,
            "handing the namespace's slot",
        ),
        ("CLUSTERDOWN Hash slot not served", Unreachable, "bring its primaries back"),
        ("ERR max number of clients reached", Unreachable, "maxclients"),
        (
            "ERR Error running script: Script killed by user with SCRIPT KILL.",
            Unreachable,
            "somebody ended the script",
        ),
        ("OOM command not allowed when used memory > 'maxmemory'.", Full, "raise maxmemory"),
        ("MISCONF Redis is configured to save RDB snapshots", Full, "cannot save to its disk"),
        (
            "WRONGPASS invalid username-password pair or user is disabled.",
            Unusable,
            "refuses the user or the password",
        ),
        ("NOAUTH Authentication required.", Unusable, "add password_file=PATH"),
        (
            "NOPERM this user has no permissions to run the 'eval' command",
            Unusable,
            "ACL SETUSER <user> +eval (",
        ),
        (
            "NOPERM this user has no permissions to run the 'client|setname' command",
            Unusable,
            "+client|setname",
        ),
        ("NOPERM No permissions to access a key", Unusable, "~fl:*"),
        ("NOPERM No permissions to access a channel", Unusable, "&fl:*"),
        (
            "ERR ACL failure in script: User x has no permissions to run the 'hset' command",
            Unusable,
            "ACL SETUSER <user> +hset (",
        ),
        ("DENIED Redis is running in protected mode", Unusable, "set a password there"),
        ("ERR AUTH <password> called without any password configured", Unusable, "leave the password out"),
        ("ERR DB index is out of range", Unusable, "choose another"),
        ("ERR unknown command 'SPUBLISH'", Unusable, "use Redis 7.0 or Valkey 7.2 or newer"),
        ("WRONGTYPE Operation against a key", Damaged, "flowlock doctor"),
        (
            "ERR user_script:1: attempt to index local 't' script: f00, on @user_script:1.",
            Damaged,
            "attempt to index",
        ),
        ("ERR something new", Unusable, "refused: ERR something new"),
    ];
    for (text, kind, says) in table {
        let failure = said_by_server(text);
        assert!(
            failure.kind == kind && failure.message.contains(says) && failure.message.contains("h:6379"),
            "{text}: {failure:?}"
        );
    }
}

#[test]
fn a_right_that_is_missing_is_named_for_the_namespace_alone() {
    for (what, pattern) in
        [("key", "SETUSER <user> ~fl:{a%20b}:* ("), ("channel", "SETUSER <user> &fl:{a%20b}:* (")]
    {
        let text = format!("-NOPERM No permissions to access a {what}\r\n");
        let Ok(Value::ServerError(error)) = redis::parse_redis_value(text.as_bytes()) else {
            panic!("{text}")
        };
        let failure = refused_in("a%20b", &at(), &error);
        assert!(failure.kind == Unusable && failure.message.contains(pattern), "{failure:?}");
    }
}

#[test]
fn a_servers_words_are_escaped_and_cut() {
    let failure = said_by_server(&format!("WRONGTYPE \u{1b}[2J{}", "y".repeat(1_000)));
    assert!(failure.message.contains(r"WRONGTYPE \x1b[2Jyyy"), "{failure:?}");
    assert!(failure.message.chars().count() < 400 && !failure.message.contains('\u{1b}'), "{failure:?}");
}

#[test]
fn what_was_sent_and_not_answered_is_unknown_and_what_was_not_sent_is_unreachable() {
    let lost = [
        (Trouble::Closed, "closed the connection"),
        (Trouble::Io(io::ErrorKind::TimedOut.into()), "did not answer in time"),
        (Trouble::Io(io::ErrorKind::WouldBlock.into()), "did not answer in time"),
        (Trouble::Io(io::ErrorKind::ConnectionReset.into()), "broke the connection (connection reset)"),
        (Trouble::NotRedis(b"x".to_vec()), "not Redis"),
        (Trouble::TooLarge, "more than the step can need"),
    ];
    for (trouble, says) in lost {
        let failure = unanswered(&at(), &trouble);
        assert!(failure.kind == Unknown && failure.message.contains(says), "{failure:?}");
    }
    for (kind, says) in [(io::ErrorKind::ConnectionRefused, "refused"), (io::ErrorKind::TimedOut, "in time")]
    {
        let failure = not_reached(&at(), &kind.into());
        assert!(failure.kind == Unreachable && failure.message.contains(says), "{failure:?}");
    }
    assert_eq!(not_reached(&at(), &io::ErrorKind::PermissionDenied.into()).kind, Unusable);
}
