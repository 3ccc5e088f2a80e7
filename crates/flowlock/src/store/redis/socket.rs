//! A socket that keeps a deadline: no connecting, reading or writing goes on after it.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream, ToSocketAddrs as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::sys::socket::{self as sys, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr, sockopt};

use super::url::Address;

/// By how much a deadline may be missed, so that the kernel is not told a new one for every call.
const SLACK: Duration = Duration::from_millis(10);
/// A connection that is silent so long is probed: a dead machine must not look like an idle one.
const SILENT_S: u32 = 15;

/// A connected socket.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Stream,
    until: Instant,
    /// The time-out that the kernel knows.
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
    /// Connects; gives up at `until`.
    pub(super) fn connect(address: &Address, until: Instant) -> io::Result<Self> {
        let stream = match address {
            Address::Tcp { host, port } => Stream::Tcp(connect_tcp(host, *port, until)?),
            Address::Unix(path) => Stream::Unix(connect_unix(path, until)?),
        };
        Ok(Self { stream, until, armed: Duration::ZERO })
    }

    /// Sets when reading and writing give up.
    pub(super) fn keep_to(&mut self, until: Instant) {
        self.until = until;
    }

    /// Whether the other side has closed it, or said something that nobody asked for.
    pub(super) fn is_stale(&self) -> bool {
        self.peek() != Err(nix::errno::Errno::EAGAIN)
    }

    /// Whether the other side has closed it.
    pub(super) fn is_closed(&self) -> bool {
        !matches!(self.peek(), Err(nix::errno::Errno::EAGAIN) | Ok(1..))
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

    /// Tells the kernel the time that is left, if what it knows is too long or far too short.
    fn arm(&mut self) -> io::Result<()> {
        let left = left(self.until)?;
        if self.armed > left + SLACK || self.armed < left / 2 {
            let timeout = Some(left);
            match &self.stream {
                Stream::Tcp(stream) => {
                    stream.set_read_timeout(timeout).and(stream.set_write_timeout(timeout))?;
                }
                Stream::Unix(stream) => {
                    stream.set_read_timeout(timeout).and(stream.set_write_timeout(timeout))?;
                }
            }
            self.armed = left;
        }
        Ok(())
    }

    /// A signal ends a call that has a time-out, whatever its handler says; it is begun again with what is left.
    fn patiently(&mut self, mut call: impl FnMut(&mut Stream) -> io::Result<usize>) -> io::Result<usize> {
        loop {
            self.arm()?;
            match call(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
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

/// What is left until then; an error if nothing is.
fn left(until: Instant) -> io::Result<Duration> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left.max(Duration::from_millis(1))) }
}

fn connect_tcp(host: &str, port: u16, until: Instant) -> io::Result<TcpStream> {
    let found = resolve(host, port, until)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (at, address) in found.iter().enumerate() {
        // Each address gets its share, so that the first cannot use up the time of the others.
        let share = left(until)? / (found.len() - at) as u32;
        match TcpStream::connect_timeout(address, share.max(Duration::from_millis(1))) {
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

fn keep_alive(stream: &TcpStream) -> io::Result<()> {
    sys::setsockopt(stream, sockopt::KeepAlive, &true)?;
    sys::setsockopt(stream, sockopt::TcpKeepIdle, &SILENT_S)?;
    sys::setsockopt(stream, sockopt::TcpKeepInterval, &(SILENT_S / 3))?;
    sys::setsockopt(stream, sockopt::TcpKeepCount, &3)?;
    Ok(())
}

/// The addresses of a name. The system's resolver knows no deadline, so it runs on a thread of its own, which
/// ends when the resolver gives up.
fn resolve(host: &str, port: u16, until: Instant) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let (tell, told) = mpsc::channel();
    let name = host.to_owned();
    std::thread::Builder::new().name("flowlock-resolver".into()).spawn(move || {
        let _ = tell.send((name.as_str(), port).to_socket_addrs().map(Iterator::collect));
    })?;
    told.recv_timeout(left(until)?)
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "its name was not resolved in time")))
}

/// The kernel waits for room in the server's backlog, at most for as long as the socket may send.
fn connect_unix(path: &Path, until: Instant) -> io::Result<UnixStream> {
    let address = UnixAddr::new(path)?;
    let socket = sys::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let stream = UnixStream::from(socket);
    loop {
        stream.set_write_timeout(Some(left(until)?))?;
        match sys::connect(stream.as_raw_fd(), &address) {
            Ok(()) => return Ok(stream),
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
