//! Liveness: one byte of a file, locked while the process lives.
//!
//! The lock belongs to the open file description, so it is gone exactly when the last process that has
//! the descriptor is gone: at once after kill -9, and not before a surviving grandchild ends. It is seen
//! from every container that shares the volume.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

use super::failure::at_path;
use crate::store::{Pulse, StoreError};
use crate::world::Life;

/// The liveness file of a store.
#[derive(Debug)]
pub(super) struct Lives {
    path: PathBuf,
    mode: u32,
    /// For probing: its own open file description, so that this process's locks are seen too.
    probe: File,
}

impl Lives {
    pub(super) fn open(path: PathBuf, mode: u32) -> Result<Self, StoreError> {
        let probe = super::side_file(&path, mode)?;
        Ok(Self { path, mode, probe })
    }

    /// A new liveness lock of this process.
    pub(super) fn begin(&self) -> Result<Pulse, StoreError> {
        let file = super::side_file(&self.path, self.mode)?;
        loop {
            let life = Life(crate::world::random_u64() >> 2);
            match fcntl(&file, FcntlArg::F_OFD_SETLK(&byte(life))) {
                Ok(_) => {
                    return Ok(Pulse {
                        life,
                        descriptor: Some(OwnedFd::from(file)),
                    });
                }
                // Another process has this number: 2^62 of them make that next to impossible.
                Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EACCES) => {}
                Err(error) => return Err(at_path("lock", &self.path, error.into())),
            }
        }
    }

    /// Whether some process holds the lock. If it cannot be told, it is alive: nobody is declared dead by
    /// an error.
    pub(super) fn is_alive(&self, life: Life) -> bool {
        let mut lock = byte(life);
        match fcntl(&self.probe, FcntlArg::F_OFD_GETLK(&mut lock)) {
            Ok(_) => i32::from(lock.l_type) != libc::F_UNLCK,
            Err(_) => true,
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

fn byte(life: Life) -> libc::flock {
    libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: life.0 as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}
