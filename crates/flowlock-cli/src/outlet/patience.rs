//! Writing as long as a reader is waited for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};

/// How long to wait for the end or a result once a signal asked to end.
const AFTER_A_SIGNAL: Duration = Duration::from_millis(300);
/// How often to check whether a signal came, while a caller waits.
pub(super) const LOOK: Duration = Duration::from_millis(20);
/// How many bytes a pipe with room takes at once.
const PIECE: usize = nix::libc::PIPE_BUF;

/// Set by a signal that asks this process to end.
static ASKED_TO_END: OnceLock<Arc<AtomicBool>> = OnceLock::new();
static HURRIES: AtomicBool = AtomicBool::new(false);

/// Shortens every wait for a reader once `asked` is set.
pub(crate) fn hurry_when(asked: &Arc<AtomicBool>) {
    let _ = ASKED_TO_END.set(asked.clone());
}

/// Writes as much as there is room for, because no thread can wait.
pub(super) fn write_now(to: impl AsFd, text: &[u8]) {
    stopped_by_no_terminal(|| {
        for piece in text.chunks(PIECE) {
            if is_ready(to.as_fd(), PollTimeout::ZERO) != Ok(true) || nix::unistd::write(&to, piece).is_err()
            {
                break;
            }
        }
    });
}

/// For writes in a thread that also does other things.
pub(super) fn stopped_by_no_terminal<T>(write: impl FnOnce() -> T) -> T {
    let before = SigSet::from_iter([Signal::SIGTTOU]).thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let written = write();
    if let Ok(before) = before {
        let _ = before.thread_set_mask();
    }
    written
}

/// Never writes more than there is room for, so that it can be given up at any time.
pub(super) fn write_patiently(to: &OwnedFd, bytes: &[u8], patience: Patience) -> io::Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        if is_ready(to.as_fd(), PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO))? {
            match nix::unistd::write(to, &rest[..rest.len().min(PIECE)]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => rest = &rest[n..],
                // A pipe with a little room may not have room for a whole piece.
                Err(Errno::EAGAIN) => std::thread::sleep(LOOK),
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if !rest.is_empty() && !patience.is_left() {
            return Err(patience.over());
        }
    }
    Ok(())
}

/// Returns whether a write would return at once, even with an error.
pub(super) fn is_ready(to: BorrowedFd<'_>, timeout: PollTimeout) -> nix::Result<bool> {
    match poll(&mut [PollFd::new(to, PollFlags::POLLOUT)], timeout) {
        Ok(ready) => Ok(ready > 0),
        Err(Errno::EINTR) => Ok(false),
        Err(error) => Err(error),
    }
}

/// How long to wait for a reader: less once a signal asked to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    begun: Instant,
    most: Duration,
}

impl Patience {
    pub(super) fn begin(most: Duration) -> Self {
        Self { begun: Instant::now(), most }
    }

    pub(super) fn is_left(self) -> bool {
        self.begun.elapsed() < if is_asked_to_end() { AFTER_A_SIGNAL.min(self.most) } else { self.most }
    }

    pub(super) fn over(self) -> io::Error {
        let why = if is_asked_to_end() {
            "nobody read it before a signal came".to_owned()
        } else {
            format!("nobody read it within {} s", self.most.as_secs())
        };
        io::Error::new(io::ErrorKind::TimedOut, why)
    }
}

/// Once seen, it is remembered, although the signal itself may be forgotten where it must not end
/// anything else.
fn is_asked_to_end() -> bool {
    if ASKED_TO_END.get().is_some_and(|asked| asked.load(Ordering::Acquire)) {
        HURRIES.store(true, Ordering::Release);
    }
    HURRIES.load(Ordering::Acquire)
}
