//! Who owns the side files, who makes them, and who may change them.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use flowlock::store::StoreErrorKind;
use flowlock::store::sqlite::SqliteStore;

use super::{PATIENT, Place, STRANGER, use_everything};

#[test]
fn root_makes_and_gives_away_nothing_beside_a_store_of_somebody_else() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give a store away");
        return;
    }
    for suffix in ["-live", "-lock", "-wal", "-shm", "-wake"] {
        let place = Place::new();
        use_everything(&place).unwrap();
        let directory = place.path().parent().unwrap().to_owned();
        let all = || fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        all()
            .chain([directory.clone()])
            .for_each(|path| chown(path, Some(STRANGER), Some(STRANGER)).unwrap());
        use_everything(&place).unwrap();
        let at = place.beside(suffix);
        fs::remove_file(&at).or_else(|_| fs::remove_dir(&at)).unwrap();
        let said = use_everything(&place).expect_err(suffix);
        assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
        let named = format!(
            "{} is missing, and only user {STRANGER}, who owns the store, can make it: let them run `flowlock doctor`",
            at.display()
        );
        assert_eq!(said.to_string(), named);
        assert!(all().all(|path| !path.starts_with(&at) && !path.display().to_string().contains(".new-")));
    }
}

#[test]
fn a_store_without_its_directory_for_wake_ups_gets_it_from_its_owners_next_command() {
    let place = Place::new();
    use_everything(&place).unwrap();
    fs::remove_dir(place.beside("-wake")).unwrap();
    drop(place.open().unwrap());
    assert!(place.beside("-wake").is_dir());
}

/// Copied back from a backup, say: nobody gets more rights to what is beside it.
#[test]
fn a_store_that_others_may_read_is_used_with_side_files_of_the_owners_alone() {
    let place = Place::new();
    drop(place.open().unwrap());
    let whole = fs::read(place.path()).unwrap();
    fs::remove_dir_all(place.path().parent().unwrap()).unwrap();
    fs::create_dir(place.path().parent().unwrap()).unwrap();
    fs::write(place.path(), whole).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    use_everything(&place).unwrap();
    let mode = fs::metadata(place.beside("-wake")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn where_others_can_make_files_an_empty_journal_keeps_its_place() {
    let place = Place::new();
    use_everything(&place).unwrap();
    assert!(!place.beside("-journal").exists(), "nobody else can make one here");
    fs::set_permissions(place.path().parent().unwrap(), fs::Permissions::from_mode(0o1777)).unwrap();
    for _ in 0..2 {
        use_everything(&place).unwrap();
        let journal = fs::metadata(place.beside("-journal")).unwrap();
        assert_eq!((journal.len(), journal.permissions().mode() & 0o777), (0, 0o600));
    }
}

#[test]
fn what_flowlock_makes_beside_a_store_is_the_users_alone() {
    let place = Place::new();
    use_everything(&place).unwrap();
    let mode = |suffix: &str| fs::metadata(place.beside(suffix)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["", "-live", "-lock", "-wal", "-shm"].map(mode), [0o600; 5]);
    assert_eq!(mode("-wake"), 0o700);
}

/// Where a group shares the store its members may write any content; only a project names files that are not the store's.
#[test]
fn no_content_of_a_side_file_stops_those_who_share_a_store() {
    for (suffix, content) in
        [("-live", "abc"), ("-live", "abcdefghijkl"), ("-shm", "garbage"), ("-wal", "garbage")]
    {
        let place = Place::new();
        fs::set_permissions(place.path().parent().unwrap(), fs::Permissions::from_mode(0o2770)).unwrap();
        use_everything(&place).unwrap();
        assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o660);
        fs::write(place.beside(suffix), content).unwrap();
        let of_a_project = place.root.path().join("./store/flowlock.db");
        let said = SqliteStore::open(&of_a_project, PATIENT).unwrap_err();
        assert!(said.to_string().contains(&format!("flowlock.db{suffix}")), "{said}");
        assert_eq!(fs::read_to_string(place.beside(suffix)).unwrap(), content);
        use_everything(&place).expect(suffix);
    }
}
