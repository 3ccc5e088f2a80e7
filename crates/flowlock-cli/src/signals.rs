//! Signals as data: they make a descriptor readable, and are taken from it one by one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use nix::sys::signal::Signal;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::child::is_ignored;

/// What is passed on to the command.
const FORWARDED: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// Handlers for what is forwarded, for the end of children, and for `fg` after a stop.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
}

impl Signals {
    /// Puts the handlers in place. A signal that was ignored stays ignored: `nohup` keeps its meaning.
    pub(crate) fn install() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let handled =
            FORWARDED.iter().filter(|s| !is_ignored(**s)).chain(&[Signal::SIGCHLD, Signal::SIGCONT]);
        let numbers = handled.map(|s| *s as i32);
        Ok(Self { delivery: SignalDelivery::with_pipe(read, write, SignalOnly, numbers)? })
    }

    /// Those that arrived since the last call, each once.
    pub(crate) fn take(&mut self) -> Vec<Signal> {
        self.delivery.pending().filter_map(|number| Signal::try_from(number).ok()).collect()
    }

    /// Whether a signal asks a waiting process to end.
    pub(crate) fn ends_a_wait(signal: Signal) -> bool {
        matches!(signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
    }
}

impl AsFd for Signals {
    /// Readable while signals wait to be taken.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}
