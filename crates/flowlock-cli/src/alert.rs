//! Messages about a wait that looks like a mistake; they are printed early, on a terminal or not.

use std::collections::HashSet;
use std::sync::mpsc;
use std::time::Duration;

use flowlock::store::{Reach, reach_of};
use flowlock::{Blocked, Flowlock, RunId};

use crate::exit;
use crate::hint;
use crate::terminal::{self, shown};

/// How long a server may take to answer before a message says so.
const SLOW: Duration = Duration::from_secs(1);
/// The same for a file: a busy disk, or many writers, are not worth a message sooner.
const SLOW_FILE: Duration = Duration::from_secs(5);
/// After this time, a waiting run was not just started before the run that writes its input, as cron
/// would do.
pub(crate) const GRACE: Duration = Duration::from_secs(5);

/// Prints once which inputs of a waiting run were never written, if no running or waiting run will write
/// them.
pub(crate) fn say_of_inputs(flowlock: &Flowlock, run: &RunId, blocked: &Blocked) {
    let unknown: Vec<&str> = exit::unknown_inputs(blocked).collect();
    if unknown.is_empty() {
        return;
    }
    // Errors of the store are not reported here: the wait goes on, and reports them itself.
    let Ok(runs) = flowlock.runs() else { return };
    let others = runs.iter().map(|seen| &seen.run).filter(|other| other.attempt.id != *run);
    let written: HashSet<&str> =
        others.flat_map(|other| other.spec.claims.outputs()).map(|output| output.name.as_str()).collect();
    let orphans: Vec<&str> = unknown.into_iter().filter(|name| !written.contains(name)).collect();
    let hints: Vec<String> = orphans.iter().filter_map(|name| hint::near(flowlock, name)).collect();
    let what = match orphans.as_slice() {
        [] => return,
        [one] => format!("input {one} was never written, and no running or waiting run will write it"),
        [first, more @ ..] => format!(
            "input {first} and {} more were never written, and no run that lives or waits would write them",
            more.len()
        ),
    };
    let hint = if hints.is_empty() { String::new() } else { format!("; {}", hints.join(" ")) };
    terminal::say(&shown(&format!("{run} waits: {what}{hint}")));
}

/// Prints one message if the store has not answered a while after this was made. Dropping it cancels the
/// message.
#[derive(Debug)]
pub(crate) struct SlowStore {
    _answered: Option<mpsc::Sender<()>>,
}

impl SlowStore {
    /// `store` is its address, `tried` how long it is asked in all. If that is hardly longer than the
    /// time before the message, the error that follows says everything.
    pub(crate) fn watch(store: &str, tried: Duration) -> Self {
        let (answered, over) = mpsc::channel::<()>();
        let slow = if reach_of(store) == Reach::Hosts { SLOW } else { SLOW_FILE };
        let left = tried.saturating_sub(slow).as_secs();
        if left == 0 {
            return Self::unwatched();
        }
        let text = format!("the store does not answer; trying for {left} s more (store {})", shown(store));
        let watch = move || {
            if over.recv_timeout(slow) == Err(mpsc::RecvTimeoutError::Timeout) {
                terminal::say(&text);
            }
        };
        // If there is no thread for it, there is no message.
        let spawned = std::thread::Builder::new().name("flowlock-slow".into()).spawn(watch);
        Self { _answered: spawned.ok().map(|_| answered) }
    }

    /// Returns one that prints nothing, for `--quiet`.
    pub(crate) fn unwatched() -> Self {
        Self { _answered: None }
    }
}
