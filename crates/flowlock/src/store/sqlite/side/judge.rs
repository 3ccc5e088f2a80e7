//! What a file beside the store must be, and the error for one that is not.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use nix::unistd::geteuid;

use super::super::failure::{at_path, unusable};
use super::super::held_path::HeldPath;
use super::SideFiles;
use crate::store::StoreError;
use crate::text::shell_argument;

/// The bits that let users other than the owner write.
const OTHERS_WRITE: u32 = 0o022;

/// What every file of a store must be, whatever it is for.
#[derive(Debug, Clone, Copy)]
pub(in crate::store::sqlite) struct Rule {
    owner: u32,
    mode: u32,
}

impl Rule {
    /// The rule for the files beside an existing store.
    pub(in crate::store::sqlite) fn of(store: &Metadata) -> Self {
        Self { owner: store.uid(), mode: store.mode() }
    }

    /// Returns whether it is a regular file with one name, of the store's owner, which no user may write
    /// who may not write the store.
    pub(in crate::store::sqlite) fn admits(self, meta: &Metadata) -> bool {
        let writers_more = meta.mode() & OTHERS_WRITE & !self.mode;
        meta.is_file() && meta.nlink() <= 1 && meta.uid() == self.owner && writers_more == 0
    }
}

impl SideFiles {
    pub(in crate::store::sqlite) fn rule(&self) -> Rule {
        Rule { owner: self.owner, mode: self.mode }
    }

    /// Refuses a file that is not what it must be; a missing one is fine.
    pub(in crate::store::sqlite) fn check(&self, suffix: &str) -> Result<(), StoreError> {
        let place = self.place(suffix);
        match place.look() {
            Ok(meta) => self.judge(&place, &meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at_path("look at", place.path(), error)),
        }
    }

    /// Refuses a file that is not what it must be; creates it if it is missing. `SQLite` opens it
    /// itself.
    pub(in crate::store::sqlite) fn ensure(&self, suffix: &str) -> Result<(), StoreError> {
        self.check(suffix)?;
        let place = self.place(suffix);
        if place.is_there() { Ok(()) } else { self.make(&place, self.mode) }
    }

    /// Refuses a rollback journal: `SQLite` would play it into the store, and then delete a file that
    /// the journal's last line names. A store of flowlock never has one. If others can create files, an
    /// empty one keeps its place: `SQLite` ignores it, and no other user can remove it from a sticky
    /// directory.
    pub(in crate::store::sqlite) fn guard_journal(&self) -> Result<(), StoreError> {
        let place = self.place("-journal");
        let meta = match place.look() {
            Ok(meta) => meta,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.keep_journals_place(&place),
            Err(error) => return Err(at_path("look at", place.path(), error)),
        };
        self.judge(&place, &meta)?;
        if meta.len() > 0 || meta.mode() & OTHERS_WRITE != 0 {
            return Err(unusable(format!(
                "{} is not empty, or others may write it: flowlock does not make such a journal, and SQLite would change the store with it; remove it and run again",
                place.shown()
            )));
        }
        Ok(())
    }

    fn keep_journals_place(&self, place: &HeldPath) -> Result<(), StoreError> {
        let directory = fs::metadata(place.directory_inside())
            .map_err(|error| at_path("use the directory of the store", place.directory_path(), error))?;
        if directory.mode() & OTHERS_WRITE == 0 || self.may_make(place).is_err() {
            return Ok(());
        }
        self.make(place, self.mode & !OTHERS_WRITE)
    }

    /// Refuses a directory that is not what it must be; a missing one is fine.
    pub(in crate::store::sqlite) fn check_directory(&self, suffix: &str) -> Result<(), StoreError> {
        let place = self.place(suffix);
        match place.look() {
            Ok(meta) => self.judge_directory(&place, &meta),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(at_path("look at", place.path(), error)),
        }
    }

    pub(in crate::store::sqlite) fn judge(
        &self,
        place: &HeldPath,
        meta: &Metadata,
    ) -> Result<(), StoreError> {
        if self.rule().admits(meta) {
            return Ok(());
        }
        if !meta.is_file() {
            return Err(is_not(place, meta, "a regular file"));
        }
        if meta.nlink() > 1 {
            return Err(hard_linked(place, meta, "so it may be another program's file"));
        }
        self.judge_owner(place, meta)
    }

    pub(in crate::store::sqlite) fn judge_directory(
        &self,
        place: &HeldPath,
        meta: &Metadata,
    ) -> Result<(), StoreError> {
        if !meta.is_dir() {
            return Err(is_not(place, meta, "a directory"));
        }
        let mine = meta.uid() == geteuid().as_raw();
        if mine { self.judge_mode(place, meta) } else { self.judge_owner(place, meta) }
    }

    fn judge_owner(&self, place: &HeldPath, meta: &Metadata) -> Result<(), StoreError> {
        if meta.uid() != self.owner {
            return Err(unusable(format!(
                "{} belongs to user {}, not to user {}, who owns the store; if you trust what is in it, chown it to user {}, else remove it",
                place.shown(),
                meta.uid(),
                self.owner,
                self.owner
            )));
        }
        self.judge_mode(place, meta)
    }

    fn judge_mode(&self, place: &HeldPath, meta: &Metadata) -> Result<(), StoreError> {
        let mode = self.mode;
        if meta.mode() & OTHERS_WRITE & !mode != 0 {
            return Err(unusable(format!(
                "{} may be written by users who may not write the store (mode {:04o}, the store's is {mode:04o}); fix it with chmod",
                place.shown(),
                meta.mode() & 0o7777,
            )));
        }
        Ok(())
    }
}

/// The error for a file with more than one name. Whoever may write it could have made another one,
/// anywhere on the same file system. In a sticky directory, only the file's owner and root can remove it.
pub(in crate::store::sqlite) fn hard_linked(place: &HeldPath, meta: &Metadata, why: &str) -> StoreError {
    let argument = |path: &Path| shell_argument(&path.display().to_string());
    let (file, directory) = (argument(place.path()), argument(place.directory_path()));
    unusable(format!(
        "{} has {} hard links, {why}; its owner (user {}) or root can find the other names with \
         `find {directory} -xdev -samefile {file}` (if they are not there, from the file system's root on) and remove them",
        place.shown(),
        meta.nlink(),
        meta.uid()
    ))
}

/// The error that says what it is instead of what it must be, and whose it is.
fn is_not(place: &HeldPath, meta: &Metadata, wanted: &str) -> StoreError {
    unusable(format!(
        "{} is {} of user {}, not {wanted} as flowlock makes it; remove it and run again",
        place.shown(),
        kind(meta),
        meta.uid()
    ))
}

fn kind(meta: &Metadata) -> &'static str {
    let kind = meta.file_type();
    if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a directory"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_file() {
        "a regular file"
    } else {
        "a device"
    }
}
