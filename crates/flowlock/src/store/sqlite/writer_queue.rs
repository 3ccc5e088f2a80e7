//! The writers' queue: an OS file lock taken before every write transaction.
//!
//! `SQLite`'s own busy handler sleeps and retries, which starves processes: of 16 contending ones the worst
//! got one transaction in four seconds. The kernel's lock queue does not.
//!
//! The queue is used by whoever has the store's file (`alone.rs`), one thread at a time. What its own thread and that one tell
//! each other is in `head`: a turn is either taken by who waits, or given back by the thread, as `wanted` says in the critical
//! section in which the turn comes. The key's mutex is taken for a few instructions by who opens the file, and from a thread
//! that gives the turn of a stopped one back. Nothing is locked under either.

use std::fs::File;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::failure::at_path;
use super::held_path::HeldPath;
use super::lockers::{self, Kind};
use super::side::SideFiles;
use crate::store::{Limits, StoreError, StoreErrorKind};

/// What the file is called, after the store's name.
const SUFFIX: &str = "-lock";
/// How long a writer spins before it queues in the kernel: a few transactions' time.
const SPIN: Duration = Duration::from_millis(1);

/// Gives a turn back from outside, for a thread that never will. A lock belongs to the open file description, which this
/// shares with whoever holds it.
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
    /// The thread that still queues for a turn that nobody waited for to the end.
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

    /// What gives its turns back from outside.
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

/// No turn came in time.
pub(super) fn busy(lock: &HeldPath, waited: Duration) -> StoreError {
    let holder = match holder_of(lock) {
        Some(pid) if pid == std::process::id() => {
            "; other requests of this process were before this one".into()
        }
        Some(pid) => format!("; process {pid} keeps it"),
        None => String::new(),
    };
    // Nobody cares for the milliseconds it took to begin, and to notice the end.
    let waited = match waited.as_millis() {
        few @ 0..900 => format!("{few} ms"),
        many => format!("{} s", (many + 500) / 1_000),
    };
    let message = format!("the store is busy: no turn to write within {waited}{holder}");
    StoreError::new(StoreErrorKind::Unreachable, message).out_of_time()
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

/// A thread that queues in the kernel, because a file lock has no time limit. There is never more than one
/// of a store: a writer that is stopped for hours must not cost a thread for every try of the others.
#[derive(Debug, Default)]
struct QueueThread {
    head: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct QueueState {
    turn: Option<std::io::Result<Flock<File>>>,
    /// Somebody waits for the turn; else it is given back at once.
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

    /// Waits on in the same place; not if it came to its end meanwhile.
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

/// The process that holds the lock, as the kernel tells it.
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
        // It stood in the queue, and its turn comes now.
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
