//! Opens a file that a user names for writing. Another user who may write its directory can put a link
//! there that leads to a file of this user, who would then overwrite that file.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Links, Missing, Way, find, is_in_proc, is_strangers, is_trusted, may_be_planted, shown};

/// How often the file may be replaced while it is being opened.
const TRIES: usize = 10;

/// Opens a file for writing; creates it if it is missing; keeps its content. Does not wait for the
/// reader of a pipe. Follows no link that another user made or may have moved there, and opens nothing
/// that another user may have put there. What this process holds open (`/dev/stdout`) is opened for
/// appending.
pub(crate) fn open_to_write(path: &Path) -> io::Result<File> {
    for _ in 0..TRIES {
        let way = find(path, Missing::Refused, Links::OrHeld)?;
        match open(&way) {
            Err(Errno::EAGAIN) => {}
            Err(error) => return Err(error.into()),
            Ok(file) => return judged(path, &way, file),
        }
    }
    Err(refused(path, "is replaced again and again"))
}

/// Creates a directory and the missing ones above it. Follows no link that another user made or may have
/// moved there.
pub(crate) fn make_directory(path: &Path) -> io::Result<()> {
    // For any name in a directory, the walk creates the directory.
    find(&path.join("file"), Missing::Made, Links::Trusted)?;
    Ok(())
}

/// Opens what was found and nothing else; `EAGAIN` if it no longer has the name.
fn open(way: &Way) -> Result<File, Errno> {
    let usual = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let Some(found) = &way.found else {
        let new = usual | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let made = openat(&way.held, way.name.as_os_str(), new, Mode::from_bits_truncate(0o666));
        return made
            .map(File::from)
            .map_err(|error| if error == Errno::EEXIST { Errno::EAGAIN } else { error });
    };
    // The kernel follows its own links to what this process holds open. Others write there too, and
    // nothing of theirs may be overwritten.
    let how = if is_in_proc(&way.held) { OFlag::O_APPEND } else { OFlag::O_NOFOLLOW };
    let opened = match openat(&way.held, way.name.as_os_str(), usual | how, Mode::empty()) {
        Err(Errno::ENOENT | Errno::ELOOP) => return Err(Errno::EAGAIN),
        opened => File::from(opened?),
    };
    let identity = |file: &File| file.metadata().map(|meta| (meta.dev(), meta.ino())).ok();
    if identity(&opened) == identity(found) { Ok(opened) } else { Err(Errno::EAGAIN) }
}

fn judged(path: &Path, way: &Way, file: File) -> io::Result<File> {
    let (here, meta) = (way.held.metadata()?, file.metadata()?);
    // Where everybody may write, anybody may also have moved a file there that is the directory's owner's.
    let is_moved = meta.is_file() && here.mode() & 0o002 != 0 && !is_trusted(&meta);
    if is_moved || may_be_planted(&here, &meta) {
        let owner = meta.uid();
        return Err(refused(path, &format!("belongs to user {owner}, and anybody may have put it there")));
    }
    if meta.is_file() && meta.nlink() > 1 && (is_strangers(&here) || way.open.planted.is_some()) {
        let why = format!("has {} hard links, and anybody may have made one of them", meta.nlink());
        return Err(refused(path, &why));
    }
    Ok(file)
}

fn refused(path: &Path, why: &str) -> io::Error {
    io::Error::other(format!(
        "{} {why}, so it is not written; name a file in a directory of your own",
        shown(path)
    ))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::Write as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    use super::*;

    const STRANGER: u32 = 23_456;

    #[test]
    fn a_file_is_made_or_opened_and_keeps_what_is_in_it() {
        let root = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| root.path().join(name));
        drop(open_to_write(&file).unwrap());
        fs::write(&file, "before").unwrap();
        symlink("file", &link).unwrap();
        open_to_write(&link).unwrap().write_all(b"AF").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "AFfore");
        assert_eq!(open_to_write(&root.path().join("none/x")).unwrap_err().raw_os_error(), Some(2));
        assert!(open_to_write(root.path()).is_err());
    }

    #[test]
    fn what_this_process_holds_open_is_opened_by_its_descriptor() {
        let root = tempfile::tempdir().unwrap();
        let held = File::create(root.path().join("gone")).unwrap();
        fs::remove_file(root.path().join("gone")).unwrap();
        for way in ["/proc/self/fd", "/dev/fd"] {
            let path = Path::new(way).join(held.as_raw_fd().to_string());
            let mut file = open_to_write(&path).unwrap_or_else(|error| panic!("{way}: {error}"));
            file.write_all(b"x").unwrap();
        }
        // One after the other: what others wrote there stays.
        assert_eq!(held.metadata().unwrap().len(), 2);
        assert!(open_to_write(Path::new("/dev/null")).is_ok());
    }

    #[test]
    fn a_directory_is_made_where_it_was_named_and_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let [open, precious] = ["open", "precious"].map(|name| root.path().join(name));
        for directory in [&open, &precious] {
            fs::create_dir(directory).unwrap();
        }
        symlink(&precious, open.join("link")).unwrap();
        for mode in [0o777, 0o1777] {
            fs::set_permissions(&open, Permissions::from_mode(mode)).unwrap();
            let said = make_directory(&open.join("link/a/b")).unwrap_err().to_string();
            assert!(said.contains("may have moved there"), "{said}");
            assert_eq!(fs::read_dir(&precious).unwrap().count(), 0);
            make_directory(&open.join("a/b")).unwrap();
        }
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        make_directory(&open.join("link/a/b")).unwrap();
        assert!(precious.join("a/b").is_dir() && open.join("a/b").is_dir());
        fs::write(root.path().join("file"), "").unwrap();
        assert!(make_directory(&root.path().join("file")).is_err());
    }

    #[test]
    fn what_somebody_else_can_have_put_there_is_not_written() {
        let root = tempfile::tempdir().unwrap();
        let [open, precious] = ["open", "precious"].map(|name| root.path().join(name));
        fs::create_dir(&open).unwrap();
        fs::write(&precious, "mine").unwrap();
        symlink(&precious, open.join("link")).unwrap();
        fs::hard_link(&precious, open.join("second")).unwrap();
        for (mode, is_written) in [(0o755, true), (0o1777, false), (0o777, false)] {
            fs::set_permissions(&open, Permissions::from_mode(mode)).unwrap();
            for name in ["link", "second"] {
                assert_eq!(open_to_write(&open.join(name)).is_ok(), is_written, "{name} {mode:o}");
            }
            // The user's own file of last time, as in /tmp.
            fs::write(open.join("own"), "").unwrap();
            open_to_write(&open.join("own")).unwrap();
        }
        if nix::unistd::geteuid().is_root() {
            fs::write(open.join("theirs"), "").unwrap();
            chown(open.join("theirs"), Some(STRANGER), None).unwrap();
            let said = open_to_write(&open.join("theirs")).unwrap_err().to_string();
            assert!(said.contains("belongs to user 23456, and anybody may have put it there"), "{said}");
            chown(&open, Some(STRANGER), None).unwrap();
            let moved = open_to_write(&open.join("theirs")).unwrap_err().to_string();
            assert_eq!(moved, said, "in a directory of theirs that everybody may write");
            fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
            open_to_write(&open.join("theirs")).expect("root writes what a user asks for");
            chown(&open, Some(0), None).unwrap();
            lchown(open.join("link"), Some(STRANGER), None).unwrap();
            let said = open_to_write(&open.join("link")).unwrap_err().to_string();
            assert!(said.contains("made by user 23456"), "{said}");
        }
    }
}
