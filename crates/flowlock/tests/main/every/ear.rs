//! An inbox that misses messages when a test says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowlock::store::{Inbox, InboxInterrupter, Missed, News};

/// A hand on what a connection hears.
#[derive(Debug, Clone, Default)]
pub(super) struct Ear(Arc<State>);

#[derive(Debug, Default)]
struct State {
    missed: AtomicBool,
    interrupter: Mutex<Option<Box<dyn InboxInterrupter>>>,
}

impl Ear {
    /// The inbox was full.
    pub(super) fn misses_something(&self) {
        self.0.missed.store(true, Ordering::SeqCst);
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
        news
    }

    fn interrupter(&self) -> Box<dyn InboxInterrupter> {
        self.inbox.interrupter()
    }
}
