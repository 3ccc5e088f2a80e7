//! The store for many hosts: Redis 7.0 or later, Valkey 7.2 or later; one server, Sentinel or Cluster.
//!
//! A step is one script on the server: it alone reads the server's clock, decides, writes and sends
//! wake-ups. The rule and the engine are implemented a second time in Lua (`lua/`); the conformance
//! suite and random histories check that both give identical answers.

mod arguments;
mod attempt;
#[cfg(feature = "bench")]
mod bench;
mod brief;
mod client;
mod cluster;
mod commits;
mod connection;
mod dial;
mod examine;
mod failure;
mod inbox;
mod keys;
mod listing;
mod local;
mod pack;
mod patience;
mod pipeline;
mod primary;
mod probe;
mod replicas;
mod reply;
mod resp;
mod rollback;
mod rows;
mod script;
mod sentinel;
mod socket;
#[cfg(test)]
mod tests;
mod tls;
mod topology;
pub(crate) mod url;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use self::arguments::Arguments;
use self::attempt::{attempt, no_limits, one_attempt};
use self::client::{Client, Evaluated};
use self::inbox::RedisInbox;
use self::keys::Keys;
use self::reply::Reply;
use self::resp::SHORT;
use self::rollback::RollbackDetector;
pub use self::rows::Ways;
use self::script::{Call, Clock, Script, Scripts};
use self::url::Options;
use super::memory::TestWorld;
use super::{Epoch, Finding, Inbox, Limits, LivenessLock, Loss, Page, Store, StoreError, View, Watermark};
use crate::error::Error;
use crate::id::{Attempt, ClientId};
use crate::name::Namespace;
use crate::run::Outcome;
use crate::step::{Answer, Finished, MOST_REFRESHED, Step, Who};
use crate::sync::lock;
use crate::world::{LivenessId, World as _, millis};

/// Redis or Valkey as the store.
///
/// ```no_run
/// use std::time::Duration;
/// use flowlock::{Flowlock, store::redis::RedisStore};
///
/// let store = RedisStore::open("redis://127.0.0.1:6379/0", Duration::from_secs(2))?;
/// let flowlock = Flowlock::with_store(std::sync::Arc::new(store));
/// flowlock.job("import").output("sales").acquire()?.commit()?;
/// # Ok::<(), flowlock::Error>(())
/// ```
#[derive(Debug)]
pub struct RedisStore {
    client: Arc<Client>,
    scripts: Scripts,
    patience: Duration,
    /// In tests: the time, and which processes are dead.
    world: Option<Arc<TestWorld>>,
    /// In tests: which paths the scripts take.
    ways: Ways,
    namespaces: Mutex<BTreeMap<Namespace, Arc<Keys>>>,
    rollback: RollbackDetector,
}

impl RedisStore {
    /// Connects to the store at a URL. `patience` is how long its caller keeps asking (`store_timeout`).
    /// One step, or one attempt to connect, gets a third of it: at least 1 s, at most 5 s, and never
    /// more than all of it.
    ///
    /// # Errors
    /// [`Error::Configuration`] if the URL is invalid, [`Error::Store`] if the server cannot be used.
    pub fn open(url: &str, patience: Duration) -> Result<Self, Error> {
        Self::open_within(url, patience, &no_limits())
    }

    /// The same, within the limits of a caller.
    pub(crate) fn open_within(url: &str, patience: Duration, limits: &Limits) -> Result<Self, Error> {
        Self::open_in(url, patience, None, limits)
    }

    /// Connects in another world, for tests: time and dead processes are those of `world`.
    pub fn open_with_world(url: &str, patience: Duration, world: Arc<TestWorld>) -> Result<Self, Error> {
        Self::open_in(url, patience, Some(world), &no_limits())
    }

    /// Sets which paths the scripts take, for tests in a world of their own. Default: [`Ways::Short`].
    #[must_use]
    pub fn taking(self, ways: Ways) -> Self {
        Self { ways, ..self }
    }

    fn open_in(
        url: &str,
        patience: Duration,
        world: Option<Arc<TestWorld>>,
        limits: &Limits,
    ) -> Result<Self, Error> {
        let options = Options::parse(url).map_err(Error::Configuration)?;
        Ok(Self::connect(options, patience, world, limits)?)
    }

    /// Connects as the URL's options say.
    fn connect(
        options: Options,
        patience: Duration,
        world: Option<Arc<TestWorld>>,
        limits: &Limits,
    ) -> Result<Self, StoreError> {
        let patience = one_attempt(patience, options.durability);
        let client = Arc::new(Client::open(options, patience, &attempt(patience, limits))?);
        let clock = if world.is_some() { Clock::Argument } else { Clock::Server };
        let store = Self {
            scripts: Scripts::new(clock),
            client,
            patience,
            world,
            ways: Ways::Short,
            namespaces: Mutex::default(),
            rollback: RollbackDetector::default(),
        };
        Ok(store)
    }

    /// Returns the namespace's keys. The first time, asks the server whether it can be used.
    fn enter(&self, namespace: &Namespace, limits: &Limits) -> Result<Arc<Keys>, StoreError> {
        if let Some(keys) = lock(&self.namespaces).get(namespace) {
            return Ok(keys.clone());
        }
        let keys = Arc::new(Keys::of(namespace));
        let checked = self.send(&keys, &self.scripts.check, &Arguments::new(), SHORT, None, limits)?;
        keys.set_clock(checked.sent_ms, reply::check(checked.reply)?);
        Ok(lock(&self.namespaces).entry(namespace.clone()).or_insert(keys).clone())
    }

    fn send(
        &self,
        keys: &Keys,
        script: &Script,
        args: &Arguments,
        most: usize,
        replicas: Option<(u32, Duration)>,
        limits: &Limits,
    ) -> Result<Evaluated, StoreError> {
        let call = Call { tag: &keys.tag, script, keys: &keys.all, args, most, replicas };
        self.client.eval(&call, &attempt(self.patience, limits))
    }

    /// Each call has an epoch of its own, in case the namespace is new: whoever makes it again after the
    /// server was emptied must not begin a second life under the name of the first.
    fn head(&self, what: &str) -> Arguments {
        arguments::head(what, Epoch::fresh().0.to_be_bytes(), millis(self.client.options().failover_pause))
    }

    /// Carries out a step, in as many calls as it needs.
    fn carry_out(&self, namespace: &Namespace, step: &Step, limits: &Limits) -> Result<Done, StoreError> {
        let keys = self.enter(namespace, limits)?;
        let mut arguments = self.head(arguments::name_of(step));
        arguments::add_step(&mut arguments, step);
        self.add_world(&mut arguments);
        let before = self.rollback.newest(namespace);
        let replicas = self.replicas_for(step);
        let script = arguments::script_of(&self.scripts, step);
        let evaluated = self.send(&keys, script, &arguments, arguments::most_for(step), replicas, limits)?;
        let acknowledged = evaluated.replicas;
        let reply = self.read(namespace, &keys, before, evaluated);
        let reply = reply.map_err(StoreError::unknown_if_garbled)?;
        let now_ms = reply.now_ms;
        Ok(Done { answer: reply.answer(step)?, acknowledged, now_ms })
    }

    fn add_world(&self, arguments: &mut Arguments) {
        arguments.extend(self.world.as_deref().map(|world| rows::pack_world(world, self.ways)));
    }

    /// Takes in what a reply says besides its answer: the clock, and how far the namespace has come.
    fn read(
        &self,
        namespace: &Namespace,
        keys: &Keys,
        before: Option<Watermark>,
        evaluated: Evaluated,
    ) -> Result<Reply, StoreError> {
        let reply = Reply::take(evaluated.reply)?;
        keys.set_clock(evaluated.sent_ms, reply.now_ms);
        let found = reply.epoch.map(|epoch| Watermark { epoch: Epoch(epoch), sequence: reply.sequence });
        let took_over = self.rollback.take_in_source(namespace, evaluated.from, reply.takeovers);
        if self.rollback.take_in_state(namespace, before, found) || took_over {
            self.check_commits(namespace);
        }
        Ok(reply)
    }
}

impl Store for RedisStore {
    fn url(&self) -> String {
        self.client.options().shown()
    }

    fn clock_ms(&self, namespace: &Namespace) -> Result<i64, StoreError> {
        self.clock_within(namespace, &no_limits())
    }

    fn clock_within(&self, namespace: &Namespace, limits: &Limits) -> Result<i64, StoreError> {
        match &self.world {
            Some(world) => Ok(world.now().boot_ms),
            None => Ok(self.enter(namespace, limits)?.clock_ms()),
        }
    }

    fn step(&self, namespace: &Namespace, step: &Step) -> Result<Answer, StoreError> {
        self.step_within(namespace, step, &no_limits())
    }

    fn step_within(&self, namespace: &Namespace, step: &Step, limits: &Limits) -> Result<Answer, StoreError> {
        if let Step::Refresh(runs) = step
            && runs.len() > MOST_REFRESHED
        {
            return self.refresh_in_parts(namespace, runs, limits);
        }
        let Done { answer, acknowledged, now_ms } = self.carry_out(namespace, step, limits)?;
        if let (
            Step::Commit { who: Who { run, nonce: Some(nonce), .. }, note },
            Answer::Finished(Finished::Ended { outcome: Outcome::Committed, .. }),
        ) = (step, &answer)
        {
            let attempt = Attempt { id: run.clone(), nonce: *nonce };
            self.rollback.note_commit(namespace, &attempt, note.as_deref(), now_ms);
        }
        self.require_replicas(namespace, step, answer, acknowledged, limits)
    }

    fn view(&self, namespace: &Namespace, view: &View) -> Result<Page, StoreError> {
        self.view_within(namespace, view, &no_limits())
    }

    fn view_within(&self, namespace: &Namespace, view: &View, limits: &Limits) -> Result<Page, StoreError> {
        let keys = self.enter(namespace, limits)?;
        let (name, own) = arguments::view_arguments(view);
        let mut arguments = self.head(name);
        arguments.extend(own);
        self.add_world(&mut arguments);
        let before = self.rollback.newest(namespace);
        let most = arguments::most_to_see(view);
        let evaluated = self.send(&keys, &self.scripts.view, &arguments, most, None, limits)?;
        let reply = self.read(namespace, &keys, before, evaluated)?;
        Ok(Page { sequence: reply.sequence, content: reply.content(view)? })
    }

    fn namespaces(&self, limits: &Limits) -> Result<Vec<Namespace>, StoreError> {
        listing::namespaces(self, limits)
    }

    /// `None`: processes on other hosts cannot be probed, so only leases show who lives.
    fn new_liveness_lock(&self) -> Result<Option<LivenessLock>, StoreError> {
        Ok(None)
    }

    fn is_alive(&self, liveness: LivenessId) -> bool {
        self.world.as_ref().is_none_or(|world| world.is_alive(liveness))
    }

    fn inbox(&self, namespace: &Namespace, client: ClientId) -> Result<Box<dyn Inbox>, StoreError> {
        let keys = Keys::of(namespace);
        let (topology, patience) = (self.client.topology()?, self.client.patience());
        Ok(Box::new(RedisInbox::open(
            topology,
            patience,
            &keys.tag,
            [keys.channel(client), keys.everybody()],
        )?))
    }

    /// Long enough for a failover, and for a process that was not scheduled for a while.
    fn default_lease(&self) -> Duration {
        Duration::from_mins(3)
    }

    fn seen(&self, namespace: &Namespace) -> Option<Watermark> {
        self.rollback.newest(namespace)
    }

    fn expect(&self, namespace: &Namespace, watermark: Watermark) {
        self.rollback.expect(namespace, watermark);
    }

    fn loss(&self, namespace: &Namespace) -> Option<Loss> {
        self.rollback.loss(namespace)
    }

    fn examine(&self, namespace: &Namespace, limits: &Limits) -> Vec<Finding> {
        examine::examine(self, namespace, limits)
    }

    fn take_notices(&self) -> Vec<String> {
        self.rollback.take_notices()
    }
}

/// The result of a step.
struct Done {
    answer: Answer,
    /// How many replicas have it, if that was asked.
    acknowledged: Option<u32>,
    /// The server's clock.
    now_ms: i64,
}

impl RedisStore {
    fn refresh_in_parts(
        &self,
        namespace: &Namespace,
        runs: &[Who],
        limits: &Limits,
    ) -> Result<Answer, StoreError> {
        let mut all = Vec::with_capacity(runs.len());
        for part in runs.chunks(MOST_REFRESHED) {
            let done = self.carry_out(namespace, &Step::Refresh(part.to_vec()), limits)?;
            if let Answer::Refreshed(answers) = done.answer {
                all.extend(answers);
            }
        }
        Ok(Answer::Refreshed(all))
    }
}
