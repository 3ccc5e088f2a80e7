//! What may be removed or overwritten because of its name beside a store.
//!
//! A cloned project may name its store, and so choose which files these are. So nothing is removed or
//! used that may be anything but what flowlock or `SQLite` leaves there. A file in the way stays, and
//! the error names it.

use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use super::failure::{at_path, unusable};
use super::format::JOURNAL_MAGICS;
use super::held_path::HeldPath;
use super::identity::unless_open;
use super::liveness::FILE_NUMBERS;
use super::schema::APPLICATION_ID;
use super::side::SideFiles;
use crate::store::StoreError;

/// Returns whether a file beside a store, or the store itself, has what flowlock or `SQLite` writes into
/// it, or is empty.
pub(super) fn is_of_a_store(suffix: &str, file: &File) -> io::Result<bool> {
    match suffix {
        "" => begins(file, begins_a_store),
        "-live" => is_one(file, begins_a_number),
        "-wal" => is_one(file, begins_a_wal),
        "-shm" => is_one(file, begins_an_index),
        _ => is_one(file, |_, length| length == 0),
    }
}

/// Returns the application id of an `SQLite` file; `None` if it is not an `SQLite` file.
pub(super) fn application_id(file: &File) -> io::Result<Option<i32>> {
    let mut beginning = [0; STORE_ID.end];
    match file.read_exact_at(&mut beginning, 0) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let [.., a, b, c, d] = beginning;
    Ok(beginning.starts_with(SQLITE).then(|| i32::from_be_bytes([a, b, c, d])))
}

/// Returns whether bytes are the beginning of a file of some kind and length.
type Begins = fn(&[u8], u64) -> bool;

/// `SQLite`'s suffixes for its files beside a store, and how to recognise such files.
const KINDS: [(&str, Begins); 3] =
    [("-journal", begins_a_journal), ("-wal", begins_a_wal), ("-shm", begins_an_index)];
/// A unit of the index. A file of only zero bytes is no loss up to this size.
const INDEX_UNIT: u64 = 32 << 10;
/// The version that the index begins with, `WALINDEX_MAX_VERSION` in `SQLite`'s `wal.c`.
const INDEX_VERSION: u32 = 3_007_000;

/// How much of a file shows its kind.
const MAGIC_BYTES: usize = 4;
/// The first bytes of every `SQLite` file.
const SQLITE: &[u8] = b"SQLite format 3\0";
/// Where a store's file has the application id in its header.
const STORE_ID: std::ops::Range<usize> = 68..72;

/// Returns whether a draft was made by flowlock, and is not some other file with such a name.
/// `made_of_it` is what follows the name of the draft.
pub(super) fn is_leftover(draft: &HeldPath, made_of_it: &str) -> bool {
    let Ok(meta) = draft.look() else { return false };
    if meta.is_dir() {
        // Only an empty directory can be removed.
        return made_of_it.is_empty();
    }
    let begins =
        KINDS.iter().find(|(suffix, _)| *suffix == made_of_it).map_or(begins_a_store as Begins, |(_, b)| *b);
    meta.is_file()
        && meta.nlink() == 1
        && draft.open_to_read().and_then(|file| is_one(&file, begins)).unwrap_or(false)
}

/// Refuses a write-ahead journal or its index beside an existing store, unless they may be `SQLite`'s;
/// they may be truncated or full of zeros. Not if this process has the store open, because then it has
/// checked that.
pub(super) fn refuse_others_journals(store: &HeldPath, side: &SideFiles) -> Result<(), StoreError> {
    let journal = JOURNAL_MAGICS.map(u32::to_be_bytes);
    let index = [INDEX_VERSION.to_ne_bytes()];
    for (suffix, beginnings) in [("-wal", &journal[..]), ("-shm", &index[..])] {
        let place = store.beside(suffix);
        // A file with a second name is refused for that, and not opened: it may be a file of another
        // store that is open here.
        let is_passed_over = |meta: &Metadata| side.is_shared_with_the_store(meta) || meta.nlink() > 1;
        if place.look().is_ok_and(|meta| is_passed_over(&meta)) {
            continue;
        }
        let look = || place.open_to_read().and_then(|file| may_begin(file, beginnings));
        // `SQLite` cannot write what this user may not read, and reports that; what is not a file is
        // refused for that.
        if matches!(unless_open(store, look), Some(Ok(false))) {
            return Err(is_in_the_way(&place));
        }
    }
    Ok(())
}

/// Returns whether a file begins in one of these ways, as far as it reaches, or with zeros: an index is
/// written from its end.
fn may_begin(file: File, beginnings: &[[u8; MAGIC_BYTES]]) -> io::Result<bool> {
    let mut found = Vec::new();
    file.take(MAGIC_BYTES as u64).read_to_end(&mut found)?;
    Ok(beginnings.iter().chain([&[0; MAGIC_BYTES]]).any(|beginning| beginning.starts_with(&found)))
}

/// Removes the journals of a store that does not exist any more; removes nothing if one of them may be
/// another's file.
pub(super) fn clear_journals(store: &HeldPath) -> Result<(), StoreError> {
    let left = KINDS.map(|(suffix, begins)| (store.beside(suffix), begins));
    for (place, begins) in &left {
        judge(place, *begins)?;
    }
    left.iter().try_for_each(|(place, _)| place.remove())
}

fn judge(place: &HeldPath, begins: Begins) -> Result<(), StoreError> {
    let is_left_behind = match place.look() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A device is not even opened.
        found => found.and_then(|meta| {
            Ok(meta.is_file() && meta.nlink() == 1 && is_one(&place.open_to_read()?, begins)?)
        }),
    };
    match is_left_behind {
        Ok(true) => Ok(()),
        Ok(false) => Err(is_in_the_way(place)),
        Err(error) => Err(at_path("look at", place.path(), error)),
    }
}

fn is_in_the_way(place: &HeldPath) -> StoreError {
    unusable(format!(
        "{} is in the way of the store, and flowlock does not touch it, because it is not what SQLite leaves under this name; move it away, or name another store",
        place.shown()
    ))
}

fn is_one(file: &File, begins_as: Begins) -> io::Result<bool> {
    let is_blank: Begins = |bytes, length| length <= INDEX_UNIT && bytes.iter().all(|byte| *byte == 0);
    Ok(begins(file, is_blank)? || begins(file, begins_as)?)
}

fn begins(file: &File, begins_as: Begins) -> io::Result<bool> {
    let mut beginning = vec![0; INDEX_UNIT as usize];
    let read = file.read_at(&mut beginning, 0)?;
    Ok(begins_as(&beginning[..read], file.metadata()?.len()))
}

/// The format that `liveness.rs` writes.
fn begins_a_number(bytes: &[u8], _: u64) -> bool {
    bytes.try_into().is_ok_and(|bytes| u64::from_be_bytes(bytes) < FILE_NUMBERS)
}

fn begins_a_journal(bytes: &[u8], _: u64) -> bool {
    bytes.starts_with(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7])
}

fn begins_a_wal(bytes: &[u8], _: u64) -> bool {
    JOURNAL_MAGICS.iter().any(|magic| bytes.starts_with(&magic.to_be_bytes()))
}

fn begins_a_store(bytes: &[u8], _: u64) -> bool {
    bytes.starts_with(SQLITE) && bytes.get(STORE_ID) == Some(&APPLICATION_ID.to_be_bytes()[..])
}

fn begins_an_index(bytes: &[u8], length: u64) -> bool {
    length.is_multiple_of(INDEX_UNIT) && bytes.starts_with(&INDEX_VERSION.to_ne_bytes())
}
