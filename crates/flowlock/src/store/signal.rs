//! News for one client inside this process. Any thread raises it; the client's inbox waits for it.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::{Inbox, InboxInterrupter, Missed, News};
use crate::name::RunId;
use crate::sync::lock;

/// How many news items are kept between two waits: processes that may wake the client could send them
/// without end.
const MOST: usize = 1_024;

/// One news item.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Raised {
    /// From the interrupter: it only ends the wait.
    Interrupted,
    /// Something happened to this run.
    Run(RunId),
    /// Something may have happened to any run.
    #[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "only a server says that to all"))]
    Missed,
    /// There was more news than is kept.
    TooMuch,
}

/// Raised by one side, waited for by the other.
#[derive(Debug, Default)]
pub(super) struct Signal {
    /// News since the last wait.
    raised: Mutex<Vec<Raised>>,
    changed: Condvar,
}

impl Signal {
    /// Ends the current wait, or the next one.
    pub(super) fn raise(&self, news: Raised) {
        let mut raised = lock(&self.raised);
        if raised.len() >= MOST {
            // All runs are asked about then, including these.
            raised.clear();
            raised.push(Raised::TooMuch);
        }
        raised.push(news);
        drop(raised);
        self.changed.notify_all();
    }

    fn wait(&self, at_most: Duration) -> News {
        let raised = lock(&self.raised);
        let waited = self.changed.wait_timeout_while(raised, at_most, |raised| raised.is_empty());
        let (mut raised, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let mut news = News::default();
        for one in raised.drain(..) {
            match one {
                Raised::Interrupted => {}
                Raised::Run(run) => news.runs.push(run),
                Raised::Missed => news.missed = Missed::Everywhere,
                Raised::TooMuch => news.missed = Missed::Here,
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

    fn interrupter(&self) -> Box<dyn InboxInterrupter> {
        Box::new(SignalInterrupter { signal: self.signal.clone() })
    }
}

#[derive(Debug)]
struct SignalInterrupter {
    signal: Arc<Signal>,
}

impl InboxInterrupter for SignalInterrupter {
    fn interrupt(&self) {
        self.signal.raise(Raised::Interrupted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_without_end_is_not_kept_without_end() {
        let signal = Signal::default();
        let run = |number: usize| RunId::parse(&format!("run.{number}")).unwrap();
        (0..MOST).for_each(|number| signal.raise(Raised::Run(run(number))));
        let all = News { runs: (0..MOST).map(run).collect(), ..News::default() };
        assert_eq!(signal.wait(Duration::ZERO), all);
        (0..10 * MOST).for_each(|number| signal.raise(Raised::Run(run(number))));
        let news = signal.wait(Duration::ZERO);
        assert!(news.runs.len() <= MOST, "{}", news.runs.len());
        assert_eq!(news.missed, Missed::Here);
        assert_eq!(signal.wait(Duration::ZERO), News::default());
    }
}
