//! What is said early and everywhere, on a terminal or off it: a wait that looks like a mistake.

use std::collections::HashSet;
use std::sync::mpsc;
use std::time::Duration;

use flowlock::store::{Reach, reach_of};
use flowlock::{Blocked, Flowlock, RunId};

use crate::exit;
use crate::hint;
use crate::terminal::{self, shown};

/// So long a server may take to answer before that is said.
const SLOW: Duration = Duration::from_secs(1);
/// The same of a file: a busy disk, or many who write, are no news sooner.
const SLOW_FILE: Duration = Duration::from_secs(5);
/// A run that waits for so long has not just been started before the one that writes its input, as cron would do.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Says once which inputs of a waiting run were never written and would be written by no run that lives or waits.
pub(crate) fn say_of_inputs(flowlock: &Flowlock, run: &RunId, blocked: &Blocked) {
    let unknown: Vec<&str> = exit::unknown_inputs(blocked).collect();
    if unknown.is_empty() {
        return;
    }
    // Trouble with the store is not told here: the wait goes on, and has its own words for it.
    let Ok(runs) = flowlock.runs() else { return };
    let others = runs.iter().map(|seen| &seen.run).filter(|other| other.attempt.id != *run);
    let written: HashSet<&str> =
        others.flat_map(|other| other.spec.claims.outputs()).map(|output| output.name.as_str()).collect();
    let orphans: Vec<&str> = unknown.into_iter().filter(|name| !written.contains(name)).collect();
    let hints: Vec<String> = orphans.iter().filter_map(|name| hint::near(flowlock, name)).collect();
    let what = match orphans.as_slice() {
        [] => return,
        [one] => format!("input {one} was never written, and no run that lives or waits would write it"),
        [first, more @ ..] => format!(
            "input {first} and {} more were never written, and no run that lives or waits would write them",
            more.len()
        ),
    };
    let hint = if hints.is_empty() { String::new() } else { format!("; {}", hints.join(" ")) };
    terminal::say(&shown(&format!("{run} waits: {what}{hint}")));
}

/// Says so, once, if the store has not answered a while after this was made. Dropped, it says nothing more.
#[derive(Debug)]
pub(crate) struct SlowStore {
    _answered: Option<mpsc::Sender<()>>,
}

impl SlowStore {
    /// `store` is its address, `tried` how long it is asked in all. Where that is hardly longer, the error that comes then says
    /// it all.
    pub(crate) fn watch(store: &str, tried: Duration) -> Self {
        let (answered, over) = mpsc::channel::<()>();
        let slow = if reach_of(store) == Reach::Hosts { SLOW } else { SLOW_FILE };
        let left = tried.saturating_sub(slow).as_secs();
        if left == 0 {
            return Self::unwatched();
        }
        let text =
            format!("the store does not answer; it is tried for {left} s more (store {})", shown(store));
        let watch = move || {
            if over.recv_timeout(slow) == Err(mpsc::RecvTimeoutError::Timeout) {
                terminal::say(&text);
            }
        };
        // Without a thread for it nothing is said.
        let spawned = std::thread::Builder::new().name("flowlock-slow".into()).spawn(watch);
        Self { _answered: spawned.ok().map(|_| answered) }
    }

    /// For those who want to hear nothing.
    pub(crate) fn unwatched() -> Self {
        Self { _answered: None }
    }
}
