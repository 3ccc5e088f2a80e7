//! The files that a URL names. No link on the way is somebody else's, or may have been moved there by somebody else: what it
//! leads to would be sent to the server. What a project named by a relative path is reached through no link.
//!
//! Whoever reads a project's file sees that its password is in `pw`, a file of the project. The next `git pull` may put a
//! link there, to any file of the user's, and its content would go to the project's server. So such a path is walked
//! directory by directory, each opened in the one before: what was judged is what is read, each time that it is read.

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

/// What a project's path may not lead to, in words.
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

/// Whether the file was not opened because of what it is, and the error says what to do.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    inner.is::<Refusal>()
}

/// The path without the mark of a project's.
pub(in crate::store::redis) fn clean(path: &Path) -> PathBuf {
    path.components().collect()
}

/// The path as people may see it.
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

/// Reads a regular file of `most` bytes at most.
pub(in crate::store::redis) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    named_file::read_whole(open(path)?, most)
}

/// Opens a file through no link, from the root on: the project's directory had none on its way either when it was found.
fn walk(path: &Path) -> io::Result<File> {
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let mut at = File::options().read(true).custom_flags(flags).open("/")?;
    let mut done = PathBuf::from("/");
    let mut parts = path.components().skip(1).peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else {
            return Err(refusal(
                "it has \"..\" in it; write the whole path of the file that you mean".into(),
            ));
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
            // The one is said of a directory, the other of a file.
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
        "{} is a symbolic link to {}, and a relative path in a project's file leads through no link, for the next pull may point it at any file of yours; put the file itself there, or write the whole path of the one that you mean",
        shown(link),
        crate::text::escape(&target.display().to_string())
    ))
}

/// A second name may be that of a file elsewhere: no `git pull` makes one, but whoever may write the directory can, on
/// machines that let everybody link to what is not theirs (`fs.protected_hardlinks=0`).
fn one_of_a_kind(file: File) -> io::Result<File> {
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if meta.nlink() != 1 {
        return Err(refusal(format!(
            "it has {} names (hard links), and another one may belong to a file elsewhere; put a copy in its place",
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
                refused.starts_with(&format!("{shown} is a symbolic link to {target}, and")),
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

    /// Whose a link is does not say who moved it to where it is; what it leads to would be sent to the server.
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
        assert!(said(&root.join("./pw")).starts_with("it has 2 names (hard links)"));
        for other in ["fifo", ""] {
            assert_eq!(said(&PathBuf::from(format!("{}/./{other}", root.display()))), "not a regular file");
        }
    }
}
