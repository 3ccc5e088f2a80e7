//! What the proxy does to the bytes on it: set by the test, and read by every connection.

use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt::Linger};

/// A direction through the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Replies,
}

/// What happens to a connection whose reply was swallowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The client learns at once that something is wrong.
    Reset,
    /// The client waits for a reply that never comes.
    Hang,
}

#[derive(Debug, Default)]
pub(super) struct Plan {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    wishes: Wishes,
    closed: bool,
    dropped: u64,
    connections: u64,
    standing: Vec<Weak<Connection>>,
}

/// The current settings.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    requests: Treatment,
    replies: Treatment,
    pub(super) trap: Option<Trap>,
    pub(super) refused: bool,
}

/// How the bytes in one direction are treated.
#[derive(Debug, Default)]
pub(super) struct Treatment {
    pub(super) held: bool,
    pub(super) delay: Duration,
    pub(super) cut: Option<usize>,
}

/// The reply to the next request with `part` in it is spoiled.
#[derive(Debug)]
pub(super) struct Trap {
    pub(super) part: Vec<u8>,
    pub(super) spoil: Spoil,
}

/// How a reply is spoiled.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spoil {
    Swallow(Then),
    Double,
}

impl Wishes {
    pub(super) fn toward(&mut self, direction: Direction) -> &mut Treatment {
        match direction {
            Direction::Requests => &mut self.requests,
            Direction::Replies => &mut self.replies,
        }
    }
}

/// Both sockets of a connection, and whether its next reply must be swallowed.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) client: TcpStream,
    pub(super) server: TcpStream,
    trapped: Mutex<Option<Spoil>>,
    reset: AtomicBool,
}

impl Connection {
    /// Ends both sides with a reset.
    pub(super) fn reset(&self) {
        self.reset.store(true, Ordering::SeqCst);
        reset(&self.client);
        reset(&self.server);
    }

    pub(super) fn is_reset(&self) -> bool {
        self.reset.load(Ordering::SeqCst)
    }
}

/// Closes a socket so that the other side gets a reset, not an orderly end.
pub(super) fn reset(socket: &TcpStream) {
    let _ = setsockopt(&socket.as_fd(), Linger, &linger { l_onoff: 1, l_linger: 0 });
    // With no time to linger, the last close sends the reset; this wakes the owners of the socket.
    let _ = socket.shutdown(Shutdown::Read);
}

/// What to do with a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Pass,
    /// Pass this many bytes of it, then reset.
    Cut(usize),
    /// Swallow it; this is a reply's beginning.
    Swallow(Then),
    /// Pass it twice.
    Double,
}

impl Plan {
    pub(super) fn change(&self, wish: impl FnOnce(&mut Wishes)) {
        wish(&mut self.state().wishes);
        self.changed.notify_all();
    }

    pub(super) fn welcome(&self, client: TcpStream, server: TcpStream) -> Arc<Connection> {
        let (trapped, reset) = (Mutex::default(), AtomicBool::default());
        let connection = Arc::new(Connection { client, server, trapped, reset });
        let mut state = self.state();
        state.connections += 1;
        state.standing.retain(|connection| connection.strong_count() > 0);
        state.standing.push(Arc::downgrade(&connection));
        connection
    }

    /// Decides about a piece that has arrived, once it is not held back any more. `recent` ends with the
    /// piece.
    pub(super) fn fate(&self, way: Direction, on: &Connection, piece: &[u8], recent: &[u8]) -> Fate {
        let mut state = self.state();
        while state.wishes.toward(way).held && !on.is_reset() {
            state = self.changed.wait(state).expect("no change panics");
        }
        let delay = state.wishes.toward(way).delay;
        if !delay.is_zero() {
            drop(state);
            std::thread::sleep(delay);
            state = self.state();
        }
        if on.is_reset() {
            return Fate::Cut(0);
        }
        if let Some(left) = state.wishes.toward(way).cut.take() {
            if left < piece.len() {
                return Fate::Cut(left);
            }
            state.wishes.toward(way).cut = Some(left - piece.len());
        }
        match way {
            Direction::Requests => {
                if let Some(trap) = state.wishes.trap.take_if(|trap| contains(recent, &trap.part)) {
                    *on.trapped.lock().expect("no trap panics") = Some(trap.spoil);
                }
            }
            Direction::Replies => match on.trapped.lock().expect("no trap panics").take() {
                Some(Spoil::Swallow(then)) => {
                    state.dropped += 1;
                    return Fate::Swallow(then);
                }
                Some(Spoil::Double) => return Fate::Double,
                None => {}
            },
        }
        Fate::Pass
    }

    pub(super) fn dropped(&self) -> u64 {
        self.state().dropped
    }

    pub(super) fn connections(&self) -> u64 {
        self.state().connections
    }

    pub(super) fn refuses(&self) -> bool {
        self.state().wishes.refused
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state().closed
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.reset_all();
    }

    pub(super) fn reset_all(&self) {
        let mut state = self.state();
        for connection in state.standing.drain(..).filter_map(|connection| connection.upgrade()) {
            connection.reset();
        }
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no change panics")
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    part.is_empty() || bytes.windows(part.len()).any(|window| window == part)
}
