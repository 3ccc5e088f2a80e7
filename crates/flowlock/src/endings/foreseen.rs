//! [`Question`]: what a worker asks for a future. If the future is dropped meanwhile, a run may come of
//! it that must be ended, and later callers must wait for that as if it had been handed over already.
//!
//! The worker hands over what came of the question before it ends the question. So whoever finds the
//! question ended finds the ending in the queue, or finds that nothing must be ended. A question that no
//! worker has begun is not asked, and nobody waits for it: all workers may be waiting themselves.
//!
//! No other mutex is locked while that of a question is held.

use std::sync::{Arc, Mutex};

use super::queue::{About, Foreseen};
use crate::at_exit::Left;
use crate::connection::Connection;
use crate::sync::lock;

/// What a worker asks for a future, which drops it.
pub(crate) struct Question<'q> {
    shared: Arc<Shared>,
    /// Only called if the future is dropped meanwhile.
    about: &'q (dyn Fn() -> Option<About> + Sync),
}

struct Shared {
    connection: Arc<Connection>,
    state: Mutex<State>,
}

enum State {
    /// No worker has begun it.
    Waiting,
    Asked,
    /// The same, and the future is gone. The end of the process waits for what comes of it.
    InVain {
        number: u64,
        _left: Left,
    },
    /// The future is gone and no worker had begun it, or it is answered.
    Over,
}

impl<'q> Question<'q> {
    /// `about` says what may have to be ended; `None` if nothing.
    pub(crate) fn new(connection: &Arc<Connection>, about: &'q (dyn Fn() -> Option<About> + Sync)) -> Self {
        let shared = Shared { connection: connection.clone(), state: Mutex::new(State::Waiting) };
        Self { shared: Arc::new(shared), about }
    }

    /// Returns what the worker must hold while it asks, and until it has handed over what came of it.
    pub(crate) fn asking(&self) -> Asking {
        Asking(self.shared.clone())
    }

    /// The future has the answer.
    pub(crate) fn answer(self) {
        *lock(&self.shared.state) = State::Over;
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        let endings = self.shared.connection.endings();
        {
            let mut state = lock(&self.shared.state);
            if !matches!(*state, State::Asked) {
                *state = State::Over;
                return;
            }
        }
        let Some(about) = (self.about)() else { return };
        let (number, left) = (endings.foresee(about), Left::new());
        let mut state = lock(&self.shared.state);
        if matches!(*state, State::Asked) {
            *state = State::InVain { number, _left: left };
        } else {
            // The worker was faster.
            drop(state);
            endings.no_longer_foresee(number);
        }
    }
}

/// The worker's side of a question.
pub(crate) struct Asking(Arc<Shared>);

impl Asking {
    /// Begins; returns whether the future still exists.
    pub(crate) fn begin(&self) -> bool {
        let mut state = lock(&self.0.state);
        let exists = matches!(*state, State::Waiting);
        *state = if exists { State::Asked } else { State::Over };
        exists
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let before = std::mem::replace(&mut *lock(&self.0.state), State::Over);
        if let State::InVain { number, _left } = before {
            self.0.connection.endings().no_longer_foresee(number);
        }
    }
}

impl super::Endings {
    fn foresee(&self, about: About) -> u64 {
        let mut state = lock(&self.shared.state);
        let number = state.count;
        state.count += 1;
        state.foreseen.push(Foreseen { number, about });
        number
    }

    fn no_longer_foresee(&self, number: u64) {
        lock(&self.shared.state).foreseen.retain(|it| it.number != number);
        self.shared.changed.notify_all();
    }
}
