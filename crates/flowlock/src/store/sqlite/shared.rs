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
/// so that no member has to make one or can. What is there already must be this user's.
pub(super) fn make_shared(path: &Path, group: u32, patience: Duration) -> Result<(), StoreError> {
    share_directory(directory_of(path), group)?;
    let store = Place::find(path, Missing::Refused)?;
    let side = SideFiles::of_shared(&store, group);
    for suffix in FILES {
        share(&side, suffix, side.mode(), group)?;
    }
    let journal = side.mode() & !0o020;
    share(&side, "-journal", journal, group)?;
    let open = SqliteStore::open(store.path(), patience)?;
    let inboxes = side.directory("-wake")?;
    inboxes
        .set_permissions(Permissions::from_mode(DIRECTORY))
        .and_then(|()| Ok(fchown(&inboxes, None, Some(Gid::from_raw(group)))?))
        .map_err(|error| at_path("share", side.place("-wake").path(), error))?;
    drop(open);
    Ok(())
}

/// Makes the directory, and the group's. Not where somebody else could put another one in its place meanwhile.
fn share_directory(path: &Path, group: u32) -> Result<(), StoreError> {
    let place = Place::find(path, Missing::Made)?;
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
    let share = || {
        let directory = place.open_directory()?;
        fchown(&directory, Some(geteuid()), Some(Gid::from_raw(group)))?;
        directory.set_permissions(Permissions::from_mode(DIRECTORY))
    };
    share().map_err(|error| at_path("share", place.path(), error))
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
