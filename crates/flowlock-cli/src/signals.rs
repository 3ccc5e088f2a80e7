//! Signals as data: they make a descriptor readable, and are taken from it one by one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::getpid;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::child::is_ignored;

/// The signals that are passed on to the command.
const FORWARDED: [Signal; 6] =
    [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGUSR1, Signal::SIGUSR2];

/// How long to wait, once a signal was noticed, until it can be taken: its handler runs meanwhile.
const A_MOMENT_MS: u16 = 1_000;

/// Turns the end by a limit on file sizes (`ulimit -f`) into an error of the write. For the command, the
/// limit has its usual effect: handlers do not outlive an exec.
pub(crate) fn outlive_file_size_limits() -> io::Result<()> {
    if !is_ignored(Signal::SIGXFSZ) {
        signal_hook::flag::register(Signal::SIGXFSZ as i32, Arc::new(AtomicBool::new(false)))?;
    }
    Ok(())
}

/// Whether a signal ends this process at once if it is the first process of a container. The main thread
/// sets it to false when other handlers are installed; signal handlers read it.
static ENDS_AT_ONCE: AtomicBool = AtomicBool::new(true);

/// Lets signals end the first process of a container (process 1), as they end any other process: the
/// kernel discards a signal for which such a process has no handler. Commands that install handlers of
/// their own handle signals themselves from then on.
pub(crate) fn end_the_first_process() -> io::Result<()> {
    if getpid().as_raw() != 1 {
        return Ok(());
    }
    for signal in FORWARDED.into_iter().filter(|signal| !is_ignored(*signal)) {
        let number = signal as i32;
        signal_hook::flag::register_conditional_shutdown(number, 128 + number, &ENDS_AT_ONCE)?;
    }
    Ok(())
}

/// Handlers for signals that are forwarded, for the end of children, and for `fg` after a stop.
#[derive(Debug)]
pub(crate) struct Signals {
    delivery: SignalDelivery<UnixStream, SignalOnly>,
    /// Set by a handler before the same signal is put into the pipe of `delivery`, and read by threads
    /// that ask the store. It only says that a wait must end and publishes nothing else: which signal it
    /// was is in the pipe, a moment later.
    interrupted: Arc<AtomicBool>,
}

impl Signals {
    /// Installs the handlers. A signal that was ignored stays ignored, so `nohup` keeps its effect. A
    /// signal that asks a waiting process to end sets `interrupted`.
    pub(crate) fn install(interrupted: &Arc<AtomicBool>) -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        let heard: Vec<_> = FORWARDED.into_iter().filter(|s| !is_ignored(*s)).collect();
        for signal in heard.iter().filter(|signal| Self::ends_a_wait(**signal)) {
            signal_hook::flag::register(*signal as i32, interrupted.clone())?;
        }
        let handled: Vec<_> = heard.into_iter().chain([Signal::SIGCHLD, Signal::SIGCONT]).collect();
        let numbers = handled.iter().map(|signal| *signal as i32);
        let delivery = SignalDelivery::with_pipe(read, write, SignalOnly, numbers)?;
        // The parent process may have blocked them, and that lasts over an exec: no signal would be
        // noticed, nor the command's end. The command itself begins with none blocked.
        SigSet::from_iter(handled).thread_unblock()?;
        ENDS_AT_ONCE.store(false, Ordering::Release);
        Ok(Self { delivery, interrupted: interrupted.clone() })
    }

    /// Forgets the signals that came so far: they were for the command, which has ended, and must not
    /// interrupt anything now.
    pub(crate) fn forget(&mut self) {
        self.take();
        self.interrupted.store(false, Ordering::Release);
    }

    /// Takes the signals that arrived since the last call, each once.
    pub(crate) fn take(&mut self) -> Vec<Signal> {
        self.delivery.pending().filter_map(|number| Signal::try_from(number).ok()).collect()
    }

    /// Takes the signal that ended a wait, if one did. Its flag is visible a moment before the signal
    /// itself can be taken.
    pub(crate) fn take_what_interrupted(&mut self) -> Option<Signal> {
        let mut last = !self.interrupted.load(Ordering::Acquire);
        loop {
            let found = self.take().into_iter().find(|signal| Self::ends_a_wait(*signal));
            if found.is_some() || last {
                return found;
            }
            last = true;
            let _ = poll(&mut [PollFd::new(self.as_fd(), PollFlags::POLLIN)], PollTimeout::from(A_MOMENT_MS));
        }
    }

    /// Returns whether a signal asks a waiting process to end.
    pub(crate) fn ends_a_wait(signal: Signal) -> bool {
        matches!(signal, Signal::SIGINT | Signal::SIGTERM | Signal::SIGHUP | Signal::SIGQUIT)
    }
}

impl AsFd for Signals {
    /// Readable while there are signals to take.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.delivery.get_read().as_fd()
    }
}
