//! Limits the index of the journal to what a journal can need.
//!
//! Also limits the file, which is written when the whole journal is moved into it: only as long as the
//! caller waits (`journal.rs`).
//!
//! The index itself says how far it reaches, and every member of a shared store can write it: `SQLite`
//! would make it that large, on disk, in one piece of work that no signal and no time limit ends.

use std::ffi::{c_int, c_void};

use nix::errno::Errno;
use rusqlite::ffi;

use super::replaced::Replaced;
use crate::store::sqlite::failure::BROKEN_OFF;
use crate::store::sqlite::sleep;

/// The maximum number of its regions of 32 KiB. Each is for 4,096 frames of a page: for a journal of 16
/// GiB, with an index of 32 MiB.
const MOST_REGIONS: c_int = 1_024;

type Map = unsafe extern "C" fn(*mut ffi::sqlite3_file, c_int, c_int, c_int, *mut *mut c_void) -> c_int;

type Read = unsafe extern "C" fn(*mut ffi::sqlite3_file, *mut c_void, c_int, i64) -> c_int;

type Write = unsafe extern "C" fn(*mut ffi::sqlite3_file, *const c_void, c_int, i64) -> c_int;

/// `SQLite`'s own functions for the file.
struct Own {
    map: Map,
    read: Read,
    write: Write,
}

/// The file's functions, with our limits.
static BOUNDED: Replaced<Own> = Replaced::new();

/// Limits the index of a store that was just opened; returns whether that was possible.
///
/// # Safety
/// `file` is one that `SQLite`'s own layer has opened.
pub(super) unsafe fn bound(file: *mut ffi::sqlite3_file) -> bool {
    let with_bounds = |all: &ffi::sqlite3_io_methods| {
        let own = Own { map: all.xShmMap?, read: all.xRead?, write: all.xWrite? };
        let ours = ffi::sqlite3_io_methods {
            xShmMap: Some(map_bounded),
            xRead: Some(read_judged),
            xWrite: Some(write_bounded),
            ..*all
        };
        Some((own, ours))
    };
    // SAFETY: by the caller's contract.
    unsafe { BOUNDED.replace(file, with_bounds) }
}

unsafe extern "C" fn map_bounded(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    let Some(bounded) = BOUNDED.own().filter(|_| region < MOST_REGIONS) else {
        // SAFETY: the place for the answer is SQLite's own.
        unsafe { *out = std::ptr::null_mut() };
        return ffi::SQLITE_CORRUPT;
    };
    // SAFETY: the arguments from SQLite are passed on to its own function.
    let code = unsafe { (bounded.map)(file, region, bytes, extend, out) };
    match (code, Errno::last()) {
        (ffi::SQLITE_IOERR_SHMSIZE, Errno::ENOSPC | Errno::EDQUOT) => ffi::SQLITE_FULL,
        (ffi::SQLITE_IOERR_SHMSIZE, _) => ffi::SQLITE_IOERR_WRITE,
        (code, _) => code,
    }
}

unsafe extern "C" fn read_judged(
    file: *mut ffi::sqlite3_file,
    out: *mut c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    match BOUNDED.own() {
        // SAFETY: the arguments from SQLite are passed on to its own function, which fills `out`.
        Some(bounded) => unsafe {
            super::judged_read((bounded.read)(file, out, amount, offset), out, amount)
        },
        _ => ffi::SQLITE_IOERR_READ,
    }
}

/// Steps only write into the journal.
unsafe extern "C" fn write_bounded(
    file: *mut ffi::sqlite3_file,
    page: *const c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    match BOUNDED.own() {
        // SAFETY: the arguments from SQLite are passed on to its own function.
        Some(bounded) if !sleep::is_over() => unsafe { (bounded.write)(file, page, amount, offset) },
        _ => BROKEN_OFF,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;

    use super::super::tests::{made, read};
    use super::*;

    /// Maps a region, as `SQLite` does with the turn to write.
    fn mapped(sql: &rusqlite::Connection, region: c_int) -> c_int {
        let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
        let mut out = std::ptr::null_mut();
        // SAFETY: the connection is open during this call, and SQLite stores its open file where it is
        // asked to.
        unsafe {
            let control = ffi::SQLITE_FCNTL_FILE_POINTER;
            let asked =
                ffi::sqlite3_file_control(sql.handle(), c"main".as_ptr(), control, (&raw mut file).cast());
            assert_eq!(asked, ffi::SQLITE_OK);
            ((*(*file).pMethods).xShmMap.unwrap())(file, region, 32 << 10, 1, &raw mut out)
        }
    }

    #[test]
    fn an_index_that_says_it_is_endless_is_not_made_so() {
        let directory = tempfile::tempdir().unwrap();
        let store = made(&directory.path().join("unjudged.db"));
        let sql = read(&store);
        let on_disk = || fs::metadata(store.beside("-shm").path()).unwrap().blocks() * 512;
        assert_eq!(mapped(&sql, 2), ffi::SQLITE_OK);
        let before = on_disk();
        assert_eq!(mapped(&sql, MOST_REGIONS), ffi::SQLITE_CORRUPT);
        assert_eq!(mapped(&sql, c_int::MAX / 4), ffi::SQLITE_CORRUPT);
        assert_eq!(on_disk(), before);
    }
}
