//! Judges each page that `SQLite` reads, before `SQLite` looks into it.
//!
//! Everything in a file can be what somebody else wrote there, and two things in it cost `SQLite` more
//! than any of its own limits allows:
//!
//! * **A key of an index.** A page says how long each of its keys is. To compare one with another,
//!   `SQLite` reads all of it into memory, up to 2 GB, in one piece of work that nothing ends; its limit
//!   for the length of a value does not count there. So a page with a key that is too long is not read.
//! * **The schema.** `SQLite` keeps all of it in memory, and reads it anew whenever the number of the
//!   schema on the first page has changed. So it is read once, when the file is opened, and only up to
//!   `SCHEMA_PAGES`; afterwards, a first page with another number is not read. The next step opens the
//!   file again.
//!
//! Only a page of an index begins as one: of the other pages that `SQLite` reads, those of tables begin
//! with another number, and the rest with the number of a page, which would have to be greater than
//! 33,000,000.

use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use rusqlite::ffi;

use crate::store::sqlite::failure::SCHEMA_CHANGED;
use crate::store::sqlite::format::{INDEX_PAGES, LONGEST_VALUE, is_page_size, number};

/// How many pages may be read until the schema is known. That of a store has three.
const SCHEMA_PAGES: u32 = 64;
/// How the first page begins.
const FIRST_PAGE: &[u8] = b"SQLite format 3\0";
/// Where the first page has the number that changes with the schema.
const SCHEMA_NUMBER: std::ops::Range<usize> = 40..44;
/// Where a page has the number of its cells.
const CELLS: std::ops::Range<usize> = 3..5;

thread_local! {
    /// The schema of the file that this thread reads; `None` while a store is created.
    static READ: RefCell<Option<Arc<KnownSchema>>> = const { RefCell::new(None) };
}

/// What is known of the schema of an open file.
#[derive(Debug)]
pub(in crate::store::sqlite) struct KnownSchema {
    /// How many more pages may be read until it is known.
    left: AtomicU32,
    number: OnceLock<u32>,
    has_changed: AtomicBool,
}

impl Default for KnownSchema {
    fn default() -> Self {
        Self {
            left: AtomicU32::new(SCHEMA_PAGES),
            number: OnceLock::new(),
            has_changed: AtomicBool::default(),
        }
    }
}

impl KnownSchema {
    /// Ends the reading of the schema: from now on it must keep its number.
    pub(in crate::store::sqlite) fn set(&self, number: u32) {
        let _ = self.number.set(number);
    }

    /// Returns whether a page with another number was met.
    pub(in crate::store::sqlite) fn has_changed(&self) -> bool {
        self.has_changed.load(Ordering::Relaxed)
    }

    fn judge(&self, page: &[u8]) -> c_int {
        let number = page.starts_with(FIRST_PAGE).then(|| page.get(SCHEMA_NUMBER).map(number)).flatten();
        match (self.number.get(), number) {
            (Some(known), Some(number)) if *known != number => {
                self.has_changed.store(true, Ordering::Relaxed);
                SCHEMA_CHANGED
            }
            (Some(_), _) => ffi::SQLITE_OK,
            (None, _) => {
                let counted =
                    self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                if counted.is_ok() { ffi::SQLITE_OK } else { ffi::SQLITE_CORRUPT }
            }
        }
    }
}

/// Sets the schema of the file that this thread reads from now on; returns that from before.
pub(in crate::store::sqlite) fn set_schema(schema: Option<Arc<KnownSchema>>) -> Option<Arc<KnownSchema>> {
    READ.try_with(|read| read.replace(schema)).ok().flatten()
}

/// Returns the code of a read: `code`, or an error if a page was read that `SQLite` must not look into.
pub(super) fn judged(code: c_int, read: &[u8]) -> c_int {
    if code != ffi::SQLITE_OK || !is_page_size(read.len()) {
        return code;
    }
    if has_a_longer_key(read) {
        return ffi::SQLITE_TOOBIG;
    }
    let judge = |schema: &Arc<KnownSchema>| schema.judge(read);
    READ.try_with(|read| read.borrow().as_ref().map(judge)).ok().flatten().unwrap_or(ffi::SQLITE_OK)
}

/// Returns whether this is a page of an index with a key that is longer than any row of a store. Reads
/// the cells as `SQLite` does; what it refuses by itself is not judged
/// (<https://sqlite.org/fileformat2.html#b_tree_pages>).
fn has_a_longer_key(page: &[u8]) -> bool {
    let Some((_, header, before)) = INDEX_PAGES.iter().find(|(kind, ..)| page[0] == *kind) else {
        return false;
    };
    let most = page.len() / 2;
    let cells = (number(&page[CELLS]) as usize).min(most);
    let places = page[*header..].as_chunks::<2>().0.iter().take(cells);
    places.map(|place| usize::from(u16::from_be_bytes(*place)) & (page.len() - 1)).any(|cell| {
        let length = page.get(cell + before..).and_then(length_in);
        length.is_none_or(|length| length > LONGEST_VALUE as u64)
    })
}

/// Returns the number with which a cell begins, of up to nine bytes; `None` if it goes on behind the end.
fn length_in(cell: &[u8]) -> Option<u64> {
    let mut length = 0_u64;
    for (at, byte) in cell.iter().take(9).enumerate() {
        length = length << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 || at == 8 {
            return Some(length);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::FileExt as _;
    use std::path::Path;
    use std::time::Duration;

    use rusqlite::Connection;
    use rusqlite::ffi::ErrorCode;

    use super::super::super::SqliteStore;
    use super::super::super::failure::translate;
    use super::super::super::file::OpenFile;
    use super::super::super::format::PAGE;
    use super::super::super::held_path::{HeldPath, Missing};
    use super::super::super::transact::Inner;
    use super::*;
    use crate::store::{Limits, StoreError, StoreErrorKind};

    fn limits() -> Limits {
        Limits::within(Duration::from_mins(1))
    }

    fn open(path: &Path) -> Result<OpenFile, StoreError> {
        OpenFile::open(&HeldPath::find(path, Missing::Refused).unwrap(), &limits())
    }

    /// A store that another program has open, as anybody can who may write the file.
    fn made() -> (tempfile::TempDir, std::path::PathBuf, Connection) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.db");
        drop(open(&path).unwrap());
        let other = Connection::open(&path).unwrap();
        (directory, path, other)
    }

    /// A page of an index with one cell, which begins with these bytes, `from_end` bytes before the end.
    fn index_page(kind: u8, cell: &[u8], from_end: usize) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        let at = PAGE - from_end;
        (page[0], page[4]) = (kind, 1);
        let header = if kind == 0x02 { 12 } else { 8 };
        page[header..header + 2].copy_from_slice(&u16::try_from(at).unwrap().to_be_bytes());
        page[at..at + cell.len()].copy_from_slice(cell);
        page
    }

    /// A length as `SQLite` writes it.
    fn written(length: u32) -> [u8; 5] {
        let part = |bits: u32| (length >> bits) as u8 & 0x7f | 0x80;
        [part(28), part(21), part(14), part(7), part(0) & 0x7f]
    }

    #[test]
    fn only_keys_as_long_as_a_row_can_be_are_read() {
        let longest = LONGEST_VALUE as u32;
        let is_refused = |kind, before: &[u8], length| {
            has_a_longer_key(&index_page(kind, &[before, &written(length)].concat(), 100))
        };
        assert!(!is_refused(0x0a, &[], longest) && !is_refused(0x02, &[0; 4], longest));
        assert!(is_refused(0x0a, &[], longest + 1) && is_refused(0x02, &[0; 4], longest + 1));
        assert!(is_refused(0x0a, &[], u32::MAX));
        assert!(has_a_longer_key(&index_page(0x0a, &[0xff; 9], 100)), "nine bytes");
        assert!(has_a_longer_key(&index_page(0x0a, &[0x80; 3], 3)), "a length that goes on behind the page");
        assert!(has_a_longer_key(&index_page(0x02, &[0], 1)), "one that begins behind it");
        assert!(!has_a_longer_key(&index_page(0x0d, &written(u32::MAX), 100)), "the page of a table");
        let mut all = index_page(0x0a, &[], 100);
        all[3..8].fill(0xff);
        assert!(!has_a_longer_key(&all), "as many cells as fit, all at the page's begin");
    }

    /// Makes the first key of the namespaces' names 48 MiB long: an overflow page that leads to itself.
    fn give_a_long_key(path: &Path, other: &Connection) {
        const BYTES: u32 = 48 << 20;
        const PAGES: u32 = 16_384;
        other
            .execute_batch(
                "insert into namespace values (1, 'a', '', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, null)",
            )
            .unwrap();
        other.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
        let named = "select rootpage from sqlite_schema where name = 'sqlite_autoindex_namespace_1'";
        let root: u32 = other.query_row(named, [], |row| row.get(0)).unwrap();
        let file = fs::File::options().write(true).open(path).unwrap();
        file.set_len(u64::from(PAGES) * PAGE as u64).unwrap();
        file.write_all_at(&PAGES.to_be_bytes(), 28).unwrap();
        file.write_all_at(&PAGES.to_be_bytes(), u64::from(PAGES - 1) * PAGE as u64).unwrap();
        let (least, most, rest) = (489, 1_002, PAGE - 4);
        let here =
            Some(least + (BYTES as usize - least) % rest).filter(|here| *here <= most).unwrap_or(least);
        let header = [&[7][..], &written((BYTES - 8) * 2 + 13), &[9]].concat();
        let mut cell = [&written(BYTES)[..], &header].concat();
        cell.resize(5 + here, b'a');
        cell.extend(PAGES.to_be_bytes());
        let page = index_page(0x0a, &cell, cell.len());
        file.write_all_at(&page, u64::from(root - 1) * PAGE as u64).unwrap();
        let size = u16::try_from(PAGE - cell.len()).unwrap();
        file.write_all_at(&size.to_be_bytes(), u64::from(root - 1) * PAGE as u64 + 5).unwrap();
    }

    #[test]
    fn a_key_that_is_too_long_is_damage() {
        let (_directory, path, other) = made();
        give_a_long_key(&path, &other);
        // SQLite itself reads all of it.
        let sought = "select ns from namespace where name = 'b'";
        let found = |sql: &Connection| sql.query_row(sought, [], |row| row.get::<_, i64>(0));
        assert_eq!(found(&other).unwrap_err(), rusqlite::Error::QueryReturnedNoRows);
        drop(other);
        let file = open(&path).unwrap();
        let _timed = file.timed(&limits());
        let error = found(&file.sql).unwrap_err();
        assert_eq!(error.sqlite_error_code(), Some(ErrorCode::TooBig), "{error}");
    }

    #[test]
    fn a_schema_that_is_too_large_is_damage() {
        let columns: Vec<_> = (0..200).map(|column| format!("c{column}")).collect();
        let comment = "x".repeat(20_000);
        let tables: Vec<_> = (0..10_000).map(|table| format!("create table t{table} (a)")).collect();
        for more in [
            format!("create table more ({})", columns.join(", ")),
            format!("create table more (a /* {comment} */)"),
            tables.join(";"),
        ] {
            let (_directory, path, other) = made();
            other.execute_batch(&format!("begin; {more}; commit")).unwrap();
            let error = open(&path).unwrap_err();
            assert_eq!(error.kind(), StoreErrorKind::Damaged, "{}: {error}", &more[..40]);
        }
    }

    /// It could be as large as anybody likes.
    #[test]
    fn a_schema_that_changes_under_an_open_file_is_read_only_by_opening_it_again() {
        let (_directory, path, other) = made();
        let store = SqliteStore::open(&path, Duration::from_secs(5)).unwrap();
        let limits = limits();
        let read = || {
            let mut inner = store.inner(&limits).unwrap();
            let Inner { file, identity, .. } = &mut *inner;
            let file = store.ensure_open(file, *identity, &limits)?;
            let _timed = file.timed(&limits);
            file.sql.query_row("select count(*) from run", [], |row| row.get::<_, i64>(0)).map_err(translate)
        };
        assert_eq!(read().unwrap(), 0);
        other.execute_batch("vacuum").unwrap();
        let error = read().unwrap_err();
        assert_eq!(error.kind(), StoreErrorKind::Unreachable, "{error}");
        assert!(error.to_string().contains("changed the schema"), "{error}");
        assert_eq!(read().unwrap(), 0, "opened again");
        other.execute_batch("create table more (a)").unwrap();
        read().unwrap_err();
        assert_eq!(read().unwrap(), 0, "what it holds can still be committed");
        let error = open(&path).unwrap_err();
        assert!(error.to_string().contains("holds table more that flowlock did not make"), "{error}");
    }
}
