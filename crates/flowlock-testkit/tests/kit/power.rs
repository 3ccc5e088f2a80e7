//! The replayed power loss keeps what was promised and may drop everything else.

use std::path::{Path, PathBuf};

use flowlock_testkit::{Cli, Fault, Injected, Journal, Luck};
use tempfile::TempDir;

/// Runs the probe's operations in a fresh directory with a journal.
fn recorded(operations: &[&str]) -> (PathBuf, Journal, Injected, Cli) {
    let cli = Cli::new(env!("CARGO_BIN_EXE_probe"));
    let below = cli.home().join("data");
    std::fs::create_dir(&below).unwrap();
    let faults = Fault::below(&below).journal().inject();
    let cli = cli.in_directory(&below).with_faults(&faults);
    let done = cli.run(operations);
    assert!(done.out().lines().all(|line| line.ends_with("ok") || line.starts_with("row")), "{done:?}");
    (below, faults.journal(), faults, cli)
}

fn rebuilt(journal: &Journal, changes: usize, luck: Luck, below: &Path) -> TempDir {
    let into = TempDir::new().unwrap();
    journal.after_power_loss(changes, luck, below, into.path());
    into
}

fn survivors(operations: &[&str]) -> Vec<(String, String)> {
    let (below, journal, _faults, _home) = recorded(operations);
    let disk = rebuilt(&journal, journal.len(), Luck::None, &below);
    let mut files: Vec<_> = std::fs::read_dir(disk.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            (entry.file_name().into_string().unwrap(), std::fs::read_to_string(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn file(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

#[test]
fn what_was_never_synced_is_gone() {
    assert_eq!(survivors(&["create", "a", "write", "a", "text"]), []);
}

#[test]
fn a_synced_file_survives_with_what_it_held_at_the_sync() {
    assert_eq!(
        survivors(&["create", "a", "write", "a", "safe", "sync", "a", "append", "a", " and not"]),
        [file("a", "safe")]
    );
}

#[test]
fn a_truncation_after_the_sync_is_undone() {
    assert_eq!(
        survivors(&["create", "a", "write", "a", "safe", "sync", "a", "truncate", "a", "1"]),
        [file("a", "safe")]
    );
}

#[test]
fn a_rename_or_removal_holds_only_once_its_directory_is_synced() {
    let written = ["create", "a", "write", "a", "text", "sync", "a"];
    assert_eq!(survivors(&[&written[..], &["rename", "a", "b"]].concat()), [file("a", "text")]);
    assert_eq!(survivors(&[&written[..], &["rename", "a", "b", "sync", "."]].concat()), [file("b", "text")]);
    assert_eq!(survivors(&[&written[..], &["unlink", "a"]].concat()), [file("a", "text")]);
    assert_eq!(survivors(&[&written[..], &["unlink", "a", "sync", "."]].concat()), []);
}

#[test]
fn luck_saves_some_sectors_and_the_same_seed_saves_the_same_ones() {
    let text = "x".repeat(4096);
    let (below, journal, _faults, _home) = recorded(&["create", "a", "sync", "a", "write", "a", &text]);
    let disk = |seed| {
        std::fs::read(rebuilt(&journal, journal.len(), Luck::Seed(seed), &below).path().join("a")).unwrap()
    };
    let distinct: std::collections::HashSet<_> = (0..20).map(disk).collect();
    assert!(distinct.len() > 10, "{} different disks", distinct.len());
    assert_eq!(disk(7), disk(7));
    assert!(distinct.iter().any(|bytes| bytes.contains(&0) && bytes.contains(&b'x')), "a torn write");
}

#[test]
fn the_power_may_go_out_before_anything_happened() {
    let (below, journal, _faults, _home) = recorded(&["create", "a", "write", "a", "text", "sync", "a"]);
    let disk = rebuilt(&journal, 0, Luck::Seed(1), &below);
    assert_eq!(std::fs::read_dir(disk.path()).unwrap().count(), 0);
}

#[test]
fn sqlite_keeps_every_row_it_acknowledged_wherever_the_power_goes_out() {
    let (below, journal, faults, cli) = recorded(&["rows", "db", "3"]);
    let acknowledged = journal.len();
    cli.run(["rows", "db", "2"]).stdout("row 1\nrow 2\nrows ok\n");
    let journal_after = faults.journal();
    assert!(journal_after.len() > acknowledged);
    for changes in acknowledged..=journal_after.len() {
        for luck in [Luck::None, Luck::Seed(changes as u64), Luck::Seed(!(changes as u64))] {
            let disk = rebuilt(&journal_after, changes, luck, &below);
            let rows = count_rows(&disk.path().join("db"));
            assert!((3..=5).contains(&rows), "{rows} rows after {changes} changes, {luck:?}");
        }
    }
}

#[test]
fn rows_written_without_syncs_do_not_survive_so_the_replay_bites() {
    let (below, journal, _faults, _home) = recorded(&["rows", "db", "3"]);
    let first_sync = journal.syncs()[0];
    let disk = rebuilt(&journal, first_sync - 1, Luck::None, &below);
    assert!(!disk.path().join("db").exists());
}

fn count_rows(db: &Path) -> i64 {
    let db = rusqlite::Connection::open(db).unwrap();
    assert_eq!(db.query_row("pragma integrity_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    db.query_row("select count(*) from row", [], |row| row.get(0)).unwrap()
}
