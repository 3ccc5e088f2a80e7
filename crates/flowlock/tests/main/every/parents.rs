//! Whose child a request is: that is decided when it is sent, not when its job is made.

use std::time::Duration;

use flowlock::{Begun, Error, Flowlock, Grant};

use super::Fresh;

const SHORT: Duration = Duration::from_millis(200);

fn inside<T>(flowlock: &Flowlock, work: impl FnOnce(&Grant) -> T) -> T {
    let mut found = None;
    let job = flowlock.job("outer").lock("x").lock_shared("s");
    job.with(|grant| {
        found = Some(work(grant));
        Ok::<_, Error>(())
    })
    .unwrap();
    found.unwrap()
}

#[test]
fn a_job_that_was_made_before_is_a_child_where_it_asks() {
    let store = Fresh::new();
    let flowlock = store.open();
    let made_before = flowlock.job("inner").lock("x").wait(SHORT);
    let refused = inside(&flowlock, |_| made_before.acquire().unwrap_err());
    assert!(matches!(refused, Error::Deadlock { .. }), "{refused:?}");
    // It passes a writer in line for what its parent shares.
    let reads = flowlock.job("inner").lock_shared("s").wait(SHORT);
    inside(&flowlock, |_| {
        let Begun::Waiting(_writer) = flowlock.job("writer").lock("s").parent(nobody()).begin().unwrap()
        else {
            panic!("it may not write")
        };
        reads.acquire().unwrap().commit().unwrap();
    });
}

/// To be no child of the run inside whose closure it asks.
fn nobody() -> flowlock::Parent {
    let run = flowlock::RunId::parse("nobody.1").unwrap();
    flowlock::Parent::with_proof(run, &"0".repeat(40)).unwrap()
}

#[test]
fn a_job_that_was_made_inside_is_no_child_outside() {
    let store = Fresh::new();
    let flowlock = store.open();
    let (made_inside, outer) =
        inside(&flowlock, |outer| (flowlock.job("inner").lock("x"), outer.run_id().clone()));
    let grant = made_inside.acquire().unwrap();
    assert_eq!(grant.spec().parent, None);
    grant.commit().unwrap();
    // Inside of another run it is that one's.
    let other = flowlock.job("other").lock("y");
    other
        .with(|other| {
            let grant = made_inside.acquire()?;
            assert_eq!(grant.spec().parent, Some(other.as_parent()));
            assert_ne!(grant.spec().parent.as_ref().map(flowlock::Parent::run), Some(&outer));
            grant.commit()
        })
        .unwrap();
}

#[test]
fn a_request_on_another_store_or_namespace_is_no_child() {
    let (store, elsewhere) = (Fresh::new(), Fresh::new());
    let (flowlock, other) = (store.open(), elsewhere.open());
    inside(&flowlock, |outer| {
        let grant = other.job("inner").lock("x").acquire().unwrap();
        assert_eq!(grant.spec().parent, None);
        grant.commit().unwrap();
        // What is around that one still is for requests on its own store.
        inside(&other, |_| {
            let grant = flowlock.job("inner").lock("z").acquire().unwrap();
            assert_eq!(grant.spec().parent, Some(outer.as_parent()));
            grant.commit().unwrap();
        });
    });
}

#[test]
fn an_async_request_is_a_child_of_the_run_inside_whose_closure_it_is_polled() {
    let store = Fresh::new();
    let flowlock = store.open();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let made_before = flowlock.job("inner").lock("x").wait(SHORT);
    let refused = inside(&flowlock, |_| runtime.block_on(made_before.acquire_async()).unwrap_err());
    assert!(matches!(refused, Error::Deadlock { .. }), "{refused:?}");
}
