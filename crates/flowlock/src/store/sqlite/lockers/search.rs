//! Searches the kernel's list of locks, and the processes that have them.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use nix::sys::stat::{major, minor};

use super::{Keeper, Kind, Lock};
use crate::store::Limits;

/// Locks of one kind on one file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'n> {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) kind: Kind,
    /// The file's name here. Most processes that have it open use the same name.
    pub(super) name: &'n OsStr,
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
pub(super) enum Descriptors {
    /// Those with the wanted name: the kernel shows the name quickest.
    Named,
    All,
}

impl Wanted<'_> {
    pub(super) fn locks(&self, limits: &Limits) -> Vec<Lock> {
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

    pub(super) fn parse_all(&self, lines: impl Iterator<Item = impl AsRef<str>>) -> Vec<Lock> {
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
    pub(super) fn find_keepers(&self, locks: &mut [Lock], descriptors: Descriptors, limits: &Limits) {
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
    pub(super) fn parse(&self, line: &str) -> Option<Lock> {
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
