//! One connection: bytes out, replies in.

use std::fmt;
use std::io::{self, Read, Write};

use redis::Value;
use rustls::{ClientConnection, StreamOwned};

use super::failure::{self, Failure, Transport, Trouble};
use super::resp::{Replies, SHORT};
use super::socket::{Cutter, Socket};
use super::tls;
use super::url::{Address, TlsFiles};
use crate::store::Limits;

/// How much of the first answer is kept, to say what the server is if it is not Redis.
const FIRST: usize = 8;

/// A connection to a server. After any trouble it is useless: drop it.
pub(super) struct Connection {
    stream: Stream,
    replies: Replies,
    first: Vec<u8>,
}

enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Connection {
    /// Connects, but sends nothing to the server yet.
    pub(super) fn connect(
        address: &Address,
        files: Option<&TlsFiles>,
        limits: &Limits,
    ) -> Result<Self, Failure> {
        // Problems with the files are found before connecting.
        let handshake = files.map(|files| tls::handshake(address, files)).transpose()?;
        let socket =
            Socket::connect(address, limits).map_err(|error| failure::not_reached(address, &error))?;
        let stream = match handshake {
            None => Stream::Plain(socket),
            Some(handshake) => Stream::Tls(Box::new(StreamOwned::new(handshake, socket))),
        };
        Ok(Self { stream, replies: Replies::new(), first: Vec::with_capacity(FIRST) })
    }

    /// Sends commands.
    pub(super) fn send(&mut self, bytes: &[u8], limits: &Limits) -> Result<(), Trouble> {
        self.socket().keep_to(limits);
        match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes),
            Stream::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
        .map_err(Trouble::Io)
    }

    /// Receives one short reply.
    pub(super) fn receive(&mut self, limits: &Limits) -> Result<Value, Trouble> {
        self.receive_within(SHORT, limits)
    }

    /// Receives one reply of up to `most` bytes.
    pub(super) fn receive_within(&mut self, most: usize, limits: &Limits) -> Result<Value, Trouble> {
        self.socket().keep_to(limits);
        let mut ear = Ear { stream: &mut self.stream, first: &mut self.first, trouble: None };
        let parsed = self.replies.next(&mut ear, most);
        match (parsed, ear.trouble) {
            (Ok(value), _) => Ok(value),
            (Err(_), Some(trouble)) => Err(trouble),
            (Err(error), None) if error.kind() == io::ErrorKind::FileTooLarge => Err(Trouble::TooLarge),
            (Err(_), None) => Err(Trouble::NotRedis(self.first.clone())),
        }
    }

    /// Returns whether it cannot be used for another question: the server has closed it, or sent
    /// something unasked that would be taken for the answer.
    pub(super) fn is_stale(&mut self, limits: &Limits) -> bool {
        self.socket().keep_to(limits);
        !self.replies.is_all_taken()
            || match &mut self.stream {
                Stream::Plain(socket) => socket.is_stale(),
                Stream::Tls(stream) => is_stale_below(stream),
            }
    }

    /// Returns a handle to end it from another thread.
    pub(super) fn cutter(&mut self) -> io::Result<Cutter> {
        self.socket().cutter()
    }

    pub(super) fn transport(&self) -> Transport {
        match self.stream {
            Stream::Plain(_) => Transport::Plain,
            Stream::Tls(_) => Transport::Tls,
        }
    }

    fn socket(&mut self) -> &mut Socket {
        match &mut self.stream {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => &mut stream.sock,
        }
    }
}

/// The same for a connection with TLS, which has messages of its own, such as new tickets: those are
/// processed.
fn is_stale_below(stream: &mut StreamOwned<ClientConnection, Socket>) -> bool {
    let StreamOwned { conn, sock } = stream;
    loop {
        match conn.process_new_packets() {
            Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => {}
            _ => return true,
        }
        if !sock.is_stale() {
            return false;
        }
        if sock.is_closed() || conn.read_tls(sock).is_err() {
            return true;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

/// Reads, and remembers errors and the beginning of the first answer.
struct Ear<'w> {
    stream: &'w mut Stream,
    first: &'w mut Vec<u8>,
    trouble: Option<Trouble>,
}

impl Read for Ear<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.stream {
            Stream::Plain(socket) => socket.read(buffer),
            Stream::Tls(stream) => stream.read(buffer),
        };
        match read {
            Ok(0) if !buffer.is_empty() => self.trouble = Some(Trouble::Closed),
            Ok(count) if self.first.len() < FIRST => {
                let wanted = count.min(FIRST - self.first.len());
                self.first.extend_from_slice(&buffer[..wanted]);
            }
            Ok(_) => {}
            Err(error) => {
                let kind = error.kind();
                self.trouble = Some(Trouble::Io(error));
                return Err(kind.into());
            }
        }
        read
    }
}
