//! Whoever follows pages comes to an end, whatever the store says.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use flowlock::step::{Answer, Holders, Refreshed, Standing, Step};
use flowlock::store::{Content, Page, StoreError, StoreErrorKind, View};
use flowlock::{Begun, Blocked, Creation, Error, Flowlock, Name, Progress, Ticket};

use super::ear::Ear;
use super::{Fresh, between};

/// A connection to a store that answers every look of a kind with the first page, which it says is not the last one.
fn repeating(store: &Flowlock) -> Flowlock {
    let (first, asked) = (OnceLock::<Page>::new(), AtomicUsize::new(0));
    let look = move |look: &dyn Fn(&View) -> Result<Page, StoreError>, view: &View| {
        assert!(asked.fetch_add(1, Ordering::SeqCst) < 10, "the same page is read again and again");
        let view = match view {
            View::Runs { from, .. } => View::Runs { job: None, from: *from, limit: 1 },
            View::Names(names) => View::Names(names[..1].to_vec()),
            other => other.clone(),
        };
        if first.get().is_none() {
            let _ = first.set(look(&view)?);
        }
        Ok(first.get().expect("a page").clone())
    };
    between::through_looking(
        store,
        |carry_out: &dyn Fn() -> _, _: &Step| carry_out(),
        |open: &dyn Fn() -> _| open(),
        look,
    )
}

fn contradicts_itself<T: std::fmt::Debug>(answer: Result<T, Error>) {
    match answer {
        Err(Error::Store(error)) => {
            assert_eq!(error.kind(), StoreErrorKind::Damaged);
            assert!(error.to_string().starts_with("the store contradicts itself: a page of "), "{error}");
        }
        other => panic!("not refused: {other:?}"),
    }
}

/// All records by pages of two, as `flowlock outputs` reads them.
fn records(flowlock: &Flowlock) -> Result<usize, Error> {
    let (mut count, mut after) = (0, None);
    loop {
        let view = View::Records { prefix: String::new(), after, limit: 2 };
        let Content::Records(records, next) = flowlock.view(&view)?.content else { panic!("not records") };
        count += records.len();
        match next {
            Some(_) => after = next,
            None => return Ok(count),
        }
    }
}

#[test]
fn a_store_that_gives_the_same_page_for_ever_contradicts_itself() {
    let store = Fresh::new();
    let flowlock = store.open();
    flowlock.create(&["a", "b", "c", "d", "e"], Creation::default()).unwrap();
    let held = ["x", "y"].map(|lock| flowlock.job("holds").lock(lock).acquire().unwrap());
    let names = ["a", "b", "c"].map(|name| Name::parse(name).unwrap());
    assert_eq!(records(&flowlock).unwrap(), 5);
    assert_eq!((flowlock.runs().unwrap().len(), flowlock.names(&names).unwrap().len()), (2, 3));
    contradicts_itself(records(&repeating(&flowlock)));
    contradicts_itself(repeating(&flowlock).runs());
    contradicts_itself(repeating(&flowlock).names(&names));
    for grant in held {
        grant.commit().unwrap();
    }
}

#[test]
fn a_heartbeat_whose_pages_go_back_is_begun_anew() {
    let (tell, told) = mpsc::channel();
    let tell = Mutex::new(tell);
    let ear = Ear::default();
    let listening = ear.clone();
    let store = Fresh::new();
    let lies = AtomicUsize::new(0);
    let meddle = move |carry_out: &dyn Fn() -> _, step: &Step| {
        let Step::Heartbeat { from, .. } = step else { return carry_out() };
        let _ = tell.lock().unwrap().send(*from);
        if lies.fetch_add(1, Ordering::SeqCst) < 2 {
            return Ok(Answer::Heard { runs: Vec::new(), next: Some(Ticket(5)) });
        }
        carry_out()
    };
    let flowlock = store.through_hearing(meddle, move |open| Ok(listening.on(open()?)));
    let first = flowlock.job("first").lock("a").acquire().unwrap();
    let Begun::Waiting(mut run) = flowlock.job("next").lock("a").begin().unwrap() else { panic!("granted") };
    assert!(matches!(run.wait(Duration::ZERO).unwrap(), Progress::Waiting));
    ear.misses_something();
    let patient = Duration::from_secs(20);
    let heard = [(); 3].map(|()| told.recv_timeout(patient).unwrap());
    assert_eq!(heard, [Ticket(0), Ticket(5), Ticket(0)]);
    first.commit().unwrap();
    assert!(matches!(run.wait(patient).unwrap(), Progress::Granted(_)));
}

/// A connection to a store in which something is held, and that says of every step that older work comes first.
fn always_busy(store: &Fresh) -> Flowlock {
    store.through(|carry_out: &dyn Fn() -> _, step: &Step| {
        Ok(match step {
            Step::Create { .. } | Step::Remove { .. } => {
                Answer::Refused(Blocked { by: Vec::new(), more: false, ahead: 0, retry_after_ms: Some(0) })
            }
            Step::Refresh(_) => Answer::Refreshed(vec![Refreshed::AskAgain]),
            Step::Accept { .. } => Answer::Standing(Standing::AskAgain),
            _ => return carry_out(),
        })
    })
}

#[test]
fn a_store_that_does_older_work_for_ever_is_asked_as_long_as_the_caller_waits() {
    let store = Fresh::new();
    let flowlock = always_busy(&store);
    let is_busy = |error: Error| {
        let said = error.to_string();
        assert!(matches!(&error, Error::Store(error) if error.is_transient()), "{said}");
        assert!(said.contains("older work, which comes first"), "{said}");
    };
    let held = flowlock.job("holds").lock("x").acquire().unwrap().detach().unwrap();
    is_busy(flowlock.create(&["a"], Creation::default()).unwrap_err());
    is_busy(flowlock.remove(&["a"], Holders::Break).unwrap_err());
    is_busy(flowlock.refresh(&held).unwrap_err());
    let waits = flowlock.job("waits").lock("x").wait(Duration::from_millis(300));
    assert!(waits.acquire().is_err());
    flowlock.fail(&held).unwrap();
}

#[test]
fn a_store_that_invents_ever_new_runs_fills_no_memory() {
    let store = Fresh::new();
    let plain = store.open();
    let names: Vec<_> = (0..1_000).map(|number| format!("{number:0200}")).collect();
    let job = names.iter().fold(plain.job("holds"), flowlock::Job::lock);
    let held = job.acquire().unwrap();
    let look = |look: &dyn Fn(&View) -> Result<Page, StoreError>, view: &View| {
        let View::Runs { from, .. } = view else { return look(view) };
        let mut page = look(&View::Runs { job: None, from: Ticket(0), limit: 1 })?;
        let Content::Runs(runs, next) = &mut page.content else { panic!("not runs") };
        runs[0].run.ticket = Ticket(from.0 + 1);
        *next = Some(Ticket(from.0 + 2));
        Ok(page)
    };
    let liar = between::through_looking(
        &plain,
        |carry_out: &dyn Fn() -> _, _: &Step| carry_out(),
        |open: &dyn Fn() -> _| open(),
        look,
    );
    let error = liar.runs().unwrap_err();
    assert!(error.to_string().contains("more runs than can be listed at once: the first "), "{error}");
    held.commit().unwrap();
}
