//! The files that a URL names. No link on the path may belong to another user, or may have been moved
//! there by one: the content of its target would be sent to the server. A file that a project names by a
//! relative path is reached through no link.
//!
//! A user who reads a project's file sees that its password is in `pw`, a file of the project. The next
//! `git pull` may put a link there to any file of the user, and its content would be sent to the
//! project's server. So such a path is walked directory by directory, each opened in the one before:
//! what was judged is what is read, every time.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::Mode;

use crate::named_file::{self, PROJECT};
use crate::store::path_walk::{self, Astray, Links, Missing};

/// Where a project's path leads that it must not, in words.
#[derive(Debug)]
struct Refusal(String);

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

fn refusal(said: String) -> io::Error {
    io::Error::other(Refusal(said))
}

/// Returns whether the file was refused because of what it is, so that the error says what to do.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    inner.is::<Refusal>()
}

/// Returns the path without the mark of a project.
pub(in crate::store::redis) fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

/// Returns the path as people may see it.
pub(super) fn shown(path: &Path) -> String {
    crate::text::escape(&clean(path).display().to_string())
}

/// Opens a regular file for reading.
pub(super) fn open(path: &Path) -> io::Result<File> {
    if path.to_str().is_some_and(|path| path.contains(PROJECT)) {
        return walk(path);
    }
    let way = path_walk::find(path, Missing::Refused, Links::Trusted).map_err(|astray| match astray {
        Astray::Failed { error, .. } => error,
        Astray::Refused(why) => refusal(why),
    })?;
    let file = way.open()?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Reads a regular file of up to `most` bytes.
pub(in crate::store::redis) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    named_file::read_whole(open(path)?, most)
}

/// Opens a file through no link, from the root on: the project's directory had none on its path either
/// when it was found.
fn walk(path: &Path) -> io::Result<File> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let mut at = File::options().read(true).custom_flags(flags).open("/")?;
    let mut done = PathBuf::from("/");
    let mut parts = path.components().skip(1).peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            return Err(refusal("it has \"..\" in it; write the absolute path of the file".into()));
        };
        done.push(name);
        let flags = if parts.peek().is_some() {
            OFlag::O_PATH | OFlag::O_DIRECTORY
        } else {
            OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY
        };
        let opened = openat(&at, name, flags | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
        at = match opened {
            Ok(opened) => opened.into(),
            // The first is the error for a directory, the second for a file.
            Err(error @ (Errno::ENOTDIR | Errno::ELOOP)) => {
                return Err(readlinkat(&at, name).map_or(error.into(), |target| is_a_link(&done, &target)));
            }
            Err(error) => return Err(error.into()),
        };
    }
    one_of_a_kind(at)
}

fn is_a_link(link: &Path, target: &std::ffi::OsStr) -> io::Error {
    refusal(format!(
        "{} is a symbolic link to {}, but a relative path in a project's file must lead through no link, because the next pull could point one at any file of yours; put the file itself there, or write its absolute path",
        shown(link),
        crate::text::escape(&target.display().to_string())
    ))
}

/// Refuses a file with a second name, which may be a file elsewhere. No `git pull` creates such a name,
/// but a user who may write the directory can, on machines that let everybody link to others' files
/// (`fs.protected_hardlinks=0`).
fn one_of_a_kind(file: File) -> io::Result<File> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if meta.nlink() != 1 {
        return Err(refusal(format!(
            "it has {} hard links, so it may also be a file elsewhere; replace it with a copy",
            meta.nlink()
        )));
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn said(path: &Path) -> String {
        read(path, 100).unwrap_err().to_string()
    }

    #[test]
    fn what_a_project_names_is_read_through_no_link_and_anything_else_through_any() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        let [project, secret] = ["project", "secret"].map(|name| root.join(name));
        std::fs::create_dir_all(project.join("deep")).unwrap();
        std::fs::write(&secret, "mine").unwrap();
        std::fs::write(project.join("deep/pw"), "theirs").unwrap();
        let marked = |below: &str| PathBuf::from(format!("{}/./{below}", project.display()));
        assert_eq!(read(&marked("deep/pw"), 100).unwrap(), b"theirs");
        for (link, target, path) in
            [("pw", "../secret", "pw"), ("way", "..", "way/secret"), ("in", "deep", "in/pw")]
        {
            symlink(target, project.join(link)).unwrap();
            let refused = said(&marked(path));
            let shown = project.join(link).display().to_string();
            assert!(
                refused.starts_with(&format!("{shown} is a symbolic link to {target}, but")),
                "{refused}"
            );
            assert!(read(&project.join(path), 100).is_ok(), "{path}");
        }
        assert!(said(&marked("../secret")).contains("\"..\""));
        assert!(said(&marked("deep/pw/x")).contains("Not a directory"));
        assert_eq!(read(&marked("none"), 100).unwrap_err().kind(), io::ErrorKind::NotFound);
        // The project's own directory has become a link since it was found.
        symlink(&project, root.join("moved")).unwrap();
        assert!(said(&root.join("moved/./deep/pw")).contains("moved is a symbolic link"));
    }

    /// The owner of a link does not tell who moved it there; the content of its target would be sent to
    /// the server.
    #[test]
    fn a_link_that_anybody_can_have_moved_there_is_not_followed_to_a_password() {
        use std::os::unix::fs::PermissionsExt as _;
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::write(root.join("secret"), "mine").unwrap();
        std::fs::create_dir(root.join("open")).unwrap();
        symlink("../secret", root.join("open/pw")).unwrap();
        for (mode, is_read) in [(0o700, true), (0o1777, false), (0o777, false)] {
            std::fs::set_permissions(root.join("open"), std::fs::Permissions::from_mode(mode)).unwrap();
            let read = read(&root.join("open/pw"), 100);
            assert_eq!(read.is_ok(), is_read, "{mode:o}");
            assert!(
                read.err()
                    .is_none_or(|error| is_refusal(&error) && error.to_string().contains("moved there"))
            );
        }
    }

    #[test]
    fn a_second_name_of_another_file_and_what_is_no_file_are_not_read() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::write(root.join("secret"), "mine").unwrap();
        std::fs::hard_link(root.join("secret"), root.join("pw")).unwrap();
        nix::unistd::mkfifo(&root.join("fifo"), Mode::S_IRWXU).unwrap();
        assert!(said(&root.join("./pw")).starts_with("it has 2 hard links"));
        for other in ["fifo", ""] {
            assert_eq!(said(&PathBuf::from(format!("{}/./{other}", root.display()))), "not a regular file");
        }
    }
}
