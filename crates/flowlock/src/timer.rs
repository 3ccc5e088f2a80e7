//! Timer: wakes async tasks at given times. It does not need the runtime's own timer.
//!
//! One mutex (`state`) protects which wakers are due when, and whether the thread runs. Nothing else is
//! locked under it. A waker is woken and dropped outside of it: its executor may poll the task on this
//! thread, and it may hold the last handle of a task, with other sleeps in it. Whether the thread runs
//! changes in the same critical section in which it finds nothing more to do, so an alarm that was set
//! before is seen, and one that is set afterwards starts another thread.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::sync::lock;
use crate::world::later;

/// How long the thread waits for more to do before it ends.
const IDLE: Duration = Duration::from_secs(10);
/// How long a task sleeps at a time if no thread can be started.
const NAP: Duration = Duration::from_millis(10);

/// The timer of a connection. There is no thread until there is something to wait for.
#[derive(Debug, Default)]
pub(crate) struct Timer {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    alarms: BTreeMap<(Instant, u64), Waker>,
    count: u64,
    running: bool,
    closed: bool,
}

impl Drop for Timer {
    fn drop(&mut self) {
        lock(&self.shared.state).closed = true;
        self.shared.changed.notify_all();
    }
}

impl Timer {
    /// Completes at `at`.
    pub(crate) fn sleep_until(&self, at: Instant) -> Sleep<'_> {
        let mut state = lock(&self.shared.state);
        state.count += 1;
        Sleep { timer: self, key: (at, state.count) }
    }

    /// Wakes the task at its time. Returns `false` if no thread can do that.
    fn set_alarm(&self, key: (Instant, u64), waker: Waker) -> bool {
        let mut state = lock(&self.shared.state);
        let is_first = state.alarms.first_key_value().is_none_or(|(first, _)| key < *first);
        let replaced = state.alarms.insert(key, waker);
        let has_thread = std::mem::replace(&mut state.running, true);
        drop(state);
        drop(replaced);
        if has_thread {
            if is_first {
                self.shared.changed.notify_all();
            }
            return true;
        }
        let shared = self.shared.clone();
        let spawned =
            std::thread::Builder::new().name("flowlock-timer".into()).spawn(move || shared.wake_all());
        if let Err(error) = &spawned {
            tracing::debug!(%error, "cannot start the thread that wakes tasks");
            lock(&self.shared.state).running = false;
        }
        spawned.is_ok()
    }
}

/// A wait until a point in time. Dropping it cancels it.
#[derive(Debug)]
pub(crate) struct Sleep<'t> {
    timer: &'t Timer,
    key: (Instant, u64),
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.key.0 <= Instant::now() {
            return Poll::Ready(());
        }
        if !self.timer.set_alarm(self.key, context.waker().clone()) {
            std::thread::sleep(NAP);
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        // Dropped outside of the lock: a waker may hold the last handle of a task.
        let waker = lock(&self.timer.shared.state).alarms.remove(&self.key);
        drop(waker);
    }
}

impl Shared {
    fn wake_all(&self) {
        let mut state = lock(&self.state);
        let mut idle_until = later(Instant::now(), IDLE);
        while !state.closed {
            let now = Instant::now();
            let until = match state.alarms.first_key_value() {
                Some((&key, _)) if key.0 <= now => {
                    let waker = state.alarms.remove(&key);
                    drop(state);
                    // The executor's panic hook reports the panic; the others are woken nevertheless.
                    let wake = || waker.into_iter().for_each(Waker::wake);
                    let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(wake));
                    state = lock(&self.state);
                    idle_until = later(now, IDLE);
                    continue;
                }
                Some((&(at, _), _)) => at,
                None if idle_until <= now => break,
                None => idle_until,
            };
            let nap = until.saturating_duration_since(now);
            state = self.changed.wait_timeout(state, nap).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.running = false;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::Wake;

    use super::*;

    struct Tell(AtomicUsize, mpsc::Sender<Instant>);

    impl Wake for Tell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
            let _ = self.1.send(Instant::now());
        }
    }

    /// A task that waits for another point in time, and is dropped with its last waker.
    struct Task(#[allow(dead_code, reason = "it is there to be dropped")] Sleep<'static>);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    #[test]
    fn a_waker_that_is_replaced_may_drop_a_task_that_waits_for_the_same_timer() {
        let timer: &'static Timer = Box::leak(Box::default());
        let at = Instant::now() + Duration::from_mins(1);
        let (done, is_done) = mpsc::channel();
        std::thread::spawn(move || {
            let waker = Waker::from(Arc::new(Task(timer.sleep_until(at))));
            let mut sleep = timer.sleep_until(at);
            assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(&waker)).is_pending());
            drop(waker);
            assert!(Pin::new(&mut sleep).poll(&mut Context::from_waker(Waker::noop())).is_pending());
            done.send(()).unwrap();
        });
        assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok(()));
    }

    #[test]
    fn each_is_woken_at_its_time_and_what_is_dropped_is_forgotten() {
        let timer = Timer::default();
        let (tell, told) = mpsc::channel();
        let tell = Arc::new(Tell(AtomicUsize::new(0), tell));
        let waker = Waker::from(tell.clone());
        let mut context = Context::from_waker(&waker);
        let begun = Instant::now();
        let [mut late, mut soon, mut never] =
            [60_000, 30, 40].map(|ms| timer.sleep_until(begun + Duration::from_millis(ms)));
        for sleep in [&mut late, &mut soon, &mut never] {
            assert!(Pin::new(sleep).poll(&mut context).is_pending());
        }
        drop(never);
        assert!(told.recv_timeout(Duration::from_secs(20)).unwrap() >= begun + Duration::from_millis(30));
        assert!(Pin::new(&mut soon).poll(&mut context).is_ready());
        assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
        drop(late);
        assert!(lock(&timer.shared.state).alarms.is_empty());
        assert_eq!(tell.0.load(Ordering::SeqCst), 1);
    }
}
