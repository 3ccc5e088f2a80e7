//! What processes and operators do with existing runs.

use std::time::Duration;

use flowlock::step::{self, Answer, Holders, Sent, Step, Unlock, Who};
use flowlock::store::View;
use flowlock::{Attempt, State};

use super::super::{Verdict, promise};
use super::Play;
use crate::oracle::{Snapshot, holds};
use crate::subject::Subject;

/// More steps than anything takes that is done a page at a time.
const MOST_ROUNDS: usize = 1_000;

impl Play {
    /// Living requests of processes that are awake.
    pub(in crate::history) fn living(&self) -> Vec<(usize, usize)> {
        let of_book = |at: usize| {
            let book = &self.books[at];
            let alive = (0..book.known.len())
                .filter(move |i| self.clients[book.known[*i].client].awake && book.run_of(*i).is_some());
            alive.map(move |i| (at, i))
        };
        (0..2).flat_map(of_book).collect()
    }

    fn pick(&self, pick: u16) -> Option<(usize, usize)> {
        let living = self.living();
        (!living.is_empty()).then(|| living[usize::from(pick) % living.len()])
    }

    /// Makes a run do what its process would do in its state.
    pub(in crate::history) fn act(&mut self, pick: u16, dice: u8) -> Verdict {
        let Some((at, i)) = self.pick(pick) else { return Ok(()) };
        let run = self.books[at].run_of(i).expect("picked among the living").clone();
        let attempt = run.attempt.clone();
        let who = Who::from(&attempt);
        let client = self.books[at].known[i].client;
        let has_place = self.books[at].known[i].patience.place_end.is_some();
        let step = match (run.state, dice % 10) {
            (State::AwaitingInput | State::Queued, 0..=3) if has_place => {
                let patience = if dice.is_multiple_of(2) {
                    step::Patience::Try
                } else {
                    step::Patience::HoldPlace(20_000)
                };
                return self.send(at, i, patience).map(drop);
            }
            (State::AwaitingInput | State::Queued, 0..=3) => {
                return self.send(at, i, step::Patience::Wait(None)).map(drop);
            }
            (State::AwaitingInput | State::Queued, 4) | (State::Granted, 0) => self.cancel(&attempt),
            (State::Granted, 1) => Step::Commit { who, note: None },
            (State::AwaitingInput | State::Queued, 5) | (State::Granted, _) => {
                Step::Accept { attempt, holder: self.holder(client) }
            }
            (State::Running, 0..=2) => Step::Refresh(vec![who]),
            (State::Running, 3) => Step::GiveBack(attempt),
            (State::Running, 4) => Step::Fail(who),
            (State::Running, 5..=7) => Step::Commit { who, note: Some("note".into()) },
            _ => return Ok(()),
        };
        self.step(at, &step).map(drop)
    }

    fn cancel(&self, attempt: &Attempt) -> Step {
        Step::Cancel { attempt: attempt.clone(), latest_ms: self.now().boot_ms + 2_000 }
    }

    pub(in crate::history) fn unlock(&mut self, pick: u16, now: bool) -> Verdict {
        let holders = |at: usize| {
            self.books[at].snapshot.runs.iter().filter(|run| holds(run)).map(move |run| (at, run.clone()))
        };
        let all: Vec<_> = (0..2).flat_map(holders).collect();
        let Some((at, run)) = all.get(usize::from(pick) % all.len().max(1)) else { return Ok(()) };
        let how = if now { Unlock::Now } else { Unlock::WhenAcknowledged };
        let token = run.token.unwrap_or_default();
        self.step(*at, &Step::Unlock { run: run.attempt.id.clone(), token, how, by: crate::by_hand() })
            .map(drop)
    }

    /// Removes all records of a namespace; perhaps lets all be silent until all outcomes are forgotten;
    /// then removes it, if it is empty.
    pub(in crate::history) fn leave(&mut self, at: usize, waits: bool) -> Verdict {
        let all = super::super::request::names(u8::MAX);
        self.step(
            at,
            &Step::Remove { names: all, holders: Holders::Break, sent: Sent::First, by: crate::by_hand() },
        )?;
        if waits {
            self.world.advance(Duration::from_mins(11));
        }
        for _ in 0..MOST_ROUNDS {
            let answer = self.step(at, &Step::RemoveNamespace { by: crate::by_hand() })?;
            match answer {
                Answer::Refused(blocked) => {
                    let wait_ms = blocked.retry_after_ms.unwrap_or_default();
                    self.world.advance(Duration::from_millis(wait_ms));
                    continue;
                }
                Answer::Done | Answer::NotFound => {
                    let Snapshot { runs, records } = &self.books[at].snapshot;
                    promise!(
                        runs.is_empty() && records.is_empty(),
                        "removed with {runs:?} and {records:?} in it"
                    );
                }
                _ => {}
            }
            let namespace = self.books[at].namespace.clone();
            let look = |subject: &Subject| {
                let page = subject.store().view(&namespace, &View::Namespace);
                page.map(|page| page.content).map_err(|error| error.to_string())
            };
            return self.on_all(look).map(drop);
        }
        Err("removing a namespace has no end".into())
    }

    pub(in crate::history) fn detach(&mut self, pick: u16) -> Verdict {
        let Some((at, i)) = self.pick(pick) else { return Ok(()) };
        let attempt = self.books[at].known[i].attempt.clone();
        self.step(at, &Step::Detach(attempt)).map(drop)
    }
}
