//! A step, or a read, as one transaction: which file is used for it, the turn to write, and what is
//! synced.

use std::sync::atomic::Ordering;
use std::time::Instant;

use rusqlite::TransactionBehavior;

use super::alone::Inside;
use super::failure::translate;
use super::file::{Beside, OpenFile};
use super::held_path::HeldPath;
use super::identity::Identity;
use super::lockers::{self, naming_the_locker};
use super::open::Objects;
use super::rows::Rows;
use super::writer_queue::{self, WriterQueue};
use super::{SqliteStore, namespace};
use crate::engine::{self, Effect};
use crate::name::Namespace;
use crate::step::Step;
use crate::store::{Limits, Page, StoreError, StoreErrorKind, View, Watermark};
use crate::world::later;

/// What one thread of the process uses at a time.
#[derive(Debug)]
pub(super) struct Inner {
    pub(super) writer_queue: WriterQueue,
    pub(super) file: Option<OpenFile>,
    /// The file that was opened first: it must stay in its place.
    pub(super) identity: Identity,
    /// Whether a sync failed: the data must be written again, because the kernel may have dropped it.
    pub(super) owes_sync: bool,
}

impl SqliteStore {
    /// Returns the connection. Waits for other threads of this process as long as for other processes.
    pub(super) fn inner(&self, limits: &Limits) -> Result<Inside<'_, Inner>, StoreError> {
        if std::process::id() != self.pid {
            let message = format!(
                "the store was opened by process {}, before a fork; open it again in this process",
                self.pid
            );
            return Err(StoreError::new(StoreErrorKind::Unusable, message));
        }
        self.is_not_abandoned()?;
        let begun = Instant::now();
        if let Some(inside) = self.inner.enter(limits) {
            return Ok(inside);
        }
        self.is_not_abandoned()?;
        limits.check()?;
        Err(writer_queue::busy(&self.place.beside("-lock"), begun.elapsed()))
    }

    pub(super) fn naming_the_locker(&self, error: StoreError, caller: Option<&Limits>) -> StoreError {
        naming_the_locker(&self.place, error, &lockers::search(self.patience, caller))
    }

    fn is_not_abandoned(&self) -> Result<(), StoreError> {
        if !self.abandoned.load(Ordering::Acquire) {
            return Ok(());
        }
        let message = format!(
            "the journal's index beside {} was truncated while this process used it; nothing more can be recorded",
            self.place.shown()
        );
        Err(StoreError::new(StoreErrorKind::Damaged, message))
    }

    /// Opens the file again after an error, and returns it; refuses a file that was replaced.
    pub(super) fn ensure_open<'f>(
        &self,
        file: &'f mut Option<OpenFile>,
        identity: Identity,
        limits: &Limits,
    ) -> Result<&'f mut OpenFile, StoreError> {
        let gone = |what: &HeldPath| {
            let path = what.shown();
            let message = format!(
                "{path} was removed or replaced by another file while it was open; start again to use what is there now"
            );
            StoreError::new(StoreErrorKind::Replaced, message)
        };
        if Identity::of(self.path()).ok() != Some(identity) {
            *file = None;
            return Err(gone(&self.place));
        }
        let has_another_schema = file.as_ref().is_some_and(OpenFile::has_another_schema);
        let objects = if has_another_schema { Objects::Ignored } else { Objects::Judged };
        if has_another_schema
            || file.as_mut().is_some_and(|file| file.look_beside(&self.place) == Beside::Cut)
        {
            *file = None;
        }
        let file = match file {
            Some(file) => file,
            None => file.insert(OpenFile::open_with(&self.place, limits, objects)?),
        };
        match file.look_beside(&self.place) {
            Beside::Whole => Ok(file),
            Beside::Replaced => Err(gone(&self.place.beside("-wal"))),
            Beside::Cut => {
                let message = "the index of the store's journal is truncated again and again; see who may write the store";
                Err(StoreError::new(StoreErrorKind::Unreachable, message))
            }
        }
    }

    pub(super) fn transact(
        &self,
        inner: &mut Inner,
        namespace: &Namespace,
        step: &Step,
        limits: &Limits,
    ) -> Result<Effect, StoreError> {
        let Inner { writer_queue, file, identity, owes_sync } = inner;
        let turn = writer_queue.enter(limits)?;
        limits.is_still_wanted()?;
        let file = self.ensure_open(file, *identity, limits)?;
        let _timed = file.timed(limits);
        let (effect, epoch) = file.write(|sql| {
            let (ns, epoch) = namespace::enter(sql, namespace)?;
            let effect = engine::step(&mut Rows::new(sql, ns), self.world.as_ref(), step)?;
            self.watermarks.check(namespace, Some(epoch), effect.sequence - 1)?;
            Ok((effect, epoch))
        })?;
        let reached = Watermark { epoch, sequence: effect.sequence };
        self.watermarks.note_seen(namespace, reached);
        // Without the turn: others may write while this waits for the disk, and one sync serves them
        // all.
        drop(turn);
        if effect.must_sync {
            let owed = std::mem::replace(owes_sync, true);
            if owed || file.sync(&self.place).is_err() {
                let _turn = writer_queue.enter(limits).map_err(StoreError::into_unknown)?;
                file.write_anew(&self.place)?;
            }
            *owes_sync = false;
            self.watermarks.note_durable(namespace, reached);
        }
        if let Some(ceiling) = effect.unsafe_ceiling {
            // If this fails, it costs the next process a sync, no more.
            let _ = confirm_ceiling(writer_queue, file, limits, (namespace, ceiling));
        }
        Ok(effect)
    }

    pub(super) fn look(
        &self,
        namespace: &Namespace,
        view: &View,
        limits: &Limits,
    ) -> Result<Page, StoreError> {
        let limits = limits.clone().no_later_than(later(Instant::now(), self.patience));
        let mut inner = self.inner(&limits)?;
        let Inner { file, identity, .. } = &mut *inner;
        let file = self.ensure_open(file, *identity, &limits)?;
        let _timed = file.timed(&limits);
        let transaction =
            file.sql.transaction_with_behavior(TransactionBehavior::Deferred).map_err(translate)?;
        let found = namespace::find(&transaction, namespace)?;
        let ns = found.map_or(-1, |found| found.ns);
        let page = engine::view::view(&mut Rows::new(&transaction, ns), self.world.as_ref(), view)?;
        let epoch = found.and_then(|found| found.epoch);
        self.watermarks.check(namespace, epoch, page.sequence)?;
        if let Some(epoch) = epoch {
            self.watermarks.note_seen(namespace, Watermark { epoch, sequence: page.sequence });
        }
        Ok(page)
    }
}

/// Notes that a token ceiling is on disk, so that no other process need sync for it.
fn confirm_ceiling(
    writer_queue: &mut WriterQueue,
    file: &mut OpenFile,
    limits: &Limits,
    (namespace, ceiling): (&Namespace, u64),
) -> Result<usize, StoreError> {
    let _turn = writer_queue.enter(limits)?;
    file.write(|sql| {
        let confirm =
            "update namespace set safe_ceiling = token_ceiling where name = ?1 and token_ceiling = ?2";
        sql.execute(confirm, (namespace.as_str(), ceiling as i64)).map_err(translate)
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Another process may have raised the ceiling since, and not have synced that yet.
    #[test]
    fn only_the_ceiling_that_was_synced_is_confirmed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("flowlock.db");
        let store = SqliteStore::open(&path, Duration::from_secs(5)).unwrap();
        let namespace = Namespace::default();
        let limits = Limits::within(Duration::from_secs(5));
        let mut inner = store.inner(&limits).unwrap();
        let Inner { writer_queue, file, .. } = &mut *inner;
        let file = file.as_mut().unwrap();
        file.write(|sql| {
            namespace::enter(sql, &namespace)?;
            sql.execute("update namespace set token_ceiling = 7, safe_ceiling = 3", []).map_err(translate)
        })
        .unwrap();
        let mut confirmed = |ceiling| {
            confirm_ceiling(writer_queue, file, &limits, (&namespace, ceiling)).unwrap();
            let safe = "select safe_ceiling from namespace";
            file.sql.query_row(safe, [], |row| row.get::<_, i64>(0)).unwrap()
        };
        assert_eq!((confirmed(5), confirmed(9), confirmed(7)), (3, 3, 7));
    }
}
