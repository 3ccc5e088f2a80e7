//! An inbox that misses messages, or hears what nobody sent, when a test says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowlock::RunId;
use flowlock::store::{Inbox, InboxInterrupter, Missed, News};

/// Changes what a connection hears.
#[derive(Debug, Clone, Default)]
pub(super) struct Ear(Arc<State>);

#[derive(Debug, Default)]
struct State {
    missed: AtomicBool,
    hints: Mutex<Vec<RunId>>,
    interrupter: Mutex<Option<Box<dyn InboxInterrupter>>>,
}

impl Ear {
    /// The inbox was full.
    pub(super) fn misses_something(&self) {
        self.0.missed.store(true, Ordering::SeqCst);
        self.interrupt();
    }

    /// Somebody says that something happened to these runs.
    pub(super) fn hears_of(&self, runs: &[RunId]) {
        self.0.hints.lock().unwrap().extend_from_slice(runs);
        self.interrupt();
    }

    fn interrupt(&self) {
        if let Some(interrupter) = &*self.0.interrupter.lock().unwrap() {
            interrupter.interrupt();
        }
    }

    pub(super) fn on(&self, inbox: Box<dyn Inbox>) -> Box<dyn Inbox> {
        *self.0.interrupter.lock().unwrap() = Some(inbox.interrupter());
        Box::new(Listening { inbox, ear: self.clone() })
    }
}

#[derive(Debug)]
struct Listening {
    inbox: Box<dyn Inbox>,
    ear: Ear,
}

impl Inbox for Listening {
    fn wait(&mut self, at_most: Duration) -> News {
        let mut news = self.inbox.wait(at_most);
        if self.ear.0.missed.swap(false, Ordering::SeqCst) {
            news.missed = Missed::Here;
        }
        news.runs.append(&mut self.ear.0.hints.lock().unwrap());
        news
    }

    fn interrupter(&self) -> Box<dyn InboxInterrupter> {
        self.inbox.interrupter()
    }
}
