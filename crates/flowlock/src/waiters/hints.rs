//! Limits how often hints are acted on.
//!
//! A hint says that something happened to a run; to check it costs a step. True hints are rare, because
//! a run is granted once. But a process that may write to a store may send any number of them, and could
//! make every other process ask the store without end. So the first hint about a run is passed on at
//! once, and the next ones at growing intervals, until there were none for a while. No hint is thrown
//! away: the last one of a burst is passed on too.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::name::RunId;
use crate::store::{Missed, News};

/// The shortest and the longest interval between two hints about one run; it doubles in between.
const FIRST_GAP: Duration = Duration::from_millis(10);
const LONGEST_GAP: Duration = Duration::from_secs(1);
/// After this time without a hint, the next one counts as the first.
const QUIET: Duration = Duration::from_secs(5);

/// What was passed on lately, and what is still to be passed on.
#[derive(Debug, Default)]
pub(super) struct Hints {
    /// At most as many as this process has runs.
    runs: HashMap<RunId, Pace>,
    missed: Option<Pace>,
    /// What [`Hints::missed`] owes.
    owed: Missed,
}

/// The hints of one kind.
#[derive(Debug)]
struct Pace {
    passed: Instant,
    gap: Duration,
    owes: bool,
}

impl Hints {
    /// Takes in what was heard, and returns what to act on now. Drops hints about runs that are not this
    /// process's (`is_ours`).
    pub(super) fn pass_on(&mut self, heard: News, now: Instant, is_ours: impl Fn(&RunId) -> bool) -> News {
        self.runs.retain(|_, pace| pace.owes || !pace.is_quiet(now));
        let mut news = News::default();
        for run in heard.runs {
            match self.runs.get_mut(&run) {
                Some(pace) => pace.owes = true,
                None if is_ours(&run) => {
                    self.runs.insert(run.clone(), Pace::begin(now));
                    news.runs.push(run);
                }
                None => {}
            }
        }
        let due = self.runs.iter_mut().filter_map(|(run, pace)| pace.take_due(now).then_some(run));
        news.runs.extend(due.cloned());
        self.owed = self.owed.max(heard.missed);
        if self.owed != Missed::Nothing {
            match self.missed.as_mut().filter(|pace| !pace.is_quiet(now)) {
                None => {
                    self.missed = Some(Pace::begin(now));
                    news.missed = std::mem::take(&mut self.owed);
                }
                Some(pace) => {
                    pace.owes = true;
                    if pace.take_due(now) {
                        news.missed = std::mem::take(&mut self.owed);
                    }
                }
            }
        }
        news
    }

    /// Returns when the next held-back hint is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.runs.values().chain(&self.missed).filter(|pace| pace.owes).map(Pace::due).min()
    }
}

impl Pace {
    fn begin(now: Instant) -> Self {
        Self { passed: now, gap: FIRST_GAP, owes: false }
    }

    fn due(&self) -> Instant {
        self.passed + self.gap
    }

    fn is_quiet(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.passed) >= QUIET
    }

    /// Takes a held-back hint to pass on. Returns whether one was due.
    fn take_due(&mut self, now: Instant) -> bool {
        if !self.owes || now < self.due() {
            return false;
        }
        *self = Self { passed: now, gap: (self.gap * 2).min(LONGEST_GAP), owes: false };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u32) -> RunId {
        RunId::parse(&format!("run.{number}")).unwrap()
    }

    fn of(number: u32) -> News {
        News { runs: vec![run(number)], ..News::default() }
    }

    fn missed() -> News {
        News { missed: Missed::Here, ..News::default() }
    }

    #[test]
    fn a_rush_of_hints_about_one_run_is_acted_on_ever_more_seldom_and_none_is_the_last_in_vain() {
        for (news, is_acted_on) in [
            (of(1), (|news| news.runs == [run(1)]) as fn(&News) -> bool),
            (missed(), |news| news.missed == Missed::Here),
        ] {
            let (mut hints, begin) = (Hints::default(), Instant::now());
            let mut passed = Vec::new();
            for ms in 0..10_000 {
                let now = begin + Duration::from_millis(ms);
                if is_acted_on(&hints.pass_on(news.clone(), now, |_| true)) {
                    passed.push(ms);
                }
            }
            let expected =
                [0, 10, 30, 70, 150, 310, 630, 1270, 2270, 3270, 4270, 5270, 6270, 7270, 8270, 9270];
            assert_eq!(passed, expected);
            let due = hints.next().unwrap();
            assert_eq!(due, begin + Duration::from_millis(10_270));
            let early = begin + Duration::from_millis(10_269);
            assert!(!is_acted_on(&hints.pass_on(News::default(), early, |_| true)));
            assert!(is_acted_on(&hints.pass_on(News::default(), due, |_| true)));
            assert_eq!(hints.next(), None);
            // After a quiet time, the next one counts as the first.
            let later = due + QUIET;
            assert!(is_acted_on(&hints.pass_on(news.clone(), later, |_| true)));
            assert!(!is_acted_on(&hints.pass_on(news, later, |_| true)));
            assert_eq!(hints.next(), Some(later + FIRST_GAP));
        }
    }

    #[test]
    fn each_run_has_its_own_and_a_strangers_takes_no_memory() {
        let (mut hints, now) = (Hints::default(), Instant::now());
        let both = News { runs: vec![run(1), run(2), run(1)], ..News::default() };
        assert_eq!(hints.pass_on(both, now, |_| true).runs, [run(1), run(2)]);
        assert_eq!(hints.pass_on(of(3), now, |_| true).runs, [run(3)]);
        assert_eq!(hints.pass_on(of(4), now, |_| false), News::default());
        assert_eq!(hints.runs.len(), 3);
        // The second hint about it.
        assert_eq!(hints.pass_on(News::default(), now + FIRST_GAP, |_| true).runs, [run(1)]);
        hints.pass_on(News::default(), now + QUIET * 2, |_| true);
        assert_eq!((hints.runs.len(), hints.next()), (0, None));
    }
}
