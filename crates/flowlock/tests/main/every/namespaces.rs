//! A namespace removed while somebody begins in it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use flowlock::step::{Holders, Step};
use flowlock::store::View;
use flowlock::{Creation, Error, Flowlock};

use super::{Fresh, between};

const ROUNDS: u32 = 60;

/// A round leaves no outcome, which would keep the namespace for ten minutes: only records come and go.
fn round(begins: &Flowlock, tidies: &Flowlock, last: &mut flowlock::Token) -> bool {
    let start = Barrier::new(2);
    let outcome = thread::scope(|scope| {
        let removing = scope.spawn(|| {
            start.wait();
            tidies.remove_namespace()
        });
        start.wait();
        begins.create(&["a"], flowlock::Creation::default()).unwrap();
        removing.join().unwrap()
    });
    // Whoever came first, what began is there, in a namespace that goes on from where it was.
    let [a] = &begins.names(&[flowlock::Name::parse("a").unwrap()]).unwrap()[..] else { panic!("one name") };
    let version = a.record.as_ref().expect("what was written is there").version;
    assert!(version > *last, "{version} after {last}");
    *last = version;
    assert!(tidies.namespaces().unwrap().iter().any(|(namespace, _)| namespace == begins.namespace()));
    begins.remove(&["a"], Holders::Respect).unwrap();
    match outcome {
        Ok(done) => done,
        Err(Error::NamespaceInUse { .. }) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_namespace_removed_while_a_job_begins_is_kept_or_begun_anew() {
    let fresh = Fresh::new();
    let begins = fresh.open();
    let tidies = Flowlock::builder().namespace(fresh.namespace.clone()).with_store(begins.store().clone());
    let mut last = flowlock::Token(0);
    let times = (0..ROUNDS).filter(|_| round(&begins, &tidies, &mut last)).count();
    // What is left is empty, whichever came last.
    tidies.remove_namespace().unwrap();
    assert!(!tidies.namespaces().unwrap().iter().any(|(namespace, _)| *namespace == fresh.namespace));
    assert_eq!(begins.store().take_notices(), [""; 0], "after {times} removals");
    // A run in it is safe.
    let grant = begins.job("job").lock("l").acquire().unwrap();
    assert!(matches!(tidies.remove_namespace(), Err(Error::NamespaceInUse { .. })));
    assert!(grant.token() > last);
    let is_empty = || {
        let all = tidies.namespaces().unwrap();
        let (_, seen) = all.into_iter().find(|(namespace, _)| *namespace == fresh.namespace).unwrap();
        seen.expect("it is used").is_empty()
    };
    assert!(!is_empty());
    grant.commit().unwrap();
    // Only what is remembered for ten minutes keeps it.
    assert!(is_empty());
    assert!(matches!(tidies.remove_namespace(), Err(Error::NamespaceInUse { .. })));
}

/// A server may list what it likes and take its time for each.
/// Like every other listing, it comes after what was dropped before.
#[test]
fn a_run_that_was_dropped_before_a_listing_of_namespaces_is_not_in_it() {
    let store = Fresh::new();
    let flowlock = store.open();
    for number in 0..20 {
        drop(flowlock.job("a").output(format!("x{number}")).acquire().unwrap());
        let all = flowlock.namespaces().unwrap();
        let (_, seen) = all.iter().find(|(namespace, _)| namespace == flowlock.namespace()).unwrap();
        assert_eq!(seen.as_ref().unwrap().running, 0, "after {number}");
    }
}

#[test]
fn namespaces_that_are_answered_slowly_are_not_all_looked_at() {
    const ALL: usize = 16;
    let store = Fresh::new();
    let opened = store.open();
    for number in 0..ALL {
        let namespace = flowlock::Namespace::parse(&format!("slow{number}")).unwrap();
        let there = Flowlock::builder().namespace(namespace).with_store(opened.store().clone());
        there.create(&["a"], Creation::default()).unwrap();
    }
    let looked = Arc::<AtomicUsize>::default();
    let counts = looked.clone();
    // Each takes twice the time that the store is given for one answer.
    let slow = between::through_looking(
        &opened,
        |carry_out: &dyn Fn() -> _, _: &Step| carry_out(),
        |open: &dyn Fn() -> _| open(),
        move |look: &dyn Fn(&View) -> _, view: &View| {
            counts.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(100));
            look(view)
        },
    );
    let said = slow.namespaces().unwrap_err().to_string();
    assert!(said.contains(" namespaces were read within "), "{said}");
    assert!(looked.load(Ordering::SeqCst) < ALL);
}
