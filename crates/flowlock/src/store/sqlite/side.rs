//! Files beside the store: opened only if they are what flowlock makes there.
//!
//! A user who may write the directory can put anything at these names before the store's owner does: a
//! link to another file, a FIFO that never answers, a file of their own. So nothing is opened through a
//! link, and what was opened is judged by its descriptor: it must be a regular file with one name, which
//! belongs to the store's owner and which no user may write who may not write the store. Only the owner
//! creates what is missing: under a name that cannot be guessed, and moved into place with its mode.
//! Root creates nothing in another user's store: it would have to give the file to the owner, who can
//! replace it, or a directory above, meanwhile.

mod judge;

pub(super) use self::judge::{Rule, hard_linked};

use std::fs::{self, DirBuilder, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::time::{Duration, SystemTime};

use nix::libc;
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{Gid, fchown, getegid, geteuid};

use super::failure::{at_path, unusable};
use super::held_path::HeldPath;
use super::lockers;
use crate::store::StoreError;

/// How often to try again to open or create a file that another process creates or removes at the same
/// moment.
const TRIES: usize = 100;

/// Sticky: members may create files, and replace or remove only their own. New files belong to the
/// group.
pub(super) const SHARED_DIRECTORY: u32 = 0o3770;

/// What the files beside one store must be.
#[derive(Debug, Clone)]
pub(super) struct SideFiles {
    store: HeldPath,
    owner: u32,
    group: u32,
    /// The store's mode, without execution.
    mode: u32,
}

impl SideFiles {
    /// The rules for the store at this place.
    pub(super) fn of(store: &HeldPath) -> Result<Self, StoreError> {
        let meta = store.look().map_err(|error| at_path("look at the store", store.path(), error))?;
        Ok(Self { store: store.clone(), owner: meta.uid(), group: meta.gid(), mode: meta.mode() & 0o666 })
    }

    /// The rules for a store that this process is about to create.
    pub(super) fn of_new(store: &HeldPath) -> Result<Self, StoreError> {
        let meta = fs::metadata(store.directory_inside())
            .map_err(|error| at_path("use the directory of the store", store.directory_path(), error))?;
        let mode = file_mode(&meta);
        let group = if mode & 0o060 == 0 { getegid().as_raw() } else { meta.gid() };
        Ok(Self { store: store.clone(), owner: geteuid().as_raw(), group, mode })
    }

    /// The rules for a store that this user creates for a group.
    pub(super) fn of_shared(store: &HeldPath, group: u32) -> Self {
        Self { store: store.clone(), owner: geteuid().as_raw(), group, mode: 0o660 }
    }

    /// Returns the mode of the store and of every file beside it.
    pub(super) fn mode(&self) -> u32 {
        self.mode
    }

    pub(super) fn place(&self, suffix: &str) -> HeldPath {
        self.store.beside(suffix)
    }

    /// Returns whether a file counts as the store's own, whatever its content: all users who share the
    /// store may write both, and none of them may stop others by what they write. Not if a project names
    /// the store, and so the file.
    pub(super) fn is_shared_with_the_store(&self, meta: &Metadata) -> bool {
        let is_alike = (meta.uid(), meta.gid(), meta.mode() & 0o666) == (self.owner, self.group, self.mode);
        self.mode & 0o020 != 0 && is_alike && !self.store.is_of_project()
    }

    /// Opens a file for reading and writing; creates it if it is missing.
    pub(super) fn open(&self, suffix: &str) -> Result<File, StoreError> {
        let place = self.place(suffix);
        for _ in 0..TRIES {
            // A file that will be refused is not opened: if it belongs to another store, closing it
            // would drop this process's locks on it.
            self.check(suffix)?;
            match place.open() {
                Ok(file) => {
                    let meta = file.metadata().map_err(|error| at_path("look at", place.path(), error))?;
                    self.judge(&place, &meta)?;
                    return Ok(file);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make(&place, self.mode)?,
                Err(error) => {
                    self.check(suffix)?;
                    return Err(
                        lockers::leased(&place).unwrap_or_else(|| at_path("open", place.path(), error))
                    );
                }
            }
        }
        Err(unusable(format!("{} is removed again and again", place.shown())))
    }

    /// Opens a directory; creates it if it is missing.
    pub(super) fn directory(&self, suffix: &str) -> Result<File, StoreError> {
        let place = self.place(suffix);
        for _ in 0..TRIES {
            match place.open_directory() {
                Ok(directory) => {
                    let meta =
                        directory.metadata().map_err(|error| at_path("look at", place.path(), error))?;
                    self.judge_directory(&place, &meta)?;
                    return Ok(directory);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.make_directory(&place)?,
                Err(error) => {
                    self.check_directory(suffix)?;
                    return Err(at_path("open", place.path(), error));
                }
            }
        }
        Err(unusable(format!("{} is removed again and again", place.shown())))
    }

    /// Creates an empty file. It appears with its owner and mode. If another process was faster, its
    /// file counts.
    pub(super) fn make(&self, place: &HeldPath, mode: u32) -> Result<(), StoreError> {
        self.may_make(place)?;
        let draft = place.draft();
        let placed = self.create(&draft, mode).and_then(|()| put(&draft, place));
        placed.map_err(|error| {
            draft.discard();
            at_path("create", place.path(), error)
        })
    }

    /// Creates an empty file that did not exist, with the owner and the group of the store.
    pub(super) fn create(&self, place: &HeldPath, mode: u32) -> io::Result<()> {
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(place.inside())?;
        self.give(&file)?;
        file.set_permissions(Permissions::from_mode(mode))
    }

    fn make_directory(&self, place: &HeldPath) -> Result<(), StoreError> {
        self.may_make(place)?;
        let draft = place.draft();
        // Members of the group create sockets in it, and can remove only their own.
        let mode = if self.mode & 0o020 == 0 { 0o700 } else { SHARED_DIRECTORY };
        let whole = now().and_then(|begun| {
            DirBuilder::new().mode(0o700).create(draft.inside())?;
            self.share(&draft, mode, begun)
        });
        let placed = whole.and_then(|()| put(&draft, place));
        placed.map_err(|error| {
            draft.discard();
            at_path("create", place.path(), error)
        })
    }

    /// Gives a directory that was just created its group and mode. Opening it by its name may open
    /// another directory, which was put there since `begun`: that one is never opened to more users.
    fn share(&self, draft: &HeldPath, mode: u32, begun: SystemTime) -> io::Result<()> {
        let directory = draft.open_directory()?;
        let meta = directory.metadata()?;
        if meta.mode() & 0o777 == mode {
            return Ok(());
        }
        let is_made_since = || meta.created().is_ok_and(|made| made >= begun);
        if meta.uid() != geteuid().as_raw() || !(draft.is_settled() || is_made_since()) {
            return Err(io::Error::other("somebody else replaced it while it was made"));
        }
        self.give(&directory)?;
        directory.set_permissions(Permissions::from_mode(mode))
    }

    /// A file of any other user would be refused by the others.
    fn may_make(&self, place: &HeldPath) -> Result<(), StoreError> {
        if self.is_the_users() {
            return Ok(());
        }
        Err(unusable(format!(
            "{} is missing, and only user {}, who owns the store, can make it: let them run `flowlock doctor`",
            place.shown(),
            self.owner
        )))
    }

    /// Returns whether the store belongs to the user of this process.
    pub(super) fn is_the_users(&self) -> bool {
        geteuid().as_raw() == self.owner
    }

    /// Gives root's files the group of the store, as `SQLite` does.
    fn give(&self, file: &File) -> io::Result<()> {
        if geteuid().is_root() {
            fchown(file, None, Some(Gid::from_raw(self.group)))?;
        }
        Ok(())
    }
}

/// Moves a draft to its place, unless something is there already or the draft was removed.
fn put(draft: &HeldPath, place: &HeldPath) -> io::Result<()> {
    match draft.rename(place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => draft.discard(),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    Ok(())
}

/// Returns the time that the kernel would give a file created now; it lags behind by a tick.
fn now() -> io::Result<SystemTime> {
    let time = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME_COARSE)?);
    // Not all file systems keep nanoseconds.
    Ok(SystemTime::UNIX_EPOCH + Duration::new(time.as_secs(), time.subsec_micros() * 1_000))
}

/// Returns the mode: group-writable in a group-writable directory, as `doctor --init-shared` makes it;
/// else only for the user.
fn file_mode(directory: &Metadata) -> u32 {
    if directory.mode() & 0o020 != 0 && directory.mode() & 0o2000 != 0 { 0o660 } else { 0o600 }
}

#[cfg(test)]
mod tests {
    use super::super::held_path::Missing;
    use super::*;

    #[test]
    fn a_directory_that_was_there_before_is_not_shared_in_place_of_the_one_just_made() {
        let directory = tempfile::tempdir().unwrap();
        let private = directory.path().join("private");
        DirBuilder::new().mode(0o700).create(&private).unwrap();
        fs::set_permissions(directory.path(), Permissions::from_mode(0o2777)).unwrap();
        let store = HeldPath::find(&directory.path().join("x.db"), Missing::Refused).unwrap();
        let side = SideFiles::of_shared(&store, getegid().as_raw());
        let made = fs::metadata(&private).unwrap().created();
        let begun = made.map_or_else(|_| now().unwrap(), |made| made + Duration::from_millis(1));
        let found = |path| HeldPath::find(path, Missing::Refused).unwrap();
        assert!(side.share(&found(&private), SHARED_DIRECTORY, begun).is_err());
        assert_eq!(fs::metadata(&private).unwrap().mode() & 0o777, 0o700);
        // If no other user could have put it there, it is the one just created.
        fs::set_permissions(directory.path(), Permissions::from_mode(0o1777)).unwrap();
        side.share(&found(&private), SHARED_DIRECTORY, begun).unwrap();
        assert_eq!(fs::metadata(&private).unwrap().mode() & 0o7777, SHARED_DIRECTORY);
    }
}
