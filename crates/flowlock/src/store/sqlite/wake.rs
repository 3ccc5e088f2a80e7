//! Wake-ups: one datagram socket per waiting process, in a directory beside the store.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use super::failure::at_path;
use crate::name::RunId;
use crate::run::ClientId;
use crate::step::Wake;
use crate::store::{Bell, Inbox, StoreError};
use crate::text::LONGEST_NAME;

/// The directory of all inboxes of a store.
#[derive(Debug)]
pub(super) struct Inboxes {
    path: PathBuf,
    mode: u32,
    sender: Mutex<Option<(File, UnixDatagram)>>,
}

impl Inboxes {
    pub(super) fn new(path: PathBuf, mode: u32) -> Self {
        Self {
            path,
            mode,
            sender: Mutex::new(None),
        }
    }

    /// Tells clients that there is news. Never waits: a full inbox has news already.
    pub(super) fn send(&self, wakes: &[Wake]) {
        if wakes.is_empty() {
            return;
        }
        let mut sender = self
            .sender
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
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
        let address = address(&directory, client);
        let socket =
            UnixDatagram::bind(&address).map_err(|error| at_path("make a socket in", &self.path, error))?;
        fs::set_permissions(&address, fs::Permissions::from_mode(self.mode))
            .map_err(|error| at_path("set the mode of a socket in", &self.path, error))?;
        Ok(SocketInbox {
            socket,
            directory,
            client,
        })
    }
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
    File::options()
        .read(true)
        .custom_flags(nix::libc::O_DIRECTORY)
        .open(path)
}

/// The socket's path through the directory's descriptor: a socket address has room for 107 bytes only.
fn address(directory: &File, client: ClientId) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{client}", directory.as_raw_fd()))
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
    directory: File,
    client: ClientId,
}

impl Drop for SocketInbox {
    fn drop(&mut self) {
        let _ = fs::remove_file(address(&self.directory, self.client));
    }
}

impl SocketInbox {
    /// Receives one datagram: a run id, or the bell, which is empty.
    fn receive(&self, news: &mut Vec<RunId>) -> bool {
        let mut hint = [0; LONGEST_NAME];
        let Ok(length) = self.socket.recv(&mut hint) else {
            return false;
        };
        news.extend(
            std::str::from_utf8(&hint[..length])
                .ok()
                .and_then(|text| RunId::parse(text).ok()),
        );
        true
    }
}

impl Inbox for SocketInbox {
    fn wait(&mut self, at_most: Duration) -> Vec<RunId> {
        let _ = self
            .socket
            .set_read_timeout(Some(at_most.max(Duration::from_millis(1))));
        let mut news = Vec::new();
        if !self.receive(&mut news) {
            return news;
        }
        // One look serves all hints that are there by now.
        let _ = self.socket.set_nonblocking(true);
        while self.receive(&mut news) {}
        let _ = self.socket.set_nonblocking(false);
        news
    }

    fn bell(&self) -> Box<dyn Bell> {
        let directory = self.directory.try_clone().ok();
        Box::new(SocketBell {
            directory,
            client: self.client,
        })
    }
}

#[derive(Debug)]
struct SocketBell {
    directory: Option<File>,
    client: ClientId,
}

impl Bell for SocketBell {
    fn ring(&self) {
        if let (Some(directory), Ok(socket)) = (&self.directory, UnixDatagram::unbound()) {
            let _ = socket.set_nonblocking(true);
            let _ = socket.send_to(b"", address(directory, self.client));
        }
    }
}
