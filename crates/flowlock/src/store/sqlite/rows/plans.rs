//! Checks how SQLite finds the rows of each statement: by a key, in the wanted order.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::Connection;

use super::super::SqliteStore;
use super::super::schema::SCHEMA_TEXT;
use super::cells::{RECORD_COLUMNS, RUN_COLUMNS};
use super::*;
use crate::Flowlock;
use crate::engine::tables::{RecordRows as _, RunRows as _};
use crate::id::Ticket;

/// The files with statements.
const SOURCES: [&str; 11] = [
    include_str!("../rows.rs"),
    include_str!("backlog.rs"),
    include_str!("clients.rs"),
    include_str!("places.rs"),
    include_str!("records.rs"),
    include_str!("runs.rs"),
    include_str!("quiet.rs"),
    include_str!("../namespace.rs"),
    include_str!("../open.rs"),
    include_str!("../mod.rs"),
    include_str!("../transact.rs"),
];
const VERBS: [&str; 4] = ["select ", "insert ", "update ", "delete "];

/// Statements that are allowed an exception, by how they begin, each with its reason.
const EXCEPTIONS: [(&str, &str); 3] = [
    (
        "select type, name, sql from sqlite_schema",
        "as many objects as the schema has: the first other one ends it",
    ),
    ("select name from namespace where removed is null", "all namespaces are what is asked for"),
    (
        // The index has the secret before the ticket, as it must.
        "select {RUN_COLUMNS} from run indexed by run_by_attempt",
        "sorts the runs of one id that are still remembered",
    ),
];

/// Returns the statements in a Rust source text, as written.
fn statements(source: &str) -> Vec<String> {
    let source = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
    let literals = source.split('"').skip(1).step_by(2);
    let joined = literals.map(|text| text.split("\\\n").map(str::trim_start).collect::<String>());
    let found: Vec<_> = joined.filter(|text| VERBS.iter().any(|verb| text.starts_with(verb))).collect();
    let begin: usize = VERBS.iter().map(|verb| source.matches(&format!("\"{verb}")).count()).sum();
    assert_eq!(found.len(), begin, "a literal was read wrongly");
    found
}

/// Fills in the names in braces.
fn filled(statement: &str, compare: &str) -> String {
    let named = [
        ("{META_COLUMNS}", META_COLUMNS),
        ("{RUN_COLUMNS}", RUN_COLUMNS),
        ("{RECORD_COLUMNS}", RECORD_COLUMNS),
        ("{compare}", compare),
    ];
    named.iter().fold(statement.to_owned(), |text, (name, value)| text.replace(name, value))
}

fn plan(sql: &Connection, statement: &str) -> Vec<String> {
    let mut plan = sql.prepare(&format!("explain query plan {statement}")).unwrap();
    let count = plan.parameter_count();
    let nothing = rusqlite::params_from_iter(std::iter::repeat_n(None::<i64>, count));
    plan.query_map(nothing, |row| row.get(3)).unwrap().map(|line| line.unwrap()).collect()
}

/// Returns whether a line of a plan says that rows are sorted, or that a whole table is scanned. A list
/// that is passed in is at most as long as a step may make it.
fn is_costly(line: &str) -> bool {
    let is_a_list = line.starts_with("SCAN json_each VIRTUAL TABLE") || line == "SCAN CONSTANT ROW";
    line.contains("TEMP B-TREE") || line.starts_with("SCAN ") && !is_a_list
}

#[test]
fn every_statement_finds_its_rows_by_a_key_and_sorts_none() {
    let sql = Connection::open_in_memory().unwrap();
    sql.execute_batch(SCHEMA_TEXT).unwrap();
    let all: Vec<_> = SOURCES.iter().flat_map(|source| statements(source)).collect();
    assert!(all.len() > 60, "{all:#?}");
    let mut excepted = 0;
    for statement in &all {
        let is_excepted = EXCEPTIONS.iter().any(|(beginning, _)| statement.starts_with(beginning));
        for compare in [">", ">="] {
            let plan = plan(&sql, &filled(statement, compare));
            assert_eq!(plan.iter().any(|line| is_costly(line)), is_excepted, "{statement}: {plan:#?}");
        }
        excepted += usize::from(is_excepted);
    }
    assert_eq!(excepted, EXCEPTIONS.len());
}

/// Makes a store with `many` living runs and records.
fn full(directory: &std::path::Path, many: u64) -> Connection {
    let file = directory.join("flowlock.db");
    let store = Arc::new(SqliteStore::open(&file, Duration::from_secs(5)).unwrap());
    let flowlock = Flowlock::with_store(store);
    flowlock.create(&["a"], crate::Creation::default()).unwrap();
    flowlock.job("job").lock("a").acquire().unwrap().detach().unwrap();
    drop(flowlock);
    let sql = Connection::open(file).unwrap();
    let copies = [
        "insert into run select ns, ticket + i, id || i, nonce, state, present, in_line, lapsed, revoked, detached, token,
             deadline_ms, began_ms, wait_end_ms, place_end_ms, absent_since_ms, given_up_ms, actor, forget_ms, due_ms,
             since_us, input_versions, parked, client, liveness, origin, ancestors, spec, tombstone from run, n where forget_ms is null",
        "insert into record select ns, name || i, state, version, run, job, written_at_us, expires_at_us, note, made_from,
             failure, actor from record, n",
    ];
    for copy in copies {
        let numbers = "with recursive n(i) as (select 1 union all select i + 1 from n where i < ?1)";
        assert_eq!(sql.execute(&format!("{numbers} {copy}"), [many as i64]).unwrap() as u64, many);
    }
    sql
}

/// Returns how many instructions of SQLite's machine it takes to read all of a listing, page by page.
fn instructions(many: u64, page: fn(&mut Rows<'_>, usize) -> usize) -> u64 {
    let directory = tempfile::tempdir().unwrap();
    let mut sql = full(directory.path(), many);
    let executed = Arc::new(AtomicU64::new(0));
    let counted = executed.clone();
    let count = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        false
    };
    sql.progress_handler(1, Some(count)).unwrap();
    assert_eq!(page(&mut Rows::new(&sql, 1), 250) as u64, many + 1);
    executed.load(Ordering::Relaxed)
}

fn all_runs(rows: &mut Rows<'_>, limit: usize) -> usize {
    let (mut from, mut seen) = (Ticket(0), 0);
    loop {
        let page = rows.living_runs(from, limit).unwrap();
        let Some(last) = page.last() else { return seen };
        (from, seen) = (Ticket(last.ticket.0 + 1), seen + page.len());
    }
}

fn all_records(rows: &mut Rows<'_>, limit: usize) -> usize {
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = rows.records("", after.as_ref(), limit).unwrap();
        let Some(last) = page.last() else { return seen };
        (after, seen) = (Some(last.name.clone()), seen + page.len());
    }
}

#[test]
fn a_listing_costs_as_much_as_it_lists() {
    for listing in [all_runs, all_records] {
        let (few, many) = (instructions(1_000, listing), instructions(8_000, listing));
        assert!(many < 9 * few, "{few} instructions for 1,000 rows, {many} for 8,000");
    }
}
