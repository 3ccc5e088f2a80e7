//! News for one client inside this process: raised by whoever has it, waited for by the client's inbox.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Bell, Inbox};
use crate::name::RunId;
use crate::sync::lock;

/// What one side raises and the other waits for.
#[derive(Debug, Default)]
pub(super) struct Signal {
    /// News since the last wait; `None` in it is the bell.
    raised: Mutex<Vec<Option<RunId>>>,
    changed: Condvar,
}

impl Signal {
    /// Ends the wait that is under way, or the next one; with a run if the news concerns one.
    pub(super) fn raise(&self, news: Option<RunId>) {
        lock(&self.raised).push(news);
        self.changed.notify_all();
    }

    fn wait(&self, at_most: Duration) -> Vec<RunId> {
        let raised = lock(&self.raised);
        let waited = self.changed.wait_timeout_while(raised, at_most, |raised| raised.is_empty());
        let (mut raised, _) = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *raised).into_iter().flatten().collect()
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
    fn wait(&mut self, at_most: Duration) -> Vec<RunId> {
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
        self.signal.raise(None);
    }
}
