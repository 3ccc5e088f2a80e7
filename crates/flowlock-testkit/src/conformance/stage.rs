//! A fluent way to say what happens to a store.

mod actor;
mod request;

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use flowlock::step::{Answer, Holders, Sent, Step};
use flowlock::store::{Content, Limits, NamespaceSeen, StoreError, View};
use flowlock::{
    Attempt, Claims, ClientId, Holder, IfWritten, JobName, LivenessId, Name, Namespace, Nonce, OnFail,
    Origin, Record, RunId, Spec, Ticket, Token, World as _,
};

use super::word::word;
use crate::subject::{Subject, first_client_of_its_own};
pub use actor::Actor;
pub use request::Request;

/// A store, and what a case does to it.
#[derive(Debug)]
pub struct Stage {
    subject: RefCell<Subject>,
    namespace: RefCell<Namespace>,
    made: Cell<u64>,
    /// The first number of its processes.
    clients: u128,
}

/// A change of records by hand.
#[derive(Debug, Clone, Copy)]
pub(super) enum ByHand {
    Create,
    Remove,
}

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).expect("a plain name")
}

impl Stage {
    pub(super) fn new(subject: Subject) -> Self {
        Stage {
            subject: RefCell::new(subject),
            namespace: RefCell::new(Namespace::default()),
            made: Cell::new(0),
            clients: 0,
        }
    }

    /// Uses processes that no other stage has.
    pub(super) fn with_own_processes(self) -> Self {
        Stage { clients: first_client_of_its_own(), ..self }
    }

    /// From now on everything happens in this namespace.
    pub(super) fn enter(&self, namespace: &str) {
        *self.namespace.borrow_mut() = Namespace::parse(namespace).expect("a plain namespace");
    }

    /// Begins a request under this run id (and job name), from a process of its own.
    pub(super) fn run(&self, id: &str) -> Request<'_> {
        let number = self.number();
        let spec = Spec {
            job: JobName::parse(id).expect("a plain job"),
            claims: Claims::default(),
            lease_ms: 60_000,
            if_written: IfWritten::Overwrite,
            on_fail: OnFail::Keep,
            parent: None,
            record_life_ms: None,
            max_runtime_ms: None,
            keep_lapsed_ms: 86_400_000,
        };
        let attempt = Attempt { id: RunId::parse(id).expect("a plain id"), nonce: Nonce(number.into()) };
        let holder = Holder {
            client: ClientId(self.clients + u128::from(number)),
            liveness: Some(LivenessId(number)),
            origin: Arc::new(Origin::default()),
        };
        Request { stage: self, claims: Claims::builder(), spec, attempt, holder, latest_ms: 60_000 }
    }

    fn number(&self) -> u64 {
        self.made.set(self.made.get() + 1);
        self.made.get()
    }

    /// Carries out one step, which must succeed.
    #[track_caller]
    pub(super) fn step(&self, step: &Step) -> Answer {
        self.attempt(step).unwrap_or_else(|error| panic!("{step:?}: {error}"))
    }

    /// Carries out one step, which may fail.
    pub(super) fn attempt(&self, step: &Step) -> Result<Answer, StoreError> {
        self.subject.borrow().store().step(&self.namespace.borrow(), step)
    }

    /// Reads, without changing anything.
    #[track_caller]
    pub(super) fn view(&self, view: &View) -> Content {
        self.page(view).1
    }

    /// Reads, with the sequence number.
    #[track_caller]
    pub(super) fn page(&self, view: &View) -> (u64, Content) {
        let page = self.subject.borrow().store().view(&self.namespace.borrow(), view).expect("a view works");
        (page.sequence, page.content)
    }

    /// Lets so many seconds pass without any request; then another client's heartbeat makes one step.
    pub(super) fn pass(&self, seconds: u64) {
        self.world(|world| world.advance(Duration::from_secs(seconds)));
        self.tick();
    }

    /// Lets time pass while these send a heartbeat every five seconds.
    pub(super) fn pass_hearing(&self, seconds: u64, actors: &[&Actor<'_>]) {
        for second in 1..=seconds {
            self.world(|world| world.advance(Duration::from_secs(1)));
            for actor in actors.iter().filter(|_| second % 5 == 0) {
                actor.beats();
            }
        }
        self.tick();
    }

    /// Sends a heartbeat of another client: a step that changes nothing by itself.
    pub(super) fn tick(&self) {
        let client = ClientId(u128::MAX);
        self.step(&Step::Heartbeat { client, from: Ticket(0), explain: Vec::new() });
    }

    /// Changes the world.
    pub(super) fn world<T>(&self, act: impl FnOnce(&flowlock::store::memory::TestWorld) -> T) -> T {
        act(self.subject.borrow().world())
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.world(|world| world.now().boot_ms)
    }

    /// Replaces the server by another one with the same data.
    pub(super) fn take_over(&self) {
        self.subject.borrow().take_over();
    }

    /// The store is closed without notice and opened again.
    pub(super) fn reopen(&self) {
        self.subject.borrow_mut().reopen();
    }

    /// Returns all rows of the store, a line each.
    pub(super) fn rows(&self) -> Vec<String> {
        self.subject.borrow_mut().rows()
    }

    /// Returns what the store counts wrongly.
    pub(super) fn miscounts(&self) -> Vec<String> {
        self.subject.borrow().miscounts()
    }

    /// Listens for wake-ups of an actor's process.
    pub(super) fn inbox(&self, actor: &Actor<'_>) -> Box<dyn flowlock::store::Inbox> {
        self.subject
            .borrow()
            .store()
            .inbox(&self.namespace.borrow(), actor.holder.client)
            .expect("an inbox opens")
    }

    /// Marks names as written by hand; returns the answer as a word.
    pub(super) fn create(&self, names: &[&str]) -> String {
        self.by_hand(names, Holders::Respect, None)
    }

    pub(super) fn create_by_force(&self, names: &[&str]) -> String {
        self.by_hand(names, Holders::Break, None)
    }

    /// Marks names as written by hand, for this many seconds.
    pub(super) fn create_for(&self, names: &[&str], seconds: u64) -> String {
        self.by_hand(names, Holders::Respect, Some(seconds * 1_000))
    }

    /// The same as [`Self::create`]; returns the whole answer.
    pub(super) fn creates(&self, names: &[&str]) -> Answer {
        self.make_by_hand(names, Holders::Respect, None)
    }

    fn by_hand(&self, names: &[&str], holders: Holders, record_life_ms: Option<u64>) -> String {
        word(&self.make_by_hand(names, holders, record_life_ms))
    }

    fn make_by_hand(&self, names: &[&str], holders: Holders, record_life_ms: Option<u64>) -> Answer {
        let request = self.run(&format!("hand.{}", self.made.get()));
        let spec = Spec { record_life_ms, ..request.spec };
        let names = names.iter().map(|text| name(text)).collect();
        self.step(&Step::Create {
            names,
            spec: spec.into(),
            run: request.attempt.id,
            note: None,
            holders,
            sent: Sent::First,
            by: crate::by_hand(),
        })
    }

    pub(super) fn remove(&self, names: &[&str]) -> String {
        let names = names.iter().map(|text| name(text)).collect();
        word(&self.step(&Step::Remove {
            names,
            holders: Holders::Respect,
            sent: Sent::First,
            by: crate::by_hand(),
        }))
    }

    pub(super) fn remove_by_force(&self, names: &[&str]) -> String {
        let names = names.iter().map(|text| name(text)).collect();
        word(&self.step(&Step::Remove {
            names,
            holders: Holders::Break,
            sent: Sent::First,
            by: crate::by_hand(),
        }))
    }

    /// Repeats a change by hand. The first one may have taken effect, and before it the record had this
    /// version.
    pub(super) fn by_hand_again(&self, what: ByHand, text: &str, version: Token) -> String {
        let (names, holders, by) = (vec![name(text)], Holders::Respect, crate::by_hand());
        let sent = Sent::Again(vec![version]);
        word(&self.step(&match what {
            ByHand::Create => {
                let request = self.run("hand.again");
                let (spec, run) = (request.spec.into(), request.attempt.id);
                Step::Create { names, spec, run, note: None, holders, sent, by }
            }
            ByHand::Remove => Step::Remove { names, holders, sent, by },
        }))
    }

    /// Returns the version of a name's last record, also if that record is gone.
    pub(super) fn version(&self, text: &str) -> Token {
        match self.view(&View::Names(vec![name(text)])) {
            Content::Names(seen) => seen[0].version,
            other => panic!("not names: {other:?}"),
        }
    }

    /// Removes the namespace, in as many steps as needed.
    #[track_caller]
    pub(super) fn remove_namespace(&self) -> String {
        self.remove_namespace_in_steps().0
    }

    /// The same; also returns the number of steps.
    #[track_caller]
    pub(super) fn remove_namespace_in_steps(&self) -> (String, usize) {
        for steps in 1..1_000 {
            match self.step(&Step::RemoveNamespace { by: crate::by_hand() }) {
                Answer::Refused(blocked) if blocked.retry_after_ms == Some(0) => {}
                answer => return (word(&answer), steps),
            }
        }
        panic!("removing the namespace has no end");
    }

    /// Returns how much is in the namespace: `"1 running, 0 waiting, 2 records, 3 outcomes"`; or that it
    /// does not exist.
    pub(super) fn counted(&self) -> String {
        match self.view(&View::Namespace) {
            Content::Namespace(None) => "never used".into(),
            Content::Namespace(Some(NamespaceSeen { removed: Some(by), .. })) => {
                let (who, ago_ms) = self.told(&by);
                format!("removed by {who}, {ago_ms} ms ago")
            }
            Content::Namespace(Some(NamespaceSeen { running, waiting, records, outcomes, .. })) => {
                format!("{running} running, {waiting} waiting, {records} records, {outcomes} outcomes")
            }
            other => panic!("not a namespace: {other:?}"),
        }
    }

    /// Returns the namespaces that the store lists and that exist.
    pub(super) fn listed(&self) -> Vec<String> {
        let subject = self.subject.borrow();
        let all = subject
            .store()
            .namespaces(&Limits::within(Duration::from_secs(30)))
            .expect("namespaces are listed");
        let is_there = |namespace: &Namespace| match subject.store().view(namespace, &View::Namespace) {
            Ok(page) => matches!(page.content, Content::Namespace(Some(seen)) if seen.removed.is_none()),
            Err(error) => panic!("{namespace}: {error}"),
        };
        all.into_iter().filter(is_there).map(|namespace| namespace.as_str().to_owned()).collect()
    }

    /// Returns the record of a name, if it is written.
    pub(super) fn record(&self, text: &str) -> Option<Record> {
        match self.view(&View::Names(vec![name(text)])) {
            Content::Names(mut seen) => seen.remove(0).record,
            other => panic!("not names: {other:?}"),
        }
    }

    /// Returns who wrote or removed the record of a name by hand, and how many milliseconds ago.
    pub(super) fn written_or_removed_by(&self, text: &str) -> Option<(String, i64)> {
        match self.view(&View::Names(vec![name(text)])) {
            Content::Names(mut seen) => seen.remove(0).evidence.actor.map(|actor| self.told(&actor)),
            other => panic!("not names: {other:?}"),
        }
    }

    pub(super) fn told(&self, actor: &flowlock::Actor) -> (String, i64) {
        let now_us = self.world(|world| world.now().wall_us);
        let shown = actor.to_string();
        let (who, _) = shown.split_once(" at ").expect("who and when");
        (who.to_owned(), (now_us - actor.at_us) / 1_000)
    }

    /// Returns the names with records, in order, with the state of each: `"a live, b incomplete"`.
    pub(super) fn written(&self) -> String {
        match self.view(&View::Records { prefix: String::new(), after: None, limit: 1_000 }) {
            Content::Records(records, None) => {
                let words: Vec<_> =
                    records.iter().map(|r| format!("{} {}", r.name, r.state.as_str())).collect();
                words.join(", ")
            }
            other => panic!("not records: {other:?}"),
        }
    }
}
