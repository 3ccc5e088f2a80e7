//! Situations that chance alone would rarely bring about: crowds, families, and holders that are late.

use flowlock::State;
use flowlock::step::{Step, Who};

use super::Verdict;
use super::op::{Arrival, Op, Use, Wish};
use super::play::Play;

impl Play {
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

    /// A parent and its child share the first name; a writer stands between them in line; the child also wants what
    /// somebody else has.
    pub(super) fn family(&mut self, first: u8, elsewhere: bool) -> Verdict {
        self.by_hand(&Op::Create((elsewhere, 1), false))?;
        let member = |place: u8, data: [Use; 3]| Arrival {
            client: (first + place) % 4,
            elsewhere,
            data,
            lease: if place == 0 { 3 } else { 20 },
            patience: Wish::WaitForEver,
            ..Arrival::nothing()
        };
        self.admit(&member(0, [Use::Read, Use::No, Use::No]))?;
        self.admit(&member(1, [Use::Write, Use::No, Use::No]))?;
        self.admit(&member(2, [Use::No, Use::Write, Use::No]))?;
        self.admit(&Arrival { nested: true, ..member(0, [Use::Read, Use::Write, Use::No]) })
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
}
