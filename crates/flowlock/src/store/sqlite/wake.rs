//! Wake-ups: one datagram socket per waiting process, in a directory beside the store.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::failure::at_path;
use crate::name::RunId;
use crate::run::ClientId;
use crate::step::Wake;
use crate::store::{Bell, Inbox, News, StoreError};
use crate::text::LONGEST_NAME;

/// How many sockets an opening looks at.
const SWEPT: usize = 8;
/// A socket's file is left alone so long.
const SETTLED: Duration = Duration::from_secs(10);

/// The directory of all inboxes of a store.
#[derive(Debug)]
pub(super) struct Inboxes {
    path: PathBuf,
    mode: u32,
    sender: Mutex<Option<(File, UnixDatagram)>>,
}

impl Inboxes {
    pub(super) fn new(path: PathBuf, mode: u32) -> Self {
        Self { path, mode, sender: Mutex::new(None) }
    }

    /// Tells clients that there is news. Never waits: a full inbox has news already.
    pub(super) fn send(&self, wakes: &[Wake]) {
        if wakes.is_empty() {
            return;
        }
        let mut sender = crate::sync::lock(&self.sender);
        if sender.is_none() {
            *sender = open_sender(&self.path);
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
        make_directory(&self.path, self.mode)?;
        let directory = open_directory(&self.path).map_err(|error| at_path("open", &self.path, error))?;
        sweep(&self.path, &directory);
        let address = address(&directory, client);
        let socket =
            UnixDatagram::bind(&address).map_err(|error| at_path("make a socket in", &self.path, error))?;
        fs::set_permissions(&address, fs::Permissions::from_mode(self.mode))
            .map_err(|error| at_path("set the mode of a socket in", &self.path, error))?;
        let (bell, rung) = UnixDatagram::pair()
            .and_then(|(bell, rung)| {
                [&socket, &bell, &rung].iter().try_for_each(|socket| socket.set_nonblocking(true))?;
                Ok((Arc::new(bell), rung))
            })
            .map_err(|error| at_path("make a bell for", &self.path, error))?;
        Ok(SocketInbox { socket, bell, rung, directory, client })
    }
}

/// Removes some sockets whose processes are gone; a few at every opening keep their number small, however
/// many die without having tidied up.
fn sweep(path: &Path, directory: &File) {
    let (Ok(entries), Ok(probe)) = (fs::read_dir(path), UnixDatagram::unbound()) else {
        return;
    };
    let names: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.file_name())).collect();
    let begin = crate::world::random_u64() as usize % names.len().max(1);
    for name in names.iter().cycle().skip(begin).take(names.len().min(SWEPT)) {
        let address = through(directory, name);
        if is_settled(&address)
            && probe.connect(&address).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        {
            let _ = fs::remove_file(&address);
        }
    }
}

/// A socket that is just being made has a file before it answers.
fn is_settled(address: &Path) -> bool {
    let made = fs::symlink_metadata(address).and_then(|meta| meta.modified());
    made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > SETTLED))
}

fn deliver(directory: &File, socket: &UnixDatagram, wake: &Wake) {
    let address = address(directory, wake.client);
    if let Err(error) = socket.send_to(wake.run.as_str().as_bytes(), &address)
        && error.kind() == ErrorKind::ConnectionRefused
    {
        // Its process is gone and left the socket behind.
        let _ = fs::remove_file(&address);
    }
}

fn open_sender(path: &Path) -> Option<(File, UnixDatagram)> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((open_directory(path).ok()?, socket))
}

fn open_directory(path: &Path) -> std::io::Result<File> {
    File::options().read(true).custom_flags(nix::libc::O_DIRECTORY).open(path)
}

/// The socket's path through the directory's descriptor: a socket address has room for 107 bytes only.
fn address(directory: &File, client: ClientId) -> PathBuf {
    through(directory, client.to_string().as_ref())
}

fn through(directory: &File, name: &OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name)
}

fn make_directory(path: &Path, mode: u32) -> Result<(), StoreError> {
    match fs::create_dir(path) {
        Ok(()) => {
            let mode = if mode & 0o060 == 0 { 0o700 } else { 0o2770 };
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
                .map_err(|error| at_path("set the mode of", path, error))
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(at_path("create", path, error)),
    }
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
        let _ = fs::remove_file(address(&self.directory, self.client));
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
