//! Playing a script: events become steps, steps go to every store, answers are compared and judged.

mod acts;
mod arrivals;
mod disturbances;
mod ending;
mod gatherings;
mod processes;
mod settled;
mod takeovers;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use flowlock::step::{Answer, Step};
use flowlock::store::memory::TestWorld;
use flowlock::store::redis::Ways;
use flowlock::{LivenessId, Namespace, Now, World as _};

use super::book::{Book, WHOLE, snapshot};
use super::check::{self, Moment};
use super::op::{Op, Script, Takeovers};
use super::wakes::Inboxes;
use super::{Verdict, tally};
use crate::oracle::Snapshot;
use crate::subject::{Subject, first_client_of_its_own};
use processes::Client;

/// A history that broke a promise.
#[derive(Debug)]
pub struct Failed {
    /// Which promise, and how.
    pub verdict: String,
    /// Every step and answer up to there.
    pub trace: String,
}

/// Plays a script: on the memory store, the embedded store and the Redis store; with takeovers, only on
/// the Redis store. There, one store takes the fast paths and another one the full engine.
pub fn play(script: &Script, takeovers: Takeovers) -> Result<(), Failed> {
    let mut play = Play::new(script, takeovers);
    let verdict = play.all(script);
    verdict.map_err(|verdict| Failed { verdict, trace: play.trace.join("\n") })
}

/// Answers are compared at every step; all runs and records, which takes longer, at every eighth.
const COMPARED_EVERY: u64 = 8;

#[derive(Debug)]
pub(super) struct Play {
    pub(super) world: Arc<TestWorld>,
    pub(super) subjects: Vec<Subject>,
    pub(super) books: [Book; 2],
    pub(super) clients: Vec<Client>,
    /// All processes that died.
    pub(super) dead: Vec<LivenessId>,
    pub(super) made: u64,
    /// Added to the number of each process, so that those of another play on the same server are
    /// different.
    pub(super) first_client: u128,
    pub(super) steps: u64,
    /// Of every process, in every store.
    pub(super) inboxes: Inboxes,
    trace: Vec<String>,
}

impl Play {
    fn new(script: &Script, takeovers: Takeovers) -> Self {
        let world = Arc::new(TestWorld::default());
        world.bound_steps(script.bounds);
        let subjects = match takeovers {
            Takeovers::Never => vec![
                Subject::memory(world.clone()),
                Subject::sqlite(world.clone()),
                Subject::redis_taking(Ways::Short, world.clone()),
                Subject::redis_taking(Ways::Long, world.clone()),
            ],
            Takeovers::Happen => vec![
                Subject::redis_with_takeovers(Ways::Short, world.clone()),
                Subject::redis_with_takeovers(Ways::Long, world.clone()),
            ],
        };
        let mut play = Play {
            world,
            subjects,
            books: [Book::new("here"), Book::new("elsewhere")],
            clients: Vec::new(),
            dead: Vec::new(),
            made: 0,
            first_client: first_client_of_its_own(),
            steps: 0,
            inboxes: Inboxes::default(),
            trace: Vec::new(),
        };
        for _ in 0..script.clients {
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
            Op::Family(first, elsewhere, fate) => self.family(*first, *elsewhere, *fate),
            Op::Nest(client, elsewhere, chain) => self.nest(*client, *elsewhere, chain),
            Op::Graveyard(readers, elsewhere, creates) => self.graveyard(readers, *elsewhere, *creates),
            Op::Takeover => {
                self.take_over();
                Ok(())
            }
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
            Op::Leave(elsewhere, waits) => self.leave(usize::from(*elsewhere), *waits),
            Op::Unlock(pick, now) => self.unlock(*pick, *now),
            Op::Detach(pick) => self.detach(*pick),
            Op::Pause(client, awake) => {
                let client = self.client(*client);
                self.clients[client].awake = *awake;
                Ok(())
            }
            Op::Kill(client) => {
                self.kill(self.client(*client));
                Ok(())
            }
            Op::Bury => self.bury(),
            Op::Reopen => {
                self.subjects.iter_mut().for_each(Subject::reopen);
                self.steps = 0;
                self.unchanged(None)
            }
            Op::Forget => {
                self.subjects.iter().for_each(Subject::forget);
                Ok(())
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
        let bounds = self.world.bounds();
        let moment = Moment {
            before: &before,
            step,
            answer: &answer,
            now,
            settled,
            was_taken_over: book.is_taken_over,
            bounds,
            dead: &self.dead,
        };
        check::step(book, &moment)?;
        self.inboxes.wakes_are_sent(at, &before, &book.snapshot)?;
        book.has_begun = true;
        if let Some(takeover) = book.takeover {
            takeover.nothing_is_granted(now, &before, &book.snapshot)?;
        }
        tally::count(&moment, &book.scene(now));
        self.unchanged(Some(at))?;
        Ok(answer)
    }

    /// Returns what the first store holds; at intervals checks that all hold the same.
    fn snapshot_of(&self, namespace: &Namespace) -> Result<Snapshot, String> {
        if self.steps.is_multiple_of(COMPARED_EVERY) {
            let page = self.world.bounds().page;
            for subject in &self.subjects {
                let wrong = subject.miscounts();
                crate::history::promise!(wrong.is_empty(), "{}: {}", subject.name(), wrong.join("\n"));
            }
            return self.on_all(|subject| snapshot(subject.store(), namespace, page));
        }
        snapshot(self.subjects[0].store(), namespace, WHOLE)
    }

    /// Returns the answer if it is the same from every store, else a description of the difference.
    pub(super) fn on_all<T: PartialEq + Debug>(
        &self,
        ask: impl Fn(&Subject) -> Result<T, String>,
    ) -> Result<T, String> {
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

    /// Checks that nothing changed in any other namespace, except that a record may have expired.
    fn unchanged(&self, but: Option<usize>) -> Verdict {
        let now_us = self.world.now().wall_us;
        for (at, book) in self.books.iter().enumerate().filter(|(at, _)| Some(*at) != but) {
            let found = self.snapshot_of(&book.namespace)?;
            let mut expected = book.snapshot.clone();
            expected.records.retain(|_, record| record.expires_at_us.is_none_or(|end| end > now_us));
            if found != expected {
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

    /// Returns the index of the drawn process.
    pub(super) fn client(&self, drawn: u8) -> usize {
        usize::from(drawn) % self.clients.len()
    }

    pub(super) fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }
}

/// Notes that the process that sent the step was heard.
fn heard(book: &mut Book, step: &Step, now: Now) {
    let client = match step {
        Step::Acquire(request) => request.holder.client,
        Step::Accept { holder, .. } => holder.client,
        Step::Heartbeat { client, .. } => *client,
        _ => return,
    };
    book.knowledge.heard.insert(client, now.boot_ms);
}
