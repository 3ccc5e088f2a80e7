//! A commit whose first answer was lost, asked for again when the store has forgotten the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use flowlock::step::{Answer, Finished, Step};
use flowlock::store::{StoreError, StoreErrorKind};
use flowlock::{Error, Flowlock, Lost};

use super::{Fresh, between};

/// A line on which the first commit gets no answer, after which the store knows nothing of it any more.
fn forgetful(
    store: &Flowlock,
    first: impl Fn(&dyn Fn() -> Result<Answer, StoreError>) -> StoreError + Send + Sync + 'static,
) -> Flowlock {
    let asked = Arc::new(AtomicUsize::new(0));
    between::through(store, move |carry_out, step| match step {
        Step::Commit { .. } if asked.fetch_add(1, Ordering::SeqCst) == 0 => Err(first(carry_out)),
        Step::Commit { .. } => Ok(Answer::Finished(Finished::NotFound)),
        _ => carry_out(),
    })
}

fn no_answer() -> StoreError {
    StoreError::new(StoreErrorKind::Unknown, "the answer was lost")
}

#[test]
fn a_commit_that_a_record_names_counts_though_the_store_forgot_the_run() {
    let store = Fresh::new();
    let flowlock = forgetful(&store.open(), |carry_out| {
        carry_out().unwrap();
        no_answer()
    });
    let grant = flowlock.job("job").output("a").acquire().unwrap();
    let token = grant.token();
    let committed = grant.commit().unwrap();
    assert_eq!((committed.version, committed.late), (token, false));
}

#[test]
fn a_commit_that_no_record_names_any_more_is_unknown_and_not_lost() {
    let store = Fresh::new();
    let base = store.open();
    let other = base.clone();
    let flowlock = forgetful(&base, move |carry_out| {
        carry_out().unwrap();
        other.job("other").output("a").acquire().unwrap().commit().unwrap();
        no_answer()
    });
    let error = flowlock.job("job").output("a").acquire().unwrap().commit().unwrap_err();
    let Error::Unknown { source, .. } = error else { panic!("{error:?}") };
    assert!(source.to_string().contains("does not remember the run"), "{source}");
}

#[test]
fn a_commit_that_leaves_no_record_is_unknown_once_it_is_forgotten() {
    let store = Fresh::new();
    let flowlock = forgetful(&store.open(), |carry_out| {
        carry_out().unwrap();
        no_answer()
    });
    let error = flowlock.job("job").lock("a").acquire().unwrap().commit().unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
}

#[test]
fn a_commit_that_surely_did_not_count_is_lost_with_the_store() {
    let store = Fresh::new();
    let flowlock = forgetful(&store.open(), |_| StoreError::new(StoreErrorKind::Unreachable, "refused"));
    let error = flowlock.job("job").output("a").acquire().unwrap().commit().unwrap_err();
    assert!(matches!(error, Error::Lost { by: Lost::WithTheStore, .. }), "{error:?}");
}

#[test]
fn a_record_of_an_earlier_run_under_the_same_id_is_not_taken_for_that_of_this_one() {
    let store = Fresh::new();
    let base = store.open();
    let begin = |flowlock: &Flowlock| flowlock.job("job").output("a").run_id("job.1").acquire().unwrap();
    begin(&base).commit().unwrap();
    let flowlock = forgetful(&base, |_| no_answer());
    let error = begin(&flowlock).commit().unwrap_err();
    assert!(matches!(error, Error::Unknown { .. }), "{error:?}");
}
