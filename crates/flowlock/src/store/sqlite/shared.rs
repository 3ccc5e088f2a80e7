//! A store that all members of a group share, and none of them can replace or hide.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use nix::libc;
use nix::unistd::{Gid, chown, fchown, geteuid};

use super::SqliteStore;
use super::failure::at_path;
use super::place::{Missing, Place, way_to};
use super::side::{SideFiles, unusable};
use crate::store::{StoreError, directory_of};

/// Sticky: members may make files, and replace or remove only their own. New files are the group's.
pub(super) const DIRECTORY: u32 = 0o3770;
/// What lies in it, the store itself first.
const FILES: [&str; 5] = ["", "-live", "-lock", "-wal", "-shm"];

/// Makes the directory of the store at `path`, the store, and every file that flowlock or `SQLite` opens beside it,
/// so that no member has to make one or can. What is there already must be this user's. The directory is opened to the
/// group when all is in its place: nobody can be faster.
pub(super) fn make_shared(path: &Path, group: u32, patience: Duration) -> Result<(), StoreError> {
    let place = Place::find(directory_of(path), Missing::Made)?;
    let directory = make_directory(&place)?;
    let failed = |doing, place: &Place, error| at_path(doing, place.path(), error);
    let found = directory.metadata().map_err(|error| failed("look at", &place, error))?;
    let store = Place::find(path, Missing::Refused)?;
    // Members may be using one that was shared before.
    let is_shared = found.uid() == geteuid().as_raw() && found.mode() & 0o7777 == DIRECTORY;
    if !(is_shared && store.is_there()) {
        let close = || -> io::Result<()> {
            fchown(&directory, Some(geteuid()), None)?;
            directory.set_permissions(Permissions::from_mode(0o700))
        };
        close().map_err(|error| failed("make yours", &place, error))?;
    }
    let side = SideFiles::of_shared(&store, group);
    let open = share_all(&side, &store, group).and_then(|()| SqliteStore::open(store.path(), patience))?;
    // Those that were missing are there now.
    share_all(&side, &store, group)?;
    share_inboxes(&side, group)?;
    drop(open);
    let share = || -> io::Result<()> {
        fchown(&directory, None, Some(Gid::from_raw(group)))?;
        directory.set_permissions(Permissions::from_mode(DIRECTORY))
    };
    share().map_err(|error| failed("share", &place, error))
}

/// Makes the directory if it is missing. Not where somebody else could put another one in its place meanwhile.
fn make_directory(place: &Place) -> Result<File, StoreError> {
    if !place.is_settled() {
        return Err(unusable(format!(
            "{} is no place for a shared store: others than you and root can put something else there, because they own a \
             directory above it or may write one; take a directory below such that only root writes, as /var/lib/flowlock is",
            place.shown()
        )));
    }
    match fs::create_dir(place.inside()) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(at_path("make", place.path(), error));
        }
        _ => {}
    }
    place.open_directory().map_err(|error| at_path("open", place.path(), error))
}

/// Gives all files to the group that are there. Of the journal there is one once the store is, and it is empty.
fn share_all(side: &SideFiles, store: &Place, group: u32) -> Result<(), StoreError> {
    for suffix in FILES {
        share(side, suffix, side.mode(), group)?;
    }
    let (journal, mode) = (side.place("-journal"), side.mode() & !0o020);
    if store.is_there() && !journal.is_there() {
        side.make(&journal, mode)?;
    }
    share(side, "-journal", mode, group)
}

fn share_inboxes(side: &SideFiles, group: u32) -> Result<(), StoreError> {
    let inboxes = side.directory("-wake")?;
    inboxes
        .set_permissions(Permissions::from_mode(DIRECTORY))
        .and_then(|()| Ok(fchown(&inboxes, None, Some(Gid::from_raw(group)))?))
        .map_err(|error| at_path("share", side.place("-wake").path(), error))
}

/// Gives a file to the group, if it is there. The store is never opened for that: closing it would drop the locks
/// that `SQLite` has on it.
fn share(side: &SideFiles, suffix: &str, mode: u32, group: u32) -> Result<(), StoreError> {
    let place = side.place(suffix);
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let file = match File::options().read(true).custom_flags(flags).open(place.inside()) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at_path("look at", place.path(), error)),
    };
    let meta = file.metadata().map_err(|error| at_path("look at", place.path(), error))?;
    side.judge(&place, &meta)?;
    if meta.uid() != geteuid().as_raw() {
        return Err(unusable(format!(
            "{} belongs to user {}, who could replace it: chown it to user {} first",
            place.shown(),
            meta.uid(),
            geteuid()
        )));
    }
    let itself = way_to(&file);
    chown(&itself, None, Some(Gid::from_raw(group)))
        .map_err(io::Error::from)
        .and_then(|()| fs::set_permissions(&itself, Permissions::from_mode(mode)))
        .map_err(|error| at_path("share", place.path(), error))
}
