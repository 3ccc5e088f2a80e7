//! A socket that keeps to a caller's limits: connecting, reading and writing end with them.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{self as sys, AddressFamily, MsgFlags, SockFlag, SockType, SockaddrStorage, sockopt};

use super::failure::is_timeout;
use super::local;
use super::patience::Wait;
use super::url::Address;
use crate::store::Limits;

/// By how much a deadline may be missed, so that the kernel need not be told a new one for every call.
const SLACK: Duration = Duration::from_millis(10);
/// How long a connection may be silent before it is probed: a dead machine must not look like an idle
/// one.
const SILENT_S: u32 = 15;

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    wait: Wait,
    /// The time-out that the kernel has.
    armed: Duration,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Ends reading and writing from another thread.
#[derive(Debug)]
pub(super) struct Cutter(Stream);

impl Cutter {
    pub(super) fn cut(&self) {
        let _ = match &self.0 {
            Stream::Tcp(stream) => stream.shutdown(Shutdown::Both),
            Stream::Unix(stream) => stream.shutdown(Shutdown::Both),
        };
    }
}

impl Socket {
    /// Connects; gives up when the wait ends.
    pub(super) fn connect(address: &Address, limits: &Limits) -> io::Result<Self> {
        let stream = match address {
            Address::Tcp { host, port } => Stream::Tcp(connect_tcp(host, *port, limits)?),
            Address::Unix(path) => Stream::Unix(local::connect(path, limits)?),
        };
        Ok(Self { stream, wait: Wait::new(limits), armed: Duration::ZERO })
    }

    /// Sets when reading and writing give up.
    pub(super) fn keep_to(&mut self, limits: &Limits) {
        self.wait = Wait::new(limits);
    }

    /// Returns whether the other side has closed it, or sent something unasked.
    pub(super) fn is_stale(&self) -> bool {
        self.peek() != Err(Errno::EAGAIN)
    }

    /// Returns whether the other side has closed it.
    pub(super) fn is_closed(&self) -> bool {
        !matches!(self.peek(), Err(Errno::EAGAIN) | Ok(1..))
    }

    fn peek(&self) -> nix::Result<usize> {
        sys::recv(self.as_fd().as_raw_fd(), &mut [0], MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT)
    }

    pub(super) fn cutter(&self) -> io::Result<Cutter> {
        Ok(Cutter(match &self.stream {
            Stream::Tcp(stream) => Stream::Tcp(stream.try_clone()?),
            Stream::Unix(stream) => Stream::Unix(stream.try_clone()?),
        }))
    }

    /// Tells the kernel the time until the next look at the limits, if its time-out is too long or far
    /// too short.
    fn arm(&mut self) -> io::Result<()> {
        let slice = self.wait.next_slice()?;
        if self.armed > slice + SLACK || self.armed < slice / 2 {
            let timeout = Some(slice);
            match &self.stream {
                Stream::Tcp(stream) => {
                    stream.set_read_timeout(timeout).and(stream.set_write_timeout(timeout))?;
                }
                Stream::Unix(stream) => {
                    stream.set_read_timeout(timeout).and(stream.set_write_timeout(timeout))?;
                }
            }
            self.armed = slice;
        }
        Ok(())
    }

    /// Repeats a call that a signal interrupted, with the rest of the time, as after the end of a slice:
    /// a signal ends a call with a time-out, whatever its handler says.
    fn patiently(&mut self, mut call: impl FnMut(&mut Stream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            self.arm()?;
            match call(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted || is_timeout(&error) => {}
                done => return done,
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.stream {
            Stream::Tcp(stream) => stream.as_fd(),
            Stream::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.patiently(|stream| match stream {
            Stream::Tcp(stream) => stream.read(buffer),
            Stream::Unix(stream) => stream.read(buffer),
        })
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.patiently(|stream| match stream {
            Stream::Tcp(stream) => stream.write(bytes),
            Stream::Unix(stream) => stream.write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn connect_tcp(host: &str, port: u16, limits: &Limits) -> io::Result<TcpStream> {
    let found = resolve(host, port, limits)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (at, address) in found.iter().enumerate() {
        // Each address gets its share, so that the first cannot use up the time of the others.
        match connect_to(address, &limits.share(found.len() - at)) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                keep_alive(&stream)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_to(address: &SocketAddr, limits: &Limits) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let stream = TcpStream::from(sys::socket(family, SockType::Stream, flags, None)?);
    match sys::connect(stream.as_raw_fd(), &SockaddrStorage::from(*address)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let mut wait = Wait::new(limits);
    loop {
        let slice = PollTimeout::try_from(wait.next_slice()?).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)], slice) {
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => break,
            Err(error) => return Err(error.into()),
        }
    }
    stream.take_error()?.map_or(Ok(()), Err)?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sys::setsockopt(stream, sockopt::KeepAlive, &true)?;
    sys::setsockopt(stream, sockopt::TcpKeepIdle, &SILENT_S)?;
    sys::setsockopt(stream, sockopt::TcpKeepInterval, &(SILENT_S / 3))?;
    sys::setsockopt(stream, sockopt::TcpKeepCount, &3)?;
    Ok(())
}

/// Returns the addresses of a name. The system's resolver has no deadline, so it runs on a separate
/// thread, which ends when the resolver gives up.
fn resolve(host: &str, port: u16, limits: &Limits) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (tell, told) = mpsc::channel();
    let name = host.to_owned();
    std::thread::Builder::new().name("flowlock-lookup".into()).spawn(move || {
        let _ = tell.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect));
    })?;
    let mut wait = Wait::new(limits);
    loop {
        match told.recv_timeout(wait.next_slice()?) {
            Ok(found) => return found,
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                return Err(io::Error::other("the system's resolver ended without an answer"));
            }
        }
    }
}
