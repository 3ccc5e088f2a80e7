//! Files beside the store: opened only if they are what flowlock makes there.
//!
//! Whoever may write the directory can put anything under these names before the store's owner does: a link to
//! another file, a FIFO that never answers, a file of their own. So nothing is opened through a link, and what
//! was opened is judged by its descriptor: a regular file with one name, which belongs to the store's owner or to
//! root and which nobody may write who may not write the store. What is missing is made by those two alone, under
//! a name that cannot be guessed, and moved into place with its owner and mode.

mod judge;

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::libc;
use nix::unistd::{Gid, Uid, fchown, getegid, geteuid};

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
        let mode = if self.mode & 0o060 == 0 { 0o700 } else { shared::DIRECTORY };
        let whole = DirBuilder::new().mode(0o700).create(&draft).and_then(|()| {
            let directory = open_directory(&draft)?;
            self.give(&directory)?;
            directory.set_permissions(Permissions::from_mode(mode))
        });
        let placed = whole.and_then(|()| place(&draft, path));
        placed.map_err(|error| {
            let _ = fs::remove_dir(&draft);
            at_path("create", path, error)
        })
    }

    /// A file of anybody else would be refused by the others.
    fn may_make(&self, path: &Path) -> Result<(), StoreError> {
        let me = geteuid();
        if me.is_root() || me.as_raw() == self.owner {
            return Ok(());
        }
        Err(unusable(format!(
            "{} is missing, and only user {}, who owns the store, or root can make it: let one of them run `flowlock doctor`",
            shown(path),
            self.owner
        )))
    }

    /// Root makes files for the store's owner and group, as `SQLite` does.
    fn give(&self, file: &File) -> io::Result<()> {
        if geteuid().is_root() {
            fchown(file, Some(Uid::from_raw(self.owner)), Some(Gid::from_raw(self.group)))?;
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
