//! The open file: a connection, the files it was opened with, and how its content reaches the disk.

use std::fs::{File, Metadata};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use rusqlite::{Connection, TransactionBehavior};

use super::clock::{Clock, Timed};
use super::failure::{not_synced, translate, translate_commit};
use super::generation;
use super::held_path::HeldPath;
use super::identity::{Counted, Identity};
use super::open::{self, Objects};
use crate::store::{Limits, StoreError};

#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) sql: Connection,
    /// Dropped after the connection.
    _counted: Counted,
    clock: Clock,
    /// `SQLite`'s own files beside it, as they were when it was opened: they have its locks and its
    /// newest content.
    beside: [Option<Identity>; 2],
    /// The size of the journal's index then: `SQLite` has mapped that much into memory.
    index_bytes: u64,
    /// The write-ahead journal and its inode, opened at the first sync. `SQLite` holds no locks on it,
    /// so closing this descriptor drops none.
    journal: Option<(u64, File)>,
}

/// What happened to `SQLite`'s own files beside the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// They are those that it was opened with.
    Whole,
    /// The journal's index was truncated. To touch the missing part would kill the process (`SIGBUS`);
    /// opening the store again rebuilds the index from the journal.
    Cut,
    /// There are other files in their place.
    Replaced,
}

impl OpenFile {
    pub(super) fn open(store: &HeldPath, limits: &Limits) -> Result<Self, StoreError> {
        Self::open_with(store, limits, Objects::Judged)
    }

    pub(super) fn open_with(store: &HeldPath, limits: &Limits, objects: Objects) -> Result<Self, StoreError> {
        let clock = Clock::default();
        let _timed = clock.start(limits);
        let (sql, counted) = open::open(store, limits, &clock, objects)?;
        open::tune(&sql)?;
        let (beside, index_bytes) = beside(store);
        Ok(Self { sql, _counted: counted, clock, beside, index_bytes, journal: None })
    }

    /// Limits a transaction's time until the returned value is dropped.
    pub(super) fn timed(&self, limits: &Limits) -> Timed {
        self.clock.start(limits)
    }

    /// Returns whether another program changed the schema since the file was opened.
    pub(super) fn has_another_schema(&self) -> bool {
        self.clock.schema().has_changed()
    }

    /// Looks at `SQLite`'s own files that the store was opened with.
    pub(super) fn look_beside(&mut self, store: &HeldPath) -> Beside {
        let (files, index_bytes) = beside(store);
        if files != self.beside {
            return Beside::Replaced;
        }
        if index_bytes < self.index_bytes {
            return Beside::Cut;
        }
        self.index_bytes = index_bytes;
        Beside::Whole
    }

    /// Carries out one transaction. Call it only with the turn to write.
    pub(super) fn write<T>(
        &mut self,
        body: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let transaction =
            self.sql.transaction_with_behavior(TransactionBehavior::Immediate).map_err(translate)?;
        generation::count_write(&transaction)?;
        let result = body(&transaction)?;
        transaction.commit().map_err(translate_commit)?;
        Ok(result)
    }

    /// Brings everything written so far to the disk. SQLite itself syncs only at checkpoints
    /// (`synchronous = normal`): the journal before it moves pages, and the file afterwards.
    pub(super) fn sync(&mut self, store: &HeldPath) -> Result<(), StoreError> {
        let wal = store.beside("-wal");
        self.journal(&wal).and_then(File::sync_data).map_err(|error| not_synced(wal.path(), error))
    }

    /// Writes the journal again, as it is, and syncs it. After a sync failed, Linux treats the pages
    /// that it could not write as written, and another sync reports success. Call it only with the turn
    /// to write.
    pub(super) fn write_anew(&mut self, store: &HeldPath) -> Result<(), StoreError> {
        let wal = store.beside("-wal");
        let written = self.journal(&wal).and_then(rewrite).and_then(|()| wal.sync_directory());
        written.map_err(|error| not_synced(wal.path(), error))
    }

    /// Returns the journal, opened; the name of a new one is on disk.
    fn journal(&mut self, wal: &HeldPath) -> std::io::Result<&File> {
        let inode = wal.look()?.ino();
        let known = self.journal.take().filter(|(known, _)| *known == inode);
        let journal = if let Some(known) = known {
            known
        } else {
            let journal = wal.open()?;
            let inode = journal.metadata()?.ino();
            wal.sync_directory()?;
            (inode, journal)
        };
        Ok(&self.journal.insert(journal).1)
    }
}

fn rewrite(journal: &File) -> std::io::Result<()> {
    let (mut piece, mut at) = (vec![0; PIECE], 0);
    loop {
        let read = journal.read_at(&mut piece, at)?;
        if read == 0 {
            return journal.sync_all();
        }
        journal.write_all_at(&piece[..read], at)?;
        at += read as u64;
    }
}

/// How much of the journal is written again at a time.
const PIECE: usize = 256 * 1024;

/// Returns `SQLite`'s own files beside the store, as they are now, and the size of the journal's index.
fn beside(store: &HeldPath) -> ([Option<Identity>; 2], u64) {
    let [journal, index] = ["-wal", "-shm"].map(|suffix| store.beside(suffix).look().ok());
    let index_bytes = index.as_ref().map_or(0, Metadata::len);
    ([journal, index].map(|meta| meta.as_ref().map(Identity::from)), index_bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::SqliteStore;
    use super::*;

    /// Once a reader that hung has ended, the space that the journal took because of it is given back.
    #[test]
    fn a_journal_that_grew_under_a_reader_is_cut_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flowlock.db");
        let store = SqliteStore::open(&path, Duration::from_secs(5)).unwrap();
        let limits = Limits::within(Duration::from_mins(1));
        let mut inner = store.inner(&limits).unwrap();
        let reader = OpenFile::open(&store.place, &limits).unwrap();
        let file = inner.file.as_mut().unwrap();
        let mut write = |times: usize| {
            for _ in 0..times {
                // Some 30 pages in one transaction, which the next ones overwrite.
                let large = "insert or replace into epoch (ns, epoch) values (99, hex(zeroblob(60000)))";
                file.write(|sql| sql.execute(large, []).map_err(translate)).unwrap();
            }
            std::fs::metadata(directory.path().join("flowlock.db-wal")).unwrap().len()
        };
        reader.sql.execute_batch("begin; select * from namespace").unwrap();
        let grown = write(60);
        assert!(grown > 6 << 20, "the reader let it grow to {grown} bytes");
        drop(reader);
        let left = write(20);
        assert!(left <= 4 << 20, "it has {left} bytes");
    }
}
