//! Clears away what `SQLite` left of a store that was removed.
//!
//! A cloned project may name its store, and so which files these are. So nothing is removed that may be anything but
//! a journal: what is in the way stays, and is named.

use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;

use super::failure::at_path;
use super::place::Place;
use super::side::unusable;
use crate::store::StoreError;

/// Whether bytes are the beginning of a file of some kind and length.
type Begins = fn(&[u8], u64) -> bool;

/// How `SQLite` calls its files beside a store, and how they are recognised.
const KINDS: [(&str, Begins); 3] =
    [("-journal", begins_a_journal), ("-wal", begins_a_wal), ("-shm", begins_an_index)];
/// The index grows by so many bytes. A file without any content is no loss up to this size.
const INDEX_UNIT: u64 = 32 << 10;
/// The version that the index begins with, `WALINDEX_MAX_VERSION` in `SQLite`'s `wal.c`.
const INDEX_VERSION: u32 = 3_007_000;

/// Removes the journals of a store that is not there any more; nothing at all if one of them may be another's file.
pub(super) fn clear_journals(store: &Place) -> Result<(), StoreError> {
    let left = KINDS.map(|(suffix, begins)| (store.beside(suffix), begins));
    for (place, begins) in &left {
        judge(place, *begins)?;
    }
    left.iter().try_for_each(|(place, _)| place.remove())
}

fn judge(place: &Place, begins: Begins) -> Result<(), StoreError> {
    let is_left_behind = match place.look() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // A device is not even opened.
        found => found.and_then(|meta| Ok(meta.is_file() && meta.nlink() == 1 && is_one(place, begins)?)),
    };
    match is_left_behind {
        Ok(true) => Ok(()),
        Ok(false) => Err(unusable(format!(
            "{} is in the way of a new store, and is left alone, since it is not what SQLite leaves under this name; move it away, or name another store",
            place.shown()
        ))),
        Err(error) => Err(at_path("look at", place.path(), error)),
    }
}

fn is_one(place: &Place, begins: Begins) -> io::Result<bool> {
    let file = place.open_to_read()?;
    let length = file.metadata()?.len();
    let mut beginning = Vec::new();
    file.take(INDEX_UNIT).read_to_end(&mut beginning)?;
    let is_blank = length <= INDEX_UNIT && beginning.iter().all(|byte| *byte == 0);
    Ok(is_blank || begins(&beginning, length))
}

fn begins_a_journal(bytes: &[u8], _: u64) -> bool {
    bytes.starts_with(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7])
}

fn begins_a_wal(bytes: &[u8], _: u64) -> bool {
    [0x377f_0682_u32, 0x377f_0683].iter().any(|magic| bytes.starts_with(&magic.to_be_bytes()))
}

fn begins_an_index(bytes: &[u8], length: u64) -> bool {
    length.is_multiple_of(INDEX_UNIT) && bytes.starts_with(&INDEX_VERSION.to_ne_bytes())
}
