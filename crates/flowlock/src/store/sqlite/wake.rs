//! Wake-ups: one datagram socket per waiting process, in a directory beside the store.
//!
//! Several users may share the directory, and one of them may put anything into it. So everything in it is reached
//! through the directory's own descriptor, a socket is opened before it is used and is used through that descriptor,
//! and nothing is sent to or removed but a socket whose name is a client's.

use std::fs::{self, File, Metadata, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::fstatat;
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::failure::at_path;
use super::side::SideFiles;
use crate::name::RunId;
use crate::run::ClientId;
use crate::step::Wake;
use crate::store::{Bell, Inbox, News, StoreError};
use crate::text::LONGEST_NAME;

/// What the directory is called, after the store's name.
const SUFFIX: &str = "-wake";
/// How many sockets an opening tries to reach.
const SWEPT: usize = 8;
/// How many names it looks at for that: those of other users' sockets may be many, and only they can remove them.
const SEEN: usize = 256;
/// A socket's file is left alone so long.
const SETTLED: Duration = Duration::from_secs(10);

/// The directory of all inboxes of a store.
#[derive(Debug)]
pub(super) struct Inboxes {
    side: SideFiles,
    sender: Mutex<Option<(File, UnixDatagram)>>,
}

impl Inboxes {
    pub(super) fn new(side: SideFiles) -> Self {
        Self { side, sender: Mutex::new(None) }
    }

    /// Tells clients that there is news. Never waits: a full inbox has news already.
    pub(super) fn send(&self, wakes: &[Wake]) {
        if wakes.is_empty() {
            return;
        }
        let mut sender = crate::sync::lock(&self.sender);
        if sender.is_none() {
            *sender = open_sender(&self.side);
        }
        let Some((directory, socket)) = sender.as_ref() else {
            return;
        };
        for wake in wakes {
            deliver(directory, socket, wake);
        }
    }

    /// Opens a client's inbox.
    pub(super) fn open(&self, client: ClientId) -> Result<SocketInbox, StoreError> {
        let path = self.side.path(SUFFIX);
        let directory = self.side.directory(SUFFIX)?;
        sweep(&directory);
        let socket = bind(&directory, client, self.side.mode())
            .map_err(|error| at_path("make a socket in", &path, error))?;
        let (bell, rung) = UnixDatagram::pair()
            .and_then(|(bell, rung)| {
                [&socket, &bell, &rung].iter().try_for_each(|socket| socket.set_nonblocking(true))?;
                Ok((Arc::new(bell), rung))
            })
            .map_err(|error| at_path("make a bell for", &path, error))?;
        Ok(SocketInbox { socket, bell, rung, directory, client })
    }
}

/// Makes a client's socket, which others of a shared store may send to.
fn bind(directory: &File, client: ClientId, mode: u32) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::bind(through(directory).join(client.to_string()))?;
    let (inbox, meta) = open_socket(directory, &client.to_string())?;
    if meta.uid() != geteuid().as_raw() {
        return Err(io::Error::other("another user replaced it"));
    }
    fs::set_permissions(through(&inbox), Permissions::from_mode(mode))?;
    Ok(socket)
}

/// Removes some sockets whose processes are gone; a few at every opening keep their number small, however
/// many die without having tidied up.
fn sweep(directory: &File) {
    let (Ok(entries), Ok(probe)) = (fs::read_dir(through(directory)), UnixDatagram::unbound()) else {
        return;
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: Vec<_> = names.filter(|name| is_a_clients(name)).collect();
    let begin = crate::world::random_u64() as usize % names.len().max(1);
    let looked_at = names.iter().cycle().skip(begin).take(names.len().min(SEEN));
    for name in looked_at.filter(|name| is_old_and_ours(directory, name)).take(SWEPT) {
        if let Ok((socket, _)) = open_socket(directory, name)
            && probe
                .connect(through(&socket))
                .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        {
            remove(directory, name);
        }
    }
}

/// Whether the name is one that `ClientId` is written as.
fn is_a_clients(name: &str) -> bool {
    u128::from_str_radix(name, 16).is_ok_and(|number| ClientId(number).to_string() == name)
}

/// A socket that is just being made has a file before it answers; one of another user can be removed by them, and by
/// root.
fn is_old_and_ours(directory: &File, name: &str) -> bool {
    let me = geteuid();
    fs::symlink_metadata(through(directory).join(name)).is_ok_and(|meta| {
        let old = meta.modified().is_ok_and(|made| made.elapsed().is_ok_and(|age| age > SETTLED));
        old && (me.is_root() || meta.uid() == me.as_raw())
    })
}

fn deliver(directory: &File, socket: &UnixDatagram, wake: &Wake) {
    let name = wake.client.to_string();
    if let Ok((inbox, _)) = open_socket(directory, &name)
        && let Err(error) = socket.send_to(wake.run.as_str().as_bytes(), through(&inbox))
        && error.kind() == ErrorKind::ConnectionRefused
    {
        // Its process is gone and left the socket behind.
        remove(directory, &name);
    }
}

fn open_sender(side: &SideFiles) -> Option<(File, UnixDatagram)> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((side.directory(SUFFIX).ok()?, socket))
}

/// A socket in the directory, itself: whatever takes its name later, this is what is used.
fn open_socket(directory: &File, name: &str) -> io::Result<(File, Metadata)> {
    let path = through(directory).join(name);
    let socket = File::options().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(path)?;
    let meta = socket.metadata()?;
    // A second name would be that of another program's socket.
    if meta.file_type().is_socket() && meta.nlink() == 1 {
        Ok((socket, meta))
    } else {
        Err(io::Error::new(ErrorKind::InvalidInput, "not a socket of flowlock's"))
    }
}

/// Removes a client's socket, and nothing else that may have its name.
fn remove(directory: &File, name: &str) {
    let flags = nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW;
    let is_socket =
        fstatat(directory, name, flags).is_ok_and(|found| found.st_mode & libc::S_IFMT == libc::S_IFSOCK);
    if is_socket && is_a_clients(name) {
        let _ = unlinkat(directory, name, UnlinkatFlags::NoRemoveDir);
    }
}

/// The path of what is open: a socket address has room for 107 bytes only.
fn through(open: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(open.as_raw_fd().to_string())
}

/// A client's socket.
#[derive(Debug)]
pub(super) struct SocketInbox {
    socket: UnixDatagram,
    /// Rings without the file system and without a new descriptor, which there may be none of.
    bell: Arc<UnixDatagram>,
    rung: UnixDatagram,
    directory: File,
    client: ClientId,
}

impl Drop for SocketInbox {
    fn drop(&mut self) {
        remove(&self.directory, &self.client.to_string());
    }
}

impl SocketInbox {
    /// Receives one datagram: a run id.
    fn receive(&self, news: &mut Vec<RunId>) -> bool {
        let mut hint = [0; LONGEST_NAME];
        let Ok(length) = self.socket.recv(&mut hint) else {
            return false;
        };
        news.extend(std::str::from_utf8(&hint[..length]).ok().and_then(|text| RunId::parse(text).ok()));
        true
    }
}

impl Inbox for SocketInbox {
    fn wait(&mut self, at_most: Duration) -> News {
        let timeout =
            PollTimeout::try_from(at_most.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        let mut both =
            [&self.socket, &self.rung].map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        let _ = poll(&mut both, timeout);
        // One look serves all hints and rings that are there by now.
        let mut news = News::default();
        while self.receive(&mut news.runs) {}
        while self.rung.recv(&mut [0]).is_ok() {}
        news
    }

    fn bell(&self) -> Box<dyn Bell> {
        Box::new(SocketBell(self.bell.clone()))
    }
}

#[derive(Debug)]
struct SocketBell(Arc<UnixDatagram>);

impl Bell for SocketBell {
    fn ring(&self) {
        // If it is full it has been rung.
        let _ = self.0.send(&[1]);
    }
}
