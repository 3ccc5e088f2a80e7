//! Files beside the store: opened only if they are what flowlock makes there.
//!
//! Whoever may write the directory can put anything under these names before the store's owner does: a link to
//! another file, a FIFO that never answers, a file of their own. So nothing is opened through a link, and what
//! was opened is judged by its descriptor: a regular file with one name, which belongs to the store's owner or to
//! root and which nobody may write who may not write the store. What is missing is made by the owner alone, under a
//! name that cannot be guessed, and moved into place with its mode. Root makes nothing in another user's store: what
//! it made would have to be given away, and they can put something else in its place, or in that of a directory above.

mod judge;

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::libc;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, fchown, getegid, geteuid};

use super::failure::at_path;
use super::shared;
use crate::store::{StoreError, StoreErrorKind, directory_of};
use crate::text::escape;

/// How often a file is opened or made anew that somebody else makes or removes at the same moment.
const TRIES: usize = 100;
/// What a file is called until it is whole: the store's or side file's name, this, and a random number.
pub(super) const DRAFT: &str = ".new-";
/// How long that number is, in hexadecimal digits.
pub(super) const DRAFT_DIGITS: usize = 16;

/// What the files beside one store must be.
#[derive(Debug, Clone)]
pub(super) struct SideFiles {
    store: PathBuf,
    owner: u32,
    group: u32,
    /// The store's, without execution.
    mode: u32,
}

impl SideFiles {
    /// Those of the store at `store`, a path without links.
    pub(super) fn of(store: &Path) -> Result<Self, StoreError> {
        let meta = fs::symlink_metadata(store).map_err(|error| at_path("look at the store", store, error))?;
        Ok(Self { store: store.to_owned(), owner: meta.uid(), group: meta.gid(), mode: meta.mode() & 0o666 })
    }

    /// Those of a store that this process is about to make.
    pub(super) fn of_new(store: &Path) -> Result<Self, StoreError> {
        let directory = directory_of(store);
        let meta = fs::metadata(directory)
            .map_err(|error| at_path("use the directory of the store", directory, error))?;
        let mode = file_mode(&meta);
        let group = if mode & 0o060 == 0 { getegid().as_raw() } else { meta.gid() };
        Ok(Self { store: store.to_owned(), owner: geteuid().as_raw(), group, mode })
    }

    /// Those of a store that this user makes for a group.
    pub(super) fn of_shared(store: &Path, group: u32) -> Self {
        Self { store: store.to_owned(), owner: geteuid().as_raw(), group, mode: 0o660 }
    }

    /// The mode of the store and of every file beside it.
    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    pub(super) fn path(&self, suffix: &str) -> PathBuf {
        with_suffix(&self.store, suffix)
    }

    /// Opens a file for reading and writing; makes it if it is missing.
    pub(super) fn open(&self, suffix: &str) -> Result<File, StoreError> {
        let path = self.path(suffix);
        for _ in 0..TRIES {
            match open_itself(&path) {
                Ok(file) => {
                    let meta = file.metadata().map_err(|error| at_path("look at", &path, error))?;
                    self.judge(&path, &meta)?;
                    return Ok(file);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(&path, self.mode)?,
                Err(error) => {
                    self.check(suffix)?;
                    return Err(at_path("open", &path, error));
                }
            }
        }
        Err(unusable(format!("{} is removed again and again", shown(&path))))
    }

    /// Opens a directory; makes it if it is missing.
    pub(super) fn directory(&self, suffix: &str) -> Result<File, StoreError> {
        let path = self.path(suffix);
        for _ in 0..TRIES {
            match open_directory(&path) {
                Ok(directory) => {
                    let meta = directory.metadata().map_err(|error| at_path("look at", &path, error))?;
                    self.judge_directory(&path, &meta)?;
                    return Ok(directory);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_directory(&path)?,
                Err(error) => {
                    self.check_directory(suffix)?;
                    return Err(at_path("open", &path, error));
                }
            }
        }
        Err(unusable(format!("{} is removed again and again", shown(&path))))
    }

    /// Makes an empty file. Who finds it finds it with its owner and mode; if somebody else was faster, theirs counts.
    pub(super) fn make(&self, path: &Path, mode: u32) -> Result<(), StoreError> {
        self.may_make(path)?;
        let draft = draft_of(path);
        let placed = self.create(&draft, mode).and_then(|()| place(&draft, path));
        placed.map_err(|error| {
            let _ = fs::remove_file(&draft);
            at_path("create", path, error)
        })
    }

    /// Makes an empty file that was not there, with the owner and the group of the store.
    pub(super) fn create(&self, path: &Path, mode: u32) -> io::Result<()> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path)?;
        self.give(&file)?;
        file.set_permissions(Permissions::from_mode(mode))
    }

    fn make_directory(&self, path: &Path) -> Result<(), StoreError> {
        self.may_make(path)?;
        let draft = draft_of(path);
        // Members of the group make sockets in it, and remove only their own.
        let mode = if self.mode & 0o020 == 0 { 0o700 } else { shared::DIRECTORY };
        let whole = now().and_then(|begun| {
            DirBuilder::new().mode(0o700).create(&draft)?;
            self.share(&draft, mode, begun)
        });
        let placed = whole.and_then(|()| place(&draft, path));
        placed.map_err(|error| {
            let _ = fs::remove_dir(&draft);
            at_path("create", path, error)
        })
    }

    /// Gives a directory that was just made its group and mode. Opening it by its name may open another one, which
    /// somebody put there since `begun`: that one is never opened to more users.
    fn share(&self, draft: &Path, mode: u32, begun: SystemTime) -> io::Result<()> {
        let directory = open_directory(draft)?;
        let meta = directory.metadata()?;
        if meta.mode() & 0o777 == mode {
            return Ok(());
        }
        let is_made_since = || meta.created().is_ok_and(|made| made >= begun);
        if meta.uid() != geteuid().as_raw() || !(is_settled(draft) || is_made_since()) {
            return Err(io::Error::other("somebody else replaced it while it was made"));
        }
        self.give(&directory)?;
        directory.set_permissions(Permissions::from_mode(mode))
    }

    /// A file of anybody else would be refused by the others.
    fn may_make(&self, path: &Path) -> Result<(), StoreError> {
        if self.is_the_users() {
            return Ok(());
        }
        Err(unusable(format!(
            "{} is missing, and only user {}, who owns the store, can make it: let them run `flowlock doctor`",
            shown(path),
            self.owner
        )))
    }

    /// Whether the store belongs to the user of this process.
    pub(super) fn is_the_users(&self) -> bool {
        geteuid().as_raw() == self.owner
    }

    /// Root's files are the group's of the store, as `SQLite` makes them.
    fn give(&self, file: &File) -> io::Result<()> {
        if geteuid().is_root() {
            fchown(file, None, Some(Gid::from_raw(self.group)))?;
        }
        Ok(())
    }
}

/// Opens what is at `path` itself: not through a link, and without waiting for the other end of a FIFO.
pub(super) fn open_itself(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
    File::options().read(true).write(true).custom_flags(flags).open(path)
}

pub(super) fn open_directory(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

/// Brings the names in a directory to the disk.
pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    open_directory(path)?.sync_all()
}

/// A name beside `path` that cannot be guessed.
pub(super) fn draft_of(path: &Path) -> PathBuf {
    with_suffix(path, &format!("{DRAFT}{:0DRAFT_DIGITS$x}", crate::world::random_u64()))
}

/// Moves a draft to its place, unless something is there already or the draft was cleared away.
fn place(draft: &Path, path: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, draft, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EEXIST) => {
            let _ = fs::remove_file(draft).or_else(|_| fs::remove_dir(draft));
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether nobody but this user and root can put something else in a path's place, or in that of a directory in it.
fn is_settled(path: &Path) -> bool {
    let trusted = [0, geteuid().as_raw()];
    let is_settled = |meta: Metadata| {
        trusted.contains(&meta.uid()) && (meta.mode() & 0o022 == 0 || meta.mode() & 0o1000 != 0)
    };
    path.ancestors().skip(1).all(|directory| fs::metadata(directory).is_ok_and(is_settled))
}

/// The time that the kernel would write into a file made now, which lags behind by a tick.
fn now() -> io::Result<SystemTime> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?);
    // Not all file systems keep nanoseconds.
    Ok(SystemTime::UNIX_EPOCH + Duration::new(time.as_secs(), time.subsec_micros() * 1_000))
}

/// Group-writable in a group-writable directory, as `doctor --init-shared` makes it; else the user's alone.
fn file_mode(directory: &Metadata) -> u32 {
    if directory.mode() & 0o020 != 0 && directory.mode() & 0o2000 != 0 { 0o660 } else { 0o600 }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

pub(super) fn shown(path: &Path) -> String {
    escape(&path.display().to_string())
}

pub(super) fn unusable(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Unusable, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_there_before_is_not_shared_in_place_of_the_one_just_made() {
        let place = tempfile::tempdir().unwrap();
        let private = place.path().join("private");
        DirBuilder::new().mode(0o700).create(&private).unwrap();
        fs::set_permissions(place.path(), Permissions::from_mode(0o2777)).unwrap();
        let side = SideFiles::of_shared(&place.path().join("x.db"), getegid().as_raw());
        let made = fs::metadata(&private).unwrap().created();
        let begun = made.map_or_else(|_| now().unwrap(), |made| made + Duration::from_millis(1));
        assert!(side.share(&private, shared::DIRECTORY, begun).is_err());
        assert_eq!(fs::metadata(&private).unwrap().mode() & 0o777, 0o700);
        // Where nobody could have put it there it is the one just made.
        fs::set_permissions(place.path(), Permissions::from_mode(0o1777)).unwrap();
        side.share(&private, shared::DIRECTORY, begun).unwrap();
        assert_eq!(fs::metadata(&private).unwrap().mode() & 0o7777, shared::DIRECTORY);
    }
}
