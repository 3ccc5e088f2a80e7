//! Links, devices and files of others in the place of a side file, or of the store itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Instant;

use flowlock::store::StoreErrorKind;

use super::{
    BESIDE, Device, Directory, Fifo, HardLink, KINDS, OfAStranger, PATIENT, Place, Socket, WritableByAll,
    journal_that_deletes, use_everything,
};

#[test]
fn nothing_is_opened_that_is_not_ours_beside_a_store() {
    for planted in KINDS {
        for suffix in BESIDE {
            let place = Place::new();
            use_everything(&place).unwrap();
            if !place.plant(planted, suffix) {
                continue;
            }
            let begun = Instant::now();
            let said = use_everything(&place).expect_err(&format!("{planted:?} as {suffix}"));
            assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
            let shown = place.beside(suffix).display().to_string();
            assert!(said.to_string().starts_with(&shown), "{planted:?} as {suffix}: {said}");
            assert!(begun.elapsed() < PATIENT, "{planted:?} as {suffix}");
            place.is_unharmed();
        }
    }
}

#[test]
fn nothing_that_is_not_ours_is_opened_or_followed_while_a_store_is_made() {
    for planted in KINDS {
        for suffix in BESIDE {
            let place = Place::new();
            if !place.plant(planted, suffix) {
                continue;
            }
            // An empty file under a name that SQLite uses is cleared away first.
            let cleared = matches!(suffix, "-wal" | "-shm" | "-journal")
                && matches!(planted, OfAStranger | WritableByAll);
            let done = use_everything(&place);
            assert_eq!(done.is_ok(), cleared, "{planted:?} as {suffix}: {done:?}");
            assert!(cleared || place.beside(suffix).symlink_metadata().is_ok(), "{planted:?} as {suffix}");
            place.is_unharmed();
        }
    }
}

#[test]
fn a_store_that_is_no_regular_file_is_refused() {
    for planted in [Fifo, Socket, Directory, Device, HardLink] {
        let place = Place::new();
        if !place.plant(planted, "") {
            continue;
        }
        let said = place.open().expect_err(&format!("{planted:?}"));
        assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
        assert!(said.to_string().starts_with(&place.path().display().to_string()), "{said}");
        place.is_unharmed();
    }
}

#[test]
fn a_journal_that_others_left_is_not_played_into_the_store_and_deletes_nothing() {
    let place = Place::new();
    use_everything(&place).unwrap();
    fs::write(place.beside("-journal"), journal_that_deletes(&place.path(), &place.victim("file"))).unwrap();
    fs::set_permissions(place.beside("-journal"), fs::Permissions::from_mode(0o600)).unwrap();
    let said = use_everything(&place).unwrap_err();
    assert!(said.to_string().contains("flowlock.db-journal is not empty"), "{said}");
    place.is_unharmed();
}
