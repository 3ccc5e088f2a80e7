//! The writers' queue: an OS file lock taken before every write transaction.
//!
//! `SQLite`'s own busy handler sleeps and retries, which starves processes: of 16 contending ones, the
//! worst got one transaction in four seconds. The kernel's lock queue does not.
//!
//! The thread that has the store's file (`alone.rs`) uses the queue, one thread at a time. `head` is
//! what its own thread and that thread tell each other: when a turn comes, it is either taken by the
//! thread that waits, or given back by the queue's thread, as `wanted` says in that critical section.
//! The key's mutex is taken for a few instructions: by a thread that opens the file, and by one that
//! gives back the turn of a stopped thread. Nothing is locked under either.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::failure::at_path;
use super::held_path::HeldPath;
use super::lockers::{self, Kind};
use super::side::SideFiles;
use crate::store::{Limits, StoreError, StoreErrorKind};

/// The file's name, after the store's name.
const SUFFIX: &str = "-lock";
/// How long a writer spins before it queues in the kernel: the time of a few transactions.
const SPIN: Duration = Duration::from_millis(1);

/// Gives a turn back for a thread that never will. A lock belongs to the open file description, which
/// this shares with the thread that holds it.
#[derive(Debug, Clone, Default)]
pub(super) struct Key(Arc<Mutex<Option<File>>>);

impl Key {
    fn fit(&self, file: &File) {
        *crate::sync::lock(&self.0) = file.try_clone().ok();
    }

    /// Gives the turn back, if this store has it.
    pub(super) fn unlock(&self) {
        if let Some(file) = crate::sync::lock(&self.0).take() {
            let _ = file.unlock();
        }
    }
}

/// The lock file of a store.
#[derive(Debug)]
pub(super) struct WriterQueue {
    file: Option<File>,
    side: SideFiles,
    place: HeldPath,
    key: Key,
    /// The thread that still queues for a turn whose caller stopped waiting.
    line: Option<Arc<QueueThread>>,
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

impl WriterQueue {
    pub(super) fn open(side: SideFiles) -> Result<Self, StoreError> {
        let (file, key) = (side.open(SUFFIX)?, Key::default());
        key.fit(&file);
        Ok(Self { file: Some(file), place: side.place(SUFFIX), side, key, line: None })
    }

    /// Returns the key to give its turns back from another thread.
    pub(super) fn key(&self) -> Key {
        self.key.clone()
    }

    /// Waits for the turn to write, within these limits.
    pub(super) fn enter(&mut self, limits: &Limits) -> Result<Turn<'_>, StoreError> {
        let lock = if let Some(line) = self.line.take().filter(|line| line.rejoin()) {
            self.wait_in(line, limits)?
        } else {
            let fresh = self.file.is_none();
            let file = match self.file.take() {
                Some(file) => file,
                None => self.side.open(SUFFIX)?,
            };
            if fresh {
                self.key.fit(&file);
            }
            match spin(file) {
                Ok(lock) => lock,
                Err(file) => self.wait_in(QueueThread::form(file, &self.place)?, limits)?,
            }
        };
        Ok(Turn { lock: Some(lock), home: &mut self.file })
    }

    fn wait_in(&mut self, line: Arc<QueueThread>, limits: &Limits) -> Result<Flock<File>, StoreError> {
        let begun = Instant::now();
        if let Some(turn) = line.wait(limits) {
            return turn.map_err(|error| at_path("lock", self.place.path(), error));
        }
        self.line = Some(line);
        limits.check()?;
        Err(busy(&self.place, begun.elapsed()))
    }
}

/// The error if no turn came in time.
pub(super) fn busy(lock: &HeldPath, waited: Duration) -> StoreError {
    let holder = match holder_of(lock) {
        Some(pid) if pid == std::process::id() => {
            "; other requests of this process were ahead of this one".into()
        }
        Some(pid) => format!("; process {pid} has it"),
        None => String::new(),
    };
    // The milliseconds to begin and to notice the end are left out.
    let waited = match waited.as_millis() {
        few @ 0..900 => format!("{few} ms"),
        many => format!("{} s", (many + 500) / 1_000),
    };
    let message = format!("the store is busy: no turn to write within {waited}{holder}");
    StoreError::new(StoreErrorKind::Unreachable, message).out_of_time()
}

/// Tries for a moment: most turns end sooner than a sleep would.
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

/// A thread that queues in the kernel, because a file lock has no time limit. There is at most one for a
/// store: a writer that is stopped for hours must not cost a thread for every attempt of the others.
#[derive(Debug, Default)]
struct QueueThread {
    head: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    turn: Option<std::io::Result<Flock<File>>>,
    /// Whether a thread waits for the turn; else it is given back at once.
    wanted: bool,
    over: bool,
}

impl QueueThread {
    fn form(mut file: File, place: &HeldPath) -> Result<Arc<Self>, StoreError> {
        let line = Arc::new(Self::default());
        line.head().wanted = true;
        let mine = line.clone();
        let queue = move || {
            loop {
                match Flock::lock(file, FlockArg::LockExclusive) {
                    Ok(lock) => return mine.end(Ok(lock)),
                    Err((back, nix::errno::Errno::EINTR)) => file = back,
                    Err((_, error)) => return mine.end(Err(error.into())),
                }
            }
        };
        match std::thread::Builder::new().name("flowlock-queue".into()).spawn(queue) {
            Ok(_) => Ok(line),
            Err(error) => Err(at_path("wait for", place.path(), error)),
        }
    }

    fn head(&self) -> MutexGuard<'_, QueueState> {
        self.head.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, turn: std::io::Result<Flock<File>>) {
        let mut head = self.head();
        head.over = true;
        if head.wanted {
            head.turn = Some(turn);
        }
        self.changed.notify_all();
    }

    /// Continues to wait in the same place; returns false if the thread has ended meanwhile.
    fn rejoin(&self) -> bool {
        let mut head = self.head();
        head.wanted = !head.over;
        head.wanted
    }

    fn wait(&self, limits: &Limits) -> Option<std::io::Result<Flock<File>>> {
        let mut head = self.head();
        while head.turn.is_none()
            && let Some(nap) = limits.nap()
        {
            head = self.changed.wait_timeout(head, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
        head.wanted = head.turn.is_some();
        head.turn.take()
    }
}

/// Returns the process that holds the lock, as the kernel shows it.
fn holder_of(lock: &HeldPath) -> Option<u32> {
    let limits = lockers::search(Duration::MAX, None);
    lockers::locks_on(lock.inside(), Kind::Whole, &limits).into_iter().find_map(|lock| lock.keeper.pid())
}

#[cfg(test)]
mod tests {
    use super::super::SqliteStore;
    use super::*;

    #[test]
    fn a_turn_that_nobody_waits_for_any_more_is_given_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flowlock.db");
        let patience = Duration::from_secs(5);
        let [first, second] = [0; 2].map(|_| SqliteStore::open(&path, patience).unwrap());
        let mut theirs = first.inner(&Limits::within(patience)).unwrap();
        let mut ours = second.inner(&Limits::within(patience)).unwrap();
        let turn = theirs.writer_queue.enter(&Limits::within(patience)).unwrap();
        assert!(ours.writer_queue.enter(&Limits::within(Duration::from_millis(50))).is_err());
        drop(turn);
        // It was in the queue, and its turn comes now.
        let line = ours.writer_queue.line.clone().unwrap();
        let end = Instant::now() + patience;
        while !line.head().over {
            assert!(Instant::now() < end, "its turn came to nobody");
            std::thread::yield_now();
        }
        let again = theirs.writer_queue.enter(&Limits::within(patience));
        assert!(again.is_ok(), "whoever does not wait any more keeps the others out");
    }
}
