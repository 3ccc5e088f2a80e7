//! Checks that the store's file and its write-ahead journal belong together.
//!
//! `SQLite` plays any journal into any file. If an older copy of the file is put in its place while the
//! journal of the newer state is still beside it, the store becomes a mixture of both. So every
//! transaction is counted on the first page (`SQLite`'s own count does not rise while only one connection
//! writes), and the counts in the file and in the journal are compared:
//!
//! * `SQLite` starts a journal anew only when all of the previous one is in the file. So the file has
//!   reached the count just before the journal's first one.
//! * The file is not far ahead of its journal. The count of a store begins at random, so the file of
//!   another store is noticed too, unless its count happens to be near (1 in 128).
//!
//! The check comes before `SQLite` opens the file, and only if this process does not have the store open:
//! closing a descriptor of the file would drop its locks.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rusqlite::Connection;

use super::clear::clear_journals;
use super::failure::translate;
use super::format::{FRAME_HEADER, IN_USE, JOURNAL_HEADER, JOURNAL_MAGICS, PAGE, number};
use super::held_path::HeldPath;
use super::identity::unless_open;
use super::liveness::byte;
use super::schema::SCHEMA;
use super::side::SideFiles;
use super::writer_queue::WriterQueue;
use crate::store::{Limits, StoreError, StoreErrorKind};

/// Where the first page has the number that a program may set
/// (<https://sqlite.org/fileformat2.html#user_version_number>): the schema in its first bits, and the count
/// in the others.
const SAID: std::ops::Range<usize> = 60..64;
const COUNT_BITS: u32 = 28;
const COUNTS: u32 = 1 << COUNT_BITS;
/// The maximum number of frames that are read to find a first page. The first transaction begins with one.
const LOOKED_AT: u64 = 64;
/// How far a file can be ahead of the beginning of its journal, which has at most 16 GiB (`vfs/index.rs`);
/// a transaction changes at least two pages.
const LONGEST: u32 = 1 << 21;
/// Returns the number of a new file: the schema, and a random count.
pub(super) fn first_number() -> i32 {
    number_of(crate::world::random_u64() as u32)
}

/// Returns the schema in a file's number.
pub(super) fn schema_of(said: i32) -> i32 {
    said >> COUNT_BITS
}

fn number_of(count: u32) -> i32 {
    SCHEMA << COUNT_BITS | (count % COUNTS) as i32
}

/// Counts the open transaction.
pub(super) fn count_write(sql: &Connection) -> Result<(), StoreError> {
    let mut said = sql.prepare_cached("pragma user_version").map_err(translate)?;
    let said: i32 = said.query_row([], |row| row.get(0)).map_err(translate)?;
    let next = number_of((said as u32).wrapping_add(1));
    sql.execute_batch(&format!("pragma user_version = {next}")).map_err(translate)
}

/// Refuses a file that its journal does not belong to.
pub(super) fn refuse_another_journal(store: &HeldPath) -> Result<(), StoreError> {
    // SQLite reports files that cannot be read.
    let is_of_another = || matches!(unless_open(store, || fits(store)), Some(Ok(false)));
    // A count may be read while it is written.
    if !is_of_another() || !is_of_another() {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Replaced,
        format!(
            "{file} and its journal, {journal}, do not belong together: an older copy or another file was put in \
             place of the store, and SQLite would mix the two; if you put it there, stop everything that uses the \
             store and run `flowlock doctor --accept-restore`, which removes the journal; otherwise put back the file \
             that belongs to the journal",
            file = store.shown(),
            journal = store.beside("-wal").shown()
        ),
    ))
}

/// Removes the journal beside a file that it does not belong to; returns whether there was one. No process
/// may have the store open.
pub(super) fn accept_the_file(store: &HeldPath, limits: &Limits) -> Result<bool, StoreError> {
    let side = SideFiles::of(store)?;
    let mut writer_queue = WriterQueue::open(side.clone())?;
    let _turn = writer_queue.enter(limits)?;
    if !matches!(unless_open(store, || fits(store)), Some(Ok(false))) {
        return Ok(false);
    }
    let index = side.open("-shm")?;
    if !unless_open(store, || lock_alone(&index)).unwrap_or_default() {
        return Err(StoreError::new(
            StoreErrorKind::Unreachable,
            format!("{} is in use; stop everything that uses the store, then try again", store.shown()),
        ));
    }
    clear_journals(store)?;
    Ok(true)
}

/// Returns whether no process has the store open. While this descriptor is open, none can open it.
fn lock_alone(index: &File) -> bool {
    fcntl(index, FcntlArg::F_OFD_SETLK(&byte(IN_USE, libc::F_WRLCK))).is_ok()
}

/// Returns whether the file and its journal belong together, as far as the counts show. Reads the journal
/// first, because the count in the file only rises.
fn fits(store: &HeldPath) -> io::Result<bool> {
    let journal = open_own(&store.beside("-wal"))?;
    let Some(generation) = Generation::of(&journal)? else { return Ok(true) };
    let began = generation.first_count(&journal)?;
    let mut beginning = [0; SAID.end];
    store.open_to_read()?.read_exact_at(&mut beginning, 0)?;
    let has = number(&beginning[SAID]);
    let ahead = |count: u32| has.wrapping_sub(count) % COUNTS <= LONGEST;
    Ok(began.is_none_or(|first| ahead(first.wrapping_sub(1))))
}

/// Opens the journal to read it. One with a second name is not opened, and is refused elsewhere: it may be
/// a file of another store, which is open here.
fn open_own(place: &HeldPath) -> io::Result<File> {
    let meta = place.look()?;
    if meta.is_file() && meta.nlink() == 1 {
        place.open_to_read()
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// What was written to a journal since it was started anew.
#[derive(Debug)]
struct Generation {
    salts: [u8; 8],
    /// Reads a word as the checksums do.
    word: fn([u8; 4]) -> u32,
    sum: (u32, u32),
}

impl Generation {
    /// Reads the header; `None` if there is no complete one, or it is for another page size.
    fn of(journal: &File) -> io::Result<Option<Self>> {
        let mut header = [0; JOURNAL_HEADER];
        match journal.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let word = match number(&header) {
            magic if magic == JOURNAL_MAGICS[0] => u32::from_le_bytes,
            magic if magic == JOURNAL_MAGICS[1] => u32::from_be_bytes,
            _ => return Ok(None),
        };
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[16..24]);
        let sum = sum_up((0, 0), &header[..24], word);
        let is_whole = sum == (number(&header[24..]), number(&header[28..]));
        Ok((is_whole && number(&header[8..]) == PAGE as u32).then_some(Self { salts, word, sum }))
    }

    /// Returns the first count in the journal, if `SQLite` would play the frame that has it.
    fn first_count(&self, journal: &File) -> io::Result<Option<u32>> {
        let mut sum = self.sum;
        for at in 0..LOOKED_AT {
            let Some(frame) = self.frame(journal, at)? else { return Ok(None) };
            sum = sum_up(sum, &frame[..8], self.word);
            sum = sum_up(sum, &frame[FRAME_HEADER..], self.word);
            if sum != (number(&frame[16..]), number(&frame[20..])) {
                return Ok(None);
            }
            if is_first_page(&frame) {
                return Ok(Some(count_in(&frame)));
            }
        }
        Ok(None)
    }

    /// Reads a frame; `None` if it is of another generation.
    fn frame(&self, journal: &File, at: u64) -> io::Result<Option<[u8; FRAME_HEADER + PAGE]>> {
        let mut frame = [0; FRAME_HEADER + PAGE];
        let place = JOURNAL_HEADER as u64 + at * (FRAME_HEADER + PAGE) as u64;
        match journal.read_exact_at(&mut frame, place) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok((frame[8..16] == self.salts).then_some(frame))
    }
}

fn is_first_page(frame: &[u8]) -> bool {
    number(frame) == 1
}

fn count_in(frame: &[u8]) -> u32 {
    number(&frame[FRAME_HEADER + SAID.start..])
}

/// Continues a checksum of a journal (<https://sqlite.org/fileformat2.html#checksum_algorithm>).
fn sum_up(sum: (u32, u32), bytes: &[u8], word: fn([u8; 4]) -> u32) -> (u32, u32) {
    bytes.as_chunks::<4>().0.as_chunks::<2>().0.iter().fold(sum, |(one, two), [first, second]| {
        let one = one.wrapping_add(word(*first)).wrapping_add(two);
        (one, two.wrapping_add(word(*second)).wrapping_add(one))
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Duration;

    use super::super::file::OpenFile;
    use super::super::held_path::Missing;
    use super::*;

    fn limits() -> Limits {
        Limits::within(Duration::from_mins(1))
    }

    fn place(path: &Path) -> HeldPath {
        HeldPath::find(path, Missing::Refused).unwrap()
    }

    fn write(file: &mut OpenFile) {
        let some = "insert or replace into epoch (ns, epoch) values (99, hex(zeroblob(20000)))";
        file.write(|sql| sql.execute(some, []).map_err(translate)).unwrap();
    }

    /// Writes until the journal was begun anew.
    fn write_a_generation(path: &Path, file: &mut OpenFile) {
        let salts = || fs::read(place(path).beside("-wal").inside()).unwrap()[16..24].to_vec();
        write(file);
        let before = salts();
        while salts() == before {
            write(file);
        }
    }

    #[test]
    fn every_transaction_of_one_connection_counts() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.db");
        let mut file = OpenFile::open(&place(&path), &limits()).unwrap();
        let count = |file: &OpenFile| -> i32 {
            file.sql.query_row("pragma user_version", [], |row| row.get(0)).unwrap()
        };
        let first = count(&file);
        (0..5).for_each(|_| write(&mut file));
        assert_eq!((count(&file) - first).rem_euclid(COUNTS as i32), 5);
        assert_eq!(schema_of(first), SCHEMA);
        assert_eq!(schema_of(number_of(u32::MAX)), SCHEMA, "the count begins anew");
    }

    #[test]
    fn a_file_of_an_earlier_generation_is_refused_though_one_connection_alone_wrote() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.db");
        let mut file = OpenFile::open(&place(&path), &limits()).unwrap();
        write_a_generation(&path, &mut file);
        write(&mut file);
        let old = fs::read(&path).unwrap();
        write_a_generation(&path, &mut file);
        let newer = fs::read(&path).unwrap();
        drop(file);
        drop(OpenFile::open(&place(&path), &limits()).unwrap());
        fs::write(&path, &old).unwrap();
        let refused = OpenFile::open(&place(&path), &limits()).unwrap_err();
        assert_eq!(refused.kind(), StoreErrorKind::Replaced, "{refused}");
        fs::write(&path, &newer).unwrap();
        drop(OpenFile::open(&place(&path), &limits()).unwrap());
        fs::write(&path, &old).unwrap();
        assert!(accept_the_file(&place(&path), &limits()).unwrap());
        assert!(!accept_the_file(&place(&path), &limits()).unwrap());
        drop(OpenFile::open(&place(&path), &limits()).unwrap());
    }
}
