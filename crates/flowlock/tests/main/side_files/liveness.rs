//! A liveness file that was replaced or cut off.

use std::fs;
use std::sync::Arc;

use flowlock::store::sqlite::SqliteStore;
use flowlock::{Acquired, Flowlock};

use super::{PATIENT, Place};

#[test]
fn nobody_is_declared_dead_because_the_liveness_file_was_replaced_by_a_copy() {
    let place = Place::new();
    let open = || Flowlock::builder().with_store(Arc::new(place.open().unwrap()));
    let (ours, theirs) = (open(), open());
    let held = ours.job("holder").lock("a").acquire().unwrap();
    fs::copy(place.beside("-live"), place.beside(".copy")).unwrap();
    fs::rename(place.beside(".copy"), place.beside("-live")).unwrap();
    for flowlock in [theirs, open()] {
        let next = flowlock.job("next").lock("a").try_acquire().unwrap();
        assert!(matches!(next, Acquired::Blocked(_)), "{next:?}");
    }
    held.commit().unwrap();
}

/// Whoever may write the file may cut it off, and must not be able to stop everybody by that.
#[test]
fn a_liveness_file_that_was_cut_off_gets_a_new_number_and_nobody_is_declared_dead() {
    for is_of_a_project in [false, true] {
        let place = Place::new();
        let path = if is_of_a_project { place.root.path().join("./store/flowlock.db") } else { place.path() };
        let open = || Flowlock::builder().with_store(Arc::new(SqliteStore::open(&path, PATIENT).unwrap()));
        let first = open();
        let held = first.job("holder").lock("a").acquire().unwrap();
        for length in (0..8).rev() {
            fs::File::options().write(true).open(place.beside("-live")).unwrap().set_len(length).unwrap();
            let next = open().job("next").lock("a").try_acquire().unwrap();
            assert!(matches!(next, Acquired::Blocked(_)), "{next:?}");
            assert_eq!(fs::metadata(place.beside("-live")).unwrap().len(), 8);
        }
        held.commit().unwrap();
        open().job("next").lock("a").acquire().unwrap().commit().unwrap();
    }
}
