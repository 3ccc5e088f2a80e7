//! An inbox that misses messages when a test says so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowlock::store::{Bell, Inbox, Missed, News};

/// A hand on what a connection hears.
#[derive(Debug, Clone, Default)]
pub(super) struct Ear(Arc<State>);

#[derive(Debug, Default)]
struct State {
    missed: AtomicBool,
    bell: Mutex<Option<Box<dyn Bell>>>,
}

impl Ear {
    /// The inbox was full.
    pub(super) fn misses_something(&self) {
        self.0.missed.store(true, Ordering::SeqCst);
        if let Some(bell) = &*self.0.bell.lock().unwrap() {
            bell.ring();
        }
    }

    pub(super) fn on(&self, inbox: Box<dyn Inbox>) -> Box<dyn Inbox> {
        *self.0.bell.lock().unwrap() = Some(inbox.bell());
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

    fn bell(&self) -> Box<dyn Bell> {
        self.inbox.bell()
    }
}
