//! A wall clock for one server, which a test can set while the server runs.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use crate::shim;

/// The wall clock of the servers that are given it. It shows the true time until it is moved; clones move together.
///
/// Only the time of day moves: timers, sleeps and whatever a server measures with its monotonic clock are not
/// affected.
#[derive(Debug, Clone)]
pub struct Clock {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// The difference from the true time, in nanoseconds.
    offset: Mutex<i64>,
    file: File,
    directory: TempDir,
}

const FILE: &str = "offset";

impl Clock {
    /// Creates a clock that shows the true time until it is moved.
    ///
    /// # Panics
    ///
    /// If its file cannot be written.
    #[expect(clippy::new_without_default, reason = "it makes a file")]
    pub fn new() -> Self {
        let directory = TempDir::with_prefix("clock-").expect("room for a clock");
        let file = File::create_new(directory.path().join(FILE)).expect("room for a clock");
        file.set_len(8).expect("room for an offset");
        Clock { shared: Arc::new(Shared { offset: Mutex::new(0), file, directory }) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.step(by.as_nanos() as i64);
    }

    /// Moves the clock back.
    pub fn shift_back(&self, by: Duration) {
        self.step(-(by.as_nanos() as i64));
    }

    fn step(&self, nanoseconds: i64) {
        let mut offset = self.shared.offset.lock().expect("no step panics");
        *offset += nanoseconds;
        self.shared.file.write_all_at(&offset.to_ne_bytes(), 0).expect("the clock's file is writable");
    }

    /// Makes this the wall clock of the process that the command starts.
    pub(super) fn load_into(&self, command: &mut Command) {
        command.env("LD_PRELOAD", shim::CLOCK.library());
        command.env("FLOWLOCK_CLOCK_FILE", self.shared.directory.path().join(FILE));
    }
}
