//! A process on a pseudo-terminal, and what a person would see there.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pty_process::blocking::{Command, Pty, open};

use crate::finished::Plain;
use crate::job::{end_all, mark_variable, new_mark};
use crate::{Finished, PATIENCE, until};

/// A process whose controlling terminal the test controls. Dropping it kills it and everything it
/// started.
pub struct Terminal {
    child: Child,
    mark: String,
    plain: Plain,
    keyboard: Arc<Pty>,
    shown: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl std::fmt::Debug for Terminal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Terminal")
            .field("child", &self.child)
            .field("screen", &self.screen())
            .finish_non_exhaustive()
    }
}

const LINES: u16 = 24;
const COLUMNS: u16 = 80;
/// How long the last output may take if something still has the terminal open.
const LAST_WORDS: Duration = Duration::from_secs(1);

impl Terminal {
    #[track_caller]
    pub(crate) fn start(command: Command, plain: Plain) -> Self {
        let mark = new_mark();
        let (pty, pts) = open().expect("a pseudo-terminal");
        pty.resize(pty_process::Size::new(LINES, COLUMNS)).expect("a terminal of the usual size");
        let (name, value) = mark_variable(&mark);
        let child = command.env(name, value).spawn(pts).expect("the process starts on a terminal");
        let keyboard = Arc::new(pty);
        let shown = Arc::new(Mutex::new(Vec::new()));
        let (screen, far_end) = (shown.clone(), keyboard.clone());
        // Ends with the read error that the last close of the other side causes.
        let reader = std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(n @ 1..) = (&*far_end).read(&mut chunk) {
                screen.lock().expect("no reader panics").extend_from_slice(&chunk[..n]);
            }
        });
        Terminal { child, mark, plain, keyboard, shown, reader }
    }

    /// Returns its process id.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id() as i32)
    }

    /// Returns what the terminal shows now, without trailing blanks; the home's path reads `~`.
    pub fn screen(&self) -> String {
        let mut terminal = vt100::Parser::new(LINES, COLUMNS, 0);
        terminal.process(&self.raw());
        self.plain.text(terminal.screen().contents().trim_end().as_bytes())
    }

    /// Returns every byte sent to the terminal so far, to look for escapes that must not be there.
    pub fn raw(&self) -> Vec<u8> {
        self.shown.lock().expect("no reader panics").clone()
    }

    /// Waits until the screen contains `part`.
    #[track_caller]
    pub fn shows(&self, part: &str) {
        let start = Instant::now();
        while !self.screen().contains(part) {
            assert!(
                start.elapsed() < PATIENCE,
                "no {part:?} on the terminal after {PATIENCE:?}:\n{}",
                self.screen()
            );
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Types; `"\x03"` is Ctrl-C.
    #[track_caller]
    pub fn types(&self, keys: &str) {
        (&*self.keyboard).write_all(keys.as_bytes()).expect("the terminal takes input");
    }

    /// Sends a signal to it, and not to what it started.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap_or_else(|error| panic!("cannot send {signal}: {error}"));
    }

    /// Waits for its end, for up to [`PATIENCE`]. Everything that was shown counts as standard output.
    #[track_caller]
    pub fn wait(mut self) -> Finished {
        let status = until("the end of the process on the terminal", PATIENCE, || {
            self.child.try_wait().expect("our own child can be waited for")
        });
        // The last output may still be on its way. The reader ends when no process has the terminal open
        // any more; what the process left running may have it, so the wait is short.
        let ended = Instant::now();
        while !self.reader.is_finished() && ended.elapsed() < LAST_WORDS {
            std::thread::sleep(Duration::from_millis(3));
        }
        Finished::new(status, self.screen().as_bytes(), b"", &self.plain)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        end_all(&self.mark, &mut self.child);
    }
}
