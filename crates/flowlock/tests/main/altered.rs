//! Names of every kind, and a store whose content somebody has altered: an error that says so, never a panic, a hang or
//! a record that was lost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowlock::step::{Holders, Unlock};
use flowlock::store::sqlite::SqliteStore;
use flowlock::store::{StoreErrorKind, View};
use flowlock::{Acquired, Creation, Error, Flowlock, JobName, Name, Namespace, RunId, Token, escape};
use flowlock_testkit::{Bent, sql};

#[test]
fn a_name_that_is_taken_shows_as_itself_and_a_refusal_shows_nothing_hidden() {
    let seeds = ["sales.2026-11-24", "a b/c:d{e}*", "日本.é", "../../etc/passwd", "-rf"];
    let pieces = [
        "\u{0}",
        "\u{1b}[2J",
        "\u{202e}",
        "\u{200b}",
        "\u{feff}",
        "e\u{301}",
        " ",
        "\n",
        "\u{85}",
        "\u{3164}",
        "\u{e0100}",
        "\u{a0}",
        "\u{3000}",
        "\u{2800}",
        "\u{ffff}",
    ];
    bolero::check!().with_generator(Bent::new(seeds, pieces)).for_each(|input: &Vec<u8>| {
        let text = String::from_utf8_lossy(input);
        match Name::parse(&text) {
            Ok(name) => {
                assert_eq!((name.as_str(), escape(&text).as_str()), (&*text, &*text));
                assert!((1..=512).contains(&text.len()) && !text.trim().is_empty());
                assert!(
                    JobName::parse(&text).is_ok()
                        && RunId::parse(&text).is_ok()
                        && Namespace::parse(&text).is_ok()
                );
            }
            Err(problem) => {
                let said = problem.to_string();
                assert_eq!(escape(&said), said);
                assert!(said.chars().count() < 400, "{said}");
            }
        }
    });
}

/// A store with something in nearly every table, in one file.
fn full(directory: &Path) -> PathBuf {
    let file = directory.join("full.db");
    let flowlock = open(&file).unwrap();
    let held = Duration::from_secs(30);
    flowlock
        .job("load")
        .output("sales")
        .output("old")
        .acquire()
        .unwrap()
        .commit_with("s3://bucket/1")
        .unwrap();
    flowlock.job("load").output("old").acquire().unwrap().fail();
    let write = flowlock.job("write").input("sales").output("report").lock("l").slot("gpu", 1, 2);
    write.lease(Duration::from_mins(10)).acquire().unwrap().detach().unwrap();
    let _ = flowlock
        .job("read")
        .run_id("read.1")
        .input("report")
        .input("sales")
        .try_or_hold_place(held, 1)
        .unwrap();
    let _ = flowlock
        .job("late")
        .run_id("late.1")
        .input("sales")
        .lock("l")
        .slot("gpu", 2, 2)
        .try_or_hold_place(held, 2)
        .unwrap();
    drop(flowlock);
    sql(&file, "pragma wal_checkpoint(truncate)");
    file
}

fn open(file: &Path) -> Result<Flowlock, Error> {
    let patience = Duration::from_millis(50);
    let store = Arc::new(SqliteStore::open(file, patience)?);
    Ok(Flowlock::builder().store_timeout(patience).commit_wait(patience).with_store(store))
}

/// Asks and changes all there is; what comes of it may be an error.
fn use_it(file: &Path) -> Result<(), Error> {
    let flowlock = open(file)?;
    let names = ["sales", "report", "old", "l"].map(|name| Name::parse(name).unwrap());
    let runs = flowlock.runs();
    let _ = (
        flowlock.names(&names),
        flowlock.view(&View::Records { prefix: String::new(), after: None, limit: 10 }),
    );
    for seen in runs.into_iter().flatten() {
        let _ = (flowlock.run(&seen.run.attempt.id), flowlock.refresh(&seen.run.attempt.id));
        let _ = flowlock.unlock(&seen.run.attempt.id, seen.run.token.unwrap_or(Token(1)), Unlock::Now);
    }
    let _ =
        flowlock.job("a").input("sales").output("report").slot("gpu", 1, 2).try_acquire().map(
            |got| match got {
                Acquired::Granted(grant) => grant.commit().map(drop),
                Acquired::Blocked(_) => Ok(()),
            },
        );
    let _ = (flowlock.remove(&["old"], Holders::Break), flowlock.create(&["old"], Creation::default()));
    Ok(())
}

#[test]
fn a_store_that_somebody_altered_is_used_as_it_is_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = full(directory.path());
    let columns = columns(&file);
    assert!(columns.len() > 80, "{columns:?}");
    assert!(use_it(&file).is_ok());
    let whole = fs::read(full(&fresh(directory.path()))).unwrap();
    let texts = [
        "running",
        "queued",
        "live",
        "null",
        "[]",
        "{}",
        r#"{"host":"h","pid":1}"#,
        "dsales",
        "\"",
        "0",
        "committed",
        "x",
    ];
    let values =
        (0_usize..1_000, Bent::new(texts, ["\0", "{", "[", "9", "\u{202e}"]), i64::MIN..i64::MAX, 0_u8..8);
    let used = Mutex::new(0);
    bolero::check!().with_generator(values).for_each(
        |(column, text, number, kind): &(usize, Vec<u8>, i64, u8)| {
            let file = fresh(directory.path()).join("altered.db");
            fs::write(&file, &whole).unwrap();
            let (table, column) = &columns[column % columns.len()];
            let hex: String = text.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
            let value = match kind {
                0 => "null".to_owned(),
                1 => number.to_string(),
                2 => format!("{column} + {}", number % 3),
                3 => format!("x'{hex}'"),
                4 => ["-9223372036854775808", "9223372036854775807", "1e308", "-1"]
                    [number.rem_euclid(4) as usize]
                    .into(),
                _ => format!("cast(x'{hex}' as text)"),
            };
            alter(&file, &format!("update or ignore \"{table}\" set \"{column}\" = {value}"));
            let before = std::time::Instant::now();
            let outcome = use_it(&file);
            assert!(before.elapsed() < Duration::from_secs(20), "{table}.{column} = {value} hangs");
            *used.lock().unwrap() += usize::from(outcome.is_ok());
            fs::remove_dir_all(file.parent().unwrap()).unwrap();
        },
    );
    assert!(used.into_inner().unwrap() > 0, "no altered store could be opened: nothing was tried");
}

/// Holds `report` and a unit of `gpu` in a new store with a run that ended before; then alters it.
fn held_and_altered(directory: &Path, statement: &str) -> Flowlock {
    let file = fresh(directory).join("altered.db");
    let flowlock = open(&file).unwrap();
    flowlock.job("load").output("sales").acquire().unwrap().commit().unwrap();
    let write = flowlock.job("write").output("report").slot("gpu", 1, 2);
    write.lease(Duration::from_mins(10)).acquire().unwrap().detach().unwrap();
    drop(flowlock);
    sql(&file, statement);
    open(&file).unwrap()
}

#[test]
fn a_holder_that_does_not_hold_ends_what_would_end_it_with_an_error_and_not_never() {
    let directory = tempfile::tempdir().unwrap();
    let is_damaged = |error: Error| {
        let said = error.to_string();
        assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Damaged), "{said}");
        assert!(said.contains("contradicts itself"), "{said}");
    };
    for statement in [
        "update hold set lapsed = 1",
        "update hold set ticket = 1",
        "update run set lapsed = 1 where ticket = 2",
        "update run set state = 'committed' where ticket = 2",
        "update run set spec = replace(spec, 'report', 'other') where ticket = 2",
    ] {
        println!("{statement}");
        let flowlock = held_and_altered(directory.path(), statement);
        is_damaged(flowlock.remove(&["report"], Holders::Break).unwrap_err());
        let holders = Holders::Break;
        is_damaged(flowlock.create(&["report"], Creation { holders, ..Creation::default() }).unwrap_err());
    }
    // Whoever needs what lapsed, units too.
    let lapsed = "update hold set lapsed = 1; update units set lapsed = 1; update namespace set lapsed = 1";
    let flowlock = held_and_altered(directory.path(), lapsed);
    is_damaged(flowlock.job("a").slot("gpu", 2, 2).try_acquire().unwrap_err());
    is_damaged(flowlock.job("a").output("report").try_acquire().unwrap_err());
}

#[test]
fn no_commit_takes_a_record_back_to_an_older_version() {
    let directory = tempfile::tempdir().unwrap();
    let file = fresh(directory.path()).join("altered.db");
    let load = |flowlock: &Flowlock| {
        let grant = flowlock.job("load").output("sales").acquire().unwrap();
        grant.commit()
    };
    load(&open(&file).unwrap()).unwrap();
    sql(&file, "update record set version = version + 3600000000");
    let flowlock = open(&file).unwrap();
    let sales = || flowlock.names(&[Name::parse("sales").unwrap()]).unwrap().remove(0).record;
    let newer = sales().map(|record| record.version);
    let said = load(&flowlock).unwrap_err().to_string();
    assert!(said.contains("record sales has version"), "{said}");
    assert_eq!(sales().map(|record| record.version), newer);
}

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

/// A new directory below `parent`.
fn fresh(parent: &Path) -> PathBuf {
    tempfile::tempdir_in(parent).unwrap().keep()
}

/// Every column of every table.
fn columns(file: &Path) -> Vec<(String, String)> {
    let file = rusqlite::Connection::open(file).unwrap();
    let all =
        "select m.name, c.name from sqlite_master m, pragma_table_info(m.name) c where m.type = 'table'";
    let mut all = file.prepare(all).unwrap();
    let all = all.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    all.map(Result::unwrap).collect()
}

/// Executes a statement that the schema may refuse.
fn alter(file: &Path, statement: &str) {
    let file = rusqlite::Connection::open(file).unwrap();
    let _ = file.execute_batch(statement);
    file.execute_batch("pragma wal_checkpoint(truncate)").unwrap();
}
