//! Repeated steps, steps of other clients and wrong tokens: none of them may change an ended run, or another client's run.

use flowlock::step::{self, Answer, Cancelled, Invalid, Refreshed, Standing, Step, Who};
use flowlock::{Attempt, Nonce};

use super::super::op::Arrival;
use super::super::{Verdict, promise};
use super::Play;

impl Play {
    /// Repetitions and wrong numbers: nothing of it may change anything that has ended, or another's
    /// run.
    pub(in crate::history) fn disturb(&mut self, pick: u16, dice: u8) -> Verdict {
        let all: Vec<(usize, usize)> =
            (0..2).flat_map(|at| (0..self.books[at].known.len()).map(move |i| (at, i))).collect();
        let Some(&(at, i)) = all.get(usize::from(pick) % all.len().max(1)) else { return Ok(()) };
        let known = self.books[at].known[i].clone();
        let who = Who::from(&known.attempt);
        let number = self.number();
        let stranger = Attempt { nonce: Nonce(u128::from(number)), ..known.attempt.clone() };
        match dice % 7 {
            0 => self.step(at, &Step::Refresh(vec![who])).map(drop),
            1 if known.ended.is_some() => self.step(at, &Step::Commit { who, note: None }).map(drop),
            2 if known.ended.is_some() => self.step(at, &Step::Fail(who)).map(drop),
            3 => self.changed_body(at, i),
            4 => self.step(at, &Step::Commit { who: Who::from(&stranger), note: None }).and_then(|answer| {
                promise!(
                    answer == Answer::Finished(step::Finished::NotFound),
                    "S2: a stranger's commit is answered {answer:?}"
                );
                Ok(())
            }),
            5 => self.step(at, &Step::Refresh(vec![Who::from(&stranger)])).and_then(|answer| {
                promise!(
                    answer == Answer::Refreshed(vec![Refreshed::NotFound]),
                    "a stranger's refresh is answered {answer:?}"
                );
                Ok(())
            }),
            _ => self.same_id(at, i, stranger),
        }
    }

    /// The same attempt with another body is refused as long as the attempt is known.
    fn changed_body(&mut self, at: usize, i: usize) -> Verdict {
        if self.books[at].run_of(i).is_none() {
            return Ok(());
        }
        let honest = self.books[at].known[i].spec.clone();
        let mut changed = (*honest).clone();
        changed.lease_ms += 1;
        self.books[at].known[i].spec = changed.into();
        let answer = self.send(at, i, step::Patience::Wait(None));
        self.books[at].known[i].spec = honest;
        let answer = answer?;
        promise!(answer == Answer::Invalid(Invalid::RunIdReused), "a changed body is answered {answer:?}");
        Ok(())
    }

    /// Another attempt with the same id: refused while the first one lives, an independent run
    /// afterwards.
    fn same_id(&mut self, at: usize, i: usize, stranger: Attempt) -> Verdict {
        let first = self.books[at].run_of(i).cloned();
        let same_id = |run: &flowlock::Run| run.attempt.id == stranger.id;
        let lives = self.books[at].snapshot.runs.iter().any(same_id);
        self.settle(at)?;
        let still = self.books[at].snapshot.runs.iter().find(|run| same_id(run)).cloned();
        let mut known = self.books[at].known[i].clone();
        let now = self.now().boot_ms;
        known.attempt = stranger;
        known.latest_ms = now + 2_000;
        known.ended = None;
        known.patience = crate::oracle::Patience::default();
        let dead = still
            .as_ref()
            .is_some_and(|run| run.holder.liveness.is_some_and(|liveness| self.dead.contains(&liveness)));
        self.books[at].known.push(known);
        let index = self.books[at].known.len() - 1;
        let answer = self.send(at, index, step::Patience::Try)?;
        let refused = answer == Answer::Invalid(Invalid::RunIdInUse);
        promise!(
            refused == (still.is_some() && !dead),
            "a second attempt beside {first:?} (alive before: {lives}) is answered {answer:?}"
        );
        Ok(())
    }

    /// A request that was cancelled before it arrived is never granted.
    pub(in crate::history) fn cancel_first(&mut self, arrival: &Arrival, delay: u16) -> Verdict {
        let at = usize::from(arrival.elsewhere);
        let known = self.request_of(arrival, at);
        let (attempt, latest_ms) = (known.attempt.clone(), known.latest_ms);
        let answer = self.step(at, &Step::Cancel { attempt, latest_ms })?;
        promise!(answer == Answer::Cancelled(Cancelled::Withdrawn), "cancelled first: {answer:?}");
        self.pass(delay.into())?;
        let request = step::Acquire {
            attempt: known.attempt,
            spec: known.spec,
            holder: self.holder(known.client),
            patience: arrival.patience.patience(),
            latest_ms,
        };
        let answer = self.step(at, &Step::Acquire(request))?;
        let harmless = matches!(
            answer,
            Answer::Invalid(Invalid::ArrivedTooLate)
                | Answer::Standing(Standing::Ended { outcome: flowlock::Outcome::Cancelled, .. })
        );
        promise!(harmless, "a tombstone was pierced: {answer:?}");
        Ok(())
    }
}
