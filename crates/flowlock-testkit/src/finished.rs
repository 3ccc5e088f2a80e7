//! The result of a process, and its output.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::ExitStatus;

use nix::sys::signal::Signal;

/// A process that has ended, with its output. Paths below its home read `~` and the address of its
/// server reads `server`, so that texts can be compared whole.
#[derive(Debug, Clone)]
pub struct Finished {
    status: ExitStatus,
    stdout: String,
    stderr: String,
}

impl Finished {
    pub(crate) fn new(status: ExitStatus, stdout: &[u8], stderr: &[u8], plain: &Plain) -> Self {
        Finished { status, stdout: plain.text(stdout), stderr: plain.text(stderr) }
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn code(&self, expected: i32) -> &Self {
        assert_eq!(self.status.code(), Some(expected), "exit code of {self:#?}");
        self
    }

    /// Asserts that this signal ended the process.
    #[track_caller]
    pub fn killed_by(&self, signal: Signal) -> &Self {
        assert_eq!(self.status.signal(), Some(signal as i32), "signal that ended {self:#?}");
        self
    }

    /// Asserts the whole of standard output.
    #[track_caller]
    pub fn stdout(&self, expected: &str) -> &Self {
        assert_eq!(self.stdout, expected, "stdout of {self:#?}");
        self
    }

    /// Asserts the whole of standard error, except the message about a store that takes more than a
    /// second to answer: on a loaded machine any store does. The tests of that message look for it
    /// themselves.
    #[track_caller]
    pub fn stderr(&self, expected: &str) -> &Self {
        assert_eq!(without_slow_store(&self.stderr), expected, "stderr of {self:#?}");
        self
    }

    /// Asserts that standard error contains `part`, for texts with run numbers in them.
    #[track_caller]
    pub fn stderr_has(&self, part: &str) -> &Self {
        assert!(self.stderr.contains(part), "no {part:?} in stderr of {self:#?}");
        self
    }

    /// Returns standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in stdout of {self:#?}"))
    }

    /// Standard output.
    pub fn out(&self) -> &str {
        &self.stdout
    }

    /// Standard error.
    pub fn err(&self) -> &str {
        &self.stderr
    }

    /// How it ended.
    pub fn status(&self) -> ExitStatus {
        self.status
    }
}

fn without_slow_store(text: &str) -> String {
    const SAID: &str = "flowlock: the store does not answer; trying for ";
    text.split_inclusive('\n').filter(|line| !line.starts_with(SAID)).collect()
}

/// What differs from test to test in outputs.
#[derive(Debug, Clone)]
pub(crate) struct Plain {
    pub(crate) home: PathBuf,
    pub(crate) server: Option<String>,
}

impl Plain {
    /// Returns the text without that: the home's path reads `~`, the server's address `server`.
    pub(crate) fn text(&self, bytes: &[u8]) -> String {
        let home = self.home.to_str().expect("a temporary home has a plain path");
        let text = String::from_utf8_lossy(bytes).replace(home, "~");
        self.server.as_ref().map_or(text.clone(), |address| text.replace(address, "server"))
    }
}
