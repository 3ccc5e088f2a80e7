//! What a walk is asked to do, what it shows on its way, and its result.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::is_in_proc;

/// Where a path leads to.
#[derive(Debug)]
pub(crate) struct Way {
    /// The directory that contains the name, held open, and its path.
    pub(crate) held: File,
    pub(crate) directory: PathBuf,
    /// The name; `.` for a directory that is reached without its name: `/`, or a path that ends in `..`.
    pub(crate) name: OsString,
    /// What has the name, opened with `O_PATH`; not a link. `None` if the name is free.
    pub(crate) found: Option<File>,
    /// Whether only this user and root can replace a directory on the way, or what has the name.
    pub(crate) is_settled: bool,
    pub(crate) open: Open,
}

/// What everybody could do to a way.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// The first thing on the way that is in a directory which everybody may write, and that belongs
    /// neither to this user, nor to root, nor to the directory's owner: anybody may have put it there.
    pub(crate) planted: Option<Planted>,
    /// The first directory in which everybody could replace what is on the way, now or when the name is
    /// free.
    pub(crate) to_all: Option<PathBuf>,
}

/// Something that anybody may have put where it is.
#[derive(Debug, Clone)]
pub(crate) struct Planted {
    pub(crate) path: PathBuf,
    pub(crate) owner: u32,
    pub(crate) directory: PathBuf,
}

/// What to do about a directory that does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Fail.
    Refused,
    /// Create it, as `mkdir -p` does.
    Made,
}

/// Which links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Those that this user or root made, and that no other user can have moved to where they are. Any
    /// other leads to a place of somebody else's choice.
    Trusted,
    /// The same, and the kernel's links to what this process holds open (`/dev/stdout`). The kernel
    /// follows those, because their text is not a path.
    OrHeld,
    /// None, and no `..`, where a project names a place below itself: its files are the user's, but came
    /// by a `git pull`.
    None,
    /// All: the caller is shown them, and judges what they lead to.
    Shown,
}

/// One step of a walk: a directory, a link, or the file with the name at the end of the path.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'w> {
    /// The directory that contains it, held open, with its metadata and its path.
    pub(crate) directory: &'w File,
    pub(crate) here: &'w Metadata,
    pub(crate) at: &'w Path,
    /// The step itself, opened with `O_PATH`, with its metadata and its path.
    pub(crate) found: &'w File,
    pub(crate) meta: &'w Metadata,
    pub(crate) path: &'w Path,
    /// Whether this is the end of the path, or what a link at the end leads to.
    pub(crate) is_last: bool,
}

impl Step<'_> {
    /// Returns whether the step is in `/proc`, where the same path means a different file for each process.
    pub(crate) fn is_in_proc(&self) -> bool {
        is_in_proc(self.directory)
    }
}

/// Why a walk did not reach its end.
#[derive(Debug)]
pub(crate) enum Astray {
    /// An error of the system, at a path.
    Failed { doing: &'static str, path: PathBuf, error: io::Error },
    /// The walk refuses to go on; says why.
    Refused(String),
}

impl From<Astray> for io::Error {
    fn from(astray: Astray) -> Self {
        match astray {
            Astray::Failed { error, .. } => error,
            Astray::Refused(why) => Self::other(why),
        }
    }
}

impl Way {
    /// Returns the path to which the walk led, without links.
    pub(crate) fn path(&self) -> PathBuf {
        if self.name == "." { self.directory.clone() } else { self.directory.join(&self.name) }
    }

    /// Opens the file for reading. Follows no link, and does not wait for the other end of a FIFO.
    pub(crate) fn open(&self) -> io::Result<File> {
        let flags =
            OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.held, self.name.as_os_str(), flags, Mode::empty())?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::symlink;

    use super::super::see;
    use super::*;

    #[test]
    fn a_walk_goes_on_from_what_it_has_shown_whatever_has_the_name_by_then() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let [shown, moved] = ["shown", "moved"].map(|name| root.join(name));
        fs::create_dir(&shown).unwrap();
        fs::write(shown.join("file"), "judged").unwrap();
        let mut met = Vec::new();
        let way = see(&shown.join("file"), &mut |step| {
            met.push(step.path.to_owned());
            if step.path == shown {
                fs::rename(&shown, &moved).unwrap();
                fs::create_dir(&shown).unwrap();
                fs::write(shown.join("file"), "another").unwrap();
            }
        });
        let mut text = String::new();
        way.unwrap().open().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "judged");
        assert_eq!(met.split_off(met.len() - 2), [shown.clone(), shown.join("file")]);
    }

    #[test]
    fn a_walk_that_is_shown_comes_to_directories_and_to_what_is_not_there_by_all_links() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        fs::create_dir_all(root.join("a/b")).unwrap();
        symlink("a/b", root.join("link")).unwrap();
        let to = |path: &Path| see(path, &mut |_| {}).map(|way| (way.path(), way.found.is_some()));
        for (path, expected, is_there) in [
            (PathBuf::from("/"), PathBuf::from("/"), true),
            (root.join("a/b/.."), root.join("a"), true),
            (root.join("link/.."), root.join("a"), true),
            (root.join("link"), root.join("a/b"), true),
            (root.join("link/none"), root.join("a/b/none"), false),
        ] {
            assert_eq!(to(&path).unwrap(), (expected, is_there), "{path:?}");
        }
        assert_eq!(to(&root.join("none/none")).unwrap_err().kind(), io::ErrorKind::NotFound);
        // As a walk that judges by itself cannot come to a file there.
        let refused = super::super::find(&root.join("a/b/.."), Missing::Refused, Links::Trusted);
        assert!(refused.is_err());
    }
}
