//! A server's Unix socket: finds whom it belongs to, and connects to it and no other.
//!
//! The process that listens there gets the password. So the path is walked, what has its name is opened
//! and judged, and the kernel connects to what was opened: not to anything that takes the name in
//! between.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::sys::socket::{self as sys, AddressFamily, SockFlag, SockType, UnixAddr};

use super::patience::Wait;
use crate::store::Limits;
use crate::store::path_walk::{self, Astray, Links, Missing, Open, way_to};
use crate::text::escape;
use crate::text::shell_argument;

/// Why a socket is not connected to, whatever process listens there.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(String);

/// A socket to which flowlock may connect.
pub(super) struct Found {
    /// Opened with `O_PATH`.
    socket: File,
    /// The owner of the socket.
    pub(super) owner: u32,
    /// The first directory on the path in which everybody could replace the socket once it is gone.
    pub(super) open_to_all: Option<PathBuf>,
}

/// Returns the socket at a path, unless a user may have put it there who has no rights in the directory.
pub(super) fn find(path: &Path) -> io::Result<Found> {
    let way = path_walk::find(path, Missing::Refused, Links::Trusted).map_err(|astray| match astray {
        Astray::Failed { error, .. } => error,
        Astray::Refused(why) => refusal(why),
    })?;
    let Open { planted, to_all } = way.open;
    if let Some(planted) = planted {
        let [path, directory] = [&planted.path, &planted.directory].map(|path| shown(path));
        return Err(refusal(format!(
            "{path} belongs to user {}, and everybody may write {directory}, so anybody may have put it there to \
             learn the password; keep the server's socket in a directory that only the server may write, such as \
             /run/redis, or run chmod o-w {}",
            planted.owner,
            shell_argument(&directory)
        )));
    }
    let socket = way.found.ok_or_else(|| io::Error::from(Errno::ENOENT))?;
    let meta = socket.metadata()?;
    if !meta.file_type().is_socket() {
        return Err(refusal(format!(
            "{} is not a socket; name the socket that the server creates",
            shown(path)
        )));
    }
    Ok(Found { socket, owner: meta.uid(), open_to_all: to_all })
}

/// Returns whether a socket was refused because of what it is, so that the error says what to do.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else { return false };
    inner.is::<Refusal>()
}

/// Connects. The kernel waits for room in the server's backlog at most for the socket's send time-out.
pub(super) fn connect(path: &Path, limits: &Limits) -> io::Result<UnixStream> {
    find(path)?.connect(limits)
}

impl Found {
    fn connect(&self, limits: &Limits) -> io::Result<UnixStream> {
        let address = UnixAddr::new(&way_to(&self.socket))?;
        let socket = sys::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let stream = UnixStream::from(socket);
        let mut wait = Wait::new(limits);
        loop {
            stream.set_write_timeout(Some(wait.next_slice()?))?;
            match sys::connect(stream.as_raw_fd(), &address) {
                Ok(()) => return Ok(stream),
                Err(Errno::EINTR | Errno::EAGAIN) => {}
                // The path leads through what this process holds open.
                Err(Errno::ENOENT) => return Err(io::Error::other("/proc is not mounted here")),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn refusal(why: String) -> io::Error {
    io::Error::other(Refusal(why))
}

fn shown(path: &Path) -> String {
    escape(&path.display().to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read as _;
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
    use std::os::unix::net::UnixListener;
    use std::time::Duration;

    use super::*;

    const SOON: Duration = Duration::from_secs(5);
    const SERVER: u32 = 12_345;
    const STRANGER: u32 = 23_456;

    fn mode(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn what_was_judged_is_connected_to_whatever_has_its_name_by_now() {
        let root = tempfile::tempdir().unwrap();
        let [way, moved] = ["way", "moved"].map(|name| root.path().join(name));
        fs::create_dir(&way).unwrap();
        let mine = UnixListener::bind(way.join("s")).unwrap();
        let found = find(&way.join("s")).unwrap();
        fs::rename(&way, &moved).unwrap();
        fs::create_dir(&way).unwrap();
        let others = UnixListener::bind(way.join("s")).unwrap();
        others.set_nonblocking(true).unwrap();
        drop(found.connect(&Limits::within(SOON)).unwrap());
        assert_eq!(mine.accept().unwrap().0.read(&mut [0]).unwrap(), 0);
        assert!(others.accept().is_err(), "nobody called");
    }

    #[test]
    fn a_path_of_any_length_is_connected_to_and_what_is_no_socket_is_said_so() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(200));
        fs::create_dir(&deep).unwrap();
        let _listener = UnixListener::bind(root.path().join("s")).unwrap();
        fs::rename(root.path().join("s"), deep.join("s")).unwrap();
        drop(connect(&deep.join("s"), &Limits::within(SOON)).unwrap());
        fs::write(root.path().join("file"), "").unwrap();
        for other in ["file", "d"] {
            let path = if other == "d" { deep.clone() } else { root.path().join(other) };
            let error = connect(&path, &Limits::within(SOON)).unwrap_err();
            assert!(is_refusal(&error) && error.to_string().contains("is not a socket"), "{error}");
        }
        let none = connect(&root.path().join("none"), &Limits::within(SOON)).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::NotFound);
    }

    /// Only root can create what belongs to others.
    #[test]
    fn in_a_directory_that_everybody_may_write_a_socket_must_be_of_somebody_who_has_a_say_there() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("run");
        let path = directory.join("s");
        fs::create_dir(&directory).unwrap();
        let _listener = UnixListener::bind(&path).unwrap();
        // The directory's mode and owner, the socket's owner, and whether it is accepted.
        for (bits, owner, sockets, is_good) in [
            (0o755, SERVER, SERVER, true),
            (0o755, 0, SERVER, true),
            (0o2775, 0, SERVER, true),
            (0o1777, 0, SERVER, false),
            (0o1777, 0, 0, true),
            (0o777, 0, SERVER, false),
            (0o777, SERVER, SERVER, true),
            (0o1777, SERVER, STRANGER, false),
            (0o755, SERVER, STRANGER, true),
        ] {
            chown(&directory, Some(owner), None).unwrap();
            chown(&path, Some(sockets), None).unwrap();
            mode(&directory, bits);
            let found = find(&path);
            assert_eq!(found.is_ok(), is_good, "{bits:o} {owner} {sockets}");
            if let Ok(found) = found {
                assert_eq!((found.owner, found.open_to_all.is_some()), (sockets, bits & 2 != 0), "{bits:o}");
            }
        }
        // Like the directory of another user, put where it is expected.
        chown(&directory, Some(STRANGER), None).unwrap();
        chown(&path, Some(STRANGER), None).unwrap();
        mode(&directory, 0o755);
        mode(root.path(), 0o1777);
        let error = find(&path).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{} belongs to user {STRANGER}", directory.display())), "{error}");
        // A link of another user, wherever it leads.
        mode(root.path(), 0o755);
        symlink(&path, root.path().join("link")).unwrap();
        find(&root.path().join("link")).unwrap();
        lchown(root.path().join("link"), Some(STRANGER), None).unwrap();
        let error = find(&root.path().join("link")).err().unwrap().to_string();
        assert!(error.contains("is a symbolic link made by user 23456"), "{error}");
        // A link of this user, where another user can have moved it.
        lchown(root.path().join("link"), Some(0), None).unwrap();
        for (owner, bits, is_followed) in [
            (0, 0o1777, false),
            (0, 0o777, false),
            (STRANGER, 0o755, false),
            (0, 0o775, true),
            (0, 0o755, true),
        ] {
            chown(root.path(), Some(owner), None).unwrap();
            mode(root.path(), bits);
            // The directory of the target must not be the reason for the refusal.
            let found = find(&root.path().join("link"));
            let Err(error) = found else {
                assert!(is_followed, "{bits:o} {owner}");
                continue;
            };
            let moved = format!("others may write {}, so it is not followed", root.path().display());
            assert!(!is_followed && error.to_string().contains(&moved), "{bits:o} {owner} {error}");
        }
    }
}
