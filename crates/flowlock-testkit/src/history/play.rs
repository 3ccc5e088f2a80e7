//! Playing a script: events become steps, steps go to every store, answers are compared and judged.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use flowlock::step::{self, Acquire, Answer, Holders, Standing, Step};
use flowlock::store::memory::TestWorld;
use flowlock::{
    Attempt, Bounds, ClientId, Holder, Life, Namespace, Nonce, Now, Origin, Run, RunId, State, Ticket,
    World as _,
};

use super::book::{Book, Known, snapshot};
use super::check::{self, Moment};
use super::op::{Arrival, Op, Script};
use super::request::{ends, names};
use super::{Verdict, tally};
use crate::oracle::Snapshot;
use crate::subject::Subject;

/// A history that broke a promise.
#[derive(Debug)]
pub struct Failed {
    /// Which promise, and how.
    pub verdict: String,
    /// Every step and answer up to there.
    pub trace: String,
}

/// Plays a script on the memory store and the embedded store.
pub fn play(script: &Script) -> Result<(), Failed> {
    let mut play = Play::new(script);
    let verdict = play.all(script);
    verdict.map_err(|verdict| Failed { verdict, trace: play.trace.join("\n") })
}

/// A process: what it is called in the store, and whether it is stopped.
#[derive(Debug, Clone, Copy)]
pub(super) struct Client {
    pub(super) id: ClientId,
    pub(super) life: Life,
    pub(super) awake: bool,
    pub(super) last_beat_ms: i64,
}

/// Answers are compared at every step; all runs and records, which takes longer, at every so many.
const COMPARED_EVERY: u64 = 8;

#[derive(Debug)]
pub(super) struct Play {
    pub(super) world: Arc<TestWorld>,
    subjects: Vec<Subject>,
    pub(super) books: [Book; 2],
    pub(super) clients: Vec<Client>,
    /// Every process that died.
    pub(super) dead: Vec<Life>,
    made: u64,
    steps: u64,
    trace: Vec<String>,
}

impl Play {
    fn new(script: &Script) -> Self {
        let world = Arc::new(TestWorld::default());
        let (looks, claims, due) = script.bounds;
        world.bound_steps(Bounds { looks, claims, due });
        let subjects = vec![Subject::memory(world.clone()), Subject::sqlite(world.clone())];
        let mut play = Play {
            world,
            subjects,
            books: [Book::new("here"), Book::new("elsewhere")],
            clients: Vec::new(),
            dead: Vec::new(),
            made: 0,
            steps: 0,
            trace: Vec::new(),
        };
        for _ in 0..4 {
            let client = play.new_client();
            play.clients.push(client);
        }
        play
    }

    fn all(&mut self, script: &Script) -> Verdict {
        if script.written != 0 {
            self.by_hand(&Op::Create((false, script.written), false))?;
        }
        for op in &script.ops {
            self.event(op)?;
        }
        self.everything_ends()?;
        self.steps = 0;
        self.unchanged(None)
    }

    fn event(&mut self, op: &Op) -> Verdict {
        match op {
            Op::Arrive(arrival) => self.arrive(arrival),
            Op::Crowd(arrivals) => self.crowd(arrivals),
            Op::Late(pick, commits) => self.late(*pick, *commits),
            Op::CancelFirst(arrival, delay) => self.cancel_first(arrival, *delay),
            Op::Act(pick, dice) => self.act(*pick, *dice),
            Op::Disturb(pick, dice) => self.disturb(*pick, *dice),
            Op::Pass(ms) => self.pass(*ms),
            Op::Sleep(ms) => {
                self.world.advance(Duration::from_millis((*ms).into()));
                Ok(())
            }
            Op::Create(..) | Op::Remove(..) => self.by_hand(op),
            Op::Unlock(pick, now) => self.unlock(*pick, *now),
            Op::Detach(pick) => self.detach(*pick),
            Op::Pause(client, awake) => {
                self.clients[usize::from(*client)].awake = *awake;
                Ok(())
            }
            Op::Kill(client) => self.kill(usize::from(*client)),
            Op::Bury => self.bury(),
            Op::Reopen => {
                self.subjects.iter_mut().for_each(Subject::reopen);
                self.steps = 0;
                self.unchanged(None)
            }
            Op::Reboot => self.reboot(),
            Op::Settle => (0..2).try_for_each(|at| self.settle(at)),
        }
    }

    /// Carries out one step in one namespace of every store, compares, and asks for the second opinion.
    pub(super) fn step(&mut self, at: usize, step: &Step) -> Result<Answer, String> {
        let now = self.world.now();
        let namespace = self.books[at].namespace.clone();
        let answers = self.on_all(|subject| {
            subject.store().step(&namespace, step).map_err(|error| format!("{step:?} failed: {error}"))
        });
        let answer = answers.inspect_err(|failure| self.note(at, step, failure))?;
        self.note(at, step, &answer);
        self.steps += 1;
        let after = self.snapshot_of(&namespace)?;
        let book = &mut self.books[at];
        heard(book, step, now);
        let before = std::mem::replace(&mut book.snapshot, after);
        let settled = book.settled_at.take() == Some(now);
        let moment = Moment { before: &before, step, answer: &answer, now, settled, dead: &self.dead };
        check::step(book, &moment)?;
        tally::count(&moment, &book.scene(now));
        self.unchanged(Some(at))?;
        Ok(answer)
    }

    /// What the first store holds; now and then, what all of them hold, which must be the same.
    fn snapshot_of(&self, namespace: &Namespace) -> Result<Snapshot, String> {
        if self.steps.is_multiple_of(COMPARED_EVERY) {
            return self.on_all(|subject| snapshot(subject.store(), namespace));
        }
        snapshot(self.subjects[0].store(), namespace)
    }

    /// The same answer from every store, or an account of the difference.
    fn on_all<T: PartialEq + Debug>(&self, ask: impl Fn(&Subject) -> Result<T, String>) -> Result<T, String> {
        let (first, others) = self.subjects.split_first().expect("there are stores");
        let expected = ask(first)?;
        for other in others {
            let got = ask(other)?;
            if got != expected {
                return Err(format!("{} says {expected:#?}\n{} says {got:#?}", first.name(), other.name()));
            }
        }
        Ok(expected)
    }

    /// Nothing changed in any namespace but the given one.
    fn unchanged(&self, but: Option<usize>) -> Verdict {
        for (at, book) in self.books.iter().enumerate().filter(|(at, _)| Some(*at) != but) {
            let found = self.snapshot_of(&book.namespace)?;
            if found != book.snapshot {
                return Err(format!("S9: namespace {at} changed: {:#?}\nbecame {found:#?}", book.snapshot));
            }
        }
        Ok(())
    }

    fn note(&mut self, at: usize, step: &Step, answer: &dyn Debug) {
        let now = self.world.now().boot_ms;
        self.trace.push(format!("{now} {} {step:?}\n    -> {answer:?}", self.books[at].namespace));
    }

    pub(super) fn now(&self) -> Now {
        self.world.now()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn new_client(&mut self) -> Client {
        let number = self.number();
        let last_beat_ms = self.now().boot_ms;
        Client { id: ClientId(number.into()), life: Life(number), awake: true, last_beat_ms }
    }

    pub(super) fn holder(&self, client: usize) -> Holder {
        let Client { id, life, .. } = self.clients[client];
        Holder { client: id, life: Some(life), origin: Arc::new(Origin::default()) }
    }

    /// Somebody asks for claims; often with nothing left over, so that the decision can be foretold.
    pub(super) fn arrive(&mut self, arrival: &Arrival) -> Verdict {
        if self.made.is_multiple_of(3) || arrival.nested && !self.made.is_multiple_of(5) {
            self.settle(usize::from(arrival.elsewhere))?;
        }
        self.admit(arrival)
    }

    /// Somebody asks for claims, whatever is left over.
    pub(super) fn admit(&mut self, arrival: &Arrival) -> Verdict {
        if !self.clients[usize::from(arrival.client)].awake {
            return Ok(());
        }
        let at = usize::from(arrival.elsewhere);
        let known = self.request_of(arrival, at);
        self.books[at].known.push(known);
        let index = self.books[at].known.len() - 1;
        self.send(at, index, arrival.patience.patience()).map(drop)
    }

    pub(super) fn request_of(&mut self, arrival: &Arrival, at: usize) -> Known {
        let client = usize::from(arrival.client);
        let now = self.now();
        let scene = self.books[at].scene(now);
        let parents = scene.holders().filter(|run| {
            run.holder.client == self.clients[client].id
                && run.state == State::Running
                && !scene.is_lapsed(run)
        });
        let parent = parents.last().filter(|_| arrival.nested).map(|run| run.attempt.id.clone());
        let number = self.number();
        let attempt = Attempt {
            id: RunId::parse(&format!("run.{number}")).expect("a plain id"),
            nonce: Nonce(number.into()),
        };
        Known {
            attempt,
            spec: arrival.spec(parent),
            client,
            latest_ms: now.boot_ms + 2_000,
            patience: ends(arrival.patience.patience(), now.boot_ms),
            ended: None,
        }
    }

    /// Sends a request, for the first time or again.
    pub(super) fn send(
        &mut self,
        at: usize,
        index: usize,
        patience: step::Patience,
    ) -> Result<Answer, String> {
        let now = self.now().boot_ms;
        let known = &mut self.books[at].known[index];
        known.latest_ms = known.latest_ms.max(now + 2_000);
        let (known, client) = (known.clone(), known.client);
        let renews = match self.books[at].run_of(index) {
            None => {
                self.books[at].set_patience(index, known.patience);
                false
            }
            Some(_) => known.patience.place_end.is_some() && matches!(patience, step::Patience::HoldPlace(_)),
        };
        let request = Acquire {
            attempt: known.attempt,
            spec: known.spec,
            holder: self.holder(client),
            patience,
            latest_ms: known.latest_ms,
        };
        let answer = self.step(at, &Step::Acquire(request))?;
        if renews && matches!(answer, Answer::Standing(Standing::Waiting(_))) {
            self.books[at].set_patience(index, ends(patience, now));
        }
        Ok(answer)
    }

    pub(super) fn by_hand(&mut self, op: &Op) -> Verdict {
        let (Op::Create((elsewhere, bits), by_force) | Op::Remove((elsewhere, bits), by_force)) = op else {
            return Ok(());
        };
        let holders = if *by_force { Holders::Break } else { Holders::Respect };
        let names = names(*bits);
        let step = match op {
            Op::Create(..) => {
                let number = self.number();
                let record_life = [None, Some(15), Some(60)][number as usize % 3];
                let spec = Arrival { record_life, ..Arrival::nothing() }.spec(None);
                let run = RunId::parse(&format!("hand.{number}")).expect("a plain id");
                Step::Create { names, spec, run, note: None, holders }
            }
            _ => Step::Remove { names, holders },
        };
        self.step(usize::from(*elsewhere), &step).map(drop)
    }

    /// Time passes a second at a time; who is awake sends a heartbeat every five seconds.
    pub(super) fn pass(&mut self, mut ms: u32) -> Verdict {
        loop {
            let part = ms.min(1_000);
            self.world.advance(Duration::from_millis(part.into()));
            let now = self.now().boot_ms;
            for client in 0..self.clients.len() {
                let Client { id, awake, last_beat_ms, .. } = self.clients[client];
                if awake && now - last_beat_ms >= 5_000 {
                    self.clients[client].last_beat_ms = now;
                    for at in 0..2 {
                        let waits = |run: &Run| run.holder.client == id && run.state != State::Running;
                        if self.books[at].snapshot.runs.iter().any(waits) {
                            self.step(at, &Step::Heartbeat(id))?;
                        }
                    }
                }
            }
            ms -= part;
            if ms == 0 {
                return Ok(());
            }
        }
    }

    fn kill(&mut self, client: usize) -> Verdict {
        let life = self.clients[client].life;
        self.world.kill(life);
        self.dead.push(life);
        self.clients[client] = self.new_client();
        Ok(())
    }

    /// What any waiter does that finds processes dead: it says so, the living included.
    pub(super) fn bury(&mut self) -> Verdict {
        (0..2).try_for_each(|at| {
            let tickets: Vec<Ticket> = self.books[at].snapshot.runs.iter().map(|run| run.ticket).collect();
            self.step(at, &Step::Bury(tickets)).map(drop)
        })
    }

    fn reboot(&mut self) -> Verdict {
        self.world.reboot();
        for client in 0..self.clients.len() {
            self.clients[client] = self.new_client();
        }
        for at in 0..2 {
            self.books[at].after_reboot();
            self.step(at, &Step::Heartbeat(ClientId(0)))?;
        }
        Ok(())
    }
}

/// Who speaks is heard.
fn heard(book: &mut Book, step: &Step, now: Now) {
    let client = match step {
        Step::Acquire(request) => request.holder.client,
        Step::Claim { holder, .. } => holder.client,
        Step::Heartbeat(client) => *client,
        _ => return,
    };
    book.knowledge.heard.insert(client, now.boot_ms);
}
