//! Liveness: one byte of a file, locked while the process lives.
//!
//! The lock belongs to the open file description, so it is gone exactly when the last process that has
//! the descriptor is gone: at once after kill -9, and not before a surviving grandchild ends. It is seen
//! from every container that shares the volume.
//!
//! If the file is removed while it is in use, those who open the store later see another file, in which
//! nobody holds a lock. So each file has a number of its own, made of one written in it and of its inode, which
//! is part of the number of every lock in it; in the wrong file nobody is declared dead, be it a copy of the right
//! one.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::failure::at_path;
use super::side::SideFiles;
use crate::store::{Pulse, StoreError};
use crate::world::Life;

/// The liveness file of a store.
#[derive(Debug)]
pub(super) struct Lives {
    side: SideFiles,
    path: PathBuf,
    /// For probing: its own open file description, so that this process's locks are seen too.
    probe: Mutex<Probe>,
}

#[derive(Debug)]
struct Probe {
    file: File,
    number: u64,
}

/// What the file is called, after the store's name.
const SUFFIX: &str = "-live";
/// Where a lock's number has the number of its file, which has 30 bits.
const FILE_SHIFT: u32 = 32;
const FILE_NUMBERS: u64 = 1 << 30;
/// The byte that is locked while a new file is given its number: behind all liveness locks.
const NUMBERING: i64 = 1 << 62;

impl Lives {
    pub(super) fn open(side: SideFiles) -> Result<Self, StoreError> {
        let probe = Mutex::new(Probe::open(&side)?);
        Ok(Self { path: side.path(SUFFIX), side, probe })
    }

    /// A new liveness lock of this process.
    pub(super) fn begin(&self) -> Result<Pulse, StoreError> {
        let Probe { file, number } = Probe::open(&self.side)?;
        loop {
            let life = Life(number << FILE_SHIFT | crate::world::random_u64() >> FILE_SHIFT);
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&byte(life.0))) {
                Ok(_) => {
                    return Ok(Pulse { life, descriptor: Some(OwnedFd::from(file)) });
                }
                // Another process has this number: 2^32 of them make that rare.
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => {}
                Err(error) => return Err(at_path("lock", &self.path, error.into())),
            }
        }
    }

    /// Whether some process holds the lock. If it cannot be told, it is alive: nobody is declared dead by
    /// an error.
    pub(super) fn is_alive(&self, life: Life) -> bool {
        let mut probe = self.probe.lock().unwrap_or_else(PoisonError::into_inner);
        if probe.number != life.0 >> FILE_SHIFT {
            match Probe::open(&self.side) {
                Ok(newer) if newer.number == life.0 >> FILE_SHIFT => *probe = newer,
                _ => return true,
            }
        }
        let mut lock = byte(life.0);
        match fcntl(&probe.file, FcntlArg::F_OFD_GETLK(&mut lock)) {
            Ok(_) => i32::from(lock.l_type) != libc::F_UNLCK,
            Err(_) => true,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Probe {
    fn open(side: &SideFiles) -> Result<Self, StoreError> {
        let file = side.open(SUFFIX)?;
        let number =
            file_number(&file).map_err(|error| at_path("read the number of", &side.path(SUFFIX), error))?;
        Ok(Self { file, number })
    }
}

/// The file's number: a copy of the file, which says the same, has another.
fn file_number(file: &File) -> std::io::Result<u64> {
    let inode = file.metadata()?.ino();
    // Every bit of the inode counts (the multiplier is 2^64 divided by the golden ratio).
    let spread = inode.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - FILE_NUMBERS.trailing_zeros());
    Ok(said_number(file)? ^ spread)
}

/// The number written in the file; in a new file one is written.
fn said_number(file: &File) -> std::io::Result<u64> {
    if let Some(number) = written_number(file)? {
        return Ok(number);
    }
    let mut lock = byte(NUMBERING as u64);
    fcntl(file, FcntlArg::F_OFD_SETLKW(&lock))?;
    let number = if let Some(number) = written_number(file)? {
        number
    } else {
        let number = crate::world::random_u64() % FILE_NUMBERS;
        file.write_all_at(&number.to_be_bytes(), 0)?;
        number
    };
    lock.l_type = libc::F_UNLCK as libc::c_short;
    fcntl(file, FcntlArg::F_OFD_SETLK(&lock))?;
    Ok(number)
}

fn written_number(file: &File) -> std::io::Result<Option<u64>> {
    let mut bytes = [0; 8];
    let read = file.read_at(&mut bytes, 0)?;
    Ok((read == bytes.len()).then(|| u64::from_be_bytes(bytes) % FILE_NUMBERS))
}

fn byte(number: u64) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: number as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}
