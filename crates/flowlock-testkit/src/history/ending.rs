//! The events that operate on runs that are there, and the end of a history, when the faults stop.

use flowlock::step::{self, Answer, Cancelled, Invalid, Refreshed, Standing, Step, Unlock, Who};
use flowlock::{Attempt, Nonce, State};

use super::op::{Arrival, Op, Use, Wish};
use super::play::Play;
use super::{Verdict, promise};
use crate::oracle::{holds, waits};

/// How long everything may take to end once the faults stop: leases, waits and places included, in seconds.
const LONGEST_ENDING: u32 = 400;

impl Play {
    /// Living requests of processes that are awake.
    fn living(&self) -> Vec<(usize, usize)> {
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

    /// A run does what its process would do in its state.
    pub(super) fn act(&mut self, pick: u16, dice: u8) -> Verdict {
        let Some((at, i)) = self.pick(pick) else { return Ok(()) };
        let run = self.books[at].run_of(i).expect("picked among the living").clone();
        let attempt = run.attempt.clone();
        let who = Who::from(&attempt);
        let client = self.books[at].known[i].client;
        let has_place = self.books[at].known[i].patience.place_end.is_some();
        let step = match (run.state, dice % 10) {
            (State::AwaitingInput | State::Queued, 0..=3) if has_place => {
                let patience =
                    if dice % 2 == 0 { step::Patience::Try } else { step::Patience::HoldPlace(20_000) };
                return self.send(at, i, patience).map(drop);
            }
            (State::AwaitingInput | State::Queued, 0..=3) => {
                return self.send(at, i, step::Patience::Wait(None)).map(drop);
            }
            (State::AwaitingInput | State::Queued, 4) => self.cancel(&attempt),
            (State::AwaitingInput | State::Queued, 5) => Step::Claim { attempt, holder: self.holder(client) },
            (State::AwaitingInput | State::Queued, _) => return Ok(()),
            (State::Granted, 0) => self.cancel(&attempt),
            (State::Granted, 1) => Step::Commit { who, note: None },
            (State::Granted, _) => Step::Claim { attempt, holder: self.holder(client) },
            (State::Running, 0..=3) => Step::Refresh(vec![who]),
            (State::Running, 4) => Step::Fail(who),
            (State::Running, 5..=7) => Step::Commit { who, note: Some("note".into()) },
            (State::Running, _) => return Ok(()),
            (State::Ended(_), _) => return Ok(()),
        };
        self.step(at, &step).map(drop)
    }

    /// Everybody reads the first name and waits; then it is written, which lets more of them move than a small step
    /// can look at.
    pub(super) fn crowd(&mut self, arrivals: &[Arrival]) -> Verdict {
        let Some((newcomer, crowd)) = arrivals.split_last() else { return Ok(()) };
        let elsewhere = newcomer.elsewhere;
        self.by_hand(&Op::Remove((elsewhere, 1), false))?;
        for arrival in crowd {
            let [_, second, third] = arrival.data;
            let patience = if arrival.patience == Wish::Try { Wish::Wait(30) } else { arrival.patience };
            let data = [Use::Read, second, third];
            self.arrive(&Arrival { elsewhere, data, patience, nested: false, ..arrival.clone() })?;
        }
        self.by_hand(&Op::Create((elsewhere, 1), false))?;
        let [_, second, third] = newcomer.data;
        self.admit(&Arrival { data: [Use::No, second, third], ..newcomer.clone() })
    }

    /// The holder's own step is the first after its deadline.
    pub(super) fn late(&mut self, pick: u16, commits: bool) -> Verdict {
        let running = |(at, i): &(usize, usize)| {
            self.books[*at].run_of(*i).is_some_and(|run| run.state == State::Running && !run.lapsed)
        };
        let running: Vec<_> = self.living().into_iter().filter(running).collect();
        let Some(&(at, i)) = running.get(usize::from(pick) % running.len().max(1)) else { return Ok(()) };
        let run = self.books[at].run_of(i).expect("picked among the living");
        let left = run.deadline_ms.unwrap_or_default() - self.now().boot_ms;
        let who = Who::from(&run.attempt);
        self.world.advance(std::time::Duration::from_millis(left.max(0) as u64));
        let step = if commits { Step::Commit { who, note: None } } else { Step::Refresh(vec![who]) };
        self.step(at, &step).map(drop)
    }

    fn cancel(&self, attempt: &Attempt) -> Step {
        Step::Cancel { attempt: attempt.clone(), latest_ms: self.now().boot_ms + 2_000 }
    }

    /// Repeats and wrong numbers: nothing of it may change anything that is over, or anybody else's run.
    pub(super) fn disturb(&mut self, pick: u16, dice: u8) -> Verdict {
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

    /// Another attempt under the same id: refused while the first one lives, a run of its own afterwards.
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
        let dead =
            still.as_ref().is_some_and(|run| run.holder.life.is_some_and(|life| self.dead.contains(&life)));
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
    pub(super) fn cancel_first(&mut self, arrival: &Arrival, delay: u16) -> Verdict {
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

    pub(super) fn unlock(&mut self, pick: u16, now: bool) -> Verdict {
        let holders = |at: usize| {
            self.books[at].snapshot.runs.iter().filter(|run| holds(run)).map(move |run| (at, run.clone()))
        };
        let all: Vec<_> = (0..2).flat_map(holders).collect();
        let Some((at, run)) = all.get(usize::from(pick) % all.len().max(1)) else { return Ok(()) };
        let how = if now { Unlock::Now } else { Unlock::WhenAcknowledged };
        let token = run.token.unwrap_or_default();
        self.step(*at, &Step::Unlock { run: run.attempt.id.clone(), token, how }).map(drop)
    }

    pub(super) fn detach(&mut self, pick: u16) -> Verdict {
        let Some((at, i)) = self.pick(pick) else { return Ok(()) };
        let attempt = self.books[at].known[i].attempt.clone();
        self.step(at, &Step::Detach(attempt)).map(drop)
    }

    /// The faults stop and nobody new comes: everything ends but what truly misses an input.
    pub(super) fn everything_ends(&mut self) -> Verdict {
        for client in &mut self.clients {
            client.awake = true;
        }
        self.bury()?;
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

    /// What a healthy process does as soon as it can.
    fn wind_up(&mut self, at: usize, i: usize) -> Verdict {
        let Some(run) = self.books[at].run_of(i).cloned() else { return Ok(()) };
        let who = Who::from(&run.attempt);
        let holder = self.holder(self.books[at].known[i].client);
        let step = match run.state {
            State::Granted => Step::Claim { attempt: run.attempt, holder },
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

impl Arrival {
    /// A request for nothing, to be filled in.
    pub(super) fn nothing() -> Self {
        Arrival {
            client: 0,
            elsewhere: false,
            data: [Use::No; 3],
            lock: None,
            slot: None,
            patience: Wish::Try,
            nested: false,
            keeps_old: false,
            spoils_old: false,
            lease: 20,
            record_life: None,
            max_runtime: None,
        }
    }
}
