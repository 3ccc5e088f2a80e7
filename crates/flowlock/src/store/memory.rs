//! The memory store: the reference for the other stores, and a store for users' own tests.

mod rows;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub(crate) use self::rows::Rows;
use super::signal::{Raised, Signal, SignalInbox};
use super::{
    Epoch, Inbox, Limits, ListedNamespaces, LivenessLock, Loss, Page, Reach, Store, StoreError, View,
    Watermark, Watermarks,
};
use crate::bounds::Bounds;
use crate::engine::{self, tables::Tables as _};
use crate::id::ClientId;
use crate::name::Namespace;
use crate::step::{Answer, Step, Wake};
use crate::sync::lock;
use crate::world::{LivenessId, Now, World};

/// A store in this process's memory; it ends with the process.
///
/// With a [`TestWorld`], its clock moves only when it is told to:
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use flowlock::{Flowlock, store::memory::{MemoryStore, TestWorld}};
///
/// let world = Arc::new(TestWorld::default());
/// let flowlock = Flowlock::with_store(Arc::new(MemoryStore::with_world(world.clone())));
/// let first = flowlock.job("first").output("sales").lease(Duration::from_secs(60)).acquire()?;
/// world.advance(Duration::from_secs(61));
/// let second = flowlock.job("second").output("sales").acquire()?; // the lease was over
/// assert!(first.commit().is_err());
/// second.commit()?;
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    world: Arc<dyn World>,
    namespaces: Mutex<BTreeMap<Namespace, (Epoch, Rows)>>,
    watermarks: Watermarks,
    inboxes: Mutex<HashMap<ClientId, Arc<Signal>>>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with_world(Arc::new(SystemWorld))
    }
}

impl MemoryStore {
    /// Creates a store whose time and processes are those of `world`.
    pub fn with_world(world: Arc<dyn World>) -> Self {
        Self {
            world,
            namespaces: Mutex::default(),
            watermarks: Watermarks::default(),
            inboxes: Mutex::default(),
        }
    }

    fn wake(&self, wakes: &[Wake]) {
        let inboxes = lock(&self.inboxes);
        for wake in wakes {
            if let Some(signal) = inboxes.get(&wake.client) {
                signal.raise(Raised::Run(wake.run.clone()));
            }
        }
    }
}

impl Store for MemoryStore {
    fn url(&self) -> String {
        "memory:".into()
    }

    fn reach(&self) -> Reach {
        Reach::Process
    }

    fn clock_ms(&self, _: &Namespace) -> Result<i64, StoreError> {
        Ok(self.world.now().boot_ms)
    }

    fn step(&self, namespace: &Namespace, step: &Step) -> Result<Answer, StoreError> {
        let effect = {
            let mut namespaces = lock(&self.namespaces);
            let (epoch, rows) =
                namespaces.entry(namespace.clone()).or_insert_with(|| (Epoch::fresh(), Rows::default()));
            self.watermarks.check(namespace, Some(*epoch), rows.meta()?.sequence)?;
            let effect = engine::step(rows, self.world.as_ref(), step)?;
            self.watermarks.note_seen(namespace, Watermark { epoch: *epoch, sequence: effect.sequence });
            effect
        };
        self.wake(&effect.wakes);
        Ok(effect.answer)
    }

    fn view(&self, namespace: &Namespace, view: &View) -> Result<Page, StoreError> {
        let mut namespaces = lock(&self.namespaces);
        let (epoch, rows) =
            namespaces.entry(namespace.clone()).or_insert_with(|| (Epoch::fresh(), Rows::default()));
        self.watermarks.check(namespace, Some(*epoch), rows.meta()?.sequence)?;
        let page = engine::view::view(rows, self.world.as_ref(), view)?;
        self.watermarks.note_seen(namespace, Watermark { epoch: *epoch, sequence: page.sequence });
        Ok(page)
    }

    fn namespaces(&self, _: &Limits) -> Result<Vec<Namespace>, StoreError> {
        let mut listed = ListedNamespaces::default();
        lock(&self.namespaces).keys().try_for_each(|namespace| listed.add(namespace.clone()))?;
        Ok(listed.into_vec())
    }

    fn new_liveness_lock(&self) -> Result<Option<LivenessLock>, StoreError> {
        Ok(None)
    }

    fn is_alive(&self, liveness: LivenessId) -> bool {
        self.world.is_alive(liveness)
    }

    fn inbox(&self, _: &Namespace, client: ClientId) -> Result<Box<dyn Inbox>, StoreError> {
        let signal = Arc::new(Signal::default());
        lock(&self.inboxes).insert(client, signal.clone());
        Ok(Box::new(SignalInbox::new(signal)))
    }

    fn default_lease(&self) -> Duration {
        Duration::from_mins(1)
    }

    fn seen(&self, namespace: &Namespace) -> Option<Watermark> {
        self.watermarks.newest(namespace)
    }

    /// Nothing survives the process.
    fn durable(&self, _: &Namespace) -> Option<Watermark> {
        None
    }

    fn expect(&self, namespace: &Namespace, watermark: Watermark) {
        self.watermarks.expect(namespace, watermark);
    }

    fn loss(&self, namespace: &Namespace) -> Option<Loss> {
        self.watermarks.loss(namespace)
    }

    fn take_notices(&self) -> Vec<String> {
        self.watermarks.take_notices()
    }
}

/// This machine's clocks. No process ever dies.
#[derive(Debug)]
struct SystemWorld;

impl World for SystemWorld {
    fn now(&self) -> Now {
        crate::world::system_now()
    }
    fn boot_id(&self) -> String {
        "this process".into()
    }
    fn is_alive(&self, _: LivenessId) -> bool {
        true
    }
}

/// A world for tests: time stands still until it is moved, and processes die when told to.
///
/// ```
/// use std::time::Duration;
/// use flowlock::{World, store::memory::TestWorld};
///
/// let world = TestWorld::default();
/// let before = world.now();
/// world.advance(Duration::from_secs(60));
/// assert_eq!(world.now().boot_ms - before.boot_ms, 60_000);
/// ```
#[derive(Debug)]
pub struct TestWorld {
    state: Mutex<TestState>,
}

#[derive(Debug)]
struct TestState {
    now: Now,
    boot: u32,
    dead: Vec<LivenessId>,
    bounds: Bounds,
}

impl Default for TestWorld {
    /// Begins a second after boot, in the first hour of 2026.
    fn default() -> Self {
        let now = Now { boot_ms: 1_000, wall_us: 1_767_225_601_000_000 };
        Self { state: Mutex::new(TestState { now, boot: 1, dead: Vec::new(), bounds: Bounds::default() }) }
    }
}

impl TestWorld {
    /// Moves both clocks forward.
    pub fn advance(&self, by: Duration) {
        let now = &mut lock(&self.state).now;
        now.boot_ms += by.as_millis() as i64;
        now.wall_us += by.as_micros() as i64;
    }

    /// Moves only the wall clock, as an administrator or a time server does.
    pub fn shift_wall_clock(&self, by_us: i64) {
        lock(&self.state).now.wall_us += by_us;
    }

    /// Makes one step do less than usual, so that a few runs are enough to leave work over.
    pub fn bound_steps(&self, bounds: Bounds) {
        lock(&self.state).bounds = bounds;
    }

    /// Ends every process that holds this liveness lock.
    pub fn kill(&self, liveness: LivenessId) {
        lock(&self.state).dead.push(liveness);
    }

    /// Returns who was killed.
    #[cfg(feature = "redis")]
    pub(crate) fn dead(&self) -> Vec<LivenessId> {
        lock(&self.state).dead.clone()
    }

    /// Restarts the machine: it has a new boot id, the lease clock begins again, and a minute of wall
    /// time has passed.
    pub fn reboot(&self) {
        let mut state = lock(&self.state);
        state.boot += 1;
        state.now.boot_ms = 1_000;
        state.now.wall_us += 60_000_000;
    }

    /// Pretends to be another machine that booted at the same time as this one.
    pub fn become_another_host(&self) {
        lock(&self.state).boot += 1_000;
    }
}

impl World for TestWorld {
    fn now(&self) -> Now {
        lock(&self.state).now
    }
    fn boot_id(&self) -> String {
        format!("boot {}", lock(&self.state).boot)
    }
    fn is_alive(&self, liveness: LivenessId) -> bool {
        !lock(&self.state).dead.contains(&liveness)
    }
    fn bounds(&self) -> Bounds {
        lock(&self.state).bounds
    }
}
