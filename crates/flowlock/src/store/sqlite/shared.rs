//! A store that all members of a group share, and that none of them can replace or hide.
//!
//! A user who may write the directory can move a file of root's to one of the store's names, because in
//! a directory of their own users can move anything. So no file is given to the group unless its content
//! was checked, through the same descriptor.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

use nix::libc;
use nix::unistd::{Gid, Uid, chown, fchown, geteuid};

use super::SqliteStore;
use super::clear::is_of_a_store;
use super::create::create_with;
use super::failure::{at_path, unusable};
use super::held_path::{HeldPath, Missing, way_to};
use super::identity::unless_open;
use super::side::{SHARED_DIRECTORY, SideFiles};
use super::wake::holds_others;
use crate::acl::{self, Acl};
use crate::store::{Limits, StoreError, directory_of};

/// The files in it, the store first.
const FILES: [&str; 6] = ["", "-live", "-lock", "-wal", "-shm", "-journal"];
/// The directory of inboxes.
const INBOXES: &str = "-wake";

/// Creates the directory of the store at `path`, the store, and every file that flowlock or `SQLite`
/// opens beside it, so that members neither have to create one nor can. What already exists must belong
/// to this user. The directory is opened to the group when everything is in place, so no member can be
/// faster. If something is in the way, everything stays as it was.
pub(super) fn make_shared(path: &Path, group: u32, patience: Duration) -> Result<(), StoreError> {
    let place = HeldPath::find(directory_of(path), Missing::Made)?;
    let directory = Directory::find(&place)?;
    let store = HeldPath::find(path, Missing::Refused)?;
    unless_open(&store, || ()).ok_or_else(|| is_open_here(&store))?;
    let shared = directory
        .close(&store)
        .and_then(|()| share_everything(&store, group, patience))
        .and_then(|()| directory.open_to(group));
    if shared.is_err() {
        directory.put_back(&store);
    }
    shared
}

fn share_everything(store: &HeldPath, group: u32, patience: Duration) -> Result<(), StoreError> {
    let side = SideFiles::of_shared(store, group);
    share_what_is_there(&side, group)?;
    if !store.is_there() {
        create_with(&side, store, &Limits::within(patience))?;
    }
    drop(SqliteStore::open(store.path(), patience)?);
    let journal = side.place("-journal");
    if !journal.is_there() {
        side.make(&journal, mode_of(&side, "-journal"))?;
    }
    side.directory(INBOXES)?;
    // Those that were missing.
    share_what_is_there(&side, group)
}

/// Gives all existing files to the group, if each of them is what it should be.
fn share_what_is_there(side: &SideFiles, group: u32) -> Result<(), StoreError> {
    let files = FILES.into_iter().chain([INBOXES]);
    let found: Vec<_> = files.map(|suffix| Found::look(side, suffix, group)).collect::<Result<_, _>>()?;
    found.iter().flatten().try_for_each(|found| found.share(group))
}

/// Only its owner may write the journal, which must stay empty.
fn mode_of(side: &SideFiles, suffix: &str) -> u32 {
    match suffix {
        INBOXES => SHARED_DIRECTORY,
        "-journal" => side.mode() & !0o020,
        _ => side.mode(),
    }
}

/// A file that is flowlock's and not yet the group's.
struct Found {
    place: HeldPath,
    held: File,
    mode: u32,
}

impl Found {
    /// Returns `None` if there is no file, or if it is the group's already: members may be using it.
    fn look(side: &SideFiles, suffix: &str, group: u32) -> Result<Option<Self>, StoreError> {
        let (place, mode) = (side.place(suffix), mode_of(side, suffix));
        let failed = |error| at_path("look at", place.path(), error);
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let held = match File::options().read(true).custom_flags(flags).open(place.inside()) {
            Ok(held) => held,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let meta = held.metadata().map_err(failed)?;
        if suffix == INBOXES {
            side.judge_directory(&place, &meta)?;
        } else {
            side.judge(&place, &meta)?;
        }
        refuse_anothers(&place, &meta)?;
        let lists = lists_of(&held).map_err(failed)?;
        if meta.gid() == group && meta.mode() & 0o7777 == mode && lists == [None, None] {
            return Ok(None);
        }
        let is_ours = unless_open(&side.place(""), || is_ours(&held, suffix));
        if !is_ours.ok_or_else(|| is_open_here(&side.place("")))?.map_err(failed)? {
            return Err(unusable(format!(
                "{} was not made by flowlock, so it is not given to the group; move it away and try again",
                place.shown()
            )));
        }
        Ok(Some(Self { place, held, mode }))
    }

    fn share(&self, group: u32) -> Result<(), StoreError> {
        let itself = way_to(&self.held);
        chown(&itself, None, Some(Gid::from_raw(group)))
            .map_err(io::Error::from)
            .and_then(|()| take_lists_away(&self.held))
            .and_then(|()| fs::set_permissions(&itself, Permissions::from_mode(self.mode)))
            .map_err(|error| at_path("share", self.place.path(), error))
    }
}

/// The attributes in which the kernel keeps the access control lists of a file.
const LISTS: [&str; 2] = [acl::OF_FILE, acl::OF_NEW_FILES];

fn lists_of(held: &File) -> io::Result<[Option<Acl>; 2]> {
    let [of_file, of_new_files] = LISTS.map(|attribute| Acl::of(&way_to(held), attribute));
    Ok([of_file?, of_new_files?])
}

/// Removes the lists, so that only the mode gives rights.
fn take_lists_away(held: &File) -> io::Result<()> {
    LISTS.into_iter().try_for_each(|attribute| acl::take_away(&way_to(held), attribute))
}

fn is_open_here(store: &HeldPath) -> StoreError {
    unusable(format!("{} is open in this process; close it first", store.shown()))
}

fn is_ours(held: &File, suffix: &str) -> io::Result<bool> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(way_to(held))?;
    if suffix == INBOXES { Ok(!holds_others(&file)?) } else { is_of_a_store(suffix, &file) }
}

fn refuse_anothers(place: &HeldPath, meta: &Metadata) -> Result<(), StoreError> {
    if meta.uid() == geteuid().as_raw() {
        return Ok(());
    }
    Err(unusable(format!(
        "{} belongs to user {}, who could replace it: chown it to user {} first",
        place.shown(),
        meta.uid(),
        geteuid()
    )))
}

/// The directory of a store that is being shared.
struct Directory<'p> {
    place: &'p HeldPath,
    held: File,
    /// Its metadata before; `None` if it was created here.
    was: Option<Metadata>,
    /// Its access control lists: one for itself, one for new files in it.
    lists: [Option<Acl>; 2],
}

impl<'p> Directory<'p> {
    /// Creates it if it is missing. Not if another user could replace it meanwhile.
    fn find(place: &'p HeldPath) -> Result<Self, StoreError> {
        if !place.is_settled() {
            return Err(unusable(format!(
                "{} is not safe for a shared store: users other than you and root can replace it, because they \
                 own a directory above it or may write one; use a directory below directories that only root may \
                 write, such as /var/lib/flowlock",
                place.shown()
            )));
        }
        let is_new = match fs::create_dir(place.inside()) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(at_path("make", place.path(), error));
            }
            made => made.is_ok(),
        };
        let opened = place.open_directory().and_then(|held| Ok((held.metadata()?, held)));
        let (meta, held) = opened.map_err(|error| at_path("open", place.path(), error))?;
        let mut lists = [None, None];
        for (list, attribute) in lists.iter_mut().zip(LISTS) {
            *list = Acl::of(&way_to(&held), attribute)
                .map_err(|error| at_path("look at", place.path(), error))?;
        }
        Ok(Self { place, held, was: (!is_new).then_some(meta), lists })
    }

    /// Excludes all other users, unless it is shared already: members may be using the store in it.
    fn close(&self, store: &HeldPath) -> Result<(), StoreError> {
        let is_shared =
            |was: &Metadata| was.uid() == geteuid().as_raw() && was.mode() & 0o7777 == SHARED_DIRECTORY;
        let is_shared = self.was.as_ref().is_some_and(is_shared) && store.is_there();
        let closed = if is_shared { Ok(()) } else { self.change(Some(geteuid()), None, 0o700) };
        closed
            .and_then(|()| take_lists_away(&self.held))
            .map_err(|error| at_path("make yours", self.place.path(), error))
    }

    fn open_to(&self, group: u32) -> Result<(), StoreError> {
        let shared = self.change(None, Some(Gid::from_raw(group)), SHARED_DIRECTORY);
        shared.map_err(|error| at_path("share", self.place.path(), error))
    }

    /// Removes what was created here, with everything in it: an empty directory would be everybody's
    /// default store, which nobody can use.
    fn put_back(&self, store: &HeldPath) {
        if let Some(was) = &self.was {
            let (user, group) = (Uid::from_raw(was.uid()), Gid::from_raw(was.gid()));
            let _ = self.change(Some(user), Some(group), was.mode() & 0o7777);
            for (list, attribute) in self.lists.iter().zip(LISTS) {
                let _ = list.as_ref().map(|list| list.put_back(&way_to(&self.held), attribute));
            }
            return;
        }
        FILES.iter().chain([&INBOXES]).for_each(|suffix| store.beside(suffix).discard());
        let _ = fs::remove_dir(self.place.inside());
    }

    fn change(&self, user: Option<Uid>, group: Option<Gid>, mode: u32) -> io::Result<()> {
        fchown(&self.held, user, group)?;
        self.held.set_permissions(Permissions::from_mode(mode))
    }
}

#[cfg(test)]
mod tests {
    use nix::unistd::getegid;

    use super::*;

    const STRANGER: u32 = 23_456;

    /// Makes a directory whose lists let another user do everything, in it and in what is created in it.
    /// `None` if the file system keeps no lists.
    fn with_lists() -> Option<tempfile::TempDir> {
        let root = tempfile::tempdir().unwrap();
        let given = LISTS.map(|attribute| acl::tests::give(root.path(), attribute, 7, (STRANGER, 7)));
        given.contains(&true).then_some(root)
    }

    fn lists(path: &Path) -> [Option<Acl>; 2] {
        lists_of(&File::open(path).unwrap()).unwrap()
    }

    #[test]
    fn a_shared_store_is_the_groups_alone_whatever_its_directory_said() {
        let Some(root) = with_lists() else { return };
        let store = root.path().join("flowlock.db");
        let group = getegid().as_raw();
        make_shared(&store, group, Duration::from_secs(10)).unwrap();
        let all = || FILES.iter().chain([&INBOXES]).map(|suffix| format!("{}{suffix}", store.display()));
        for path in all().chain([root.path().display().to_string()]) {
            assert_eq!(lists(Path::new(&path)), [None, None], "{path}");
        }
        // The files of a store that is shared already.
        for path in all() {
            acl::tests::give(Path::new(&path), acl::OF_FILE, 6, (STRANGER, 6));
        }
        make_shared(&store, group, Duration::from_secs(10)).unwrap();
        for path in all() {
            assert_eq!(lists(Path::new(&path)), [None, None], "{path}");
        }
    }

    #[test]
    fn a_directory_that_is_not_shared_after_all_keeps_its_lists() {
        let Some(root) = with_lists() else { return };
        let before = lists(root.path());
        fs::write(root.path().join("flowlock.db-live"), "another program's").unwrap();
        let refused =
            make_shared(&root.path().join("flowlock.db"), getegid().as_raw(), Duration::from_secs(10));
        assert!(refused.unwrap_err().to_string().contains("was not made by flowlock"));
        assert_eq!(lists(root.path()), before);
    }
}
