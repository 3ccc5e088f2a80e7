//! The end of a history: the faults stop, and everything must come to its end.

use flowlock::step::{self, Step, Who};
use flowlock::{Run, State, Ticket};

use super::super::Verdict;
use super::Play;
use crate::oracle::waits;

/// How long everything may take to end once the faults stop: leases, waits and places included, in seconds.
const LONGEST_ENDING: u32 = 400;

impl Play {
    /// The faults stop and no new requests come: everything ends except runs that really miss an input.
    pub(in crate::history) fn everything_ends(&mut self) -> Verdict {
        for client in &mut self.clients {
            client.awake = true;
        }
        self.bury()?;
        self.bury_the_last()?;
        for _ in 0..LONGEST_ENDING {
            if self.is_over()? {
                return Ok(());
            }
            self.pass(1_000)?;
            for (at, i) in self.living() {
                self.wind_up(at, i)?;
            }
        }
        let left: Vec<_> = self.books.iter().flat_map(|book| &book.snapshot.runs).collect();
        Err(format!("liveness: {LONGEST_ENDING} s after the last fault there are still {left:#?}"))
    }

    /// A step checks a few of the reported processes, and those that are still there are reported again.
    /// All must be done now: a run of a dead process is not heard any more, and a store without a step
    /// does not change.
    /// is.
    fn bury_the_last(&mut self) -> Verdict {
        for at in 0..2 {
            for _ in 0..self.books[at].snapshot.runs.len() {
                let runs = self.books[at].snapshot.runs.iter();
                let is_dead =
                    |run: &&Run| run.holder.liveness.is_some_and(|liveness| self.dead.contains(&liveness));
                let dead: Vec<Ticket> = runs.filter(is_dead).map(|run| run.ticket).collect();
                if dead.is_empty() {
                    break;
                }
                self.step(at, &Step::Bury(dead))?;
            }
        }
        Ok(())
    }

    fn is_over(&mut self) -> Result<bool, String> {
        for at in 0..2 {
            if self.books[at].snapshot.runs.iter().any(|run| run.state != State::AwaitingInput) {
                return Ok(false);
            }
            self.settle(at)?;
            let scene = self.books[at].scene(self.now());
            if scene.snapshot.runs.iter().any(|run| scene.inputs_are_live(&run.spec.claims)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Does what a healthy process does as soon as it can.
    fn wind_up(&mut self, at: usize, i: usize) -> Verdict {
        let Some(run) = self.books[at].run_of(i).cloned() else { return Ok(()) };
        let who = Who::from(&run.attempt);
        let holder = self.holder(self.books[at].known[i].client);
        let step = match run.state {
            State::Granted => Step::Accept { attempt: run.attempt, holder },
            State::Running if run.revoked => Step::Fail(who),
            State::Running => Step::Commit { who, note: None },
            _ if waits(&run) && !run.present => {
                return self.send(at, i, step::Patience::Wait(None)).map(drop);
            }
            _ => return Ok(()),
        };
        self.step(at, &step).map(drop)
    }
}
