//! A store that all members of a group share, and none of them can replace or hide.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::unistd::{Gid, chown, fchown, geteuid};

use super::SqliteStore;
use super::failure::at_path;
use super::side::{SideFiles, open_directory, shown, unusable};
use crate::store::{StoreError, directory_of};

/// Sticky: members may make files, and replace or remove only their own. New files are the group's.
pub(super) const DIRECTORY: u32 = 0o3770;
/// What lies in it, the store itself first.
const FILES: [&str; 5] = ["", "-live", "-lock", "-wal", "-shm"];

/// Makes the directory of the store at `path`, the store, and every file that flowlock or `SQLite` opens beside it,
/// so that no member has to make one or can. What is there already must be this user's.
pub(super) fn make_shared(path: &Path, group: u32, patience: Duration) -> Result<(), StoreError> {
    let directory = directory_of(path);
    fs::create_dir_all(directory).map_err(|error| at_path("make", directory, error))?;
    let path = super::resolved(path)?;
    let directory = directory_of(&path);
    share_directory(directory, group).map_err(|error| at_path("share", directory, error))?;
    let side = SideFiles::of_shared(&path, group);
    for suffix in FILES {
        share(&side, suffix, side.mode(), group)?;
    }
    let journal = side.mode() & !0o020;
    share(&side, "-journal", journal, group)?;
    let store = SqliteStore::open(&path, patience)?;
    let inboxes = side.directory("-wake")?;
    inboxes
        .set_permissions(Permissions::from_mode(DIRECTORY))
        .and_then(|()| Ok(fchown(&inboxes, None, Some(Gid::from_raw(group)))?))
        .map_err(|error| at_path("share", &side.path("-wake"), error))?;
    drop(store);
    Ok(())
}

fn share_directory(path: &Path, group: u32) -> io::Result<()> {
    let directory = open_directory(path)?;
    fchown(&directory, Some(geteuid()), Some(Gid::from_raw(group)))?;
    directory.set_permissions(Permissions::from_mode(DIRECTORY))
}

/// Gives a file to the group, if it is there. The store is never opened for that: closing it would drop the locks
/// that `SQLite` has on it.
fn share(side: &SideFiles, suffix: &str, mode: u32, group: u32) -> Result<(), StoreError> {
    let path = side.path(suffix);
    let file = match File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(at_path("look at", &path, error)),
    };
    let meta = file.metadata().map_err(|error| at_path("look at", &path, error))?;
    side.judge(&path, &meta)?;
    if meta.uid() != geteuid().as_raw() {
        return Err(unusable(format!(
            "{} belongs to user {}, who could replace it: chown it to user {} first",
            shown(&path),
            meta.uid(),
            geteuid()
        )));
    }
    let itself = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    chown(&itself, None, Some(Gid::from_raw(group)))
        .map_err(io::Error::from)
        .and_then(|()| fs::set_permissions(&itself, Permissions::from_mode(mode)))
        .map_err(|error| at_path("share", &path, error))
}
