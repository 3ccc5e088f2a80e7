//! Many processes make the store, and one that dies while it makes it.

use std::fs;
use std::time::Duration;

use flowlock::store::sqlite::SqliteStore;

use super::{PATIENT, Place, is_written, process, succeed, write};

#[test]
fn many_processes_may_make_the_store_at_once() {
    for _ in 0..5 {
        let place = Place::new();
        let children: Vec<_> = (0..12)
            .map(|number| process(&format!("write name{number}"), &place.path()).spawn().unwrap())
            .collect();
        succeed(children);
        let flowlock = place.open();
        assert!((0..12).all(|number| is_written(&flowlock, &format!("name{number}"))));
    }
}

#[test]
fn a_process_killed_while_it_makes_the_store_leaves_nothing_in_the_way() {
    let place = Place::new();
    for round in 0..60 {
        let mut child = process("write a", &place.path()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(1_000 + round * 300));
        child.kill().unwrap();
        child.wait().unwrap();
        if round % 2 == 0 && place.path().exists() {
            fs::remove_file(place.path()).unwrap();
        }
    }
    let _ = fs::remove_file(place.path());
    write(&place.open(), "a").unwrap();
    let ours = ["", "-live", "-lock", "-shm", "-wake", "-wal"].map(|suffix| format!("flowlock.db{suffix}"));
    assert_eq!(place.files(), ours);
}

#[test]
fn a_store_removed_without_its_journal_begins_anew_and_whole() {
    let place = Place::new();
    for name in ["a", "b", "c"] {
        write(&place.open(), name).unwrap();
    }
    fs::remove_file(place.path()).unwrap();
    let flowlock = place.open();
    assert!(!is_written(&flowlock, "a"));
    write(&flowlock, "d").unwrap();
    let store = SqliteStore::open(&place.path(), PATIENT).unwrap();
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}
