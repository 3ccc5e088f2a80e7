//! Stores that are reached through links.

use std::fs;
use std::os::unix::fs::{lchown, symlink};
use std::path::{Path, PathBuf};

use flowlock::store::sqlite::SqliteStore;
use flowlock::store::{Store as _, StoreErrorKind};
use flowlock::{Acquired, Flowlock};

use super::{PATIENT, Place, STRANGER};

#[test]
fn a_store_reached_through_a_link_has_the_side_files_of_its_target() {
    let place = Place::new();
    let [link, directory] = ["link.db", "directory"].map(|name| place.root.path().join(name));
    symlink("store/flowlock.db", &link).unwrap();
    symlink(place.path().parent().unwrap(), &directory).unwrap();
    let open = |path: &Path| Flowlock::open(&format!("sqlite:{}", path.display())).unwrap();
    // Through a link that leads to nothing yet the store is made where it leads to.
    let held = open(&link).job("holder").lock("a").acquire().unwrap();
    let store = fs::canonicalize(&link).unwrap();
    assert_eq!(store, fs::canonicalize(place.path()).unwrap());
    for path in [place.path(), directory.join("flowlock.db"), directory.join("../link.db")] {
        let flowlock = open(&path);
        assert_eq!(flowlock.store().url(), format!("sqlite:{}", store.display()));
        let next = flowlock.job("next").lock("a").try_acquire().unwrap();
        assert!(matches!(next, Acquired::Blocked(_)), "{next:?}");
    }
    held.commit().unwrap();
    let mut beside: Vec<_> =
        fs::read_dir(place.root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["directory", "link.db", "store", "victim"]);
}

#[test]
fn a_link_that_somebody_else_made_is_not_followed_to_a_store() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make a link of another user");
        return;
    }
    let place = Place::new();
    drop(place.open().unwrap());
    for (link, target, file) in [
        ("link.db", "store/flowlock.db", "link.db"),
        ("new.db", "victim/new.db", "new.db"),
        ("directory", "store", "directory/flowlock.db"),
    ] {
        let link = place.root.path().join(link);
        symlink(target, &link).unwrap();
        lchown(&link, Some(STRANGER), None).unwrap();
        let said = SqliteStore::open(&place.root.path().join(file), PATIENT).unwrap_err();
        assert_eq!(said.kind(), StoreErrorKind::Unusable);
        let named = format!(
            "{} is a symbolic link made by user {STRANGER}, who is neither you nor root, so it is not followed; if you mean its target {target}, name that",
            link.display()
        );
        assert_eq!(said.to_string(), named);
    }
    place.is_unharmed();
}

#[test]
fn links_that_lead_in_a_circle_are_no_store() {
    let place = Place::new();
    symlink("flowlock.db", place.path()).unwrap();
    let said = place.open().unwrap_err();
    assert!(said.to_string().contains("Too many levels of symbolic links"), "{said}");
}

#[test]
fn a_store_that_a_project_names_is_reached_through_no_link_and_says_so_to_others() {
    let place = Place::new();
    let root = place.root.path().canonicalize().unwrap();
    let marked = |below: &str| PathBuf::from(format!("{}/./{below}", root.display()));
    let url = SqliteStore::open(&marked("store/flowlock.db"), PATIENT).unwrap().url();
    assert_eq!(url, format!("sqlite:{}/./store/flowlock.db", root.display()));
    assert!(Flowlock::open(&url).is_ok());
    symlink("store", root.join("way")).unwrap();
    symlink("store/flowlock.db", root.join("link.db")).unwrap();
    for (path, link) in [("way/flowlock.db", "way"), ("link.db", "link.db")] {
        let said = SqliteStore::open(&marked(path), PATIENT).unwrap_err();
        assert_eq!(said.kind(), StoreErrorKind::Unusable);
        let named = format!("{} is a symbolic link to store", root.join(link).display());
        assert!(said.to_string().starts_with(&named), "{said}");
        SqliteStore::open(&root.join(path), PATIENT).unwrap();
    }
    let said = SqliteStore::open(&marked("victim/../store/flowlock.db"), PATIENT).unwrap_err();
    assert!(said.to_string().contains("has \"..\" in it"), "{said}");
}
