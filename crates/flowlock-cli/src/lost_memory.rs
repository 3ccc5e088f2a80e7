//! Handles `SIGBUS`: the memory under a step was taken away.
//!
//! SQLite maps its journal's index, and a user who may write that file can truncate it between two
//! accesses. The kernel then kills the process, and with it a command that still holds its names. So
//! while a command runs, the thread that met the signal stands still for ever: it can neither go on nor
//! be unwound. What it kept from others is given back (`Store::abandon`), the lease is not renewed any
//! more, and the command is treated as if the store did not answer. Without a command, and in the thread
//! that would record its outputs, the process prints what happened and ends.
#![allow(unsafe_code, reason = "a handler for a signal that a memory access raises, and `_exit` in it")]

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::unistd::{getpid, gettid, pause};

use crate::exit;

const SAID: &[u8] =
    b"flowlock: the index of the store's journal was truncated while it was used; whether the step in progress took effect is unknown\n";

// The handler runs on the thread that met the signal. Each of these is a decision by itself, so release
// and acquire are more than enough: MAIN is stored before there is another thread, and WATCHING by the
// main thread, for the other threads only.

/// The thread that records outputs.
static MAIN: AtomicI32 = AtomicI32::new(0);
/// Whether a command runs; the main thread only watches it.
static WATCHING: AtomicBool = AtomicBool::new(false);
static LOST: AtomicBool = AtomicBool::new(false);

/// Installs the handler. Call it from the main thread.
pub(crate) fn install() -> nix::Result<()> {
    MAIN.store(gettid().as_raw(), Ordering::Release);
    let action = SigAction::new(SigHandler::Handler(on_bus_error), SaFlags::empty(), background_writes());
    // SAFETY: the handler calls only async-signal-safe functions.
    unsafe { sigaction(Signal::SIGBUS, &action) }.map(drop)
}

/// The signal of a write to a terminal that forbids writes from the background.
fn background_writes() -> SigSet {
    SigSet::from_iter([Signal::SIGTTOU])
}

/// Marks the time in which a command runs, until dropped.
#[derive(Debug)]
pub(crate) struct Watching;

impl Watching {
    pub(crate) fn begin() -> Self {
        WATCHING.store(true, Ordering::Release);
        Self
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        WATCHING.store(false, Ordering::Release);
    }
}

/// Returns whether a thread stands still.
pub(crate) fn happened() -> bool {
    LOST.load(Ordering::Acquire)
}

/// Uses only async-signal-safe calls: `gettid`, `poll`, `write`, `_exit`, `kill`, `pause`.
extern "C" fn on_bus_error(_: libc::c_int) {
    if !WATCHING.load(Ordering::Acquire) || gettid().as_raw() == MAIN.load(Ordering::Acquire) {
        // SAFETY: standard error is not closed by this program.
        let stderr = unsafe { BorrowedFd::borrow_raw(2) };
        // The names of this process must not wait until somebody reads that.
        if poll(&mut [PollFd::new(stderr, PollFlags::POLLOUT)], PollTimeout::ZERO) == Ok(1) {
            let _ = nix::unistd::write(stderr, SAID);
        }
        // SAFETY: ends the process without running any of its code.
        unsafe { libc::_exit(exit::STORE.into()) }
    }
    LOST.store(true, Ordering::Release);
    // The loop that watches the command looks around at every signal.
    let _ = kill(getpid(), Signal::SIGCHLD);
    loop {
        pause();
    }
}
