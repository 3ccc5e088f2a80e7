//! Texts, lists and times beyond their limits.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use flowlock::store::sqlite::SqliteStore;
use flowlock::store::{StoreErrorKind, View};
use flowlock::{Creation, Error, Flowlock};
use flowlock_testkit::sql;

use super::{fresh, open};

#[test]
fn a_note_longer_than_any_is_not_shown() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("altered.db");
    let flowlock = open(&file).unwrap();
    let longest = "n".repeat(flowlock::LONGEST_NOTE);
    flowlock.create(&["sales"], Creation { note: Some(longest), ..Creation::default() }).unwrap();
    let all = View::Records { prefix: String::new(), after: None, limit: 10 };
    assert!(flowlock.view(&all).is_ok());
    drop(flowlock);
    sql(&file, "update record set note = note || 'n'");
    let error = open(&file).unwrap().view(&all).unwrap_err();
    assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Damaged), "{error}");
    assert!(format!("{error:?}").len() < 1_000, "{error:?}");
}

#[test]
fn what_stands_in_a_row_or_a_schema_floods_no_message() {
    let directory = tempfile::tempdir().unwrap();
    let long = "x".repeat(1_000_000);
    for statement in [
        format!("update run set id = '{long}'"),
        format!("update run set state = '{long}'"),
        format!("update run set spec = '{long}'"),
        format!("update run set origin = json_set(origin, '$.host', '{long}')"),
        format!("update run set origin = json_set(origin, '$.user', '{long}')"),
        format!("update run set origin = json_set(origin, '$.ci', '{long}')"),
        format!("update run set actor = json_set(origin, '$.at_us', 1, '$.user', '{long}')"),
        format!("create table {long} (x)"),
    ] {
        let flowlock = fresh(directory.path()).join("altered.db");
        open(&flowlock).unwrap().job("write").lock("l").acquire().unwrap().detach().unwrap();
        sql(&flowlock, &statement);
        let error = open(&flowlock).and_then(|flowlock| flowlock.runs()).unwrap_err();
        let whole = format!("{error} {error:?}");
        assert!(
            whole.len() < 1_500,
            "{} bytes, {}",
            whole.len(),
            whole.chars().take(500).collect::<String>()
        );
    }
}

/// One value may have a gigabyte, and a list several times as much in memory as in its row: neither is taken there.
#[test]
fn a_value_longer_than_any_is_not_read_and_a_list_longer_than_any_is_not_made() {
    let directory = tempfile::tempdir().unwrap();
    let file = fresh(directory.path()).join("altered.db");
    let flowlock = open(&file).unwrap();
    flowlock.job("write").output("a").lock("l").acquire().unwrap().commit().unwrap();
    flowlock.job("write").lock("l").acquire().unwrap().detach().unwrap();
    let zeros = |count: usize| format!("'[' || replace(hex(zeroblob({count})), '00', '0,') || '0]'");
    let long = "longer than any that flowlock writes";
    for (statement, said) in [
        (format!("update run set ancestors = {}", zeros(20 << 20)), long),
        (format!("update run set ancestors = {}", zeros(1 << 20)), "column 22 holds"),
        (format!("update run set ancestors = {}", zeros(64)), "a value out of range"),
        (format!("update run set input_versions = {}", zeros(1 << 20)), "column 17 holds"),
        (format!("update run set input_versions = {}", zeros(1_000)), "a value out of range"),
        (format!("update run set spec = {}", zeros(3 << 20)), long),
    ] {
        let altered = fresh(directory.path()).join("altered.db");
        sql(&file, "pragma wal_checkpoint(truncate)");
        fs::copy(&file, &altered).unwrap();
        sql(&altered, &statement);
        let error = open(&altered).and_then(|flowlock| flowlock.runs()).unwrap_err();
        assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Damaged), "{error}");
        let whole = format!("{error} {error:?}");
        assert!(whole.contains(said), "{statement}: {whole}");
        let busy = open(&altered).and_then(|flowlock| flowlock.job("other").lock("l").try_acquire());
        assert!(busy.is_err(), "{statement}: {busy:?}");
    }
}

/// What reads them does not add or multiply without looking.
#[test]
fn times_at_the_ends_of_all_time_are_shown_without_an_overflow() {
    let directory = tempfile::tempdir().unwrap();
    for statement in [
        "update client set heard_ms = -9223372036854775808",
        "update client set heard_ms = 9223372036854775807",
        "update run set deadline_ms = 9223372036854775807",
    ] {
        let file = fresh(directory.path()).join("altered.db");
        let flowlock = open(&file).unwrap();
        flowlock.job("write").lock("l").acquire().unwrap().detach().unwrap();
        let Ok(flowlock::Begun::Waiting(waiting)) = flowlock.job("wait").lock("l").begin() else {
            panic!("nothing in its way")
        };
        sql(&file, statement);
        // Either is fine: seen, or refused as implausible.
        if let Ok(seen) = open(&file).and_then(|flowlock| flowlock.runs()) {
            assert!(!seen.is_empty(), "{statement}");
        }
        drop(waiting);
    }
}

/// An environment may say more than others take.
#[test]
fn what_a_process_says_of_itself_is_no_longer_than_others_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("said.db");
    let store = Arc::new(SqliteStore::open(&file, Duration::from_secs(5)).unwrap());
    let long = |bytes: usize| "é".repeat(bytes / 2);
    for (link, is_kept) in [(long(2_048), true), (long(2_050), false)] {
        let origin = flowlock::Origin { host: long(2_000), pid: 1, user: long(2_000), ci: Some(link) };
        let flowlock = Flowlock::builder().origin(origin).with_store(store.clone());
        let grant = flowlock.job("job").lock("l").acquire().unwrap();
        let seen = flowlock.runs().unwrap();
        let origin = &seen[0].run.holder.origin;
        assert_eq!((origin.host.len(), origin.user.len(), origin.ci.is_some()), (512, 512, is_kept));
        grant.commit().unwrap();
    }
}
