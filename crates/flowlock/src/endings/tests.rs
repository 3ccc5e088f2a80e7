use super::*;
use crate::Flowlock;
use crate::id::Nonce;
use crate::name::RunId;
use crate::store::memory::{MemoryStore, TestWorld};

const MINUTE: Duration = Duration::from_mins(1);

fn attempt(number: usize) -> Attempt {
    Attempt { id: RunId::parse(&format!("job.{number}")).unwrap(), nonce: Nonce(1) }
}

fn withdraw(ends: Option<Instant>) -> How {
    How::Withdraw { sent_ms: 0, ends }
}

#[test]
fn it_is_tried_until_the_lease_or_the_wait_is_over_for_certain() {
    let flowlock = Flowlock::open("memory:").unwrap();
    let spec = flowlock.job("job").lock("a").lease(MINUTE).spec().unwrap();
    let now = Instant::now();
    // Twenty minutes, an hour, or never.
    let (short, long) = (withdraw(Some(now + MINUTE / 2)), withdraw(Some(now + MINUTE * 60)));
    for (how, connected, minutes) in [
        (How::Release(Release::Failed), Connected::Yes, Some(1)),
        (How::Release(Release::NotBegun), Connected::No, Some(1)),
        (short, Connected::Yes, Some(6)),
        (long, Connected::Yes, Some(65)),
        (withdraw(None), Connected::Yes, None),
        // Without a connection, no heartbeats keep it in the queue.
        (short, Connected::No, Some(1)),
        (long, Connected::No, Some(1)),
        (withdraw(None), Connected::No, Some(1)),
    ] {
        let ending = Ending::new(&attempt(1), &spec, how, Reached::No);
        let is_over = |minutes: u32| ending.is_over(now + MINUTE * minutes + MINUTE / 4, connected);
        let found = (0..100_000).find(|minutes| is_over(*minutes));
        assert_eq!(found, minutes, "{how:?} {connected:?}");
    }
}

#[test]
fn the_end_of_a_process_waits_only_for_what_a_store_that_answered_must_be_told() {
    let flowlock = Flowlock::open("memory:").unwrap();
    let spec = flowlock.job("job").lock("a").spec().unwrap();
    let ending = |reached| Ending::new(&attempt(1), &spec, withdraw(None), reached);
    assert!(!ending(Reached::No).is_awaited_at_exit());
    let mut ending = ending(Reached::Yes);
    assert!(ending.is_awaited_at_exit());
    ending.note_failure(&StoreError::new(StoreErrorKind::Unreachable, "nobody answers"));
    assert!(ending.is_awaited_at_exit());
    ending.note_failure(&StoreError::new(StoreErrorKind::Unusable, "not allowed"));
    assert!(!ending.is_awaited_at_exit());
}

#[test]
fn a_store_that_never_answers_fills_no_memory() {
    let world = Arc::new(TestWorld::default());
    let flowlock = Flowlock::with_store(Arc::new(MemoryStore::with_world(world.clone())));
    let spec = flowlock.job("job").lock("a").spec().unwrap();
    // Its clock is wrong, so that it refuses everything.
    world.shift_wall_clock(-9_000_000_000_000_000);
    let endings = Endings::default();
    for number in 0..MOST + 20 {
        let ending = Ending::new(&attempt(number), &spec, withdraw(None), Reached::No);
        endings.hand_over(flowlock.connection.handle(), ending);
    }
    // One of them may be under way.
    let kept = lock(&endings.shared.state).queue.len();
    assert!((MOST - 1..=MOST + 1).contains(&kept), "{kept}");
    assert!(endings.has(&attempt(MOST + 19)), "the newest is kept");
}
