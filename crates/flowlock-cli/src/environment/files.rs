//! A directory of the user's own for a command's files.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use flowlock::config::open_private;
use flowlock::named_file;
use nix::fcntl::{OFlag, openat};
use nix::libc;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

/// A directory of the user's own, for example for the command's files. Its content is reached through
/// its descriptor.
#[derive(Debug)]
pub(crate) struct Files {
    path: PathBuf,
    held: File,
    /// The directory that contains it.
    place: File,
    /// The files, and the directories with all files in them, that are removed with it, in this order.
    made: Vec<String>,
    directories: Vec<&'static str>,
}

/// Returns where the command's files are created: in `$TMPDIR`, unless another user could replace a
/// directory there, and so show the command other lists.
fn place_for_files() -> io::Result<(PathBuf, File)> {
    let uid = geteuid().as_raw();
    let private = |place: &Path| {
        let place = fs::canonicalize(place)?;
        open_private(&place, uid).map(|held| (place, held))
    };
    let exchangeable = match private(&std::env::temp_dir()) {
        Err(error) if error.kind() == io::ErrorKind::Other => error,
        usual => return usual,
    };
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut others = runtime.into_iter().chain(["/tmp", "/var/tmp"].map(PathBuf::from));
    others.find_map(|place| private(&place).ok()).ok_or(exchangeable)
}

/// Opens a directory that was just created, and checks what was opened: no other user owns or may enter
/// it.
pub(super) fn opened_own(place: &File, name: &OsStr) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let held = File::from(openat(place, name, flags, Mode::empty())?);
    let found = held.metadata()?;
    if found.uid() != geteuid().as_raw() || found.mode() & 0o077 != 0 {
        return Err(io::Error::other("the directory was replaced after it was made"));
    }
    Ok(held)
}

impl Files {
    pub(super) fn new() -> io::Result<Self> {
        Self::new_in(place_for_files()?)
    }

    /// For a process of flowlock's own, which creates these files in it, and these directories with
    /// files.
    pub(crate) fn of_our_own(files: &[&str], directories: &[&'static str]) -> io::Result<Self> {
        let mut new = Self::new()?;
        new.made = files.iter().map(|name| (*name).to_owned()).collect();
        new.directories = directories.to_vec();
        Ok(new)
    }

    /// Returns its path, for other processes.
    pub(crate) fn directory(&self) -> &Path {
        &self.path
    }

    pub(super) fn new_in((directory, place): (PathBuf, File)) -> io::Result<Self> {
        let make = |path: &Path| {
            let name = path.file_name().unwrap_or_default();
            mkdirat(&place, name, Mode::S_IRWXU)?;
            opened_own(&place, name)
        };
        let new = tempfile::Builder::new().prefix("flowlock-").make_in(directory, make)?;
        let (held, path) = new.keep().map_err(|error| error.error)?;
        Ok(Self { path, held, place, made: Vec::new(), directories: Vec::new() })
    }

    /// Returns the path through the descriptor.
    fn inside(&self, name: &str) -> PathBuf {
        Path::new("/proc/self/fd").join(self.held.as_raw_fd().to_string()).join(name)
    }

    /// Returns where the command finds a file.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub(super) fn make(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        let mut options = File::options();
        options.write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let mut file = options.open(self.inside(name))?;
        self.made.push(name.to_owned());
        file.write_all(content)
    }

    /// Reads a file that the command may have replaced, if it is a regular file and not a link.
    pub(super) fn read(&self, name: &str, most: u64) -> io::Result<Vec<u8>> {
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY;
        let other = || io::Error::other("not a regular file");
        let opened = File::options().read(true).custom_flags(flags).open(self.inside(name));
        let is_link = |error: &io::Error| error.raw_os_error() == Some(libc::ELOOP);
        let file = opened.map_err(|error| if is_link(&error) { other() } else { error })?;
        if !file.metadata()?.is_file() {
            return Err(other());
        }
        named_file::read_whole(file, most)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Only what has the names that were created here, and only in this directory, wherever it is by
        // now. Anything else in it belongs to the command; then the directory stays.
        for name in &self.made {
            let _ = unlinkat(&self.held, name.as_str(), UnlinkatFlags::NoRemoveDir);
        }
        for name in &self.directories {
            let _ = remove_with_files(&self.held, name);
        }
        if let Some(name) = self.path.file_name() {
            let _ = unlinkat(&self.place, name, UnlinkatFlags::RemoveDir);
        }
    }
}

/// Removes a directory, if it contains only files.
fn remove_with_files(around: &File, name: &str) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let held = File::from(openat(around, name, flags, Mode::empty())?);
    for entry in fs::read_dir(Path::new("/proc/self/fd").join(held.as_raw_fd().to_string()))? {
        let _ = unlinkat(&held, entry?.file_name().as_os_str(), UnlinkatFlags::NoRemoveDir);
    }
    Ok(unlinkat(around, name, UnlinkatFlags::RemoveDir)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::super::NOTE;
    use super::*;

    fn files(scratch: &Path) -> Files {
        Files::new_in((scratch.to_owned(), File::open(scratch).unwrap())).unwrap()
    }

    #[test]
    fn only_what_was_made_for_the_command_is_removed() {
        let scratch = tempfile::tempdir().unwrap();
        let mut files = files(scratch.path());
        files.make(NOTE, b"").unwrap();
        assert_eq!(fs::metadata(&files.path).unwrap().mode() & 0o777, 0o700);
        let path = files.path.clone();
        drop(files);
        assert!(!path.exists());
        // As if another directory of the user had been opened in its place.
        let mut files = super::tests::files(scratch.path());
        let path = files.path.clone();
        fs::write(path.join("thesis.txt"), "years of work").unwrap();
        fs::write(path.join(NOTE), "not the command's").unwrap();
        assert_eq!(files.make(NOTE, b"").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        drop(files);
        assert_eq!(fs::read_dir(&path).unwrap().count(), 2);
    }

    #[test]
    fn a_directory_that_others_may_enter_is_not_the_one_that_was_made() {
        let scratch = tempfile::tempdir().unwrap();
        let other = scratch.path().join("other");
        fs::create_dir(&other).unwrap();
        fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&other, scratch.path().join("link")).unwrap();
        fs::write(scratch.path().join("file"), "").unwrap();
        let place = File::open(scratch.path()).unwrap();
        for name in ["other", "link", "file", "none"] {
            assert!(opened_own(&place, name.as_ref()).is_err(), "{name}");
        }
        fs::set_permissions(&other, fs::Permissions::from_mode(0o700)).unwrap();
        assert!(opened_own(&place, "other".as_ref()).is_ok());
    }
}
