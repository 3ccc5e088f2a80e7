//! The embedded store: one `SQLite` file, many processes, one host, no daemon.
//!
//! A step is one write transaction; each waits in the writers' queue first (`writer_queue.rs`). Changes
//! of locks are not synced to disk, because a reboot voids every grant anyway; records are synced before
//! they are acknowledged. Beside the file are `-lock` (the queue), `-live` (liveness locks) and `-wake/`
//! (inboxes).

mod alone;
mod clear;
mod clock;
mod create;
mod examine;
mod failure;
mod file;
mod format;
mod generation;
mod held_path;
mod identity;
mod liveness;
mod lockers;
mod machine;
mod namespace;
mod open;
mod rows;
mod schema;
mod shared;
mod side;
mod sleep;
mod transact;
mod vfs;
mod wake;
mod writer_queue;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use self::alone::Alone;
use self::file::OpenFile;
use self::held_path::{HeldPath, Missing};
use self::identity::Identity;
use self::liveness::LivenessLocks;
use self::lockers::naming_the_locker;
use self::machine::{Borrowed, this_machine};
use self::side::SideFiles;
use self::transact::Inner;
use self::wake::Inboxes;
use self::writer_queue::{Key, WriterQueue};
use super::{
    Finding, Inbox, Limits, LivenessLock, Loss, Page, Reach, Store, StoreError, StoreErrorKind, View,
    Watermark, Watermarks,
};
use crate::id::ClientId;
use crate::name::Namespace;
use crate::step::{Answer, Step};
use crate::world::{LivenessId, World, later};

/// The embedded store.
///
/// Only flowlock may open the file: a second copy of `SQLite` in one process (Python's `sqlite3`, for
/// example) would drop this one's locks when it closes the file.
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
    /// Whether there is such a thread.
    abandoned: AtomicBool,
    /// The process that opened it: neither `SQLite` nor the locks survive a fork.
    pid: u32,
}

impl SqliteStore {
    /// Opens the store at `path`. Creates it if there is no file; its directory must exist. `patience`
    /// is how long one step may wait for its turn to write.
    pub fn open(path: &Path, patience: Duration) -> Result<Self, StoreError> {
        Self::open_in(path, patience, this_machine()?)
    }

    /// Takes the file as it is now. If an older copy was put in its place, the journal beside it is of another state, and
    /// opening it is an error: that journal is removed. Answers whether there was one.
    ///
    /// # Errors
    /// The store is in use, or the journal may not be removed.
    pub fn accept_restore(path: &Path, patience: Duration) -> Result<bool, StoreError> {
        let place = HeldPath::find(path, Missing::Refused)?;
        if place.is_there() {
            generation::accept_the_file(&place, &Limits::within(patience))
        } else {
            Ok(false)
        }
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

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Returns the path of the liveness file beside it.
    pub fn live_path(&self) -> &Path {
        self.lives.path()
    }

    /// Makes the store at `path` shared by all members of the group with this number: the directory, the
    /// store, and every file beside it. They belong to this user, who should be root. Members can write
    /// them, but can neither remove nor replace them.
    pub fn make_shared(path: &Path, group: u32, patience: Duration) -> Result<(), StoreError> {
        shared::make_shared(path, group, patience)
    }

    /// Returns files beside the store at `path` of processes that died while they created it or a file
    /// beside it: those among 1,000 files that are called so, which may not be all.
    pub fn leftovers(path: &Path) -> Vec<PathBuf> {
        let store = HeldPath::find(path, Missing::Refused);
        let left = store.map(|store| create::leftovers(&store)).unwrap_or_default();
        left.iter().map(|place| place.path().to_owned()).collect()
    }

    /// Reads every page and checks that tables and indexes agree. Returns the problems; none if all is
    /// well.
    pub fn check(&self) -> Result<Vec<String>, StoreError> {
        self.check_within(&Limits::within(self.patience))
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
                // After trouble with the file, nothing that was kept in memory about it is trusted.
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

    fn namespaces(&self, limits: &Limits) -> Result<Vec<Namespace>, StoreError> {
        let mut inner = self.inner(limits)?;
        let Inner { file, identity, .. } = &mut *inner;
        let file = self.ensure_open(file, *identity, limits)?;
        let _timed = file.timed(limits);
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
        // A process's own locks on a file end when it closes any descriptor of it. Elsewhere that is a
        // trap; here it is the only way.
        for suffix in ["-shm", ""] {
            drop(self.place.beside(suffix).open());
        }
    }

    fn examine(&self, _: &Namespace, limits: &Limits) -> Vec<Finding> {
        examine::examine(self, limits)
    }

    fn take_notices(&self) -> Vec<String> {
        self.lives.take_notice().into_iter().chain(self.watermarks.take_notices()).collect()
    }
}
