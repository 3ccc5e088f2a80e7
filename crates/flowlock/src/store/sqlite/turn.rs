//! The writers' queue: an OS file lock taken before every write transaction.
//!
//! SQLite's own busy handler sleeps and retries, which starves processes: of 16 contending ones the worst
//! got one transaction in four seconds. The kernel's lock queue does not.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::failure::at_path;
use crate::store::{StoreError, StoreErrorKind};

/// How long a writer spins before it queues in the kernel: a few transactions' time.
const SPIN: Duration = Duration::from_millis(1);

/// The lock file of a store.
#[derive(Debug)]
pub(super) struct Turnstile {
    file: Option<File>,
    path: PathBuf,
}

/// The turn to write, until dropped.
#[derive(Debug)]
pub(super) struct Turn<'t> {
    lock: Option<Flock<File>>,
    home: &'t mut Option<File>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.home = self.lock.take().and_then(|lock| lock.unlock().ok());
    }
}

impl Turnstile {
    pub(super) fn open(path: PathBuf, mode: u32) -> Result<Self, StoreError> {
        let file = super::side_file(&path, mode)?;
        Ok(Self {
            file: Some(file),
            path,
        })
    }

    /// Waits for the turn to write, at most so long.
    pub(super) fn enter(&mut self, at_most: Duration) -> Result<Turn<'_>, StoreError> {
        let file = match self.file.take() {
            Some(file) => file,
            None => super::side_file(&self.path, 0)?,
        };
        let lock = match spin(file) {
            Ok(lock) => lock,
            Err(file) => queue(file, at_most, &self.path)?,
        };
        Ok(Turn {
            lock: Some(lock),
            home: &mut self.file,
        })
    }
}

/// Tries for a moment: most turns are over in less time than a sleep takes.
fn spin(mut file: File) -> Result<Flock<File>, File> {
    let begin = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((back, _)) => file = back,
        }
        if begin.elapsed() > SPIN {
            return Err(file);
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Queues in the kernel, on a thread of its own, because a file lock has no time limit.
fn queue(file: File, at_most: Duration, path: &Path) -> Result<Flock<File>, StoreError> {
    let (tell, told) = mpsc::channel();
    let waiter = std::thread::Builder::new().name("flowlock-turn".into());
    waiter
        .spawn(move || {
            let mut file = file;
            loop {
                match Flock::lock(file, FlockArg::LockExclusive) {
                    // If nobody is there any more to take it, it is released by the drop.
                    Ok(lock) => return drop(tell.send(Ok(lock))),
                    Err((back, nix::errno::Errno::EINTR)) => file = back,
                    Err((_, error)) => return drop(tell.send(Err(std::io::Error::from(error)))),
                }
            }
        })
        .map_err(|error| at_path("wait for", path, error))?;
    match told.recv_timeout(at_most) {
        Ok(Ok(lock)) => Ok(lock),
        Ok(Err(error)) => Err(at_path("lock", path, error)),
        Err(RecvTimeoutError::Disconnected) => Err(StoreError::new(
            StoreErrorKind::Unreachable,
            "the writers' queue broke off",
        )),
        Err(RecvTimeoutError::Timeout) => Err(StoreError::new(
            StoreErrorKind::Unreachable,
            format!(
                "the store is busy: no turn to write within {} ms{}",
                at_most.as_millis(),
                holder_of(path)
                    .map(|pid| format!("; process {pid} keeps it"))
                    .unwrap_or_default()
            ),
        )),
    }
}

/// The process that holds the lock, as the kernel tells it.
fn holder_of(path: &Path) -> Option<u32> {
    use std::os::unix::fs::MetadataExt as _;
    let inode = std::fs::metadata(path).ok()?.ino();
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks
        .lines()
        .filter(|line| line.contains("FLOCK"))
        .find_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let at = words.iter().position(|word| *word == "WRITE")?;
            let held = !line.contains("->") && words.get(at + 2)?.ends_with(&format!(":{inode}"));
            held.then(|| words.get(at + 1)?.parse().ok()).flatten()
        })
}
