//! Which process keeps a file locked, as far as the kernel shows it: for messages and `doctor`, never
//! for a decision.

use std::error::Error as _;
use std::ffi::OsStr;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use nix::sys::stat::{major, minor};

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

/// Locks of one kind on one file.
#[derive(Debug, Clone, Copy)]
struct Wanted<'n> {
    device: u64,
    inode: u64,
    kind: Kind,
    /// The file's name here. Most processes that have it open use the same name.
    name: &'n OsStr,
}

/// How often the list of all locks is read while nothing is found in it.
///
/// The kernel returns the list a page (some 80 locks) at a time, by position. A lock that is added
/// between two pages makes it list another one twice, and a removed one makes it leave one out. With 240
/// locks that came and went, a lasting lock was missing in 538 of 20,000 lists, and was listed up to 62
/// times in one.
const LOOKS: usize = 3;

/// Which open files to look at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Descriptors {
    /// Those with the wanted name: the kernel shows the name quickest.
    Named,
    All,
}

impl Wanted<'_> {
    fn locks(&self, limits: &Limits) -> Vec<Lock> {
        let tries = (0..LOOKS).map(|_| self.look(limits));
        let mut locks = tries.into_iter().find(|locks| !locks.is_empty()).unwrap_or_default();
        for descriptors in [Descriptors::Named, Descriptors::All] {
            if locks.iter().any(|lock| lock.keeper == Keeper::Unseen) {
                self.find_keepers(&mut locks, descriptors, limits);
            }
        }
        locks
    }

    /// Reads the kernel's list once.
    fn look(&self, limits: &Limits) -> Vec<Lock> {
        let Ok(all) = File::open("/proc/locks") else { return Vec::new() };
        let lines = BufReader::new(all).lines().map_while(Result::ok).take_while(|_| limits.nap().is_some());
        self.parse_all(lines)
    }

    fn parse_all(&self, lines: impl Iterator<Item = impl AsRef<str>>) -> Vec<Lock> {
        let mut locks = Vec::new();
        for lock in lines.filter_map(|line| self.parse(line.as_ref())) {
            if !locks.contains(&lock) {
                locks.push(lock);
            }
        }
        locks
    }

    /// Searches for the processes that have the file open: a lock of an open file description belongs to
    /// them.
    fn find_keepers(&self, locks: &mut [Lock], descriptors: Descriptors, limits: &Limits) {
        for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
            let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            for open in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
                if limits.nap().is_none() {
                    return give_up(locks);
                }
                if descriptors == Descriptors::All || self.is_called(&open.path()) {
                    let info = process.path().join("fdinfo").join(open.file_name());
                    self.keeps(pid, &fs::read_to_string(info).unwrap_or_default(), locks);
                    if locks.iter().all(|lock| lock.keeper.pid().is_some()) {
                        return;
                    }
                }
            }
        }
    }

    fn is_called(&self, descriptor: &Path) -> bool {
        fs::read_link(descriptor).is_ok_and(|path| path.file_name() == Some(self.name))
    }

    /// Notes that a process keeps the locks that the kernel shows for one of its descriptors.
    fn keeps(&self, pid: u32, info: &str, locks: &mut [Lock]) {
        let lines = info.lines().filter_map(|line| line.strip_prefix("lock:"));
        for found in lines.filter_map(|line| self.parse(line)) {
            let same = |lock: &&mut Lock| {
                lock.keeper.pid().is_none() && lock.bytes == found.bytes && lock.shared == found.shared
            };
            locks.iter_mut().filter(same).for_each(|lock| lock.keeper = Keeper::Process(pid));
        }
    }

    /// Parses one line: `1: OFDLCK ADVISORY READ -1 00:2d:4711 5 5`. A lock that is only waited for has
    /// an arrow in it.
    fn parse(&self, line: &str) -> Option<Lock> {
        let mut words = line.split_whitespace().skip(1);
        let kind = match words.next()? {
            "FLOCK" => Kind::Whole,
            "POSIX" | "OFDLCK" => Kind::Bytes,
            "LEASE" => Kind::Lease,
            _ => return None,
        };
        let shared = words.nth(1)? == "READ";
        let pid = words.next()?.parse().ok().filter(|pid| *pid > 0);
        let (device, file) = words.next()?.rsplit_once(':')?;
        let (begin, end) = (words.next()?.parse().ok()?, words.next()?.parse().unwrap_or(u64::MAX));
        let keeper = pid.map_or(Keeper::Unseen, Keeper::Process);
        let is_wanted = kind == self.kind && file.parse() == Ok(self.inode) && self.may_lie_on(device);
        is_wanted.then_some(Lock { bytes: (begin, end), shared, keeper })
    }

    /// Returns whether the file can be on this device, as `/proc/locks` shows it: there can be a file
    /// with the same number on another one. For file systems without a device of their own (btrfs,
    /// overlays), `stat` returns another number than the kernel shows here.
    fn may_lie_on(&self, device: &str) -> bool {
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        let Some((a, b)) = device.split_once(':').and_then(|(a, b)| number(a).zip(number(b))) else {
            return false;
        };
        let own = major(self.device);
        (a, b) == (own, minor(self.device)) || (a, own) == (0, 0)
    }
}

/// Marks those that were not found in time.
fn give_up(locks: &mut [Lock]) {
    let not_found = locks.iter_mut().filter(|lock| lock.keeper == Keeper::Unseen);
    not_found.for_each(|lock| lock.keeper = Keeper::NotFound);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use nix::fcntl::{FcntlArg, fcntl};
    use nix::libc;

    use super::super::liveness::byte;
    use super::*;

    fn wanted(inode: u64, kind: Kind) -> Wanted<'static> {
        Wanted { device: nix::sys::stat::makedev(8, 1), inode, kind, name: OsStr::new("file") }
    }

    #[test]
    fn a_lock_on_another_devices_file_with_the_same_number_is_none_on_this() {
        let line = |device: &str| format!("2: OFDLCK ADVISORY  READ -1 {device}:4711 5 5");
        let none = Wanted { device: nix::sys::stat::makedev(0, 0x2d), ..wanted(4711, Kind::Bytes) };
        let some = wanted(4711, Kind::Bytes);
        let is_on = |wanted: &Wanted<'_>, device: &str| wanted.parse(&line(device)).is_some();
        assert!(is_on(&some, "08:01") && !is_on(&some, "08:02") && !is_on(&some, "00:2d"));
        assert!(is_on(&none, "00:2d") && is_on(&none, "00:30") && !is_on(&none, "08:01"));
    }

    #[test]
    fn a_line_of_the_kernel_is_read_or_passed_over() {
        let ofd = "2: OFDLCK ADVISORY  READ -1 08:01:4711 5 5";
        let lock = Lock { bytes: (5, 5), shared: true, keeper: Keeper::Unseen };
        assert_eq!(wanted(4711, Kind::Bytes).parse(ofd), Some(lock));
        let whole = "1: POSIX  ADVISORY  WRITE 12 08:01:4711 0 EOF";
        let lock = Lock { bytes: (0, u64::MAX), shared: false, keeper: Keeper::Process(12) };
        assert_eq!(wanted(4711, Kind::Bytes).parse(whole), Some(lock));
        for other in
            ["", "1: -> FLOCK ADVISORY WRITE 12 08:01:4711 0 EOF", "1: LEASE ACTIVE READ 1 0:1:4711 0 EOF"]
        {
            assert_eq!(wanted(4711, Kind::Whole).parse(other), None, "{other}");
        }
        assert_eq!(wanted(4712, Kind::Bytes).parse(whole), None);
    }

    #[test]
    fn a_lock_that_the_kernel_lists_twice_is_one() {
        let mine = "2: OFDLCK ADVISORY  READ -1 08:01:4711 5 5";
        let again = "9: OFDLCK ADVISORY  READ -1 08:01:4711 5 5";
        let other = "3: OFDLCK ADVISORY  READ -1 08:01:4711 6 6";
        let bytes = |lines: &[&str]| -> Vec<_> {
            let locks = wanted(4711, Kind::Bytes).parse_all(lines.iter());
            locks.iter().map(|lock| lock.bytes.0).collect()
        };
        assert_eq!(bytes(&[mine, other, again]), [5, 6]);
        assert_eq!(bytes(&[]), [0; 0]);
    }

    /// Other tests of this process lock files meanwhile too, which is how the problem was found.
    #[test]
    fn a_lock_is_told_once_while_many_others_come_and_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mine");
        let _locked = locked(&path);
        let over = AtomicBool::new(false);
        let patient = Limits::within(Duration::from_mins(1));
        let told = std::thread::scope(|scope| {
            for thread in 0..2 {
                let (over, directory) = (&over, directory.path());
                // A new one each time: a process that another test starts has those that are open for a moment.
                let own = move |name: &str| {
                    let file = locked(&directory.join(name));
                    fs::remove_file(directory.join(name)).unwrap();
                    file
                };
                scope.spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        drop((0..100).map(|n| own(&format!("{thread}-{n}"))).collect::<Vec<_>>());
                    }
                });
            }
            let told: Vec<_> = (0..200).map(|_| keeper(&path, &patient).len()).collect();
            over.store(true, Ordering::Relaxed);
            told
        });
        assert!(told.iter().all(|locks| *locks <= 1), "{told:?}");
        let left_out = told.iter().filter(|locks| **locks == 0).count();
        assert!(left_out <= 2, "left out of {left_out} of {} lists", told.len());
    }

    /// Makes a file with a lock of this process that the kernel does not show by itself.
    fn locked(path: &Path) -> File {
        let file = File::create(path).unwrap();
        fcntl(&file, FcntlArg::F_OFD_SETLK(&byte(7, libc::F_WRLCK))).unwrap();
        file
    }

    fn keeper(path: &Path, limits: &Limits) -> Vec<Keeper> {
        locks_on(path, Kind::Bytes, limits).iter().map(|lock| lock.keeper).collect()
    }

    #[test]
    fn a_keeper_is_found_by_whatever_name_it_calls_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| directory.path().join(name));
        let _locked = locked(&one);
        let patient = Limits::within(Duration::from_mins(1));
        let me = [Keeper::Process(std::process::id())];
        assert_eq!(keeper(&one, &patient), me);
        fs::hard_link(&one, &other).unwrap();
        assert_eq!(keeper(&other, &patient), me);
    }

    #[test]
    fn a_keeper_is_looked_for_within_the_limits_and_nobody_is_named_after_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one");
        let _locked = locked(&path);
        let meta = fs::metadata(&path).unwrap();
        let wanted = Wanted {
            device: meta.dev(),
            inode: meta.ino(),
            kind: Kind::Bytes,
            name: path.file_name().unwrap(),
        };
        let over = Limits::within(Duration::ZERO);
        let signalled = Some(Arc::new(AtomicBool::new(true)));
        let interrupted = Limits { interrupted: signalled, ..Limits::within(Duration::from_mins(1)) };
        for limits in [over, interrupted] {
            let mut locks = [Lock { bytes: (7, 7), shared: false, keeper: Keeper::Unseen }];
            wanted.find_keepers(&mut locks, Descriptors::All, &limits);
            assert_eq!(locks[0].keeper, Keeper::NotFound);
        }
        assert!(search(Duration::from_hours(1), None).left() <= SEARCH);
        assert!(search(Duration::from_millis(3), None).left() <= Duration::from_millis(3));
    }
}
