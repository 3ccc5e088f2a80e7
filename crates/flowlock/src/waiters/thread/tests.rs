//! What the thread does in one round, without the thread.

use super::*;
use crate::Flowlock;
use crate::id::{Attempt, Nonce};
use crate::keeper::Keeper;
use crate::origin::Holder;
use crate::run::{LostBy, Outcome, State};
use crate::said::{heard, says};
use crate::step::{Acquire, Patience, Waiting};
use crate::store::memory::{MemoryStore, TestWorld};
use crate::store::{Epoch, Watermark};
use crate::world::World as _;

#[test]
fn who_knows_what_is_true_no_more_is_asked_about_first_however_many_know_it_for_longer() {
    let waiter = |number: usize| {
        let run = RunId::parse(&format!("run.{number:02}")).unwrap();
        (run, Arc::new(Waiter::new(Waiting { look_again_ms: None, ..Waiting::unknown() })))
    };
    let waiters: Vec<_> = (0..2 * MOST_EXPLAINED).map(waiter).collect();
    // The last one was explained last.
    let (last, its_waiter) = waiters.last().unwrap();
    its_waiter.set_waiting(Waiting { look_again_ms: Some(0), ..Waiting::unknown() });
    let now = Instant::now();
    assert!(!to_explain(&waiters, now).contains(last), "the others have their turn first");
    assert!(its_waiter.mark_stale_if_due(now, &[]));
    assert_eq!(to_explain(&waiters, now)[0], *last);
}

/// The answer speaks of the id: it may be true of one of them only.
#[test]
fn several_waits_of_one_run_id_are_asked_about_once_and_each_asks_for_itself_as_well() {
    let run = RunId::parse("run.1").unwrap();
    let waits: Vec<_> = (0..2).map(|_| Arc::new(Waiter::new(behind(Vec::new())))).collect();
    let listed: Vec<_> = waits.iter().map(|waiter| (run.clone(), waiter.clone())).collect();
    assert_eq!(to_explain(&listed, Instant::now()), std::slice::from_ref(&run));
    let standing = Standing::StillWaiting { state: State::Queued, present: true };
    take_in(&run, &waits[..1], &standing, &HashSet::new());
    assert!(!is_told(&waits[0]), "it is alone");
    take_in(&run, &waits, &standing, &HashSet::new());
    assert!(waits.iter().all(|waiter| is_told(waiter)));
}

/// A store with a process that has waiting runs, and whose thread is not at work.
struct Alone {
    world: Arc<TestWorld>,
    flowlock: Flowlock,
    thread: WaitersThread,
}

impl Alone {
    fn new() -> Self {
        let world = Arc::new(TestWorld::default());
        let flowlock = Flowlock::with_store(Arc::new(MemoryStore::with_world(world.clone())));
        let handle = flowlock.connection.handle();
        let thread = WaitersThread::new(Arc::default(), handle, Keeper::default().alarm());
        Self { world, flowlock, thread }
    }

    fn handle(&self) -> &Arc<StoreHandle> {
        self.flowlock.connection.handle()
    }

    /// A waiting run of this process that knows this.
    fn waits(&self, run: &str, waiting: Waiting) -> Arc<Waiter> {
        let waiter = Arc::new(Waiter::new(waiting));
        let run = RunId::parse(run).unwrap();
        lock(&self.thread.shared.waiters).runs.entry(run).or_default().push(waiter.clone());
        waiter
    }

    /// A run whose process has this liveness lock holds a lock of this name.
    fn holds(&self, name: &str, liveness: LivenessId) -> Ticket {
        let handle = self.handle();
        let attempt = Attempt { id: RunId::parse(name).unwrap(), nonce: Nonce(1) };
        let request = Step::Acquire(Acquire {
            attempt: attempt.clone(),
            spec: self.flowlock.job("holder").lock(name).spec().unwrap(),
            holder: Holder { liveness: Some(liveness), ..handle.holder().unwrap() },
            patience: Patience::Try,
            latest_ms: self.world.now().boot_ms + 60_000,
        });
        handle.step_for_caller(&request).unwrap();
        self.flowlock.run(&attempt.id).unwrap().unwrap().run.ticket
    }

    fn state(&self, run: &str) -> State {
        self.flowlock.run(&RunId::parse(run).unwrap()).unwrap().unwrap().run.state
    }

    fn heartbeat(&self, now: Instant) -> Instant {
        self.thread.heartbeat(self.handle(), &self.thread.shared.waiters(), now)
    }
}

fn is_told(waiter: &Waiter) -> bool {
    lock(&waiter.state).news
}

fn behind(probe: Vec<(Ticket, LivenessId)>) -> Waiting {
    Waiting { look_again_ms: None, probe, ..Waiting::unknown() }
}

#[test]
fn the_dead_among_those_in_the_way_are_reported_and_whoever_they_were_in_the_way_of_is_asked_about() {
    let alone = Alone::new();
    let probed = ["lives", "dies"].map(|name| {
        let liveness = LivenessId(name.len() as u64);
        (alone.holds(name, liveness), liveness)
    });
    let [fine, freed] = [0, 1].map(|at| alone.waits(&format!("run.{at}"), behind(vec![probed[at]])));
    let now = Instant::now();
    let mut at = now;
    assert!(!alone.thread.probe_if_due(alone.handle(), now, &mut at));
    assert_eq!(at, now + PROBE);
    alone.world.kill(probed[1].1);
    assert!(!alone.thread.probe_if_due(alone.handle(), now + PROBE / 2, &mut { at }));
    assert_eq!(alone.state("dies"), State::Running, "it is not time to probe");
    assert!(alone.thread.probe_if_due(alone.handle(), at, &mut { at }));
    assert_eq!((fine.is_stale(), freed.is_stale()), (false, true));
    assert_eq!(alone.state("dies"), State::Ended(Outcome::Lost(LostBy::Died)));
    assert_eq!(alone.state("lives"), State::Running);
}

#[test]
fn nobody_probes_without_a_reason_and_nothing_is_looked_at_while_nobody_waits() {
    let alone = Alone::new();
    let now = Instant::now();
    let (heartbeat, probe) = (now + HEARTBEAT, now + PROBE);
    assert!(alone.thread.next_look(heartbeat, probe) > now + HEARTBEAT, "nobody waits");
    alone.waits("run.1", behind(Vec::new()));
    assert_eq!(alone.thread.next_look(heartbeat, probe), heartbeat);
    alone.waits("run.2", behind(vec![(Ticket(1), LivenessId(7))]));
    assert_eq!(alone.thread.next_look(heartbeat, probe), probe);
    let waiter = alone.waits("run.3", Waiting::unknown());
    assert!(alone.thread.next_look(heartbeat, probe) <= lock(&waiter.state).explained.max(now));
}

/// A server that was restarted is not asked by everybody at the same moment.
#[test]
fn what_all_processes_missed_has_them_ask_within_half_a_second() {
    let mut alone = Alone::new();
    let begun = Instant::now();
    let asked = (0..200_u32).map(|at| {
        // Each is a first one.
        let now = begun + HEARTBEAT * (2 * at);
        let news = News { missed: Missed::Everywhere, ..News::default() };
        alone.thread.spread(news, now).checked_duration_since(now).expect("not before")
    });
    let mut asked: Vec<_> = asked.collect();
    asked.sort_unstable();
    let (first, last) = (asked[0], asked[asked.len() - 1]);
    assert!(last < Duration::from_millis(500), "{last:?}");
    assert!(last.saturating_sub(first) > Duration::from_millis(100), "{first:?} to {last:?}");
}

#[test]
fn a_heartbeat_without_an_answer_is_sent_again_soon_and_says_nothing_to_anybody() {
    let alone = Alone::new();
    let waiter = alone.waits("run.1", behind(Vec::new()));
    // Its clock is wrong, so that it answers nothing.
    alone.world.shift_wall_clock(-9_000_000_000_000_000);
    let now = Instant::now();
    assert_eq!(alone.heartbeat(now), now + SECOND_TRY);
    assert!(!is_told(&waiter));
}

/// Its grant may have been told while nobody listened; or it is over.
#[test]
fn a_run_that_no_answer_to_a_heartbeat_speaks_of_asks_for_itself() {
    let alone = Alone::new();
    let waiter = alone.waits("run.1", behind(Vec::new()));
    let now = Instant::now();
    let next = alone.heartbeat(now);
    assert!(next > now + HEARTBEAT / 2 && next <= now + HEARTBEAT, "{:?}", next - now);
    assert!(is_told(&waiter));
}

#[test]
fn every_run_asks_for_itself_if_another_store_took_the_place_of_its_own() {
    let alone = Alone::new();
    alone.holds("seen", LivenessId(7));
    let waiter = alone.waits("run.1", behind(Vec::new()));
    alone.flowlock.store().expect(alone.flowlock.namespace(), Watermark { epoch: Epoch(1), sequence: 1 });
    alone.heartbeat(Instant::now());
    assert!(is_told(&waiter));
}

/// Neither one that could not be started nor one that broke off is relied on.
#[test]
fn nobody_relies_on_a_thread_that_is_gone() {
    for is_started in [false, true] {
        let Alone { mut thread, flowlock: _flowlock, .. } = Alone::new();
        let shared = thread.shared.clone();
        let waiter = Arc::new(Waiter::new(behind(Vec::new())));
        lock(&shared.waiters).runs.insert(RunId::parse("run.1").unwrap(), vec![waiter.clone()]);
        lock(&shared.waiters).listening = Listening::Soon;
        thread.is_started = is_started;
        drop(thread);
        assert_eq!(lock(&shared.waiters).listening, Listening::No);
        // Whoever began before it was started looks for itself anyway.
        assert_eq!(is_told(&waiter), is_started);
    }
}

/// Each would be sent to ask every 5 s, and the log would say so for hours.
#[test]
fn that_there_is_no_inbox_is_told_once() {
    let mut alone = Alone::new();
    let waiter = alone.waits("run.1", behind(Vec::new()));
    let error = StoreError::new(StoreErrorKind::Unreachable, "too many clients");
    let said = heard(|| alone.thread.go_without_inbox(&error));
    assert!(says(&said, "WARN no inbox for wake-ups"));
    assert!(is_told(&waiter));
    assert_eq!(lock(&alone.thread.shared.waiters).listening, Listening::Yes);
    lock(&waiter.state).news = false;
    let said = heard(|| alone.thread.go_without_inbox(&error));
    assert!(says(&said, "DEBUG still no inbox for wake-ups"));
    assert!(!is_told(&waiter));
}
