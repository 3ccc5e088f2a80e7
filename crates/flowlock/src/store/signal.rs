//! News for one client inside this process: raised by whoever has it, waited for by the client's inbox.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Bell, Inbox, Missed, News};
use crate::name::RunId;
use crate::sync::lock;

/// One piece of news.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// The bell: it only ends the wait.
    Bell,
    /// Something happened to this run.
    Run(RunId),
    /// Something may have happened to any run.
    Missed,
}

/// What one side raises and the other waits for.
#[derive(Debug, Default)]
pub(super) struct Signal {
    /// News since the last wait.
    raised: Mutex<Vec<Raised>>,
    changed: Condvar,
}

impl Signal {
    /// Ends the wait that is under way, or the next one.
    pub(super) fn raise(&self, news: Raised) {
        lock(&self.raised).push(news);
        self.changed.notify_all();
    }

    fn wait(&self, at_most: Duration) -> News {
        let raised = lock(&self.raised);
        let waited = self.changed.wait_timeout_while(raised, at_most, |raised| raised.is_empty());
        let (mut raised, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut news = News::default();
        for one in raised.drain(..) {
            match one {
                Raised::Bell => {}
                Raised::Run(run) => news.runs.push(run),
                Raised::Missed => news.missed = Missed::Everywhere,
            }
        }
        news
    }
}

/// The waiting side of a signal.
#[derive(Debug)]
pub(super) struct SignalInbox {
    signal: Arc<Signal>,
}

impl SignalInbox {
    pub(super) fn new(signal: Arc<Signal>) -> Self {
        Self { signal }
    }
}

impl Inbox for SignalInbox {
    fn wait(&mut self, at_most: Duration) -> News {
        self.signal.wait(at_most)
    }

    fn bell(&self) -> Box<dyn Bell> {
        Box::new(SignalBell { signal: self.signal.clone() })
    }
}

#[derive(Debug)]
struct SignalBell {
    signal: Arc<Signal>,
}

impl Bell for SignalBell {
    fn ring(&self) {
        self.signal.raise(Raised::Bell);
    }
}
