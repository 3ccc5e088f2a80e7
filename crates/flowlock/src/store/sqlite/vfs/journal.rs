//! What `SQLite` does with a whole journal at once, without a callback: it rebuilds the index from all
//! of it, and it moves all of it into the file.
//!
//! Either may take minutes, because every member of a shared store can make the journal long, and
//! truncate its index as often as they like. So both end when their caller stops waiting. The next
//! process rebuilds an incomplete index, and moved pages are moved again.

use std::ffi::{c_int, c_void};

use rusqlite::ffi;

use super::replaced::Replaced;
use crate::store::sqlite::failure::BROKEN_OFF;
use crate::store::sqlite::format::{FRAME_HEADER, JOURNAL_HEADER, PAGE, is_page_size, number};
use crate::store::sqlite::sleep;

/// Where a journal's header has the page size.
const PAGE_SIZE: std::ops::Range<usize> = 8..12;

type Read = unsafe extern "C" fn(*mut ffi::sqlite3_file, *mut c_void, c_int, i64) -> c_int;

/// A journal's functions, with our limits, and what `SQLite` itself reads with.
static WATCHED: Replaced<Read> = Replaced::new();

/// Makes the limits of the thread apply to a journal that was just opened; returns whether that was
/// possible.
///
/// # Safety
/// `file` is one that `SQLite`'s own layer has opened.
pub(super) unsafe fn watch(file: *mut ffi::sqlite3_file) -> bool {
    let with_limits = |all: &ffi::sqlite3_io_methods| {
        Some((all.xRead?, ffi::sqlite3_io_methods { xRead: Some(read_watched), ..*all }))
    };
    // SAFETY: by the caller's contract.
    unsafe { WATCHED.replace(file, with_limits) }
}

unsafe extern "C" fn read_watched(
    file: *mut ffi::sqlite3_file,
    out: *mut c_void,
    amount: c_int,
    offset: i64,
) -> c_int {
    let Some(read) = WATCHED.own() else { return ffi::SQLITE_IOERR_READ };
    // A page with its header is only read to rebuild the index. A single page is read by a statement,
    // which has limits of its own (`clock.rs`).
    if amount == (FRAME_HEADER + PAGE) as c_int && sleep::is_over() {
        return BROKEN_OFF;
    }
    // SAFETY: the arguments from SQLite are passed on to its own function, which fills `out`.
    let code = unsafe { super::judged_read(read(file, out, amount, offset), out, amount) };
    if code != ffi::SQLITE_OK || (amount, offset) != (JOURNAL_HEADER as c_int, 0) {
        return code;
    }
    // SAFETY: this many bytes were just written there.
    let header = unsafe { std::slice::from_raw_parts(out.cast::<u8>(), JOURNAL_HEADER) };
    if is_of_another_file(header) { ffi::SQLITE_CORRUPT } else { code }
}

/// Returns whether the pages of a journal have another size than those of a store. One with an
/// impossible size is not a journal, and `SQLite` makes a new one.
fn is_of_another_file(header: &[u8]) -> bool {
    let size = number(&header[PAGE_SIZE]) as usize;
    is_page_size(size) && size != PAGE
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use super::super::super::file::OpenFile;
    use super::super::super::held_path::{HeldPath, Missing};
    use super::*;
    use crate::store::{Limits, StoreErrorKind};

    /// The first process that opens a store reads its whole journal, and so does one that meets a
    /// truncated index.
    #[test]
    fn a_long_journal_holds_up_nobody_who_waits_no_longer() {
        let directory = tempfile::tempdir().unwrap();
        let store = HeldPath::find(&directory.path().join("s.db"), Missing::Refused).unwrap();
        let patient = Limits::within(Duration::from_mins(1));
        let interrupted = Limits { interrupted: Some(Arc::new(AtomicBool::new(true))), ..patient.clone() };
        let late = Limits::until(patient.until.checked_sub(Duration::from_mins(2)).unwrap());
        let write = |file: &mut OpenFile| {
            let large = "insert or replace into epoch (ns, epoch) values (99, hex(zeroblob(60000)))";
            file.write(|sql| sql.execute(large, []).map_err(super::super::super::failure::translate))
                .unwrap();
        };
        write(&mut OpenFile::open(&store, &patient).unwrap());
        for limits in [&interrupted, &late] {
            let error = OpenFile::open(&store, limits).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Unreachable, "{error}");
            assert!(error.to_string().contains("journal is too long"), "{error}");
        }
        // The move into the file waits for a process with time, and nothing is lost.
        let mut file = OpenFile::open(&store, &patient).unwrap();
        let length = || fs::metadata(store.path()).unwrap().len();
        let before = length();
        {
            let _timed = file.timed(&late);
            (0..20).for_each(|_| write(&mut file));
            assert_eq!(length(), before);
        }
        let _timed = file.timed(&patient);
        write(&mut file);
        assert!(length() > before);
    }

    #[test]
    fn a_journal_whose_pages_are_no_stores_is_not_read() {
        let header = |size: u32| {
            let mut header = [0; JOURNAL_HEADER];
            header[PAGE_SIZE].copy_from_slice(&size.to_be_bytes());
            header
        };
        assert!([512, 2_048, 8_192, 65_536].iter().all(|size| is_of_another_file(&header(*size))));
        assert!(
            ![0, 1, 256, 4_096, 5_000, 131_072, u32::MAX]
                .iter()
                .any(|size| is_of_another_file(&header(*size)))
        );
    }
}
