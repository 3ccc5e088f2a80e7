//! What is told of a wait, as text.

use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;

use flowlock::store::{NameSeen, Seen};
use flowlock::{Record, Space, shell_argument};

use super::super::check::problem;
use crate::commands::status;
use crate::context::Context;
use crate::terminal::shown;
use crate::{hint, json, times};

/// How many runs are shown below each other; `flowlock why` of the last one shows how it goes on.
pub(super) const DEEPEST: usize = 10;

/// Shows runs, their blockers, and below each blocker its own blockers, down to runs that do not wait.
/// Each run's blockers are shown once, and only as deep as people read. Any number of runs may wait for
/// each other in a chain.
pub(super) struct Teller<'a> {
    pub(super) text: String,
    waiting: HashMap<&'a str, &'a Seen>,
    told: HashSet<&'a str>,
}

impl<'a> Teller<'a> {
    pub(super) fn new(alive: &'a [Seen]) -> Self {
        let waiting = alive.iter().filter(|seen| seen.run.state.is_waiting());
        let waiting = waiting.map(|seen| (seen.run.attempt.id.as_str(), seen)).collect();
        Self { text: String::new(), waiting, told: HashSet::new() }
    }

    pub(super) fn tell(&mut self, seen: &'a Seen, depth: usize) {
        let run = &seen.run;
        let since = times::relative(seen.seen_us, run.since_us);
        let (state, wanted) = (json::state(seen), status::wanted(run));
        self.line(depth, format_args!("{} ({}): {state}, since {since}", run.attempt.id, shown(&wanted)));
        if let Some(by_hand) = json::by_hand(run) {
            self.line(depth + 1, format_args!("{by_hand}"));
        }
        let Some(blocked) = &seen.blocked else { return };
        if self.told.contains(run.attempt.id.as_str()) {
            return self.line(depth + 1, format_args!("… as shown above"));
        }
        if depth >= 2 * DEEPEST {
            let by_id = shell_argument(&format!("run:{}", run.attempt.id));
            return self.line(depth + 1, format_args!("… and so on: flowlock why {by_id}"));
        }
        self.told.insert(run.attempt.id.as_str());
        if let Some(reason) =
            seen.reason().filter(|_| seen.silent_since_us.is_some() || blocked.by.is_empty())
        {
            self.line(depth + 1, format_args!("{reason}"));
        }
        for blocker in &blocked.by {
            self.line(depth + 1, format_args!("{blocker}"));
            let behind = blocker.by.as_ref().and_then(|by| self.waiting.get(by.run.as_str()));
            if let Some(behind) = behind.copied() {
                self.tell(behind, depth + 2);
            }
        }
        if blocked.more {
            self.line(depth + 1, format_args!("… and more than these {}", blocked.by.len()));
        }
    }

    fn line(&mut self, depth: usize, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.text, "{:indent$}{line}", "", indent = 2 * depth);
    }
}

pub(super) fn tell_name(text: &mut String, context: &Context, seen: &NameSeen) {
    match (&seen.record, problem(seen, None)) {
        (Some(record), None) => tell_record(text, record),
        (_, Some(problem)) => {
            let _ = writeln!(
                text,
                "{}: {}{}",
                seen.name,
                shown(&problem),
                hint::of_name(&context.flowlock, seen)
            );
        }
        (None, None) => {}
    }
    if let Some(failure) = seen.evidence.failure.as_ref().filter(|_| seen.record.is_some()) {
        let (at, outcome) = (flowlock::shown_time(failure.at_us), failure.outcome.as_str());
        let _ = writeln!(text, "  the last attempt to write it, {}, ended {outcome} at {at}", failure.run);
    }
    tell_claimants(text, seen);
    if seen.more_beside_line {
        text.push_str("  … and maybe by more that are in no queue: flowlock why\n");
    } else if seen.holders.is_empty() && seen.line.is_empty() && seen.beside_line.is_empty() {
        text.push_str("  nobody holds it and nobody waits for it\n");
    }
}

/// Shows who holds the name, and who waits for it.
fn tell_claimants(text: &mut String, seen: &NameSeen) {
    for (space, by, _) in &seen.holders {
        let _ = writeln!(
            text,
            "  {} by {by}, since {}",
            held(*space),
            times::relative(seen.seen_us, by.since_us)
        );
    }
    for (space, by) in &seen.line {
        let _ = writeln!(
            text,
            "  {} waited for by {by}, since {}",
            word(*space),
            times::relative(seen.seen_us, by.since_us)
        );
    }
    for (space, by) in &seen.beside_line {
        let _ = writeln!(
            text,
            "  {} waited for by {by}, since {}; it is in no queue: flowlock why {}",
            word(*space),
            times::relative(seen.seen_us, by.since_us),
            shell_argument(&format!("run:{}", by.run))
        );
    }
}

fn tell_record(text: &mut String, record: &Record) {
    let written = flowlock::shown_time(record.written_at_us);
    let _ = writeln!(text, "{}: written at {written} by {} (job {})", record.name, record.run, record.job);
    if let Some(actor) = &record.actor {
        let _ = writeln!(text, "  by hand of {actor}");
    }
    if let Some(note) = &record.note {
        let _ = writeln!(text, "  note: {}", shown(note));
    }
    if let Some(at) = record.expires_at_us {
        let _ = writeln!(text, "  expires at {}", flowlock::shown_time(at));
    }
}

fn held(space: Space) -> &'static str {
    match space {
        Space::Data => "held",
        Space::Lock => "as a lock, held",
        Space::Slot => "as a slot, held",
    }
}

fn word(space: Space) -> &'static str {
    match space {
        Space::Data => "as data,",
        Space::Lock => "as a lock,",
        Space::Slot => "as a slot,",
    }
}

#[cfg(test)]
mod tests {
    use flowlock::{Begun, Flowlock};

    use super::*;

    /// Each is behind the one before.
    #[test]
    fn a_chain_of_runs_is_told_in_a_text_as_long_as_the_chain() {
        let flowlock = Flowlock::open("memory:").unwrap();
        let _holder = flowlock.job("holder").lock("k0").acquire().unwrap();
        let waiting: Vec<_> = (1..=60)
            .map(|at| {
                let [before, own] = [at - 1, at].map(|at| format!("k{at}"));
                match flowlock.job(format!("job{at}")).lock(&before).lock(&own).begin().unwrap() {
                    Begun::Waiting(waiting) => waiting,
                    Begun::Granted(_) => panic!("nothing was in its way"),
                }
            })
            .collect();
        let alive = flowlock.runs().unwrap();
        let told = |only: Option<&str>| {
            let mut teller = Teller::new(&alive);
            let chosen = alive.iter().filter(|seen| {
                seen.run.state.is_waiting() && only.is_none_or(|job| seen.run.spec.job.as_str() == job)
            });
            chosen.for_each(|seen| teller.tell(seen, 0));
            teller.text
        };
        let lines = told(None).lines().count();
        assert!((120..=5 * 60).contains(&lines), "{lines} lines: {}", told(None));
        let last = told(Some("job60"));
        assert!(last.lines().count() <= 2 * DEEPEST + 3, "{last}");
        assert!(last.lines().last().unwrap().contains("… and so on: flowlock why run:job50."), "{last}");
        drop(waiting);
    }
}
