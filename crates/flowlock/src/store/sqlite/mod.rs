//! The embedded store: one `SQLite` file, many processes, one host, no daemon.
//!
//! A step is one write transaction, entered through the writers' queue (`writer_queue.rs`). Lock traffic is not
//! synced to disk, because a reboot voids every grant anyway; records are, before they are acknowledged.
//! Beside the file lie `-lock` (the queue), `-live` (liveness locks) and `-wake/` (inboxes).

mod alone;
mod clear;
mod clock;
mod create;
mod examine;
mod failure;
mod file;
mod held_path;
mod identity;
mod liveness;
mod lockers;
mod namespace;
mod open;
mod rows;
mod schema;
mod shared;
mod side;
mod sleep;
mod vfs;
mod wake;
mod writer_queue;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rusqlite::TransactionBehavior;

use self::alone::{Alone, Inside};
use self::failure::{at_path, translate};
use self::file::{Beside, OpenFile};
use self::held_path::{HeldPath, Missing};
use self::identity::Identity;
use self::liveness::LivenessLocks;
use self::lockers::naming_the_locker;
use self::rows::Rows;
use self::side::SideFiles;
use self::wake::Inboxes;
use self::writer_queue::{Key, WriterQueue};
use super::{
    Finding, Inbox, Limits, LivenessLock, Loss, Page, Reach, Store, StoreError, StoreErrorKind, View,
    Watermark, Watermarks,
};
use crate::bounds::Bounds;
use crate::engine::{self, Effect};
use crate::host_clock::HostClock;
use crate::id::ClientId;
use crate::name::Namespace;
use crate::step::{Answer, Step};
use crate::world::{LivenessId, Now, World, later};

/// The embedded store.
///
/// Only flowlock may open the file: a second copy of `SQLite` in one process (Python's `sqlite3`, for
/// example) would drop this one's locks when it closes it.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use flowlock::{Flowlock, store::sqlite::SqliteStore};
///
/// let directory = tempfile::tempdir().unwrap();
/// let store = SqliteStore::open(&directory.path().join("flowlock.db"), Duration::from_secs(2))?;
/// let flowlock = Flowlock::with_store(Arc::new(store));
/// flowlock.job("import").output("sales").acquire()?.commit()?;
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug)]
pub struct SqliteStore {
    place: HeldPath,
    patience: Duration,
    lives: Arc<LivenessLocks>,
    inboxes: Inboxes,
    world: Box<dyn World>,
    inner: Alone<Inner>,
    /// How far each namespace had come: a store never goes back.
    watermarks: Watermarks,
    /// Gives back the turn of a thread that stands still for ever.
    key: Key,
    /// Some thread does.
    abandoned: AtomicBool,
    /// The process that opened it: neither `SQLite` nor the locks survive a fork.
    pid: u32,
}

#[derive(Debug)]
struct Inner {
    writer_queue: WriterQueue,
    file: Option<OpenFile>,
    /// What was opened first: it must stay where it is.
    identity: Identity,
    /// A sync failed: what it was for must be written anew, for the kernel may have let go of it.
    owes_sync: bool,
}

impl SqliteStore {
    /// Opens the store at `path`, and makes it first if there is no file; its directory must exist.
    /// `patience` is how long one step may wait for its turn to write.
    pub fn open(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        let boot_id = crate::world::system_boot_id().map_err(|error| {
            at_path("read the boot id from", Path::new("/proc/sys/kernel/random/boot_id"), error)
        })?;
        let clock = HostClock::of_this_process().map_err(shifted)?;
        Self::open_in(path, patience, |lives| Box::new(Machine { boot_id, clock, lives }))
    }

    /// Opens the store in another world, for tests: its time and its processes are those of `world`.
    pub fn open_with_world(
        path: &Path,
        patience: Duration,
        world: Arc<dyn World>,
    ) -> Result<Self, StoreError> {
        Self::open_in(path, patience, |_| Box::new(Borrowed(world)))
    }

    fn open_in(
        path: &Path,
        patience: Duration,
        world: impl FnOnce(Arc<LivenessLocks>) -> Box<dyn World>,
    ) -> Result<Self, StoreError> {
        let place = HeldPath::find(path, Missing::Refused)?;
        Self::open_at(place, patience, world)
    }

    fn open_at(
        place: HeldPath,
        patience: Duration,
        world: impl FnOnce(Arc<LivenessLocks>) -> Box<dyn World>,
    ) -> Result<Self, StoreError> {
        let file = OpenFile::open(&place, &Limits::within(patience))
            .map_err(|error| naming_the_locker(&place, error, &lockers::search(patience, None)))?;
        let identity = Identity::of(place.inside())?;
        let side = SideFiles::of(&place)?;
        let lives = Arc::new(LivenessLocks::open(side.clone(), patience)?);
        let writer_queue = WriterQueue::open(side.clone())?;
        let (file, key) = (Some(file), writer_queue.key());
        Ok(Self {
            key,
            abandoned: AtomicBool::default(),
            inboxes: Inboxes::new(side),
            world: world(lives.clone()),
            inner: Alone::new(Inner { writer_queue, file, identity, owes_sync: false }),
            watermarks: Watermarks::default(),
            pid: std::process::id(),
            place,
            patience,
            lives,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// The liveness file beside it.
    pub fn live_path(&self) -> &Path {
        self.lives.path()
    }

    /// Makes the store at `path` one that all members of the group with this number share: the directory, the store,
    /// and every file beside it. They belong to this user, who should be root; members can write them, and can
    /// neither remove nor replace them.
    pub fn make_shared(path: &Path, group: u32, patience: Duration) -> Result<(), StoreError> {
        shared::make_shared(path, group, patience)
    }

    /// Files beside the store at `path` of processes that died while they made it or a file beside it.
    pub fn leftovers(path: &Path) -> Vec<PathBuf> {
        let store = HeldPath::find(path, Missing::Refused);
        let left = store.map(|store| create::leftovers(&store)).unwrap_or_default();
        left.iter().map(|place| place.path().to_owned()).collect()
    }

    /// Reads every page and checks that tables and indexes agree; the problems found, none if all is well.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        self.check_within(&Limits::within(self.patience))
    }

    /// The connection; other threads of this process may use it for as long as other processes may write.
    fn inner(&self, limits: &Limits) -> Result<Inside<'_, Inner>, StoreError> {
        if std::process::id() != self.pid {
            let message = format!(
                "the store was opened by process {}, before a fork; open it anew in this process",
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

    fn naming_the_locker(&self, error: StoreError, caller: Option<&Limits>) -> StoreError {
        naming_the_locker(&self.place, error, &lockers::search(self.patience, caller))
    }

    fn is_not_abandoned(&self) -> Result<(), StoreError> {
        if !self.abandoned.load(Ordering::Acquire) {
            return Ok(());
        }
        let message = format!(
            "the journal's index beside {} was cut off while this process used it; nothing more can be recorded",
            self.place.shown()
        );
        Err(StoreError::new(StoreErrorKind::Damaged, message))
    }

    /// The open file; opened anew after an error, refused if it is not what it was.
    fn usable<'f>(
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
        if file.as_mut().is_some_and(|file| file.look_beside(&self.place) == Beside::Cut) {
            *file = None;
        }
        let file = match file {
            Some(file) => file,
            None => file.insert(OpenFile::open(&self.place, limits)?),
        };
        match file.look_beside(&self.place) {
            Beside::Whole => Ok(file),
            Beside::Replaced => Err(gone(&self.place.beside("-wal"))),
            Beside::Cut => {
                let message = "the index of the store's journal is cut off again and again; see who may write the store";
                Err(StoreError::new(StoreErrorKind::Unreachable, message))
            }
        }
    }

    fn transact(
        &self,
        inner: &mut Inner,
        namespace: &Namespace,
        step: &Step,
        limits: &Limits,
    ) -> Result<Effect, StoreError> {
        let Inner { writer_queue, file, identity, owes_sync } = inner;
        let turn = writer_queue.enter(limits)?;
        limits.is_still_wanted()?;
        let file = self.usable(file, *identity, limits)?;
        let _timed = file.timed(limits);
        let (effect, epoch) = file.write(|sql| {
            let (ns, epoch) = namespace::enter(sql, namespace)?;
            let effect = engine::step(&mut Rows::new(sql, ns), self.world.as_ref(), step)?;
            self.watermarks.check(namespace, Some(epoch), effect.sequence - 1)?;
            Ok((effect, epoch))
        })?;
        let reached = Watermark { epoch, sequence: effect.sequence };
        self.watermarks.saw(namespace, reached);
        // Out of turn: others may write while this waits for the disk, and one sync serves them all.
        drop(turn);
        if effect.must_sync {
            let owed = std::mem::replace(owes_sync, true);
            if owed || file.sync(&self.place).is_err() {
                let _turn = writer_queue.enter(limits).map_err(StoreError::into_unknown)?;
                file.write_anew(&self.place)?;
            }
            *owes_sync = false;
            self.watermarks.saw_durable(namespace, reached);
        }
        if let Some(ceiling) = effect.unsafe_ceiling {
            // Unsaid it costs the next process a sync, no more.
            let _ = confirm_ceiling(writer_queue, file, limits, (namespace, ceiling));
        }
        Ok(effect)
    }

    fn look(&self, namespace: &Namespace, view: &View, limits: &Limits) -> Result<Page, StoreError> {
        let limits = limits.clone().no_later_than(later(Instant::now(), self.patience));
        let mut inner = self.inner(&limits)?;
        let Inner { file, identity, .. } = &mut *inner;
        let file = self.usable(file, *identity, &limits)?;
        let _timed = file.timed(&limits);
        let transaction =
            file.sql.transaction_with_behavior(TransactionBehavior::Deferred).map_err(translate)?;
        let found = namespace::find(&transaction, namespace)?;
        let ns = found.map_or(-1, |found| found.ns);
        let page = engine::view::view(&mut Rows::new(&transaction, ns), self.world.as_ref(), view)?;
        let epoch = found.and_then(|found| found.epoch);
        self.watermarks.check(namespace, epoch, page.sequence)?;
        if let Some(epoch) = epoch {
            self.watermarks.saw(namespace, Watermark { epoch, sequence: page.sequence });
        }
        Ok(page)
    }
}

impl Store for SqliteStore {
    fn url(&self) -> String {
        format!("sqlite:{}", self.place.marked())
    }

    fn reach(&self) -> Reach {
        Reach::Host
    }

    fn clock_ms(&self, _: &Namespace) -> Result<i64, StoreError> {
        Ok(self.world.now().boot_ms)
    }

    fn step(&self, namespace: &Namespace, step: &Step) -> Result<Answer, StoreError> {
        self.step_within(namespace, step, &Limits::within(self.patience))
    }

    fn step_within(&self, namespace: &Namespace, step: &Step, limits: &Limits) -> Result<Answer, StoreError> {
        let effect = {
            let limits = limits.clone().no_later_than(later(Instant::now(), self.patience));
            let mut inner = self.inner(&limits)?;
            limits.is_still_wanted()?;
            let done = self.transact(&mut inner, namespace, step, &limits);
            if let Err(error) = &done
                && error.kind() != StoreErrorKind::Unreachable
            {
                // After trouble with the file nothing kept in memory about it is trusted.
                inner.file = None;
            }
            done.map_err(|error| self.naming_the_locker(error, Some(&limits)))?
        };
        self.inboxes.send(&effect.wakes);
        Ok(effect.answer)
    }

    fn view(&self, namespace: &Namespace, view: &View) -> Result<Page, StoreError> {
        self.view_within(namespace, view, &Limits::within(self.patience))
    }

    fn view_within(&self, namespace: &Namespace, view: &View, limits: &Limits) -> Result<Page, StoreError> {
        self.look(namespace, view, limits).map_err(|error| self.naming_the_locker(error, None))
    }

    fn namespaces(&self) -> Result<Vec<Namespace>, StoreError> {
        let limits = Limits::within(self.patience);
        let mut inner = self.inner(&limits)?;
        let Inner { file, identity, .. } = &mut *inner;
        let file = self.usable(file, *identity, &limits)?;
        let _timed = file.timed(&limits);
        namespace::all(&file.sql)
    }

    fn new_liveness_lock(&self) -> Result<Option<LivenessLock>, StoreError> {
        self.lives.begin()
    }

    fn is_alive(&self, liveness: LivenessId) -> bool {
        self.world.is_alive(liveness)
    }

    fn inbox(&self, _: &Namespace, client: ClientId) -> Result<Box<dyn Inbox>, StoreError> {
        Ok(Box::new(self.inboxes.open(client)?))
    }

    fn default_lease(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn seen(&self, namespace: &Namespace) -> Option<Watermark> {
        self.watermarks.newest(namespace)
    }

    fn durable(&self, namespace: &Namespace) -> Option<Watermark> {
        self.watermarks.durable(namespace)
    }

    fn expect(&self, namespace: &Namespace, watermark: Watermark) {
        self.watermarks.expect(namespace, watermark);
    }

    fn loss(&self, namespace: &Namespace) -> Option<Loss> {
        self.watermarks.loss(namespace)
    }

    fn abandon(&self) {
        self.abandoned.store(true, Ordering::Release);
        self.key.unlock();
        // A process's own locks on a file go when it closes any descriptor of it: a trap elsewhere, the only way here.
        for suffix in ["-shm", ""] {
            drop(self.place.beside(suffix).open());
        }
    }

    fn examine(&self, _: &Namespace, limits: &Limits) -> Vec<Finding> {
        examine::examine(self, limits)
    }

    fn notices(&self) -> Vec<String> {
        self.lives.notice().into_iter().chain(self.watermarks.notices()).collect()
    }
}

/// Says that a token ceiling is on the disk, so that nobody else need sync for it.
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

/// Says that leases cannot be compared with those of other processes.
fn shifted(error: std::io::Error) -> StoreError {
    let message = format!(
        "cannot tell whether a time namespace shifts this process's boot clock, by which leases are compared with those of \
         other processes: {error}"
    );
    StoreError::new(StoreErrorKind::Unusable, message).caused_by(error)
}

/// This machine: its clocks, its boot, its processes.
#[derive(Debug)]
struct Machine {
    boot_id: String,
    clock: HostClock,
    lives: Arc<LivenessLocks>,
}

impl World for Machine {
    fn now(&self) -> Now {
        self.clock.now()
    }
    fn boot_id(&self) -> String {
        self.boot_id.clone()
    }
    fn is_alive(&self, liveness: LivenessId) -> bool {
        self.lives.is_alive(liveness)
    }
}

#[derive(Debug)]
struct Borrowed(Arc<dyn World>);

impl World for Borrowed {
    fn now(&self) -> Now {
        self.0.now()
    }
    fn boot_id(&self) -> String {
        self.0.boot_id()
    }
    fn is_alive(&self, liveness: LivenessId) -> bool {
        self.0.is_alive(liveness)
    }
    fn bounds(&self) -> Bounds {
        self.0.bounds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another process may have raised it since, and not have synced that yet.
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

    /// Once a reader that hung has ended, what it let the journal grow to is given back.
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
                // Some 30 pages of one transaction, which the next ones write anew.
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
