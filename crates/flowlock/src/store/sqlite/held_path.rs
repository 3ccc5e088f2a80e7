//! Where a store is: its directory, held open, and its name there.
//!
//! The path is walked once ([`way`]). From then on everything beside the store is reached through the
//! descriptor of its directory, by `SQLite` as well. The path itself is only for people, and to notice
//! that it leads elsewhere by now.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::libc;

use super::failure::{at_path, unusable};
use crate::named_file::PROJECT;
use crate::store::path_walk::{self, Astray, Links, Planted, Way, may_be_planted};
pub(super) use crate::store::path_walk::{HELD, Missing, way_to};
use crate::store::{StoreError, directory_of};
use crate::text::escape;

/// Marks a file that is not complete yet: its name is the store's or side file's name, this, and a
/// random number.
pub(super) const DRAFT: &str = ".new-";
/// The length of that number, in hexadecimal digits.
pub(super) const DRAFT_DIGITS: usize = 16;

/// The most names that are read in a store's directory: other users may fill it.
const MOST_ENTRIES: usize = 100_000;

/// A name in a directory that is held open: the store's, or that of something beside it.
#[derive(Debug, Clone)]
pub(super) struct HeldPath {
    directory: Arc<Directory>,
    /// The directory's path and this name, for people.
    path: PathBuf,
    /// The path through the descriptor, for the kernel.
    inside: PathBuf,
}

#[derive(Debug)]
struct Directory {
    held: File,
    /// Whether only this user and root can replace it, or a file beside it.
    is_settled: bool,
    /// The project that names the store as a file below itself.
    project: Option<PathBuf>,
    /// The first directory on the way, or itself, that anybody may have put where it is.
    planted: Option<Planted>,
}

impl HeldPath {
    /// Follows every link in `path` that this user or root made. A link of another user leads to a store
    /// of that user's choice, or to a file that is not a store. If a project names the store, no link is
    /// followed: links there belong to the user, but came by a `git pull`.
    pub(super) fn find(path: &Path, missing: Missing) -> Result<Self, StoreError> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(|error| at_path("find", path, error));
        let project = path.to_str().and_then(|path| path.split_once(PROJECT));
        let project = project.map(|(project, _)| if project.is_empty() { "/" } else { project });
        let project = project.map(|project| absolute(Path::new(project))).transpose()?;
        let links = if project.is_some() { Links::None } else { Links::Trusted };
        let way = path_walk::find(path, missing, links).map_err(astray)?;
        let Way { held, directory: path, name, is_settled, open, .. } = way;
        let inside = way_to(&held).join(&name);
        // What has the name itself by now is judged when it is opened.
        let planted = open.planted.filter(|planted| planted.path != path.join(&name));
        let directory = Arc::new(Directory { held, is_settled, project, planted });
        Ok(Self { directory, path: path.join(name), inside })
    }

    /// Returns whether a project names the store as a file below itself: what is there may be any file
    /// of the user.
    pub(super) fn is_of_project(&self) -> bool {
        self.directory.project.is_some()
    }

    /// Returns the path as it is in a URL, with the mark of a project.
    pub(super) fn marked(&self) -> String {
        let below = |project: &PathBuf| {
            let below = self.path.strip_prefix(project).ok()?;
            Some(format!("{}{PROJECT}{}", project.display(), below.display()))
        };
        let marked = self.directory.project.as_ref().and_then(below);
        marked.unwrap_or_else(|| self.path.display().to_string())
    }

    /// Returns the path, for people.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the path so that it can be printed.
    pub(super) fn shown(&self) -> String {
        escape(&self.path.display().to_string())
    }

    /// Returns the path through its directory's descriptor. It is valid as long as this or a clone of it
    /// exists.
    pub(super) fn inside(&self) -> &Path {
        &self.inside
    }

    /// Returns the path of a name that begins with this one, in the same directory.
    pub(super) fn beside(&self, suffix: &str) -> Self {
        let with_suffix = |path: &Path| {
            let mut longer = path.as_os_str().to_owned();
            longer.push(suffix);
            PathBuf::from(longer)
        };
        Self {
            directory: self.directory.clone(),
            path: with_suffix(&self.path),
            inside: with_suffix(&self.inside),
        }
    }

    /// Returns a name beside this one that cannot be guessed.
    pub(super) fn draft(&self) -> Self {
        self.beside(&format!("{DRAFT}{:0DRAFT_DIGITS$x}", crate::world::random_u64()))
    }

    /// Returns the directory's path, for people.
    pub(super) fn directory_path(&self) -> &Path {
        directory_of(&self.path)
    }

    /// Returns the path of the directory itself through its descriptor. A call that opens no links opens
    /// this.
    pub(super) fn directory_inside(&self) -> PathBuf {
        way_to(&self.directory.held).join(".")
    }

    /// Returns whether only this user and root can replace it, or a directory above it.
    pub(super) fn is_settled(&self) -> bool {
        self.directory.is_settled
    }

    /// Returns the first directory on the way, including the store's own, that anybody may have put there.
    pub(super) fn planted_directory(&self) -> Option<&Planted> {
        self.directory.planted.as_ref()
    }

    /// Returns whether anybody may have put what has this name there.
    pub(super) fn is_planted(&self, meta: &Metadata) -> io::Result<bool> {
        Ok(may_be_planted(&fs::metadata(self.directory_inside())?, meta))
    }

    /// Reads the metadata of what is there: of a link itself, not of its target.
    pub(super) fn look(&self) -> io::Result<Metadata> {
        fs::symlink_metadata(&self.inside)
    }

    pub(super) fn is_there(&self) -> bool {
        self.look().is_ok()
    }

    /// Opens a file. Does not follow a link, and does not wait for the other end of a FIFO.
    pub(super) fn open(&self) -> io::Result<File> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        File::options().read(true).write(true).custom_flags(flags).open(&self.inside)
    }

    /// Opens a file for reading only, in the same way.
    pub(super) fn open_to_read(&self) -> io::Result<File> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        File::options().read(true).custom_flags(flags).open(&self.inside)
    }

    /// Opens a directory; does not follow a link.
    pub(super) fn open_directory(&self) -> io::Result<File> {
        open_directory(&self.inside)
    }

    /// Removes a file, if it exists.
    pub(super) fn remove(&self) -> Result<(), StoreError> {
        match fs::remove_file(&self.inside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(at_path("clear away", &self.path, error))
            }
            _ => Ok(()),
        }
    }

    /// Removes a draft, a file or a directory.
    pub(super) fn discard(&self) {
        let _ = fs::remove_file(&self.inside).or_else(|_| fs::remove_dir(&self.inside));
    }

    /// Moves the file to another name in the same directory; `AlreadyExists` if that name is taken.
    pub(super) fn rename(&self, other: &Self) -> io::Result<()> {
        Ok(renameat2(AT_FDCWD, &self.inside, AT_FDCWD, &other.inside, RenameFlags::RENAME_NOREPLACE)?)
    }

    /// Brings the names in the directory to the disk.
    pub(super) fn sync_directory(&self) -> io::Result<()> {
        open_directory(&self.directory_inside())?.sync_all()
    }

    /// Returns the other names in the directory that begin with this one, of the first
    /// [`MOST_ENTRIES`] names in it.
    pub(super) fn longer_names(&self) -> impl Iterator<Item = OsString> {
        let name = self.path.file_name().unwrap_or_default().to_owned();
        let entries =
            fs::read_dir(self.directory_inside()).into_iter().flatten().take(MOST_ENTRIES).flatten();
        entries.map(|entry| entry.file_name()).filter(move |other| is_longer(other, &name))
    }
}

fn is_longer(other: &OsStr, name: &OsStr) -> bool {
    other != name && other.as_encoded_bytes().starts_with(name.as_encoded_bytes())
}

fn open_directory(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

fn astray(astray: Astray) -> StoreError {
    match astray {
        Astray::Failed { doing, path, error } => at_path(doing, &path, error),
        Astray::Refused(why) => unusable(why),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::Duration;

    use nix::unistd::geteuid;

    use super::super::file::OpenFile;
    use super::*;
    use crate::store::Limits;

    fn names_in(directory: &Path) -> Vec<OsString> {
        let mut names: Vec<_> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_store_is_made_and_opened_where_it_was_found_whatever_has_its_directorys_name_by_now() {
        let root = tempfile::tempdir().unwrap();
        let [way, found, other] = ["way", "found", "other"].map(|name| root.path().join(name));
        fs::create_dir(&way).unwrap();
        fs::create_dir(&other).unwrap();
        // The journal of a store that is gone: it would be removed.
        let journal = 0x377f_0682_u32.to_be_bytes();
        fs::write(other.join("s.db-wal"), journal).unwrap();
        fs::write(way.join("s.db-wal"), journal).unwrap();
        let store = HeldPath::find(&way.join("s.db"), Missing::Refused).unwrap();
        fs::rename(&way, &found).unwrap();
        symlink(&other, &way).unwrap();

        let file = OpenFile::open(&store, &Limits::within(Duration::from_secs(5))).unwrap();
        assert_eq!(names_in(&other), ["s.db-wal"]);
        assert_eq!(fs::read(other.join("s.db-wal")).unwrap(), journal);
        let made = names_in(&found);
        assert!(
            ["s.db", "s.db-live", "s.db-lock", "s.db-wal"].iter().all(|name| made.contains(&name.into())),
            "{made:?}"
        );
        // SQLite does not resolve another path either.
        assert_eq!(file.sql.path(), store.inside().to_str());
    }

    #[test]
    fn a_link_that_anybody_can_have_moved_there_leads_to_no_store() {
        let root = tempfile::tempdir().unwrap();
        let [open, other] = ["open", "other"].map(|name| root.path().join(name));
        fs::create_dir(&open).unwrap();
        fs::create_dir(&other).unwrap();
        symlink(&other, open.join("link")).unwrap();
        for (mode, is_followed) in [(0o755, true), (0o775, true), (0o1777, false), (0o777, false)] {
            fs::set_permissions(&open, fs::Permissions::from_mode(mode)).unwrap();
            let found = HeldPath::find(&open.join("link/s.db"), Missing::Refused);
            assert_eq!(found.is_ok(), is_followed, "{mode:o}");
            assert!(found.err().is_none_or(|error| error.to_string().contains("may have moved there")));
        }
    }

    #[test]
    fn a_place_is_settled_if_nobody_else_can_exchange_a_directory_on_the_way() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("inner");
        let deeper = HeldPath::find(&inner.join("deeper").join("s.db"), Missing::Made).unwrap();
        for (mode, is_settled) in
            [(0o700, true), (0o770, false), (0o757, false), (0o3770, true), (0o1777, true)]
        {
            fs::set_permissions(&inner, fs::Permissions::from_mode(mode)).unwrap();
            let found = HeldPath::find(deeper.path(), Missing::Refused).unwrap();
            assert_eq!(found.is_settled(), is_settled, "{mode:o}");
        }
        if geteuid().is_root() {
            std::os::unix::fs::chown(&inner, Some(12_345), None).unwrap();
            assert!(!HeldPath::find(deeper.path(), Missing::Refused).unwrap().is_settled());
        }
    }
}
