//! Liveness: one byte of a file, locked while the process lives.
//!
//! The lock belongs to the open file description, so it ends exactly when the last process that has the
//! descriptor ends: at once after kill -9, and not before a surviving grandchild ends. Every container
//! that shares the volume sees it.
//!
//! It is a shared lock on a description that is open for reading only. A command inherits that
//! description and must not be able to exclude others with it: an exclusive lock needs a description
//! that is open for writing, and a shared lock is in nobody's way. A probe asks whether an exclusive
//! lock would be possible, without taking it.
//!
//! A user who may write the file can still lock all of it. That stops nobody: a process that cannot get
//! a liveness lock lives until its lease ends, and a process whose death cannot be noticed counts as
//! alive until its lease ends. Both are reported, with the process that keeps the lock.
//!
//! If the file is removed while it is in use, processes that open the store later see another file, in
//! which nobody holds a lock. So each file has its own number, made from a number written in it and from
//! its inode, and every lock's number includes it. No process is declared dead because of the wrong
//! file, even if it is a copy of the right one.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::failure::at_path;
use super::held_path::{HeldPath, way_to};
use super::lockers::{self, Keeper, Kind};
use super::side::SideFiles;
use crate::store::{LivenessLock, StoreError, StoreErrorKind};
use crate::world::{LivenessId, later};

/// The liveness file of a store.
#[derive(Debug)]
pub(super) struct LivenessLocks {
    side: SideFiles,
    place: HeldPath,
    /// How long to wait until the number of a new file is known.
    patience: Duration,
    /// For probing: its own open file description, so that this process's locks are seen too.
    probe: Mutex<Probe>,
    /// Whether a process locks more than a liveness lock, which is logged once. Both are relaxed: the
    /// first is set again by every look that meets such a lock, the second decides which of several
    /// threads logs, and neither orders anything.
    obstructed: AtomicBool,
    said: AtomicBool,
}

#[derive(Debug)]
struct Probe {
    file: File,
    number: u64,
}

/// What is on one byte.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A lock on this byte alone.
    LivenessId,
    /// A lock on more than that: not one of flowlock's.
    Range,
}

/// The file's name, after the store's name.
const SUFFIX: &str = "-live";
/// Where the number of a lock has the number of its file, which has 30 bits.
const FILE_SHIFT: u32 = 32;
pub(super) const FILE_NUMBERS: u64 = 1 << 30;
/// The length of the file.
const NUMBER_BYTES: usize = 8;
/// The byte that is locked while a new file gets its number: after all liveness locks.
const NUMBERING: i64 = 1 << 62;
/// How often another number is tried: two of 2^32 are rarely the same.
const MOST_TRIES: u32 = 8;
/// The pause before the number of a new file is read again.
const PAUSE: Duration = Duration::from_millis(2);

impl LivenessLocks {
    pub(super) fn open(side: SideFiles, patience: Duration) -> Result<Self, StoreError> {
        let probe = Mutex::new(Probe::open(&side, patience)?);
        let (obstructed, said) = (AtomicBool::default(), AtomicBool::default());
        Ok(Self { place: side.place(SUFFIX), side, patience, probe, obstructed, said })
    }

    /// Creates a new liveness lock of this process; `None` if another process keeps so much of the file
    /// locked that there is no free byte.
    pub(super) fn begin(&self) -> Result<Option<LivenessLock>, StoreError> {
        let Probe { file, number } = self.readable()?;
        for _ in 0..MOST_TRIES {
            let liveness = LivenessId(number << FILE_SHIFT | crate::world::random_u64() >> FILE_SHIFT);
            let free =
                look(&file, liveness).map_err(|error| at_path("lock", self.place.path(), error.into()))?;
            if free != Found::Nothing {
                continue;
            }
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&byte(liveness.0, libc::F_RDLCK))) {
                Ok(_) => return Ok(Some(LivenessLock { liveness, descriptor: Some(OwnedFd::from(file)) })),
                Err(Errno::EAGAIN | Errno::EACCES) => {}
                Err(error) => return Err(at_path("lock", self.place.path(), error.into())),
            }
        }
        self.obstructed.store(true, Ordering::Relaxed);
        Ok(None)
    }

    /// Returns the file, open for reading only: the same file, whatever has its name by now.
    fn readable(&self) -> Result<Probe, StoreError> {
        let Probe { file, number } = Probe::open(&self.side, self.patience)?;
        let file = File::open(way_to(&file)).map_err(|error| at_path("read", self.place.path(), error))?;
        Ok(Probe { file, number })
    }

    /// Returns whether a process holds the lock. In doubt the process is alive: no error declares a
    /// process dead.
    pub(super) fn is_alive(&self, liveness: LivenessId) -> bool {
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if probe.number != liveness.0 >> FILE_SHIFT {
            match Probe::open(&self.side, Duration::ZERO) {
                Ok(newer) if newer.number == liveness.0 >> FILE_SHIFT => *probe = newer,
                _ => return true,
            }
        }
        match look(&probe.file, liveness) {
            Ok(Found::Nothing) => false,
            Ok(Found::LivenessId) | Err(_) => true,
            Ok(Found::Range) => {
                self.obstructed.store(true, Ordering::Relaxed);
                true
            }
        }
    }

    /// Takes the message for people, given once, about who keeps more of the file locked than flowlock does.
    pub(super) fn take_notice(&self) -> Option<String> {
        if !self.obstructed.load(Ordering::Relaxed) || self.said.swap(true, Ordering::Relaxed) {
            return None;
        }
        self.obstruction()
    }

    /// Says which process keeps more of the file locked than flowlock does.
    pub(super) fn obstruction(&self) -> Option<String> {
        let limits = lockers::search(self.patience, None);
        let locks = lockers::locks_on(self.place.inside(), Kind::Bytes, &limits);
        let foreign = locks.iter().find(|lock| lock.bytes.0 != lock.bytes.1 || !lock.shared)?;
        Some(format!(
            "{} keeps {} locked, so dead processes are not noticed: their names are free when their leases end, \
             not at once; end that process",
            foreign.keeper,
            self.place.shown()
        ))
    }

    pub(super) fn path(&self) -> &Path {
        self.place.path()
    }
}

impl Probe {
    fn open(side: &SideFiles, patience: Duration) -> Result<Self, StoreError> {
        let (file, place) = (side.open(SUFFIX)?, side.place(SUFFIX));
        let found =
            may_have_a_number(side, &file).and_then(|()| file_number(&file, later(Instant::now(), patience)));
        match found {
            Ok(Some(number)) => Ok(Self { file, number }),
            Ok(None) => Err(kept_locked(&place, patience)),
            Err(error) => Err(at_path("read the number of", place.path(), error)),
        }
    }
}

fn kept_locked(place: &HeldPath, patience: Duration) -> StoreError {
    let limits = lockers::search(patience, None);
    let lock = lockers::locks_on(place.inside(), Kind::Bytes, &limits).into_iter().find(|lock| !lock.shared);
    let who = lock.map_or(Keeper::Unseen, |lock| lock.keeper);
    let shown = place.shown();
    let message =
        format!("the store is busy: {who} keeps {shown} locked, which is new and has no number yet");
    StoreError::new(StoreErrorKind::Unreachable, message)
}

/// Returns the file's number. A copy of the file, with the same content, has another one.
fn file_number(file: &File, until: Instant) -> std::io::Result<Option<u64>> {
    let inode = file.metadata()?.ino();
    // Every bit of the inode counts (the multiplier is 2^64 divided by the golden ratio).
    let spread = inode.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - FILE_NUMBERS.trailing_zeros());
    Ok(said_number(file, until)?.map(|said| said ^ spread))
}

/// Refuses a file that may be any file of the user. A truncated one begins as before, and gets a new
/// number: that declares no process dead.
fn may_have_a_number(side: &SideFiles, file: &File) -> std::io::Result<()> {
    let meta = file.metadata()?;
    let mut bytes = [0; NUMBER_BYTES];
    let read = file.read_at(&mut bytes, 0)?;
    let is_cut_off = read < bytes.len() && u64::from_be_bytes(bytes) < FILE_NUMBERS;
    if meta.len() == NUMBER_BYTES as u64 || is_cut_off || side.is_shared_with_the_store(&meta) {
        return Ok(());
    }
    Err(std::io::Error::other(
        "flowlock did not make it and does not touch it; move it away, or name another store",
    ))
}

/// Returns the number written in the file; writes one into a new file. `None` if another process
/// prevented that in time.
fn said_number(file: &File, until: Instant) -> std::io::Result<Option<u64>> {
    if let Some(number) = written_number(file)? {
        return Ok(Some(number));
    }
    while let Err(error) = fcntl(file, FcntlArg::F_OFD_SETLK(&byte(NUMBERING as u64, libc::F_WRLCK))) {
        if !matches!(error, Errno::EAGAIN | Errno::EACCES) {
            return Err(error.into());
        }
        if Instant::now() >= until {
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
    let number = if let Some(number) = written_number(file)? {
        number
    } else {
        let number = crate::world::random_u64() % FILE_NUMBERS;
        file.write_all_at(&number.to_be_bytes(), 0)?;
        number
    };
    fcntl(file, FcntlArg::F_OFD_SETLK(&byte(NUMBERING as u64, libc::F_UNLCK)))?;
    Ok(Some(number))
}

fn written_number(file: &File) -> std::io::Result<Option<u64>> {
    let mut bytes = [0; NUMBER_BYTES];
    let read = file.read_at(&mut bytes, 0)?;
    Ok((read == bytes.len()).then(|| u64::from_be_bytes(bytes) % FILE_NUMBERS))
}

/// Returns what others than this description have on a byte.
fn look(file: &File, liveness: LivenessId) -> Result<Found, Errno> {
    let mut lock = byte(liveness.0, libc::F_WRLCK);
    fcntl(file, FcntlArg::F_OFD_GETLK(&mut lock))?;
    Ok(match (i32::from(lock.l_type), lock.l_len) {
        (libc::F_UNLCK, _) => Found::Nothing,
        (libc::F_RDLCK, 1) => Found::LivenessId,
        _ => Found::Range,
    })
}

/// Makes a lock of one byte.
pub(super) fn byte(number: u64, kind: libc::c_int) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: number as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}
