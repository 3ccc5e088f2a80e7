//! Any column of any row with any value.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use flowlock::step::{Holders, Unlock};
use flowlock::store::View;
use flowlock::{Acquired, Creation, Error, Name, Token};
use flowlock_testkit::{Bent, sql};

use super::{fresh, open};

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

/// Reads and changes everything. Each call may return an error.
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
