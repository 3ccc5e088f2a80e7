//! Wake-ups: one datagram socket per waiting process, in a directory beside the store.
//!
//! Several users may share the directory, and one of them may put anything into it. So everything in it
//! is reached through the directory's descriptor. A socket is opened before it is used, and used through
//! that descriptor. Nothing is sent to or removed but a socket with the name of a client.

mod bind;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixDatagram;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use self::bind::{bind, is_a_nest, open_socket};
use super::failure::at_path;
use super::identity::Identity;

// A socket's address has room for only 107 bytes; this path is short.
use super::held_path::way_to;
use super::side::SideFiles;
use crate::id::ClientId;
use crate::name::RunId;
use crate::step::Wake;
use crate::store::{Inbox, InboxInterrupter, Missed, News, StoreError};

/// The directory's name, after the store's name.
const SUFFIX: &str = "-wake";
/// How many bytes one message has at most: run ids, a line each.
const LARGEST_MESSAGE: usize = 8_192;
/// How many messages one look reads at most, and how many ids it keeps: processes that may send could
/// send without end.
const MESSAGES: usize = 64;
const IDS: usize = 1_024;
/// How many sockets an opening tries to reach.
const SWEPT: usize = 8;
/// How many names it looks at for that: there may be many sockets of other users, and only they can
/// remove them.
const SEEN: usize = 256;
/// How many of the names in the directory it chooses from: users who may write the directory can create
/// any number.
const MOST_NAMES: usize = 1 << 16;
/// How old a socket's file must be before it may be removed.
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

    /// Tells clients that there is news. Never waits: a client whose inbox was full asks about all its
    /// runs.
    pub(super) fn send(&self, wakes: &[Wake]) {
        let mut sender = crate::sync::lock(&self.sender);
        for of_one in wakes.chunk_by(|a, b| a.client == b.client) {
            for message in messages(of_one) {
                self.deliver(&mut sender, of_one[0].client, &message);
            }
        }
    }

    /// Sends one message. Unread messages count against the socket that sent them: those to stopped
    /// processes must not keep messages to others from being sent. A new socket has room again.
    fn deliver(&self, sender: &mut Option<(File, UnixDatagram)>, client: ClientId, message: &[u8]) {
        for _ in 0..2 {
            if sender.is_none() {
                *sender = open_sender(&self.side);
            }
            let Some((directory, socket)) = sender.as_ref() else { return };
            let name = client.to_string();
            let Ok((inbox, meta)) = open_socket(directory, &name) else { return };
            match socket.send_to(message, way_to(&inbox)).map_err(|error| error.kind()) {
                Err(ErrorKind::WouldBlock) => *sender = None,
                Err(ErrorKind::ConnectionRefused) => {
                    // Its process has ended and left the socket behind.
                    remove(directory, &name, Identity::from(&meta));
                    return;
                }
                _ => return,
            }
        }
    }

    /// Opens a client's inbox.
    pub(super) fn open(&self, client: ClientId) -> Result<SocketInbox, StoreError> {
        let place = self.side.place(SUFFIX);
        let directory = self.side.directory(SUFFIX)?;
        sweep(&directory);
        let (socket, identity) = bind(&directory, &client.to_string(), self.side.mode())
            .map_err(|error| at_path("make a socket in", place.path(), error))?;
        let (interrupter, far_end) = UnixDatagram::pair()
            .and_then(|(interrupter, far_end)| {
                [&socket, &interrupter, &far_end]
                    .iter()
                    .try_for_each(|socket| socket.set_nonblocking(true))?;
                Ok((Arc::new(interrupter), far_end))
            })
            .map_err(|error| at_path("make an interrupter for", place.path(), error))?;
        Ok(SocketInbox { socket, interrupter, far_end, directory, client, identity, room: queue_length() })
    }
}

/// Removes some sockets whose processes have ended. A few at every opening keep their number small,
/// however many processes die without removing their own.
fn sweep(directory: &File) {
    let (Ok(entries), Ok(probe)) = (fs::read_dir(way_to(directory)), UnixDatagram::unbound()) else {
        return;
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let names: Vec<_> = names.filter(|name| is_a_clients(name) || is_a_nest(name)).take(MOST_NAMES).collect();
    let begin = crate::world::random_u64() as usize % names.len().max(1);
    let looked_at = names.iter().cycle().skip(begin).take(names.len().min(SEEN));
    for name in looked_at.filter(|name| is_old_and_ours(directory, name)).take(SWEPT) {
        if is_a_nest(name) {
            bind::clear(directory, name);
        } else if let Ok((socket, meta)) = open_socket(directory, name)
            && probe.connect(way_to(&socket)).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
        {
            remove(directory, name, Identity::from(&meta));
        }
    }
}

/// Returns whether the directory of inboxes contains anything but inboxes.
pub(super) fn holds_others(directory: &File) -> io::Result<bool> {
    for entry in fs::read_dir(way_to(directory))? {
        let entry = entry?;
        let (kind, name) = (entry.file_type()?, entry.file_name());
        let is_one = |kind: bool, named: fn(&str) -> bool| kind && name.to_str().is_some_and(named);
        if !is_one(kind.is_socket(), is_a_clients) && !is_one(kind.is_dir(), is_a_nest) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns whether the name has the format of a `ClientId`.
fn is_a_clients(name: &str) -> bool {
    u128::from_str_radix(name, 16).is_ok_and(|number| ClientId(number).to_string() == name)
}

/// Returns whether a socket's file may be removed. A socket that is being made has a file before it
/// answers. In a sticky directory, a file of another user can be removed only by that user, the
/// directory's owner and root.
fn is_old_and_ours(directory: &File, name: &str) -> bool {
    let me = geteuid();
    let all_ours = me.is_root() || directory.metadata().is_ok_and(|meta| meta.uid() == me.as_raw());
    fs::symlink_metadata(way_to(directory).join(name)).is_ok_and(|meta| {
        let old = meta.modified().is_ok_and(|made| made.elapsed().is_ok_and(|age| age > SETTLED));
        old && (all_ours || meta.uid() == me.as_raw())
    })
}

/// Returns the ids of the runs of one client, a line each, in as few messages as possible.
fn messages(wakes: &[Wake]) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for wake in wakes {
        let run = wake.run.as_str().as_bytes();
        match all.last_mut().filter(|message| message.len() + 1 + run.len() <= LARGEST_MESSAGE) {
            Some(message) => {
                message.push(b'\n');
                message.extend_from_slice(run);
            }
            None => all.push(run.to_vec()),
        }
    }
    all
}

/// Returns how many messages a new socket queues before it refuses more; the kernel allows one more.
fn queue_length() -> usize {
    let said = fs::read_to_string("/proc/sys/net/unix/max_dgram_qlen");
    // If it is unknown, every message counts as one of too many.
    said.ok().and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}

fn open_sender(side: &SideFiles) -> Option<(File, UnixDatagram)> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.set_nonblocking(true).ok()?;
    Some((side.directory(SUFFIX).ok()?, socket))
}

/// Removes a client's socket, if it is still the one with that name.
fn remove(directory: &File, name: &str, which: Identity) {
    let Ok((_, meta)) = open_socket(directory, name) else { return };
    if is_a_clients(name) && which == Identity::from(&meta) {
        let _ = unlinkat(directory, name, UnlinkatFlags::NoRemoveDir);
    }
}

/// A client's socket.
#[derive(Debug)]
pub(super) struct SocketInbox {
    socket: UnixDatagram,
    /// Interrupts without the file system and without a new descriptor, which may not be available.
    interrupter: Arc<UnixDatagram>,
    far_end: UnixDatagram,
    directory: File,
    client: ClientId,
    /// Which socket it is, whatever has its name by now.
    identity: Identity,
    /// How many messages it holds, at least, before one is lost.
    room: usize,
}

impl Drop for SocketInbox {
    fn drop(&mut self) {
        remove(&self.directory, &self.client.to_string(), self.identity);
    }
}

impl SocketInbox {
    /// Receives one message, as far as its ids can be kept.
    fn receive(&self, news: &mut Vec<RunId>) -> bool {
        let mut hint = [0; LARGEST_MESSAGE];
        let Ok(length) = self.socket.recv(&mut hint) else {
            return false;
        };
        let lines = hint[..length].split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok());
        let room = IDS - news.len();
        news.extend(lines.filter_map(|text| RunId::parse(text).ok()).take(room));
        true
    }
}

impl Inbox for SocketInbox {
    fn wait(&mut self, at_most: Duration) -> News {
        let timeout =
            PollTimeout::try_from(at_most.max(Duration::from_millis(1))).unwrap_or(PollTimeout::MAX);
        let mut both =
            [&self.socket, &self.far_end].map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN));
        let _ = poll(&mut both, timeout);
        // One look takes all hints and interruptions that are there now; if they come without end, the
        // rest is left for the next look.
        let (mut news, mut received) = (News::default(), 0);
        let full = self.room.min(MESSAGES);
        while received <= full && self.receive(&mut news.runs) {
            received += 1;
        }
        // A message is refused if as many are unread as there is room for; that many are read then.
        if received > 0 && (received >= full || news.runs.len() >= IDS) {
            news.missed = Missed::Here;
        }
        while self.far_end.recv(&mut [0]).is_ok() {}
        news
    }

    fn interrupter(&self) -> Box<dyn InboxInterrupter> {
        Box::new(SocketInterrupter(self.interrupter.clone()))
    }
}

#[derive(Debug)]
struct SocketInterrupter(Arc<UnixDatagram>);

impl InboxInterrupter for SocketInterrupter {
    fn interrupt(&self) {
        // If it is full, the other end is awake already.
        let _ = self.0.send(&[1]);
    }
}

#[cfg(test)]
mod tests;
