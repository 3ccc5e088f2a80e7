//! How rows are kept has a number, which every store says: another flowlock that keeps them otherwise refuses to touch it.
//! So a layout that changes needs another number, and a change that nobody meant is seen here.
//!
//! Each file in `layouts/` has the rows of one fixed history, for one number. A new number gets a new file.
//! `UPDATE_LAYOUTS=1` writes it, and writes one anew whose number no release has had yet.

use std::fs;
use std::path::Path;

use flowlock_testkit::{Subject, conformance};

#[test]
fn an_embedded_store_keeps_its_rows_as_its_number_says() {
    is_as_written_down("embedded", &conformance::layout(Subject::sqlite));
}

#[test]
fn a_store_on_a_server_keeps_its_rows_as_its_number_says() {
    is_as_written_down("redis", &conformance::layout(Subject::redis));
}

fn is_as_written_down(store: &str, rows: &[String]) {
    let number = schema(rows);
    let file = format!("layouts/{store}.{number}.txt");
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/main")).join(&file);
    let now = rows.join("\n") + "\n";
    if std::env::var_os("UPDATE_LAYOUTS").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let then = fs::read_to_string(&path).unwrap_or_default();
    let differ: Vec<_> = now.lines().filter(|line| !then.lines().any(|other| other == *line)).collect();
    assert!(
        now == then,
        "rows are kept otherwise than {file} says, which has the layout of schema {number}. If a release had that number, \
         raise it (SCHEMA in store/redis/script/constants.rs, or in store/sqlite/schema.rs); then write the file with UPDATE_LAYOUTS=1. \
         Rows that it does not have:\n{}",
        differ.join("\n")
    );
}

/// The number that the store itself has in its rows.
fn schema(rows: &[String]) -> u32 {
    let said = rows.iter().find_map(|row| {
        row.strip_prefix("schema ").or_else(|| row.strip_prefix("  m: >Bdddddddc16d ")?.split(' ').next())
    });
    said.and_then(|number| number.parse().ok()).expect("the rows say which layout they have")
}
