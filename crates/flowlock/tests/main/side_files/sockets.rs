//! What somebody puts among the sockets for wake-ups.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;

use flowlock::store::Store as _;
use flowlock::{Begun, ClientId, Flowlock, Namespace};
use nix::sys::time::TimeSpec;

use super::{PATIENT, Place};

#[test]
fn files_that_others_put_among_the_sockets_are_left_alone() {
    let place = Place::new();
    let store = place.open().unwrap();
    drop(store.inbox(&Namespace::default(), ClientId(0)).unwrap());
    let inboxes = place.beside("-wake");
    let name = |number: u128| inboxes.join(ClientId(number).to_string());
    fs::write(name(1), "content").unwrap();
    fs::create_dir(name(2)).unwrap();
    symlink(place.victim("file"), name(3)).unwrap();
    drop(UnixDatagram::bind(inboxes.join("another.socket")).unwrap());
    for entry in fs::read_dir(&inboxes).unwrap() {
        grow_old(&entry.unwrap().path());
    }
    for client in 10..30 {
        drop(store.inbox(&Namespace::default(), ClientId(client)).unwrap());
    }
    assert_eq!(fs::read_dir(&inboxes).unwrap().count(), 4);
    assert_eq!(fs::read_to_string(name(1)).unwrap(), "content");
    place.is_unharmed();
}

fn grow_old(path: &Path) {
    let long_ago = TimeSpec::new(1, 0);
    let flags = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
    nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, path, &long_ago, &long_ago, flags).unwrap();
}

#[test]
fn a_link_in_the_place_of_a_clients_socket_brings_nothing_to_another() {
    let place = Place::new();
    let other = UnixDatagram::bind(place.victim("socket")).unwrap();
    other.set_nonblocking(true).unwrap();
    let open = || Flowlock::builder().with_store(Arc::new(place.open().unwrap()));
    let (ours, theirs) = (open(), open());
    let first = ours.job("first").lock("a").acquire().unwrap();
    let Begun::Waiting(second) = theirs.job("second").lock("a").begin().unwrap() else { panic!() };
    // The socket is made in a directory, which is there for a moment before it.
    let is_socket = |entry: &fs::DirEntry| entry.file_type().unwrap().is_socket();
    let socket = flowlock_testkit::until("the inbox", PATIENT, || {
        let entries = fs::read_dir(place.beside("-wake")).ok()?.map(Result::unwrap);
        entries.into_iter().find(is_socket).map(|entry| entry.path())
    });
    fs::remove_file(&socket).unwrap();
    symlink(place.victim("socket"), &socket).unwrap();
    first.commit().unwrap();
    assert!(other.recv(&mut [0; 512]).is_err(), "a stranger's socket was written to");
    drop(second);
}
