//! A namespace removed while somebody begins in it.

use std::sync::Barrier;
use std::thread;

use flowlock::step::Holders;
use flowlock::{Error, Flowlock};

use super::Fresh;

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
    assert_eq!(begins.store().notices(), [""; 0], "after {times} removals");
    // A run in it is safe.
    let grant = begins.job("job").lock("l").acquire().unwrap();
    assert!(matches!(tidies.remove_namespace(), Err(Error::NamespaceInUse { .. })));
    assert!(grant.token() > last);
    grant.commit().unwrap();
    assert!(matches!(tidies.remove_namespace(), Err(Error::NamespaceInUse { .. })));
}
