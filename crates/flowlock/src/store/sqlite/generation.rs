//! Whether the file and its write-ahead journal are of one time.
//!
//! `SQLite` plays any journal over any file. If an older copy of the file is put in its place while the journal of the newer
//! state still lies beside it, the store becomes a mixture of both. So every transaction is counted on the first page
//! (`SQLite`'s own count stays the same while one connection alone writes), and these counts must fit together:
//!
//! * `SQLite` begins the journal anew only when all of the journal before is in the file. So the file has at least the
//!   count just before the first one in this journal.
//! * The file is not far ahead of its journal. Stores begin to count at random, so that the file of another store is
//!   noticed too, unless it counts by chance where this one does (1 in 128).
//!
//! It is looked at before `SQLite` opens the file, and not if this process has the store open: to close a descriptor of the
//! file would drop its locks.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rusqlite::Connection;

use super::clear::clear_journals;
use super::failure::translate;
use super::held_path::HeldPath;
use super::identity::unless_open;
use super::schema::SCHEMA;
use super::side::SideFiles;
use super::writer_queue::WriterQueue;
use crate::store::{Limits, StoreError, StoreErrorKind};

/// The size of a page, of what stands before it in a journal, and of what a journal begins with (`SQLite`'s `wal.c`).
const PAGE: usize = 4_096;
const FRAME_HEADER: usize = 24;
const HEADER: usize = 32;
/// Where the first page has the number that a program may set (<https://sqlite.org/fileformat2.html#user_version_number>):
/// the schema in its first bits, and the count in the others.
const SAID: std::ops::Range<usize> = 60..64;
const COUNT_BITS: u32 = 28;
const COUNTS: u32 = 1 << COUNT_BITS;
/// How many frames of a journal are looked at to find a first page: the first transaction begins with it.
const LOOKED_AT: u64 = 64;
/// So far at most a file is ahead of the beginning of its journal: that has no more than 16 GiB (`vfs/index.rs`), and a
/// transaction changes two pages at least.
const LONGEST: u32 = 1 << 21;
/// The byte of the index that every process locks that has the store open (`UNIX_SHM_DMS` in `os_unix.c`).
const IN_USE: i64 = 128;

/// The number of a new file: the schema, and a count where hardly another store has its own.
pub(super) fn first_number() -> i32 {
    number_of(crate::world::random_u64() as u32)
}

/// The schema in a file's number.
pub(super) fn schema_of(said: i32) -> i32 {
    said >> COUNT_BITS
}

fn number_of(count: u32) -> i32 {
    SCHEMA << COUNT_BITS | (count % COUNTS) as i32
}

/// Counts a transaction, which must be the one that is open.
pub(super) fn count_write(sql: &Connection) -> Result<(), StoreError> {
    let mut said = sql.prepare_cached("pragma user_version").map_err(translate)?;
    let said: i32 = said.query_row([], |row| row.get(0)).map_err(translate)?;
    let next = number_of((said as u32).wrapping_add(1));
    sql.execute_batch(&format!("pragma user_version = {next}")).map_err(translate)
}

/// Refuses a file whose journal is of another time.
pub(super) fn refuse_another_time(store: &HeldPath) -> Result<(), StoreError> {
    // What cannot be read SQLite cannot read either, and says so.
    let is_of_another = || unless_open(store, || fits(store)).is_some_and(|fits| matches!(fits, Ok(false)));
    // A count may be read while it is written.
    if !is_of_another() || !is_of_another() {
        return Ok(());
    }
    Err(StoreError::new(
        StoreErrorKind::Replaced,
        format!(
            "{file} and its journal, {journal}, are not of one time: an older copy or another file was put in the place of \
             the store, and SQLite would mix the two; if you put it there, end all that uses the store and let `flowlock \
             doctor --accept-restore` remove the journal; else put the file back that belongs to it",
            file = store.shown(),
            journal = store.beside("-wal").shown()
        ),
    ))
}

/// Removes the journal of a file that is of another time, which nobody may have open; whether there was one.
pub(super) fn accept_the_file(store: &HeldPath, limits: &Limits) -> Result<bool, StoreError> {
    let side = SideFiles::of(store)?;
    let mut writer_queue = WriterQueue::open(side.clone())?;
    let _turn = writer_queue.enter(limits)?;
    if unless_open(store, || fits(store)).is_none_or(|fits| fits.unwrap_or(true)) {
        return Ok(false);
    }
    let index = side.open("-shm")?;
    if !unless_open(store, || lock_alone(&index)).unwrap_or_default() {
        return Err(StoreError::new(
            StoreErrorKind::Unreachable,
            format!("{} is in use; end all that uses the store, then accept it", store.shown()),
        ));
    }
    clear_journals(store)?;
    Ok(true)
}

/// Whether nobody has the store open, nor opens it while this descriptor is open.
fn lock_alone(index: &File) -> bool {
    let lock = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: IN_USE,
        l_len: 1,
        l_pid: 0,
    };
    fcntl(index, FcntlArg::F_OFD_SETLK(&lock)).is_ok()
}

/// Whether the file and its journal fit together, as far as can be told. The journal is looked at first: the file only
/// comes to have more.
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

/// Opens a file beside the store to read it. One with a second name is refused elsewhere, and not opened: it may be a file of
/// another store, which is open here.
fn open_own(place: &HeldPath) -> io::Result<File> {
    let meta = place.look()?;
    if meta.is_file() && meta.nlink() == 1 {
        place.open_to_read()
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

/// One generation of a journal: what was written since it was begun anew.
#[derive(Debug)]
struct Generation {
    salts: [u8; 8],
    /// The order of bytes in which checksums read the words.
    word: fn([u8; 4]) -> u32,
    sum: (u32, u32),
}

impl Generation {
    /// Of a journal that has our page size; none if it has no beginning yet.
    fn of(journal: &File) -> io::Result<Option<Self>> {
        let mut header = [0; HEADER];
        match journal.read_exact_at(&mut header, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        let word = match number(&header) {
            0x377f_0682 => u32::from_le_bytes,
            0x377f_0683 => u32::from_be_bytes,
            _ => return Ok(None),
        };
        let mut salts = [0; 8];
        salts.copy_from_slice(&header[16..24]);
        let sum = sum_up((0, 0), &header[..24], word);
        let is_whole = sum == (number(&header[24..]), number(&header[28..]));
        Ok((is_whole && number(&header[8..]) == PAGE as u32).then_some(Self { salts, word, sum }))
    }

    /// The count on the first page when it is first in the journal, as far as `SQLite` would play it.
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

    /// A frame, if it is of this generation.
    fn frame(&self, journal: &File, at: u64) -> io::Result<Option<[u8; FRAME_HEADER + PAGE]>> {
        let mut frame = [0; FRAME_HEADER + PAGE];
        let place = HEADER as u64 + at * (FRAME_HEADER + PAGE) as u64;
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

/// A number as `SQLite` writes it into files.
fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| (number << 8) | u32::from(*byte))
}

/// The checksum of a journal (<https://sqlite.org/fileformat2.html#checksum_algorithm>).
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
