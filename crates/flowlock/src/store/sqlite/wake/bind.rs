//! Creates a client's socket in the directory of inboxes, and identifies it.
//!
//! The owner of that directory may replace what is in it at any moment, also by another socket of this
//! user. So the mode of a socket is never set by its name there: the socket is created in a private
//! directory, in which no other user can do anything, and moved from there when it is complete.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;

use nix::fcntl::{OFlag, RenameFlags, openat, renameat2};
use nix::libc;
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::super::held_path::{DRAFT, DRAFT_DIGITS, way_to};
use super::super::identity::Identity;
use super::is_a_clients;

/// Creates a client's socket, to which others of a shared store may send; also returns its identity.
pub(super) fn bind(directory: &File, name: &str, mode: u32) -> io::Result<(UnixDatagram, Identity)> {
    let nest = Nest::make(directory)?;
    let bound = nest.bind(name, mode);
    if bound.is_err() {
        let _ = unlinkat(&nest.held, name, UnlinkatFlags::NoRemoveDir);
    }
    bound
}

/// Returns whether a name is that of a directory in which sockets are created.
pub(super) fn is_a_nest(name: &str) -> bool {
    name.strip_prefix(DRAFT).is_some_and(|number| {
        number.len() == DRAFT_DIGITS && number.bytes().all(|digit| digit.is_ascii_hexdigit())
    })
}

/// Removes what a process left that died while it created its socket.
pub(super) fn clear(directory: &File, name: &str) {
    let Ok(held) = open(directory, name) else { return };
    for entry in fs::read_dir(way_to(&held)).into_iter().flatten().flatten() {
        let is_socket = entry.file_type().is_ok_and(|kind| kind.is_socket());
        if is_socket && entry.file_name().to_str().is_some_and(is_a_clients) {
            let _ = unlinkat(&held, entry.file_name().as_os_str(), UnlinkatFlags::NoRemoveDir);
        }
    }
    let _ = unlinkat(directory, name, UnlinkatFlags::RemoveDir);
}

/// A directory in which only this user can do anything, as long as it is needed.
struct Nest<'d> {
    directory: &'d File,
    name: String,
    held: File,
}

impl<'d> Nest<'d> {
    fn make(directory: &'d File) -> io::Result<Self> {
        let name = format!("{DRAFT}{:0DRAFT_DIGITS$x}", crate::world::random_u64());
        mkdirat(directory, name.as_str(), Mode::S_IRWXU)?;
        let held = open(directory, &name)?;
        let nest = Self { directory, name, held };
        nest.judge()?;
        Ok(nest)
    }

    /// By the time it is opened, its name may be that of another directory.
    fn judge(&self) -> io::Result<()> {
        let meta = self.held.metadata()?;
        let is_mine = meta.uid() == geteuid().as_raw() && meta.mode() & 0o777 == 0o700;
        if is_mine && fs::read_dir(way_to(&self.held))?.next().is_none() {
            Ok(())
        } else {
            Err(io::Error::other("somebody else replaced it while it was made"))
        }
    }

    fn bind(&self, name: &str, mode: u32) -> io::Result<(UnixDatagram, Identity)> {
        let socket = UnixDatagram::bind(way_to(&self.held).join(name))?;
        let (inbox, meta) = open_socket(&self.held, name)?;
        fs::set_permissions(way_to(&inbox), Permissions::from_mode(mode))?;
        renameat2(&self.held, name, self.directory, name, RenameFlags::RENAME_NOREPLACE)?;
        Ok((socket, Identity::from(&meta)))
    }
}

impl Drop for Nest<'_> {
    fn drop(&mut self) {
        let _ = unlinkat(self.directory, self.name.as_str(), UnlinkatFlags::RemoveDir);
    }
}

fn open(directory: &File, name: &str) -> io::Result<File> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    Ok(File::from(openat(directory, name, flags, Mode::empty())?))
}

/// Opens a socket itself in a directory: whatever takes its name later, this one is used.
pub(super) fn open_socket(directory: &File, name: &str) -> io::Result<(File, Metadata)> {
    let path = way_to(directory).join(name);
    let socket = File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let meta = socket.metadata()?;
    // A second name would belong to another program's socket.
    if meta.file_type().is_socket() && meta.nlink() == 1 {
        Ok((socket, meta))
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "not a socket of flowlock's"))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::DirBuilderExt as _;
    use std::os::unix::net::UnixListener;
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::fcntl::AT_FDCWD;

    use super::*;

    fn exchange(one: &Path, two: &Path) -> bool {
        renameat2(AT_FDCWD, one, AT_FDCWD, two, RenameFlags::RENAME_EXCHANGE).is_ok()
    }

    /// The owner of a store's directory, who may rename what is in it, is as fast as possible.
    #[test]
    fn a_socket_that_somebody_puts_in_the_place_of_a_new_one_keeps_its_mode_and_is_not_removed() {
        let root = tempfile::tempdir().unwrap();
        let (wake, private) = (root.path().join("wake"), root.path().join("private"));
        fs::create_dir(&wake).unwrap();
        let _listens = UnixListener::bind(&private).unwrap();
        fs::set_permissions(&private, Permissions::from_mode(0o600)).unwrap();
        let mine = Identity::from(&fs::symlink_metadata(&private).unwrap());
        let is_private =
            |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| Identity::from(&meta) == mine);
        let directory = File::open(&wake).unwrap();
        let name = crate::id::ClientId(1).to_string();
        let inbox = wake.join(&name);
        let (begun, over) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut changed = false;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    // Once for each new socket.
                    if begun.load(Ordering::Relaxed) && exchange(&inbox, &private) {
                        begun.store(false, Ordering::Relaxed);
                    }
                }
            });
            for _ in 0..500 {
                begun.store(true, Ordering::Relaxed);
                let bound = bind(&directory, &name, 0o666);
                while begun.load(Ordering::Relaxed) && inbox.exists() {
                    std::hint::spin_loop();
                }
                begun.store(false, Ordering::Relaxed);
                if let Ok((_, identity)) = bound {
                    super::super::remove(&directory, &name, identity);
                }
                let is_back = is_private(&private) || (is_private(&inbox) && exchange(&inbox, &private));
                let mode = fs::symlink_metadata(&private).map(|meta| meta.mode() & 0o777);
                changed |= !is_back || !mode.is_ok_and(|mode| mode == 0o600);
                let _ = fs::remove_file(&inbox);
            }
            over.store(true, Ordering::Relaxed);
        });
        assert!(!changed);
        assert_eq!(fs::read_dir(&wake).unwrap().count(), 0);
    }

    #[test]
    fn what_a_process_left_that_died_while_it_made_its_socket_is_removed_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let directory = File::open(root.path()).unwrap();
        let socket = crate::id::ClientId(1).to_string();
        let make = |name: &str, socket: &str| {
            let nest = root.path().join(name);
            fs::DirBuilder::new().mode(0o700).create(&nest).unwrap();
            drop(UnixListener::bind(nest.join(socket)).unwrap());
            nest
        };
        let left = make(".new-0123456789abcdef", &socket);
        let other = make(".new-0123456789abcde0", "another.socket");
        for name in [&left, &other] {
            clear(&directory, name.file_name().unwrap().to_str().unwrap());
        }
        assert_eq!((left.exists(), other.join("another.socket").exists()), (false, true));
        assert!(is_a_nest(".new-0123456789abcdef") && !is_a_nest(".new-prod") && !is_a_nest(&socket));
    }
}
