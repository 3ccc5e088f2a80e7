//! Directories in which a user's programs save what they remember.

use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};

use super::file;
use crate::acl::Acl;
use crate::people::is_unknown;

/// Opens such a directory, which must not be a link. Only the user and root may own or write it, or
/// anything on its path, including links: so no other user can replace it, and its path leads to it from
/// now on.
#[doc(hidden)]
pub fn open_private(path: &Path, uid: u32) -> io::Result<File> {
    let (way, weakness) = file::look(path, uid);
    if let Some(weakness) = weakness {
        return Err(io::Error::other(weakness));
    }
    way?;
    if path.is_symlink() {
        return Err(io::Error::other("it is a symbolic link, and flowlock saves nothing through a link"));
    }
    let flags = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW);
    File::options().read(true).custom_flags(flags.bits()).open(path)
}

/// Opens the directory; creates it if it is missing, where no other user could interfere.
#[doc(hidden)]
pub fn make_private(path: &Path, uid: u32) -> io::Result<File> {
    open_private(path, uid).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => make(path, uid),
        _ => Err(error),
    })
}

/// Creates what is missing part by part, each in the directory that was created or judged before,
/// through its descriptor: by the time a missing name is used again, it may be another user's directory,
/// with links in it.
fn make(path: &Path, uid: u32) -> io::Result<File> {
    let (there, mut at) = deepest(path, uid)?;
    let missing = path.strip_prefix(there).map_err(io::Error::other)?;
    let mut done = there.to_owned();
    for part in missing.components() {
        let Component::Normal(name) = part else {
            return Err(io::Error::other("it leads through a directory that does not exist"));
        };
        done.push(name);
        match mkdirat(&at, name, Mode::S_IRWXU) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlag::O_DIRECTORY.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);
        at = File::from(openat(&at, name, flags, Mode::empty())?);
        let meta = at.metadata()?;
        let weakness = file::weakness_of(&done, &meta, || Acl::of_open(&at), uid);
        // What was made here is this user's; nobody else makes anything on root's behalf.
        let unknown = || {
            is_unknown(meta.uid()).then(|| format!("{} was just made by another user", file::shown(&done)))
        };
        if let Some(weakness) = weakness.or_else(unknown) {
            return Err(io::Error::other(weakness));
        }
    }
    Ok(at)
}

/// Returns the deepest existing directory on the path, opened; only the user and root can replace it.
fn deepest(path: &Path, uid: u32) -> io::Result<(&Path, File)> {
    for there in path.ancestors() {
        match file::look(there, uid) {
            (_, Some(weakness)) => return Err(io::Error::other(weakness)),
            (Ok(way), None) => return Ok((there, way.open()?)),
            (Err(error), None) if error.kind() == io::ErrorKind::NotFound => {}
            (Err(error), None) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

    use super::*;

    #[test]
    fn what_is_missing_is_made_for_the_user_alone() {
        let root = tempfile::tempdir().unwrap();
        let me = nix::unistd::geteuid().as_raw();
        let path = root.path().join("a/b/c");
        let made = make_private(&path, me).unwrap().metadata().unwrap();
        let found = fs::metadata(&path).unwrap();
        assert_eq!((made.ino(), made.mode() & 0o777), (found.ino(), 0o700));
        assert_eq!(make_private(&path, me).unwrap().metadata().unwrap().ino(), made.ino());
    }

    /// If everybody may create directories, one of another user appears in place of a missing one, with
    /// a link in it.
    #[test]
    fn nothing_is_made_by_way_of_a_link_that_appears_on_the_way() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        let [theirs, job, target, gone] =
            ["theirs", "job", "target", "gone"].map(|name| root.path().join(name));
        fs::create_dir(&theirs).unwrap();
        fs::create_dir(&target).unwrap();
        symlink(&target, theirs.join("state")).unwrap();
        let me = nix::unistd::geteuid().as_raw();
        // Everybody can write theirs, so that it counts as another user's, whoever runs this test.
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o777)).unwrap();
        let over = AtomicBool::new(false);
        let path = job.join("state").join("flowlock");
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let moved = |from, to| renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE);
                while !over.load(Ordering::Relaxed) {
                    let _ = moved(&theirs, &job);
                    let _ = moved(&job, &theirs);
                }
            });
            for _ in 0..2_000 {
                let _ = make_private(&path, me);
                if fs::rename(&job, &gone).is_ok() {
                    if gone.join("state").is_symlink() {
                        fs::rename(&gone, &theirs).unwrap();
                    } else {
                        fs::remove_dir_all(&gone).unwrap();
                    }
                }
            }
            over.store(true, Ordering::Relaxed);
        });
        assert_eq!(fs::read_dir(&target).unwrap().count(), 0);
    }
}
