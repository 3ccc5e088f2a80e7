//! Who keeps a file locked, as far as the kernel tells: for messages and `doctor`, never for a decision.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::place::Place;
use crate::store::{StoreError, StoreErrorKind};

/// A lock on a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lock {
    /// Its first and its last byte.
    pub(super) bytes: (u64, u64),
    /// Whether others may share it.
    pub(super) shared: bool,
    /// Whose it is; `None` for one of a process of another container or another user.
    pub(super) pid: Option<u32>,
}

impl Lock {
    fn touches(&self, bytes: (u64, u64)) -> bool {
        self.bytes.0 <= bytes.1 && self.bytes.1 >= bytes.0
    }
}

/// The bytes of `-shm` that `SQLite` locks (`WALINDEX_LOCK_OFFSET` in its `wal.c`, `UNIX_SHM_DMS` in its `os_unix.c`).
const INDEX_LOCKS: (u64, u64) = (120, 128);
/// Those of them that nobody shares: for writing, for moving the journal to the file, and for making the index anew.
const INDEX_LOCKS_OF_WRITERS: (u64, u64) = (120, 122);

/// Which kind of lock is looked for: the three do not see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `flock`, on the whole file.
    Whole,
    /// A range of bytes, of a process (`POSIX`) or of an open file description (`OFDLCK`).
    Bytes,
    /// A lease, on the whole file: whoever opens it waits until it is given back.
    Lease,
}

/// The locks on the file at `path`.
pub(super) fn locks_on(path: &Path, kind: Kind) -> Vec<Lock> {
    let Ok(meta) = fs::metadata(path) else { return Vec::new() };
    locks_of(meta.ino(), kind)
}

/// What to answer if this cannot be opened because somebody has a lease on it, which the kernel now asks them to give
/// back.
pub(super) fn leased(place: &Place) -> Option<StoreError> {
    let lease = locks_on(place.inside(), Kind::Lease).into_iter().next()?;
    let message = format!("the store is busy: {} has a lease on {}", by_whom(lease.pid), place.shown());
    Some(StoreError::new(StoreErrorKind::Unreachable, message))
}

/// How long a process of flowlock has a lock at most, as a rule.
const MOMENT: Duration = Duration::from_millis(20);

/// A lock on the store's own files that keeps others from reading or writing it.
#[derive(Debug)]
pub(super) struct InTheWay {
    lock: Lock,
    file: Place,
}

impl std::fmt::Display for InTheWay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} keeps {} locked; end that process", by_whom(self.lock.pid), self.file.shown())
    }
}

/// A lock of another process that is in the way of whoever reads or writes the store. A process of flowlock has such a
/// lock for a moment only: what is named is still there after another.
pub(super) fn in_the_way(store: &Place) -> Option<InTheWay> {
    let first = all_in_the_way(store);
    if first.len() > 1 {
        std::thread::sleep(MOMENT);
        let again = all_in_the_way(store);
        if let Some(lasting) =
            again.into_iter().find(|lock| first.iter().any(|other| other.lock == lock.lock))
        {
            return Some(lasting);
        }
    }
    first.into_iter().next()
}

fn all_in_the_way(store: &Place) -> Vec<InTheWay> {
    let locks_of = |file: Place, is_in_the_way: fn(&Lock) -> bool| {
        let own = std::process::id();
        let locks = locks_on(file.inside(), Kind::Bytes).into_iter();
        let locks = locks.filter(move |lock| is_in_the_way(lock) && lock.pid != Some(own));
        locks.map(move |lock| InTheWay { lock, file: file.clone() })
    };
    let on_index = locks_of(store.beside("-shm"), |lock| {
        lock.touches(INDEX_LOCKS) && !lock.shared || lock.touches(INDEX_LOCKS_OF_WRITERS)
    });
    on_index.chain(locks_of(store.clone(), |lock| !lock.shared)).collect()
}

/// Says whose lock it is.
pub(super) fn by_whom(pid: Option<u32>) -> String {
    pid.map_or_else(|| "a process that cannot be seen from here".to_owned(), |pid| format!("process {pid}"))
}

fn locks_of(inode: u64, kind: Kind) -> Vec<Lock> {
    let all = fs::read_to_string("/proc/locks").unwrap_or_default();
    let mut locks: Vec<_> = all.lines().filter_map(|line| parse(line, inode, kind)).collect();
    if locks.iter().any(|lock| lock.pid.is_none()) {
        let known = locks_by_process(inode, kind);
        for lock in locks.iter_mut().filter(|lock| lock.pid.is_none()) {
            let same = |other: &&Lock| other.bytes == lock.bytes && other.shared == lock.shared;
            lock.pid = known.iter().find(same).and_then(|other| other.pid);
        }
    }
    locks
}

/// A lock of an open file description belongs to whoever has it open.
fn locks_by_process(inode: u64, kind: Kind) -> Vec<Lock> {
    let mut found = Vec::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        for open in fs::read_dir(process.path().join("fdinfo")).into_iter().flatten().flatten() {
            let info = fs::read_to_string(open.path()).unwrap_or_default();
            let lines = info.lines().filter_map(|line| line.strip_prefix("lock:"));
            let locks = lines.filter_map(|line| parse(line, inode, kind));
            found.extend(locks.map(|lock| Lock { pid: Some(pid), ..lock }));
        }
    }
    found
}

/// One line: `1: OFDLCK ADVISORY READ -1 00:2d:4711 5 5`. One that only waits has an arrow in it.
fn parse(line: &str, inode: u64, wanted: Kind) -> Option<Lock> {
    let mut words = line.split_whitespace().skip(1);
    let kind = match words.next()? {
        "FLOCK" => Kind::Whole,
        "POSIX" | "OFDLCK" => Kind::Bytes,
        "LEASE" => Kind::Lease,
        _ => return None,
    };
    let shared = words.nth(1)? == "READ";
    let pid = words.next()?.parse().ok().filter(|pid| *pid > 0);
    let file = words.next()?.rsplit(':').next()?;
    let (begin, end) = (words.next()?.parse().ok()?, words.next()?.parse().unwrap_or(u64::MAX));
    (kind == wanted && file.parse() == Ok(inode)).then_some(Lock { bytes: (begin, end), shared, pid })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_kernel_is_read_or_passed_over() {
        let ofd = "2: OFDLCK ADVISORY  READ -1 00:2d:4711 5 5";
        assert_eq!(parse(ofd, 4711, Kind::Bytes), Some(Lock { bytes: (5, 5), shared: true, pid: None }));
        let whole = "1: POSIX  ADVISORY  WRITE 12 08:01:4711 0 EOF";
        assert_eq!(
            parse(whole, 4711, Kind::Bytes),
            Some(Lock { bytes: (0, u64::MAX), shared: false, pid: Some(12) })
        );
        for other in
            ["", "1: -> FLOCK ADVISORY WRITE 12 08:01:4711 0 EOF", "1: LEASE ACTIVE READ 1 0:1:4711 0 EOF"]
        {
            assert_eq!(parse(other, 4711, Kind::Whole), None, "{other}");
        }
        assert_eq!(parse(whole, 4712, Kind::Bytes), None);
    }
}
