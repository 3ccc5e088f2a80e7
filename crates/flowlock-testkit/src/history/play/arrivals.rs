//! Requests, sent and sent again, and what operators do by hand.

use flowlock::step::{self, Acquire, Answer, Holders, Sent, Standing, Step};
use flowlock::{Attempt, Nonce, Parent, RunId, State};

use super::super::Verdict;
use super::super::book::Known;
use super::super::op::{Arrival, Op};
use super::super::request::{ends, names};
use super::Play;

impl Play {
    /// Asks for claims; often with nothing left over, so that the decision can be predicted.
    pub(in crate::history) fn arrive(&mut self, arrival: &Arrival) -> Verdict {
        if self.made.is_multiple_of(3) || arrival.nested && !self.made.is_multiple_of(5) {
            self.settle(usize::from(arrival.elsewhere))?;
        }
        self.admit(arrival).map(drop)
    }

    /// Asks for claims, whatever is left over; returns which request it became.
    pub(in crate::history) fn admit(&mut self, arrival: &Arrival) -> Result<Option<usize>, String> {
        if !self.clients[self.client(arrival.client)].awake {
            return Ok(None);
        }
        let at = usize::from(arrival.elsewhere);
        let known = self.request_of(arrival, at);
        self.books[at].known.push(known);
        let index = self.books[at].known.len() - 1;
        self.send(at, index, arrival.patience.patience())?;
        Ok(Some(index))
    }

    pub(in crate::history) fn request_of(&mut self, arrival: &Arrival, at: usize) -> Known {
        let client = self.client(arrival.client);
        let now = self.now();
        let scene = self.books[at].scene(now);
        let parents = scene
            .holders()
            .filter(|run| run.holder.client == self.clients[client].id && run.state == State::Running);
        let parent = parents.last().filter(|_| arrival.nested).map(|run| run.attempt.clone());
        let number = self.number();
        // One in four only claims to be a child: it does not know the secret.
        let guess = |attempt: Attempt| match number % 4 {
            0 => Attempt { nonce: Nonce(attempt.nonce.0 + 1), ..attempt },
            _ => attempt,
        };
        let parent = parent.map(|attempt| Parent::from(&guess(attempt)));
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
    pub(in crate::history) fn send(
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

    pub(in crate::history) fn by_hand(&mut self, op: &Op) -> Verdict {
        let (Op::Create((elsewhere, bits), by_force) | Op::Remove((elsewhere, bits), by_force)) = op else {
            return Ok(());
        };
        let holders = if *by_force { Holders::Break } else { Holders::Respect };
        let names = names(*bits);
        let sent = Sent::First;
        let step = match op {
            Op::Create(..) => {
                let number = self.number();
                let record_life = [None, Some(15), Some(60), None, Some(3 * 86_400)][number as usize % 5];
                let spec = Arrival { record_life, ..Arrival::nothing() }.spec(None);
                let run = RunId::parse(&format!("hand.{number}")).expect("a plain id");
                Step::Create { names, spec, run, note: None, holders, sent, by: crate::by_hand() }
            }
            _ => Step::Remove { names, holders, sent, by: crate::by_hand() },
        };
        self.step(usize::from(*elsewhere), &step).map(drop)
    }
}
