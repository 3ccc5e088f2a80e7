use super::*;
use crate::id::Nonce;
use crate::name::RunId;
use crate::step::Refreshed;

fn held(renewal: Renewal) -> (Lease, i64) {
    let attempt = Attempt { id: RunId::parse("job.1").unwrap(), nonce: Nonce(1) };
    let now = now_ms();
    (Lease::new(&attempt, Token(1), 60_000, now + 60_000, renewal), now)
}

#[test]
fn an_answer_that_was_overtaken_takes_nothing_back() {
    let (held, now) = held(Renewal::Automatic);
    let lease = |lease_left_ms| Refreshed::Held { lease_left_ms, late: false };
    held.take_in_refresh(lease(60_000), now + 40_000);
    held.take_in_refresh(lease(60_000), now + 20_000);
    assert!(held.time_left() > Duration::from_secs(90), "{:?}", held.time_left());
    assert_eq!(held.take_attention(now + 99_999), Attention::Due);
    assert_eq!(held.take_attention(now + 100_001), Attention::Expired);
}

/// Neither by an answer that was on its way, nor by one that the caller asked for.
#[test]
fn what_is_renewed_no_more_is_not_renewed_after_a_later_answer() {
    let (held, now) = held(Renewal::Automatic);
    held.stop_renewing();
    held.take_in_refresh(Refreshed::Held { lease_left_ms: 60_000, late: false }, now);
    assert_eq!(held.first_event_ms(), now + 60_000);
    assert_eq!(held.take_attention(now + 59_999), Attention::Later);
    assert!(!held.is_renewed());
    assert_eq!(held.take_attention(now + 60_001), Attention::Expired);
}

#[test]
fn a_renewal_that_is_answered_after_somebody_saw_the_deadline_pass_is_in_time() {
    let (held, now) = held(Renewal::Automatic);
    held.deadline_ms.store(now - 1, Ordering::Release);
    assert_eq!(held.take_attention(now), Attention::Expired);
    held.take_in_refresh(Refreshed::Held { lease_left_ms: 60_000, late: true }, now);
    held.lapse();
    assert_eq!(held.notice_loss(), None);
}

#[test]
fn what_only_time_ended_stands_again_once_it_is_renewed_and_what_the_store_ended_never_does() {
    let again = |by, renewed: bool| {
        let (held, now) = held(Renewal::ByHand);
        held.deadline_ms.store(now - 1, Ordering::Release);
        held.lose(by);
        if renewed {
            held.take_in_refresh(Refreshed::Held { lease_left_ms: 60_000, late: true }, now);
        }
        held.reinstate();
        (held.notice_loss(), held.was_renewed_late())
    };
    assert_eq!(again(Lost::Expired, true), (None, true));
    assert_eq!(again(Lost::Unreachable, true), (None, true));
    assert_eq!(again(Lost::Expired, false), (Some(Lost::Expired), false));
    for by in [Lost::By(LostBy::Taken), Lost::WithTheStore] {
        assert_eq!(again(by, true), (Some(by), true));
    }
}

#[cfg(feature = "async")]
#[test]
fn what_a_forgotten_listener_captured_may_ask_for_the_grant_when_it_is_dropped() {
    struct Asks(Arc<Lease>);
    impl Drop for Asks {
        fn drop(&mut self) {
            assert_eq!(self.0.listeners(), 0);
        }
    }
    let held = Arc::new(held(Renewal::ByHand).0);
    let asks = Asks(held.clone());
    let number = held.on_lost(Box::new(move |_| drop(asks)));
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        held.forget(number);
        done.send(()).unwrap();
    });
    assert_eq!(is_done.recv_timeout(Duration::from_secs(20)), Ok(()));
}

#[test]
fn a_renewal_is_due_at_a_third_of_the_lease_and_a_little_before_it_beside_another() {
    let (held, begun) = held(Renewal::Automatic);
    let due = begun + 20_000;
    assert_eq!(held.take_attention(due - TOGETHER_MS - 1), Attention::Later);
    assert_eq!(held.take_attention(due - TOGETHER_MS), Attention::Due);
    // While no answer comes it is asked for twice a second.
    let again = due - TOGETHER_MS + RETRY_MS;
    assert_eq!(held.first_event_ms(), again);
    assert_eq!(held.take_attention(again - TOGETHER_MS - 1), Attention::Later);
    assert_eq!(held.take_attention(again), Attention::Due);
    held.take_in_refresh(Refreshed::Held { lease_left_ms: 60_000, late: false }, again);
    assert_eq!(held.first_event_ms(), again + 20_000);
}

/// The answer that is repeated says that nine tenths of the lease are left.
#[test]
fn a_refresh_repeats_only_an_answer_that_is_young_for_its_lease() {
    let attempt = Attempt { id: RunId::parse("job.1").unwrap(), nonce: Nonce(1) };
    let is_repeated = |length_ms, age_ms| {
        let now = now_ms();
        let held = Lease::new(&attempt, Token(1), length_ms, now + length_ms as i64, Renewal::ByHand);
        held.last_refresh_ms.store(now - age_ms, Ordering::Release);
        held.was_refreshed_lately()
    };
    assert!(!is_repeated(1_000, 100) && !is_repeated(1_500, 950) && !is_repeated(60_000, 1_000));
    // A clock that the test cannot stop: an age in the future is young for long.
    assert!(is_repeated(1_000, -60_000) && is_repeated(60_000, -60_000));
}

#[test]
fn a_run_that_the_store_does_not_know_is_lost_with_it_if_it_would_remember_the_end() {
    let (held, now) = held(Renewal::Automatic);
    assert_eq!(held.if_not_found(), Lost::WithTheStore);
    held.last_refresh_ms.store(now - REMEMBERED_MS, Ordering::Release);
    assert_eq!(held.if_not_found(), TAKEN);
}

#[cfg(feature = "async")]
#[test]
fn all_are_told_of_a_loss_but_who_does_not_want_to_hear_of_it_any_more() {
    let (held, _) = held(Renewal::ByHand);
    let (tell, told) = std::sync::mpsc::channel();
    let numbers = ["first", "second", "third"].map(|who| {
        let tell = tell.clone();
        held.on_lost(Box::new(move |_| tell.send(who).unwrap()))
    });
    drop(tell);
    held.forget(numbers[1]);
    held.lose(TAKEN);
    assert_eq!(told.iter().collect::<Vec<_>>(), ["first", "third"]);
}

#[test]
fn a_store_that_has_older_work_first_is_asked_again_at_once() {
    let (held, now) = held(Renewal::Automatic);
    assert_eq!(held.take_attention(now + 1), Attention::Later);
    held.take_in_refresh(Refreshed::AskAgain, now);
    assert_eq!(held.take_attention(now + 1), Attention::Due);
}

#[test]
fn the_longest_run_time_ends_also_a_holder_that_insists_while_the_store_is_silent() {
    let attempt = Attempt { id: RunId::parse("job.1").unwrap(), nonce: Nonce(1) };
    let now = now_ms();
    let insists = |longest_ms| {
        let held = Lease::new(&attempt, Token(1), 3_000, now - 7_000, Renewal::Automatic).until(longest_ms);
        held.insist();
        // A renewal was due long ago, and nobody answered.
        assert_eq!(held.take_attention(now - 9_000), Attention::Due);
        held
    };
    let held = insists(now + 60_000);
    assert_eq!(held.take_attention(now), Attention::Due);
    held.lapse();
    assert_eq!(*lock(&held.lost), None);
    assert_eq!(insists(now - 8_600).first_event_ms(), now - 8_600, "before the next try");
    let held = insists(now - 3_000);
    assert_eq!(held.take_attention(now), Attention::Expired);
    held.lapse();
    assert_eq!(*lock(&held.lost), Some(Lost::Expired));
}
