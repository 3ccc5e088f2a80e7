//! Repeats: commits of async callers that the store has not answered yet.
//!
//! A commit is repeated for much longer than anything else. While a store is unreachable, one thread of
//! the connection asks for one commit after the other, however many there are: the workers are for calls
//! that need an answer soon.
//!
//! One mutex protects the queue and whether the thread runs. Nothing else is locked under it, and it is
//! not held while the store is asked or a caller is told. The thread ends in the critical section in
//! which it finds the queue empty. It keeps the store handle alive until then.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::handle::StoreHandle;
use crate::store::Limits;
use crate::store::limits::{FIRST_PAUSE, LONGEST_PAUSE};
use crate::sync::lock;
use crate::world::later;

/// The commits of a connection that are being repeated. Its thread lives as long as there are some.
#[derive(Default)]
pub(crate) struct Repeats {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    queue: VecDeque<Box<dyn Patient>>,
    /// Whether there is a thread.
    running: bool,
}

/// Something that is repeated until the store answers.
pub(crate) trait Patient: Send {
    /// Returns when it ends without an answer.
    fn until(&self) -> Instant;
    /// Asks within these limits, and tells its caller the answer. Returns itself if the store did not
    /// answer and there is time left.
    fn ask(self: Box<Self>, limits: Limits) -> Option<Box<dyn Patient>>;
}

impl std::fmt::Debug for Repeats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repeats").field("waiting", &lock(&self.shared).queue.len()).finish_non_exhaustive()
    }
}

impl Repeats {
    /// Takes something over. Does not wait, unless no thread can be started.
    pub(crate) fn take_over(&self, handle: &Arc<StoreHandle>, patient: Box<dyn Patient>) {
        let mut shared = lock(&self.shared);
        shared.queue.push_back(patient);
        if std::mem::replace(&mut shared.running, true) {
            return;
        }
        drop(shared);
        let (theirs, their_handle) = (self.shared.clone(), handle.clone());
        let spawned = std::thread::Builder::new()
            .name("flowlock-repeat".into())
            .spawn(move || ask_for_all(&theirs, &their_handle));
        if let Err(error) = spawned {
            tracing::warn!(%error, "cannot start the thread that repeats commits; the thread that asked repeats them");
            ask_for_all(&self.shared, handle);
        }
    }
}

impl Shared {
    /// Takes the next one: one whose time has ended, else the one whose turn it is. Also returns when
    /// the time of another one ends.
    fn take_next(&mut self) -> Option<(Box<dyn Patient>, Option<Instant>)> {
        let first = self.queue.iter().enumerate().min_by_key(|(_, it)| it.until());
        let at = first.filter(|(_, it)| it.until() <= Instant::now()).map_or(0, |(at, _)| at);
        let next = self.queue.remove(at);
        self.running = next.is_some();
        next.map(|next| (next, self.queue.iter().map(|it| it.until()).min()))
    }
}

fn ask_for_all(shared: &Mutex<Shared>, handle: &StoreHandle) {
    let mut pause = FIRST_PAUSE;
    loop {
        let Some((next, another_ends)) = lock(shared).take_next() else { return };
        let limits = handle.limits_of_caller();
        let limits = another_ends.map_or(limits.clone(), |end| limits.no_later_than(end));
        // The panic hook reports the panic; the caller learns that there is no answer.
        let Ok(Some(unanswered)) = catch_unwind(AssertUnwindSafe(|| next.ask(limits))) else {
            pause = FIRST_PAUSE;
            continue;
        };
        lock(shared).queue.push_back(unanswered);
        handle.callers_limits(later(Instant::now(), pause)).sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
