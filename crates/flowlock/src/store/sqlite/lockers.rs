//! Which process keeps a file locked, as far as the kernel shows it: for messages and `doctor`, never
//! for a decision.

mod search;

use std::error::Error as _;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use self::search::Wanted;
use super::failure::is_locked;
use super::format::IN_USE;
use super::held_path::HeldPath;
use crate::store::{Limits, StoreError, StoreErrorKind};

/// Returns the error; if another process's lock was in the way, with that process. The limits are for
/// finding it.
pub(super) fn naming_the_locker(store: &HeldPath, error: StoreError, limits: &Limits) -> StoreError {
    let cause = error.source().and_then(|source| source.downcast_ref::<rusqlite::Error>());
    let locked = cause.and_then(rusqlite::Error::sqlite_error_code).is_some_and(is_locked);
    match locked.then(|| in_the_way(store, limits)).flatten() {
        Some(lock) => StoreError::new(error.kind(), format!("the store is busy: {lock}")).caused_by(error),
        None => error,
    }
}

/// A lock on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    /// Its first and its last byte.
    pub(super) bytes: (u64, u64),
    /// Whether other locks are possible beside it.
    pub(super) shared: bool,
    /// Which process has it.
    pub(super) keeper: Keeper,
}

/// The process that keeps a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Keeper {
    /// A process that was found.
    Process(u32),
    /// A process of another container or another user.
    Unseen,
    /// A process that was not found in time, because there are too many open files to look at.
    NotFound,
}

impl Keeper {
    /// Returns the process id, if it is known.
    pub(super) fn pid(self) -> Option<u32> {
        match self {
            Self::Process(pid) => Some(pid),
            Self::Unseen | Self::NotFound => None,
        }
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "process {pid}"),
            Self::Unseen => f.write_str("a process that cannot be seen from here"),
            Self::NotFound => {
                write!(
                    f,
                    "a process that was not found within {} ms (`lslocks` may tell)",
                    SEARCH.as_millis()
                )
            }
        }
    }
}

/// How long the process is searched for. A process with many open files must not hold up callers that
/// only need its name for a message. This comes on top of the time that was spent waiting for the lock,
/// which has ended by then.
const SEARCH: Duration = Duration::from_millis(100);

/// Limits a search to 100 ms and to `patience`. It ends when the caller is interrupted.
pub(super) fn search(patience: Duration, caller: Option<&Limits>) -> Limits {
    let interrupted = caller.and_then(|caller| caller.interrupted.clone());
    Limits { interrupted, ..Limits::within(patience.min(SEARCH)) }
}

impl Lock {
    fn touches(&self, bytes: (u64, u64)) -> bool {
        self.bytes.0 <= bytes.1 && self.bytes.1 >= bytes.0
    }
}

/// The bytes of `-shm` that `SQLite` locks (`WALINDEX_LOCK_OFFSET` in its `wal.c`, `UNIX_SHM_DMS` in its `os_unix.c`).
const INDEX_LOCKS: (u64, u64) = (120, IN_USE);
/// Those that are exclusive: for writing, for moving the journal into the file, and for rebuilding the
/// index.
const INDEX_LOCKS_OF_WRITERS: (u64, u64) = (120, 122);

/// The kinds of locks; the three do not see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `flock`, on the whole file.
    Whole,
    /// A range of bytes, of a process (`POSIX`) or of an open file description (`OFDLCK`).
    Bytes,
    /// A lease, on the whole file: a process that opens the file waits until the lease is given back.
    Lease,
}

/// Returns the locks on the file at `path`. Within the limits, also searches for the processes of those
/// locks for which the kernel does not show one.
pub(super) fn locks_on(path: &Path, kind: Kind, limits: &Limits) -> Vec<Lock> {
    let Ok(meta) = fs::metadata(path) else { return Vec::new() };
    let (device, inode) = (meta.dev(), meta.ino());
    let wanted = Wanted { device, inode, kind, name: path.file_name().unwrap_or_default() };
    wanted.locks(limits)
}

/// Returns the error if this cannot be opened because a process has a lease on it; the kernel now asks
/// that process to give the lease back.
pub(super) fn leased(place: &HeldPath) -> Option<StoreError> {
    let lease = locks_on(place.inside(), Kind::Lease, &search(SEARCH, None)).into_iter().next()?;
    let message = format!("the store is busy: {} has a lease on {}", lease.keeper, place.shown());
    Some(StoreError::new(StoreErrorKind::Unreachable, message))
}

/// How long a process of flowlock usually has a lock at most.
const MOMENT: Duration = Duration::from_millis(20);

/// A lock on the store's own files that prevents others from reading or writing it.
#[derive(Debug)]
pub(super) struct InTheWay {
    lock: Lock,
    file: HeldPath,
}

impl fmt::Display for InTheWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keeps {} locked; end that process", self.lock.keeper, self.file.shown())
    }
}

/// Returns a lock of another process that prevents reading or writing the store. A process of flowlock
/// has such a lock for a moment only; a lock that is returned was still there after such a moment.
pub(super) fn in_the_way(store: &HeldPath, limits: &Limits) -> Option<InTheWay> {
    let first = all_in_the_way(store, limits);
    if first.len() > 1 {
        limits.sleep(MOMENT);
        let again = all_in_the_way(store, limits);
        if let Some(lasting) =
            again.into_iter().find(|lock| first.iter().any(|other| other.lock == lock.lock))
        {
            return Some(lasting);
        }
    }
    first.into_iter().next()
}

fn all_in_the_way(store: &HeldPath, limits: &Limits) -> Vec<InTheWay> {
    let locks_of = |file: HeldPath, is_in_the_way: fn(&Lock) -> bool| {
        let own = Keeper::Process(std::process::id());
        let locks = locks_on(file.inside(), Kind::Bytes, limits).into_iter();
        let locks = locks.filter(move |lock| is_in_the_way(lock) && lock.keeper != own);
        locks.map(move |lock| InTheWay { lock, file: file.clone() })
    };
    let on_index = locks_of(store.beside("-shm"), |lock| {
        lock.touches(INDEX_LOCKS) && !lock.shared || lock.touches(INDEX_LOCKS_OF_WRITERS)
    });
    on_index.chain(locks_of(store.clone(), |lock| !lock.shared)).collect()
}

#[cfg(test)]
mod tests;
