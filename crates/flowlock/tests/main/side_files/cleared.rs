//! What is cleared away before a store is made: leftovers of flowlock and of SQLite, and no file of the user's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flowlock::store::StoreErrorKind;
use flowlock::store::sqlite::SqliteStore;

use super::{Place, journal_that_deletes, use_everything};

#[test]
fn only_what_sqlite_left_is_cleared_away_for_a_new_store() {
    const INDEX: usize = 32 << 10;
    let padded = |beginning: &[u8], length: usize| [beginning, &vec![0; length - beginning.len()]].concat();
    let version = 3_007_000_u32.to_ne_bytes();
    for (suffix, content, cleared) in [
        ("-wal", b"my notes".to_vec(), false),
        ("-wal", padded(&[0], INDEX + 1), false),
        ("-wal", padded(&[0x37, 0x7f, 0x06, 0x82], 32), true),
        ("-wal", padded(&[0x37, 0x7f, 0x06, 0x83], 32), true),
        ("-shm", b"my notes".to_vec(), false),
        ("-shm", padded(&version, INDEX + 1), false),
        ("-shm", padded(&[0], 4096), true),
        ("-shm", padded(&version, INDEX), true),
        ("-journal", b"my notes".to_vec(), false),
        ("-journal", journal_that_deletes(Path::new("/etc/passwd"), Path::new("nothing")), true),
    ] {
        let place = Place::new();
        // What is not refused stays too, if another file is.
        fs::write(place.beside("-journal"), "").unwrap();
        fs::write(place.beside(suffix), &content).unwrap();
        match (place.open(), cleared) {
            (Ok(_), true) => {}
            (Err(said), false) => {
                assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
                let named = format!("{} is in the way of the store", place.beside(suffix).display());
                assert!(said.to_string().starts_with(&named), "{said}");
                assert_eq!(fs::read(place.beside(suffix)).unwrap(), content);
                assert!(place.beside("-journal").exists() && !place.path().exists());
            }
            (done, _) => panic!("{suffix} of {} bytes: {done:?}", content.len()),
        }
    }
}

#[test]
fn leftovers_are_found_and_the_next_maker_clears_them_away() {
    let place = Place::new();
    let left: Vec<_> = ["", "-journal"]
        .map(|of| place.beside(&format!(".new-0123456789abcdef{of}")))
        .into_iter()
        .chain([place.beside("-live.new-0123456789abcdef")])
        .collect();
    let others = [place.beside(".new-prod"), place.beside(".new")];
    left.iter().chain(&others).for_each(|path| fs::write(path, "").unwrap());
    let mut found = SqliteStore::leftovers(&place.path());
    found.sort();
    let mut expected = left.clone();
    expected.sort();
    assert_eq!(found, expected);
    drop(place.open().unwrap());
    assert!(left.iter().all(|path| !path.exists()) && others.iter().all(|path| path.exists()));
}

/// Whoever may write the directory can make any number.
#[test]
fn of_very_many_leftovers_only_some_are_looked_at_and_cleared_away() {
    const MANY: usize = 1_100;
    const AT_ONCE: usize = 1_000;
    let place = Place::new();
    let left = || (0..MANY).map(|number| place.beside(&format!(".new-{number:016x}")));
    left().for_each(|path| fs::write(path, "").unwrap());
    assert_eq!(SqliteStore::leftovers(&place.path()).len(), AT_ONCE);
    drop(place.open().unwrap());
    assert_eq!(left().filter(|path| path.exists()).count(), MANY - AT_ONCE);
}

/// A project that was cloned may name its store, and so which names these are.
#[test]
fn a_file_of_the_users_that_has_the_name_of_a_side_file_is_left_alone_and_named() {
    for is_there in [false, true] {
        for (suffix, text) in [
            ("-live", "v1.2\n"),
            ("-live", "a list of those who live\n"),
            ("-wal", "precious notes"),
            ("-shm", "precious notes"),
            ("-journal", "precious notes"),
        ] {
            let place = Place::new();
            if is_there {
                use_everything(&place).unwrap();
            }
            fs::write(place.beside(suffix), text).unwrap();
            fs::set_permissions(place.beside(suffix), fs::Permissions::from_mode(0o600)).unwrap();
            let said = place.open().unwrap_err();
            assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
            assert!(said.to_string().contains(&format!("flowlock.db{suffix}")), "{said}");
            assert_eq!(fs::read_to_string(place.beside(suffix)).unwrap(), text, "{suffix}");
        }
    }
}

#[test]
fn a_file_of_the_users_that_is_called_like_a_draft_is_no_leftover() {
    let place = Place::new();
    let theirs = [".new-2026112619020000", ".new-2026112619020000-wal", "-live.new-2026112619020000"]
        .map(|name| place.beside(name));
    for path in &theirs {
        fs::write(path, "a dump of the day").unwrap();
    }
    let full = place.beside("-wake.new-2026112619020000");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("file"), "").unwrap();
    assert!(SqliteStore::leftovers(&place.path()).iter().all(|path| *path == full));
    drop(place.open().unwrap());
    assert!(theirs.iter().all(|path| fs::read_to_string(path).unwrap() == "a dump of the day"));
    assert!(full.join("file").exists());
}
