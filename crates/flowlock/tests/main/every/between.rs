//! A store between a connection and the real store: it gets every step, and decides what the real store gets.

use std::sync::Arc;
use std::time::Duration;

use flowlock::step::{Answer, Step};
use flowlock::store::{Inbox, Limits, LivenessLock, Loss, Page, Reach, Store, StoreError, View, Watermark};
use flowlock::{ClientId, Flowlock, LivenessId, Namespace};

/// What is done with each step: it may be carried out, delayed, refused, or its answer thrown away.
pub(super) struct Between {
    store: Arc<dyn Store>,
    meddle: Box<dyn Meddling>,
    hear: Box<dyn Hearing>,
    look: Box<dyn Looking>,
}

/// See [`Between`].
pub(super) trait Meddling:
    Fn(&dyn Fn() -> Result<Answer, StoreError>, &Step) -> Result<Answer, StoreError> + Send + Sync
{
}

impl<F> Meddling for F where
    F: Fn(&dyn Fn() -> Result<Answer, StoreError>, &Step) -> Result<Answer, StoreError> + Send + Sync
{
}

/// What is done when the inbox is opened.
pub(super) trait Hearing:
    Fn(&dyn Fn() -> Result<Box<dyn Inbox>, StoreError>) -> Result<Box<dyn Inbox>, StoreError> + Send + Sync
{
}

impl<F> Hearing for F where
    F: Fn(&dyn Fn() -> Result<Box<dyn Inbox>, StoreError>) -> Result<Box<dyn Inbox>, StoreError>
        + Send
        + Sync
{
}

/// What is done with each look: what is said may be another thing than what was found.
pub(super) trait Looking:
    Fn(&dyn Fn(&View) -> Result<Page, StoreError>, &View) -> Result<Page, StoreError> + Send + Sync
{
}

impl<F> Looking for F where
    F: Fn(&dyn Fn(&View) -> Result<Page, StoreError>, &View) -> Result<Page, StoreError> + Send + Sync
{
}

/// A connection to `store` through `meddle`.
pub(super) fn through(store: &Flowlock, meddle: impl Meddling + 'static) -> Flowlock {
    through_hearing(store, meddle, |open| open())
}

/// The same, and can change what the connection hears.
pub(super) fn through_hearing(
    store: &Flowlock,
    meddle: impl Meddling + 'static,
    hear: impl Hearing + 'static,
) -> Flowlock {
    through_looking(store, meddle, hear, |look: &dyn Fn(&View) -> _, view: &View| look(view))
}

/// The same, and can change what the connection reads.
pub(super) fn through_looking(
    store: &Flowlock,
    meddle: impl Meddling + 'static,
    hear: impl Hearing + 'static,
    look: impl Looking + 'static,
) -> Flowlock {
    let between = Between {
        store: store.store().clone(),
        meddle: Box::new(meddle),
        hear: Box::new(hear),
        look: Box::new(look),
    };
    let builder = Flowlock::builder().namespace(store.namespace().clone());
    builder.store_timeout(Duration::from_millis(50)).with_store(Arc::new(between))
}

impl std::fmt::Debug for Between {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.store.fmt(f)
    }
}

impl Store for Between {
    fn url(&self) -> String {
        self.store.url()
    }
    fn reach(&self) -> Reach {
        self.store.reach()
    }
    fn clock_ms(&self, namespace: &Namespace) -> Result<i64, StoreError> {
        self.store.clock_ms(namespace)
    }
    fn step(&self, namespace: &Namespace, step: &Step) -> Result<Answer, StoreError> {
        (self.meddle)(&|| self.store.step(namespace, step), step)
    }
    fn view(&self, namespace: &Namespace, view: &View) -> Result<Page, StoreError> {
        (self.look)(&|view| self.store.view(namespace, view), view)
    }
    fn namespaces(&self, limits: &Limits) -> Result<Vec<Namespace>, StoreError> {
        self.store.namespaces(limits)
    }
    fn new_liveness_lock(&self) -> Result<Option<LivenessLock>, StoreError> {
        self.store.new_liveness_lock()
    }
    fn is_alive(&self, liveness: LivenessId) -> bool {
        self.store.is_alive(liveness)
    }
    fn inbox(&self, namespace: &Namespace, client: ClientId) -> Result<Box<dyn Inbox>, StoreError> {
        (self.hear)(&|| self.store.inbox(namespace, client))
    }
    fn default_lease(&self) -> Duration {
        self.store.default_lease()
    }
    fn seen(&self, namespace: &Namespace) -> Option<Watermark> {
        self.store.seen(namespace)
    }
    fn durable(&self, namespace: &Namespace) -> Option<Watermark> {
        self.store.durable(namespace)
    }
    fn expect(&self, namespace: &Namespace, watermark: Watermark) {
        self.store.expect(namespace, watermark);
    }
    fn loss(&self, namespace: &Namespace) -> Option<Loss> {
        self.store.loss(namespace)
    }
    fn take_notices(&self) -> Vec<String> {
        self.store.take_notices()
    }
}
