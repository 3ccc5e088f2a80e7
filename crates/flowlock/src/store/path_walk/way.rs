//! What is asked of a walk, what it shows on its way, and what it comes to.

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
    /// The directory that the name is in, held open, and its path.
    pub(crate) held: File,
    pub(crate) directory: PathBuf,
    /// `.` if the path is that of a directory by which it has no name: `/`, or one that ends in `..`.
    pub(crate) name: OsString,
    /// What has the name, opened with `O_PATH`; no link. None if nothing has it.
    pub(crate) found: Option<File>,
    /// Nobody but this user and root can put something else in the place of a directory on the way, or of the name.
    pub(crate) is_settled: bool,
    pub(crate) open: Open,
}

/// What anybody could do to a way.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// The first thing on the way that lies in a directory which everybody may write, and that belongs neither to this
    /// user, nor to root, nor to the directory's owner: anybody may have put it there.
    pub(crate) planted: Option<Planted>,
    /// The first directory in which anybody could put something in the place of what is on the way, now or when the name
    /// is free.
    pub(crate) to_all: Option<PathBuf>,
}

/// Something that anybody may have put where it is.
#[derive(Debug)]
pub(crate) struct Planted {
    pub(crate) path: PathBuf,
    pub(crate) owner: u32,
    pub(crate) directory: PathBuf,
}

/// What becomes of a directory that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    /// Nothing can be there.
    Refused,
    /// It is made, as `mkdir -p` does.
    Made,
}

/// Which links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Links {
    /// Those that this user or root made, and that nobody else can have moved to where they are: any other leads to a place
    /// of somebody else's choice.
    Trusted,
    /// Those, and the kernel's to what this process holds open (`/dev/stdout`): by the kernel, for what they say is no path.
    OrHeld,
    /// None, nor `..`, where a project names a place below itself: the user made them, but by a `git pull`.
    None,
    /// All: whoever asks is shown them, and judges what they lead to.
    Shown,
}

/// Something on a way: a directory, a link, or what has the name at its end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'w> {
    /// The directory that it lies in, held open, what that is, and its path.
    pub(crate) directory: &'w File,
    pub(crate) here: &'w Metadata,
    pub(crate) at: &'w Path,
    /// It itself, opened with `O_PATH`, what it is, and its path.
    pub(crate) found: &'w File,
    pub(crate) meta: &'w Metadata,
    pub(crate) path: &'w Path,
    /// Whether it is the end of the path, or what a link there leads to.
    pub(crate) is_last: bool,
}

impl Step<'_> {
    /// Whether it lies where the kernel shows processes: there a path means another file for each of them.
    pub(crate) fn is_in_proc(&self) -> bool {
        is_in_proc(self.directory)
    }
}

/// Why a walk did not come to its end.
#[derive(Debug)]
pub(crate) enum Astray {
    /// The system's error, at a path.
    Failed { doing: &'static str, path: PathBuf, error: io::Error },
    /// It will not be followed, in words.
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
    /// The path that it came to, without links.
    pub(crate) fn path(&self) -> PathBuf {
        if self.name == "." { self.directory.clone() } else { self.directory.join(&self.name) }
    }

    /// Opens what has the name for reading: no link, and without waiting for the other end of a FIFO.
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
