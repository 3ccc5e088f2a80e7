//! Files that are removed, replaced or cut off while the store is open.

use std::fs;
use std::time::Duration;

use flowlock::store::sqlite::SqliteStore;
use flowlock::store::{Store as _, StoreErrorKind};
use flowlock::{Acquired, Lost};

use super::{PATIENT, Place, is_written, kind, process, succeed, write};

#[test]
fn nobody_is_declared_dead_because_the_liveness_file_was_removed() {
    let place = Place::new();
    let (ours, theirs) = (place.open(), place.open());
    let held = ours.job("holder").lock("a").acquire().unwrap();
    fs::remove_file(place.beside("-live")).unwrap();
    for flowlock in [theirs, place.open()] {
        assert!(matches!(flowlock.job("next").lock("a").try_acquire().unwrap(), Acquired::Blocked(_)));
    }
    held.commit().unwrap();
}

#[test]
fn the_dead_are_found_in_a_new_liveness_file_too() {
    let place = Place::new();
    let ours = place.open();
    fs::remove_file(place.beside("-live")).unwrap();
    let theirs = SqliteStore::open(&place.path(), PATIENT).unwrap();
    let liveness_lock = theirs.new_liveness_lock().unwrap().unwrap();
    assert!(ours.store().is_alive(liveness_lock.liveness));
    let liveness = liveness_lock.liveness;
    drop(liveness_lock);
    assert!(!ours.store().is_alive(liveness));
}

#[test]
fn a_store_that_is_removed_or_replaced_while_open_is_not_made_anew() {
    for replacement in [None, Some(())] {
        let place = Place::new();
        let flowlock = place.open();
        write(&flowlock, "a").unwrap();
        fs::rename(place.path(), place.beside(".away")).unwrap();
        if replacement.is_some() {
            write(&place.open(), "b").unwrap();
        }
        for _ in 0..2 {
            let said = write(&flowlock, "c").unwrap_err();
            assert_eq!(kind(&said), Some(StoreErrorKind::Replaced), "{said}");
            assert!(said.to_string().contains("flowlock.db was removed or replaced"), "{said}");
        }
        assert_eq!(place.path().exists(), replacement.is_some());
    }
}

#[test]
fn what_was_held_in_a_store_that_was_replaced_is_reported_lost_before_its_lease_ends() {
    let place = Place::new();
    let flowlock = place.open();
    let lease = Duration::from_secs(6);
    let grant = flowlock.job("holder").output("a").lease(lease).acquire().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    grant.on_lost(move |by| tell.send(by).unwrap());
    fs::rename(place.path(), place.beside(".away")).unwrap();
    write(&place.open(), "b").unwrap();
    assert_eq!(told.recv_timeout(lease).unwrap(), Lost::WithTheStore);
    assert!(grant.commit().is_err());
}

#[test]
fn a_journal_that_is_removed_while_open_is_noticed() {
    for suffix in ["-wal", "-shm"] {
        let place = Place::new();
        let flowlock = place.open();
        write(&flowlock, "a").unwrap();
        fs::remove_file(place.beside(suffix)).unwrap();
        let said = write(&flowlock, "b").unwrap_err();
        assert_eq!(kind(&said), Some(StoreErrorKind::Replaced), "{said}");
    }
}

#[test]
fn an_index_that_is_cut_off_while_open_is_made_anew() {
    let place = Place::new();
    let flowlock = place.open();
    write(&flowlock, "a").unwrap();
    // Touching a part of it that is not there any more would kill this process.
    let cut = || fs::File::options().write(true).open(place.beside("-shm")).unwrap().set_len(0).unwrap();
    cut();
    write(&flowlock, "b").unwrap();
    cut();
    assert!(["a", "b"].iter().all(|name| is_written(&flowlock, name)));
    succeed([process("write c", &place.path()).spawn().unwrap()]);
    write(&flowlock, "d").unwrap();
    assert!(["c", "d"].iter().all(|name| is_written(&flowlock, name)));
    drop(flowlock);
    let store = SqliteStore::open(&place.path(), PATIENT).unwrap();
    assert_eq!(store.check().unwrap(), Vec::<String>::new());
}
