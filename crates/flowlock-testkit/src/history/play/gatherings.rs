//! Situations that chance alone would rarely produce: crowds, families, and holders that are late.

use std::time::Duration;

use flowlock::State;
use flowlock::step::{Step, Unlock, Who};

use super::super::Verdict;
use super::super::op::{Arrival, Fate, NAMES, Op, Use, Wish};
use super::Play;
use crate::oracle::holds;

impl Play {
    /// All read the first name and wait; then it is written, which lets more of them move than a small
    /// step can look at.
    pub(in crate::history) fn crowd(&mut self, arrivals: &[Arrival]) -> Verdict {
        let Some((newcomer, crowd)) = arrivals.split_last() else { return Ok(()) };
        let elsewhere = newcomer.elsewhere;
        self.by_hand(&Op::Remove((elsewhere, 1), false))?;
        for arrival in crowd {
            let mut data = arrival.data;
            data[0] = Use::Read;
            let patience = if arrival.patience == Wish::Try { Wish::Wait(30) } else { arrival.patience };
            self.arrive(&Arrival { elsewhere, data, patience, nested: false, ..arrival.clone() })?;
        }
        self.by_hand(&Op::Create((elsewhere, 1), false))?;
        let mut data = newcomer.data;
        data[0] = Use::No;
        self.admit(&Arrival { data, ..newcomer.clone() }).map(drop)
    }

    /// All read the first name; all but the last die, and none of them has been found when it is written
    /// or removed by hand. The last one must keep what it has.
    pub(in crate::history) fn graveyard(
        &mut self,
        readers: &[u8],
        elsewhere: bool,
        creates: bool,
    ) -> Verdict {
        let mut readers: Vec<u8> = readers.iter().map(|reader| reader % self.clients.len() as u8).collect();
        readers.dedup();
        self.by_hand(&Op::Create((elsewhere, 1), false))?;
        for &client in &readers {
            self.admit(&Arrival { client, elsewhere, data: shares_the_first(), ..Arrival::nothing() })?;
        }
        if let Some((last, others)) = readers.split_last() {
            others.iter().filter(|dead| *dead != last).for_each(|dead| self.kill(usize::from(*dead)));
        }
        let op = if creates { Op::Create((elsewhere, 1), false) } else { Op::Remove((elsewhere, 1), false) };
        self.by_hand(&op)
    }

    /// A parent, its child and another run share the first name; a writer is queued between them; the
    /// child also wants what another one has. Then the parent lapses or is revoked, and that other one
    /// ends.
    pub(in crate::history) fn family(&mut self, first: u8, elsewhere: bool, fate: Fate) -> Verdict {
        self.by_hand(&Op::Create((elsewhere, 1), false))?;
        let member = |place: u8, lease: u8, uses: [Use; 3]| {
            let mut data = Arrival::nothing().data;
            data[..uses.len()].copy_from_slice(&uses);
            let client = first + place;
            Arrival { client, elsewhere, data, lease, patience: Wish::WaitForEver, ..Arrival::nothing() }
        };
        let parent = self.admit(&member(0, 3, [Use::Read, Use::No, Use::No]))?;
        self.admit(&member(3, 20, [Use::Read, Use::No, Use::No]))?;
        self.admit(&member(1, 20, [Use::Write, Use::No, Use::No]))?;
        let other = self.admit(&member(2, 20, [Use::No, Use::Write, Use::No]))?;
        self.admit(&Arrival { nested: true, ..member(0, 20, [Use::Read, Use::Write, Use::No]) })?;
        let (Some(parent), Some(other)) = (parent, other) else { return Ok(()) };
        let book = &self.books[usize::from(elsewhere)];
        let (parent, other) = (book.known[parent].attempt.clone(), Who::from(&book.known[other].attempt));
        match fate {
            Fate::Open => return Ok(()),
            Fate::Lapsed => self.world.advance(Duration::from_secs(3)),
            Fate::Revoked => {
                let run = book.snapshot.runs.iter().find(|run| run.attempt == parent);
                let Some(token) = run.and_then(|run| run.token) else { return Ok(()) };
                let how = Unlock::WhenAcknowledged;
                self.step(
                    usize::from(elsewhere),
                    &Step::Unlock { run: parent.id, token, how, by: crate::by_hand() },
                )?;
            }
        }
        self.step(usize::from(elsewhere), &Step::Fail(other))?;
        self.settle(usize::from(elsewhere))
    }

    /// Each of a chain asks on behalf of the one before, for units of the same slot.
    pub(in crate::history) fn nest(&mut self, client: u8, elsewhere: bool, chain: &[(u32, u32)]) -> Verdict {
        self.settle(usize::from(elsewhere))?;
        for units in chain {
            let slots = [Some(*units), None];
            let patience = Wish::Wait(30);
            self.admit(&Arrival { client, elsewhere, slots, patience, nested: true, ..Arrival::nothing() })?;
        }
        Ok(())
    }

    /// The holder's own step is the first after its deadline.
    pub(in crate::history) fn late(&mut self, pick: u16, commits: bool) -> Verdict {
        let holds = |(at, i): &(usize, usize)| {
            self.books[*at].run_of(*i).is_some_and(|run| holds(run) && !run.lapsed)
        };
        let holding: Vec<_> = self.living().into_iter().filter(holds).collect();
        let Some(&(at, i)) = holding.get(usize::from(pick) % holding.len().max(1)) else { return Ok(()) };
        let run = self.books[at].run_of(i).expect("picked among the living").clone();
        let left = run.deadline_ms.unwrap_or_default() - self.now().boot_ms;
        let who = Who::from(&run.attempt);
        self.world.advance(Duration::from_millis(left.max(0) as u64));
        let step = match run.state {
            State::Granted => {
                Step::Accept { attempt: run.attempt, holder: self.holder(self.books[at].known[i].client) }
            }
            _ if commits => Step::Commit { who, note: None },
            _ => Step::Refresh(vec![who]),
        };
        self.step(at, &step).map(drop)
    }
}

fn shares_the_first() -> [Use; NAMES] {
    let mut data = [Use::No; NAMES];
    data[0] = Use::Read;
    data
}
