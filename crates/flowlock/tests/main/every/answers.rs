//! What each answer of a store means to whoever asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use flowlock::step::{Answer, Finished, Refreshed, Step};
use flowlock::store::{StoreError, StoreErrorKind};
use flowlock::{Begun, Error, Flowlock, Grant, LONGEST_NOTE, Lost, LostBy, Outcome, Renewed, RunId};

use super::Fresh;

const PATIENT: Duration = Duration::from_secs(20);

/// A connection whose store gives these answers to steps of one kind, one after the other, and then its own.
pub(super) fn answering(store: &Fresh, is_meant: fn(&Step) -> bool, answers: Vec<Answer>) -> Flowlock {
    let left = Mutex::new(answers.into_iter());
    store.through(move |carry_out, step| {
        let next = if is_meant(step) { left.lock().unwrap().next() } else { None };
        next.map_or_else(carry_out, Ok)
    })
}

fn id() -> RunId {
    RunId::parse("somebody.1").unwrap()
}

fn commits(step: &Step) -> bool {
    matches!(step, Step::Commit { .. })
}

/// An error in a word, or two.
pub(super) fn word(error: &Error) -> String {
    match error {
        Error::Lost { by, .. } => format!("lost {}", by.as_str()),
        Error::Over { outcome, .. } => format!("over {outcome}"),
        Error::NoSuchRun { .. } => "no such run".to_owned(),
        Error::RunIdInUse { .. } => "run id in use".to_owned(),
        Error::OutputExists { .. } => "output exists".to_owned(),
        Error::TimedOut { .. } => "timed out".to_owned(),
        Error::InvalidRequest { what, .. } => format!("invalid {what}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn each_answer_to_a_refresh_by_id_says_what_it_means() {
    let store = Fresh::new();
    let taken = Lost::By(LostBy::Taken).as_str();
    let table = [
        (Refreshed::Held { lease_left_ms: 5_000, late: true }, Ok((5, true))),
        (Refreshed::MaxRuntime { lease_left_ms: 3_000 }, Ok((3, false))),
        (Refreshed::MaxRuntime { lease_left_ms: 0 }, Err(format!("lost {}", Lost::Expired.as_str()))),
        (Refreshed::MaxRuntime { lease_left_ms: -7 }, Err(format!("lost {}", Lost::Expired.as_str()))),
        (Refreshed::Over(Outcome::Lost(LostBy::Taken)), Err(format!("lost {taken}"))),
        (Refreshed::Over(Outcome::Committed), Err("over committed".to_owned())),
        (Refreshed::NotRunning, Err("no such run".to_owned())),
        (Refreshed::NotFound, Err("no such run".to_owned())),
    ];
    for (answer, meaning) in table {
        // Older work comes first.
        let answers = [Refreshed::AskAgain, answer].map(|answer| Answer::Refreshed(vec![answer]));
        let flowlock = answering(&store, |step| matches!(step, Step::Refresh(_)), answers.into());
        let said = flowlock.refresh(&id()).map_err(|error| word(&error));
        let said = said.map(|Renewed { lease_left, late, .. }| (lease_left.as_secs(), late));
        assert_eq!(said, meaning, "{answer:?}");
    }
}

fn ended(outcome: Outcome) -> Finished {
    Finished::Ended { outcome, late: false }
}

#[test]
fn each_answer_to_a_commit_or_fail_by_id_says_what_it_means() {
    let store = Fresh::new();
    let broken = format!("lost {}", Lost::By(LostBy::Broken).as_str());
    let table = [
        (ended(Outcome::Lost(LostBy::Broken)), broken.as_str()),
        (ended(Outcome::TimedOut), "over timed_out"),
        (Finished::NotAccepted, "no such run"),
        (Finished::NotFound, "no such run"),
    ];
    for (answer, meaning) in table {
        let answers = vec![Answer::Finished(Finished::AskAgain), Answer::Finished(answer)];
        let flowlock = answering(&store, commits, answers);
        assert_eq!(word(&flowlock.commit(&id(), None).unwrap_err()), meaning, "{answer:?}");
        let fails = |step: &Step| matches!(step, Step::Fail(_));
        let flowlock = answering(&store, fails, vec![Answer::Finished(answer)]);
        assert_eq!(word(&flowlock.fail(&id()).unwrap_err()), meaning, "{answer:?}");
    }
    let flowlock = answering(&store, commits, vec![Answer::Finished(ended(Outcome::Failed))]);
    assert_eq!(word(&flowlock.commit(&id(), None).unwrap_err()), "over failed");
    let late = Finished::Ended { outcome: Outcome::Committed, late: true };
    for (answer, late) in [(ended(Outcome::Committed), false), (late, true)] {
        let flowlock = answering(&store, commits, vec![Answer::Finished(answer)]);
        assert_eq!(flowlock.commit(&id(), None).unwrap(), late);
    }
}

#[test]
fn a_detached_run_that_is_failed_by_its_id_is_over_and_one_that_committed_is_not_failed() {
    let store = Fresh::new();
    let flowlock = store.open();
    let detached = |lock: &str| flowlock.job("job").lock(lock).acquire().unwrap().detach().unwrap();
    let run = detached("a");
    flowlock.fail(&run).unwrap();
    assert!(flowlock.runs().unwrap().is_empty());
    let run = detached("a");
    flowlock.commit(&run, None).unwrap();
    assert_eq!(word(&flowlock.fail(&run).unwrap_err()), "over committed");
}

#[test]
fn each_answer_to_the_commit_of_a_handle_says_what_it_means() {
    let store = Fresh::new();
    let with_the_store = format!("lost {}", Lost::WithTheStore.as_str());
    let table = [
        // Another handle ended it.
        (ended(Outcome::Failed), "over failed"),
        (ended(Outcome::Cancelled), with_the_store.as_str()),
        (Finished::NotAccepted, with_the_store.as_str()),
    ];
    for (at, (answer, meaning)) in table.into_iter().enumerate() {
        let answers = vec![Answer::Finished(Finished::AskAgain), Answer::Finished(answer)];
        let flowlock = answering(&store, commits, answers);
        let grant = flowlock.job("job").lock(format!("{at}")).acquire().unwrap();
        assert_eq!(word(&grant.commit().unwrap_err()), meaning, "{answer:?}");
    }
}

/// It had no effect, so nothing about it is unknown.
#[test]
fn a_commit_that_the_store_refuses_plainly_says_why() {
    let store = Fresh::new();
    let flowlock = store.through(|carry_out, step| match step {
        Step::Commit { .. } => Err(StoreError::new(StoreErrorKind::Damaged, "it contradicts itself")),
        _ => carry_out(),
    });
    let refused = flowlock.job("job").lock("a").acquire().unwrap().commit().unwrap_err();
    assert!(
        matches!(&refused, Error::Store(error) if error.kind() == StoreErrorKind::Damaged),
        "{refused:?}"
    );
}

#[test]
fn a_note_of_the_largest_size_is_kept_and_a_longer_one_fails_the_run() {
    let store = Fresh::new();
    let flowlock = store.open();
    let (largest, longer) = ("n".repeat(LONGEST_NOTE), "n".repeat(LONGEST_NOTE + 1));
    let begin = || flowlock.job("job").output("a").acquire().unwrap();
    begin().commit_with(&largest).unwrap();
    let inputs = |grant: &Grant| grant.inputs().iter().map(|input| input.note.clone()).collect::<Vec<_>>();
    let reader = flowlock.job("reader").input("a").acquire().unwrap();
    assert_eq!(inputs(&reader), [Some(largest.clone())]);
    reader.commit().unwrap();
    assert_eq!(word(&begin().commit_with(&longer).unwrap_err()), "invalid note");
    let run = begin().detach().unwrap();
    assert_eq!(word(&flowlock.commit(&run, Some(&longer)).unwrap_err()), "invalid note");
    flowlock.commit(&run, Some(&largest)).unwrap();
}

/// Steps that a connection sent, as they were carried out; those that end a run take a while.
fn told(store: &Fresh) -> (Flowlock, Arc<Mutex<Vec<&'static str>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let flowlock = store.through(move |carry_out, step| {
        let what = match step {
            Step::Fail(_) => "fail",
            Step::GiveBack(_) => "give back",
            Step::Cancel { .. } => "cancel",
            _ => return carry_out(),
        };
        std::thread::sleep(Duration::from_millis(200));
        let answer = carry_out();
        tell.lock().unwrap().push(what);
        answer
    });
    (flowlock, told)
}

/// Unlike a drop, which waits for nothing.
#[test]
fn whoever_fails_gives_back_or_cancels_has_told_the_store_when_it_goes_on() {
    let store = Fresh::new();
    let (flowlock, told) = told(&store);
    let begin = || flowlock.job("job").lock("a").acquire().unwrap();
    let tells = |act: &dyn Fn()| {
        act();
        std::mem::take(&mut *told.lock().unwrap())
    };
    assert_eq!(tells(&|| begin().fail()), ["fail"]);
    assert_eq!(tells(&|| begin().give_back()), ["give back"]);
    assert_eq!(tells(&|| drop(begin().commit_with(&"n".repeat(LONGEST_NOTE + 1)))), ["fail"]);
    let holder = begin();
    let cancel = || {
        let Begun::Waiting(pending) = flowlock.job("next").lock("a").begin().unwrap() else { panic!() };
        pending.cancel().unwrap();
    };
    assert_eq!(tells(&cancel), ["cancel"]);
    holder.commit().unwrap();
    assert!(flowlock.flush(PATIENT));
    assert_eq!(*told.lock().unwrap(), [""; 0], "once is enough");
}

#[test]
fn a_handle_tells_how_long_its_claims_stand_and_renews_no_more_if_it_is_told_so() {
    let store = Fresh::new();
    let flowlock = store.open();
    let begin = |lock: &str| flowlock.job("job").lock(lock).lease(Duration::from_secs(1)).acquire().unwrap();
    let (renewed, stopped) = (begin("a"), begin("b"));
    assert!(stopped.time_left() > Duration::from_millis(500), "{:?}", stopped.time_left());
    stopped.stop_renewing();
    std::thread::sleep(Duration::from_millis(1_100));
    assert_eq!((renewed.lost(), stopped.lost()), (None, Some(Lost::Expired)));
    assert_eq!(stopped.time_left(), Duration::ZERO);
    renewed.commit().unwrap();
}
