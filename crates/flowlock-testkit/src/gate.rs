//! A gate between a test and a worker: the worker stays where it is until the test opens it.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::{PATIENCE, until};

/// A named pipe at which a shell command waits. No clock is involved.
#[derive(Debug)]
pub struct Gate {
    path: PathBuf,
}

impl Gate {
    /// Creates a closed gate at `path`, which must not exist yet and must not contain quotes.
    pub fn new(path: impl AsRef<Path>) -> Self {
        let path = path.as_ref().to_owned();
        mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("room for a named pipe");
        Gate { path }
    }

    /// Returns the shell command that waits as long as the gate is closed.
    pub fn wait(&self) -> String {
        format!("read -r _ <'{}'", self.path.display())
    }

    /// Lets out the one worker that waits, or will wait in a moment.
    #[track_caller]
    pub fn open(&self) {
        until("a worker at the gate", PATIENCE, || {
            let mut pipe =
                OpenOptions::new().write(true).custom_flags(nix::libc::O_NONBLOCK).open(&self.path).ok()?;
            pipe.write_all(b"go\n").ok()
        });
    }
}
