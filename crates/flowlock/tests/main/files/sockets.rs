//! The sockets through which waiting processes are woken.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use flowlock::store::Store as _;
use flowlock::store::sqlite::SqliteStore;
use flowlock::{Begun, ClientId, Namespace, Progress};

use super::{PATIENT, Place, open};

#[test]
fn sockets_of_dead_processes_do_not_pile_up() {
    let place = Place::new();
    let store = SqliteStore::open(&place.path(), PATIENT).unwrap();
    drop(store.inbox(&Namespace::default(), ClientId(0)).unwrap());
    let directory = place.beside("-wake");
    for number in 0..100 {
        let socket = directory.join(ClientId(1_000 + number).to_string());
        drop(UnixDatagram::bind(&socket).unwrap());
        let long_ago = nix::sys::time::TimeSpec::new(1, 0);
        nix::sys::stat::utimensat(
            nix::fcntl::AT_FDCWD,
            &socket,
            &long_ago,
            &long_ago,
            nix::sys::stat::UtimensatFlags::NoFollowSymlink,
        )
        .unwrap();
    }
    let living = store.inbox(&Namespace::default(), ClientId(1)).unwrap();
    for client in 2..100 {
        drop(store.inbox(&Namespace::default(), ClientId(client)).unwrap());
    }
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "the living one stays");
    drop(living);
}

#[test]
fn a_connection_that_ends_takes_its_socket_with_it() {
    let place = Place::new();
    let sockets = || fs::read_dir(place.beside("-wake")).unwrap().count();
    for _ in 0..20 {
        let (ours, theirs) = (place.open(), place.open());
        let first = ours.job("first").lock("a").acquire().unwrap();
        let Begun::Waiting(second) = theirs.job("second").lock("a").begin().unwrap() else { panic!() };
        flowlock_testkit::until("a socket", PATIENT, || (sockets() == 1).then_some(()));
        second.cancel().unwrap();
        // At once: the thread that listens may not come to it before the process ends.
        theirs.stop_listening(PATIENT);
        assert_eq!(sockets(), 0);
        first.commit().unwrap();
    }
}

#[test]
fn a_path_longer_than_a_socket_address_hands_on_as_fast() {
    let place = Place::new();
    let deep = place.directory.path().join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&deep).unwrap();
    let path = deep.join("flowlock.db");
    let (ours, theirs) = (open(&path).unwrap(), open(&path).unwrap());
    let first = ours.job("first").lock("a").acquire().unwrap();
    let Begun::Waiting(mut second) = theirs.job("second").lock("a").begin().unwrap() else { panic!() };
    assert!(matches!(second.wait(Duration::from_millis(100)).unwrap(), Progress::Waiting));
    first.commit().unwrap();
    assert!(matches!(second.wait(Duration::from_secs(3)).unwrap(), Progress::Granted(_)));
}
