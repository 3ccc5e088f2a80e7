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
    /// Asks within these limits, and tells its caller the answer, or that its time has ended.
    fn ask(self: Box<Self>, limits: Limits) -> Asked;
    /// Tells its caller that its time has ended, without asking.
    fn give_up(self: Box<Self>);
}

/// What came of a question.
pub(crate) enum Asked {
    Answered,
    /// The store did not answer; there is time left to repeat it, or there is none.
    Silence(Option<Box<dyn Patient>>),
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
    // When the last question was sent, if there was no answer.
    let mut silence = None;
    loop {
        let Some((next, another_ends)) = lock(shared).take_next() else { return };
        // Another one was just asked in vain. If each whose time has ended were asked once more, the last
        // of many would end long after its time.
        if silence.is_some_and(|asked| next.until() <= asked) {
            let _ = catch_unwind(AssertUnwindSafe(|| next.give_up()));
            continue;
        }
        let limits = handle.limits_of_caller();
        let limits = another_ends.map_or(limits.clone(), |end| limits.no_later_than(end));
        let now = Instant::now();
        // The panic hook reports the panic; the caller learns that there is no answer.
        let asked = catch_unwind(AssertUnwindSafe(|| next.ask(limits))).unwrap_or(Asked::Answered);
        silence = matches!(asked, Asked::Silence(_)).then_some(now);
        let Asked::Silence(Some(unanswered)) = asked else {
            pause = FIRST_PAUSE;
            continue;
        };
        lock(shared).queue.push_back(unanswered);
        handle.callers_limits(later(Instant::now(), pause)).sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::Flowlock;

    /// Asks a store that never answers.
    struct InVain {
        until: Instant,
        asked_late: Arc<AtomicUsize>,
        tell: mpsc::Sender<()>,
    }

    impl Patient for InVain {
        fn until(&self) -> Instant {
            self.until
        }

        fn ask(self: Box<Self>, _: Limits) -> Asked {
            let is_over = self.until <= Instant::now();
            if is_over {
                self.asked_late.fetch_add(1, Ordering::Relaxed);
            }
            std::thread::sleep(Duration::from_millis(5));
            if is_over {
                self.give_up();
                return Asked::Silence(None);
            }
            Asked::Silence(Some(self))
        }

        fn give_up(self: Box<Self>) {
            self.tell.send(()).unwrap();
        }
    }

    #[test]
    fn however_many_end_at_once_a_silent_store_is_asked_only_once_or_twice_more() {
        const MANY: usize = 200;
        let flowlock = Flowlock::open("memory:").unwrap();
        let (repeats, asked_late) = (Repeats::default(), Arc::<AtomicUsize>::default());
        let (tell, told) = mpsc::channel();
        let until = Instant::now() + Duration::from_millis(50);
        for _ in 0..MANY {
            let one = InVain { until, asked_late: asked_late.clone(), tell: tell.clone() };
            repeats.take_over(flowlock.connection.handle(), Box::new(one));
        }
        (0..MANY).for_each(|_| told.recv_timeout(Duration::from_secs(20)).unwrap());
        let late = asked_late.load(Ordering::Relaxed);
        assert!((1..=2).contains(&late), "{late}");
    }
}
