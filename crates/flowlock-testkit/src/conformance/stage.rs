//! A fluent way to say what happens to a store.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Duration;

use flowlock::step::{
    Acquire, Answer, Cancelled, Finished, Holders, Invalid, Patience, Refreshed, Running, Standing, Step,
    Unlock, Who,
};
use flowlock::store::{Content, StoreError, View};
use flowlock::{
    Attempt, Blocked, Blocker, Claims, ClaimsBuilder, ClientId, Holder, IfWritten, JobName, Life, Name,
    Namespace, Nonce, OnFail, Origin, Outcome, Record, Run, RunId, Spec, State, Token, World as _,
};

use crate::Subject;

/// A store, and what a case does to it.
#[derive(Debug)]
pub struct Stage {
    subject: RefCell<Subject>,
    namespace: RefCell<Namespace>,
    made: Cell<u64>,
}

fn name(text: &str) -> Name {
    Name::parse(text).expect("a plain name")
}

impl Stage {
    pub(super) fn new(subject: Subject) -> Self {
        Stage {
            subject: RefCell::new(subject),
            namespace: RefCell::new(Namespace::default()),
            made: Cell::new(0),
        }
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
        };
        let attempt = Attempt { id: RunId::parse(id).expect("a plain id"), nonce: Nonce(number.into()) };
        let holder = Holder {
            client: ClientId(number.into()),
            life: Some(Life(number)),
            origin: Arc::new(Origin::default()),
        };
        Request { stage: self, claims: Claims::builder(), spec, attempt, holder, latest_ms: 60_000 }
    }

    fn number(&self) -> u64 {
        self.made.set(self.made.get() + 1);
        self.made.get()
    }

    /// Carries out one step, which must work.
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

    /// Time passes, in seconds, and nobody says a word; then a stranger's heartbeat makes one step.
    pub(super) fn pass(&self, seconds: u64) {
        self.world(|world| world.advance(Duration::from_secs(seconds)));
        self.tick();
    }

    /// Time passes, and these send a heartbeat every five seconds.
    pub(super) fn pass_hearing(&self, seconds: u64, actors: &[&Actor<'_>]) {
        for second in 1..=seconds {
            self.world(|world| world.advance(Duration::from_secs(1)));
            for actor in actors.iter().filter(|_| second % 5 == 0) {
                actor.beats();
            }
        }
        self.tick();
    }

    /// A stranger's heartbeat: a step that wants nothing.
    pub(super) fn tick(&self) {
        self.step(&Step::Heartbeat(ClientId(u128::MAX)));
    }

    /// Does something to the world.
    pub(super) fn world<T>(&self, act: impl FnOnce(&flowlock::store::memory::TestWorld) -> T) -> T {
        act(self.subject.borrow().world())
    }

    pub(super) fn now_ms(&self) -> i64 {
        self.world(|world| world.now().boot_ms)
    }

    /// The store is closed without a word and opened again.
    pub(super) fn reopen(&self) {
        self.subject.borrow_mut().reopen();
    }

    /// Listens for wake-ups of an actor's process.
    pub(super) fn inbox(&self, actor: &Actor<'_>) -> Box<dyn flowlock::store::Inbox> {
        self.subject.borrow().store().inbox(actor.holder.client).expect("an inbox opens")
    }

    /// Marks names written by hand; the answer as a word.
    pub(super) fn create(&self, names: &[&str]) -> String {
        self.by_hand(names, Holders::Respect, None)
    }

    pub(super) fn create_by_force(&self, names: &[&str]) -> String {
        self.by_hand(names, Holders::Break, None)
    }

    /// Marks names written by hand, for so many seconds.
    pub(super) fn create_for(&self, names: &[&str], seconds: u64) -> String {
        self.by_hand(names, Holders::Respect, Some(seconds * 1_000))
    }

    fn by_hand(&self, names: &[&str], holders: Holders, record_life_ms: Option<u64>) -> String {
        let request = self.run(&format!("hand.{}", self.made.get()));
        let spec = Spec { record_life_ms, ..request.spec };
        let names = names.iter().map(|text| name(text)).collect();
        word(&self.step(&Step::Create {
            names,
            spec: spec.into(),
            run: request.attempt.id,
            note: None,
            holders,
        }))
    }

    pub(super) fn remove(&self, names: &[&str]) -> String {
        let names = names.iter().map(|text| name(text)).collect();
        word(&self.step(&Step::Remove { names, holders: Holders::Respect }))
    }

    pub(super) fn remove_by_force(&self, names: &[&str]) -> String {
        let names = names.iter().map(|text| name(text)).collect();
        word(&self.step(&Step::Remove { names, holders: Holders::Break }))
    }

    /// The record of a name, if one is written.
    pub(super) fn record(&self, text: &str) -> Option<Record> {
        match self.view(&View::Names(vec![name(text)])) {
            Content::Names(mut seen) => seen.remove(0).record,
            other => panic!("not names: {other:?}"),
        }
    }

    /// Names with records, in order, with the state of each: `"a live, b incomplete"`.
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

/// A request in the making.
#[derive(Debug)]
pub struct Request<'s> {
    stage: &'s Stage,
    claims: ClaimsBuilder,
    spec: Spec,
    attempt: Attempt,
    holder: Holder,
    latest_ms: i64,
}

impl<'s> Request<'s> {
    fn with(mut self, add: impl FnOnce(ClaimsBuilder) -> ClaimsBuilder) -> Self {
        self.claims = add(self.claims);
        self
    }

    pub(super) fn reads(self, text: &str) -> Self {
        self.with(|claims| claims.input(name(text)))
    }

    pub(super) fn writes(self, text: &str) -> Self {
        self.with(|claims| claims.output(name(text)))
    }

    pub(super) fn locks(self, text: &str) -> Self {
        self.with(|claims| claims.lock(name(text)))
    }

    pub(super) fn shares(self, text: &str) -> Self {
        self.with(|claims| claims.lock_shared(name(text)))
    }

    pub(super) fn slot(self, text: &str, units: u32, capacity: u32) -> Self {
        self.with(|claims| claims.slot(name(text), units, capacity))
    }

    pub(super) fn lease(mut self, seconds: u64) -> Self {
        self.spec.lease_ms = seconds * 1_000;
        self
    }

    pub(super) fn child_of(mut self, parent: &Actor<'_>) -> Self {
        self.spec.parent = Some(parent.attempt.id.clone());
        self
    }

    /// It may not overwrite.
    pub(super) fn once(mut self) -> Self {
        self.spec.if_written = IfWritten::Fail;
        self
    }

    /// Its failure leaves the old records incomplete.
    pub(super) fn spoiling(mut self) -> Self {
        self.spec.on_fail = OnFail::Incomplete;
        self
    }

    pub(super) fn longest(mut self, seconds: u64) -> Self {
        self.spec.max_runtime_ms = Some(seconds * 1_000);
        self
    }

    pub(super) fn records_for(mut self, seconds: u64) -> Self {
        self.spec.record_life_ms = Some(seconds * 1_000);
        self
    }

    /// From the same process as another run.
    pub(super) fn beside(mut self, other: &Actor<'_>) -> Self {
        self.holder = other.holder.clone();
        self
    }

    /// Its sending is valid so many milliseconds.
    pub(super) fn latest(mut self, ms: i64) -> Self {
        self.latest_ms = ms;
        self
    }

    #[track_caller]
    pub(super) fn tries(self) -> Actor<'s> {
        self.send(Patience::Try)
    }

    #[track_caller]
    pub(super) fn waits(self) -> Actor<'s> {
        self.send(Patience::Wait(None))
    }

    #[track_caller]
    pub(super) fn waits_for(self, seconds: u64) -> Actor<'s> {
        self.send(Patience::Wait(Some(seconds * 1_000)))
    }

    #[track_caller]
    pub(super) fn holds_place(self, seconds: u64) -> Actor<'s> {
        self.send(Patience::HoldPlace(seconds * 1_000))
    }

    #[track_caller]
    fn send(self, patience: Patience) -> Actor<'s> {
        let actor = self.unsent(patience);
        *actor.first.borrow_mut() = Some(actor.sends(patience));
        actor
    }

    /// The request, not sent.
    pub(super) fn unsent(self, patience: Patience) -> Actor<'s> {
        let Request { stage, claims, mut spec, attempt, holder, latest_ms } = self;
        spec.claims = claims.build().expect("claims within their limits");
        let latest_ms = stage.now_ms() + latest_ms;
        Actor { stage, spec: spec.into(), attempt, holder, latest_ms, patience, first: RefCell::new(None) }
    }
}

/// A run and its process.
#[derive(Debug)]
pub struct Actor<'s> {
    stage: &'s Stage,
    pub(super) spec: Arc<Spec>,
    pub(super) attempt: Attempt,
    pub(super) holder: Holder,
    pub(super) latest_ms: i64,
    patience: Patience,
    first: RefCell<Option<Answer>>,
}

impl Actor<'_> {
    /// Sends the request; the whole answer.
    #[track_caller]
    pub(super) fn sends(&self, patience: Patience) -> Answer {
        let request = Acquire {
            attempt: self.attempt.clone(),
            spec: self.spec.clone(),
            holder: self.holder.clone(),
            patience,
            latest_ms: self.latest_ms,
        };
        self.stage.step(&Step::Acquire(request))
    }

    /// Sends the same request again, as fresh as can be; the answer as a word.
    #[track_caller]
    pub(super) fn again(&self) -> String {
        word(&self.sends(self.patience))
    }

    /// The answer to its first sending.
    pub(super) fn first(&self) -> Answer {
        self.first.borrow().clone().expect("the request was sent")
    }

    /// The blockers that the first answer named.
    pub(super) fn first_blocked(&self) -> Blocked {
        match self.first() {
            Answer::Standing(Standing::Waiting(waiting)) => waiting.blocked,
            Answer::Standing(Standing::Ended { blocked: Some(blocked), .. }) | Answer::Refused(blocked) => {
                blocked
            }
            other => panic!("nothing blocked it: {other:?}"),
        }
    }

    /// What its process was told when it began.
    pub(super) fn began(&self) -> Running {
        match self.first() {
            Answer::Standing(Standing::Running(running)) => running,
            other => panic!("it does not run: {other:?}"),
        }
    }

    /// Asserts where the run stands, without touching it.
    #[track_caller]
    pub(super) fn is(&self, expected: &str) -> &Self {
        assert_eq!(self.state(), expected, "where {} stands", self.attempt.id);
        self
    }

    /// Where the run stands: its state, and whether it is absent, lapsed or revoked.
    pub(super) fn state(&self) -> String {
        let Some(run) = self.seen() else { return self.ended() };
        let marks = [
            (run.state.is_waiting() && !run.present, "absent"),
            (run.lapsed, "lapsed"),
            (run.revoked, "revoked"),
        ];
        let marks: String =
            marks.iter().filter(|(set, _)| *set).map(|(_, mark)| format!(", {mark}")).collect();
        format!("{}{marks}", run.state.as_str())
    }

    /// The run as the store shows it, while it lives.
    pub(super) fn seen(&self) -> Option<Run> {
        let id = self.attempt.id.clone();
        match self.stage.view(&View::Run(id)) {
            Content::Run(seen) => seen
                .map(|seen| seen.run)
                .filter(|run| run.attempt == self.attempt && !matches!(run.state, State::Ended(_))),
            other => panic!("not a run: {other:?}"),
        }
    }

    /// How it ended, by asking: a refresh of a run that is over changes nothing.
    fn ended(&self) -> String {
        match self.first.borrow().as_ref() {
            Some(Answer::Standing(Standing::Ended { .. }) | Answer::Invalid(_)) => word(&self.first()),
            _ => self.refreshes(),
        }
    }

    pub(super) fn token(&self) -> Token {
        self.seen().and_then(|run| run.token).expect("it holds a grant")
    }

    /// What is in its way: `"lock_held l by A"`.
    pub(super) fn blockers(&self) -> Vec<String> {
        match self.stage.view(&View::Run(self.attempt.id.clone())) {
            Content::Run(Some(seen)) => {
                seen.blocked.map(|blocked| blocked.by.iter().map(blocker).collect()).unwrap_or_default()
            }
            other => panic!("not a run: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn claims(&self) -> String {
        word(&self.stage.step(&Step::Claim { attempt: self.attempt.clone(), holder: self.holder.clone() }))
    }

    #[track_caller]
    pub(super) fn refreshes(&self) -> String {
        word(&self.stage.step(&Step::Refresh(vec![self.who()])))
    }

    #[track_caller]
    pub(super) fn commits(&self) -> String {
        word(&self.stage.step(&Step::Commit { who: self.who(), note: None }))
    }

    #[track_caller]
    pub(super) fn commits_with(&self, note: &str) -> String {
        word(&self.stage.step(&Step::Commit { who: self.who(), note: Some(note.into()) }))
    }

    #[track_caller]
    pub(super) fn fails(&self) -> String {
        word(&self.stage.step(&Step::Fail(self.who())))
    }

    #[track_caller]
    pub(super) fn cancels(&self) -> String {
        word(&self.stage.step(&Step::Cancel { attempt: self.attempt.clone(), latest_ms: self.latest_ms }))
    }

    /// A heartbeat of its process: the runs the answer speaks of, `"A queued"`.
    #[track_caller]
    pub(super) fn beats(&self) -> Vec<String> {
        match self.stage.step(&Step::Heartbeat(self.holder.client)) {
            Answer::Heard(runs) => runs
                .into_iter()
                .map(|(id, standing)| format!("{id} {}", word(&Answer::Standing(standing))))
                .collect(),
            other => panic!("not an answer to a heartbeat: {other:?}"),
        }
    }

    #[track_caller]
    pub(super) fn is_unlocked(&self, how: Unlock) -> String {
        let token = self.token();
        word(&self.stage.step(&Step::Unlock { run: self.attempt.id.clone(), token, how }))
    }

    #[track_caller]
    pub(super) fn detaches(&self) -> String {
        word(&self.stage.step(&Step::Detach(self.attempt.clone())))
    }

    /// Its process dies.
    pub(super) fn dies(&self) {
        self.stage.world(|world| world.kill(self.holder.life.expect("it has a liveness lock")));
    }

    /// Somebody says that this run's process is dead.
    #[track_caller]
    pub(super) fn is_buried(&self) -> String {
        let ticket = self.seen().expect("it lives in the store").ticket;
        word(&self.stage.step(&Step::Bury(vec![ticket])))
    }

    pub(super) fn who(&self) -> Who {
        Who::from(&self.attempt)
    }
}

pub(super) fn blocker(blocker: &Blocker) -> String {
    let by = blocker.by.as_ref().map(|by| format!(" by {}", by.run)).unwrap_or_default();
    format!("{} {}{by}", blocker.kind.as_str(), blocker.name)
}

/// An answer in one word.
pub(super) fn word(answer: &Answer) -> String {
    match answer {
        Answer::Standing(Standing::Waiting(waiting)) if waiting.present => waiting.state.as_str().into(),
        Answer::Standing(Standing::Waiting(waiting)) => format!("{}, absent", waiting.state.as_str()),
        Answer::Standing(Standing::Granted { .. }) => "granted".into(),
        Answer::Standing(Standing::Running(_)) => "running".into(),
        Answer::Standing(Standing::Ended { outcome, .. }) => outcome.as_str().into(),
        Answer::Standing(Standing::AskAgain) | Answer::Finished(Finished::AskAgain) => "ask_again".into(),
        Answer::Refreshed(all) => all.iter().map(refreshed).collect::<Vec<_>>().join(", "),
        Answer::Finished(Finished::Ended { outcome: Outcome::Committed, late: true }) => {
            "committed late".into()
        }
        Answer::Finished(Finished::Ended { outcome, .. }) => outcome.as_str().into(),
        Answer::Finished(Finished::NotClaimed) => "not_claimed".into(),
        Answer::Finished(Finished::NotFound) | Answer::NotFound => "not_found".into(),
        Answer::Cancelled(Cancelled::Withdrawn) => "withdrawn".into(),
        Answer::Cancelled(Cancelled::TooLate(state)) => format!("too late: {}", state.as_str()),
        Answer::Done => "done".into(),
        Answer::Refused(blocked) if blocked.by.is_empty() => {
            format!("refused, again in {:?}", blocked.retry_after_ms)
        }
        Answer::Refused(blocked) => blocked.by.iter().map(blocker).collect::<Vec<_>>().join(", "),
        Answer::Invalid(Invalid::RunIdInUse) => "run_id_in_use".into(),
        Answer::Invalid(Invalid::RunIdReused) => "run_id_reused".into(),
        Answer::Invalid(Invalid::ArrivedTooLate) => "arrived_too_late".into(),
        Answer::Invalid(Invalid::LatestTooFar) => "latest_too_far".into(),
        other => format!("{other:?}"),
    }
}

fn refreshed(answer: &Refreshed) -> String {
    match answer {
        Refreshed::Held { late: true, .. } => "held late".into(),
        Refreshed::Held { .. } => "held".into(),
        Refreshed::MaxRuntime { .. } => "max_runtime".into(),
        Refreshed::AskAgain => "ask_again".into(),
        Refreshed::Over(outcome) => outcome.as_str().into(),
        Refreshed::NotRunning => "not_running".into(),
        Refreshed::NotFound => "not_found".into(),
    }
}
