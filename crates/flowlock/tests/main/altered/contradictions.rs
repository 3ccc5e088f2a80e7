//! Rows that contradict each other.

use std::path::Path;
use std::time::Duration;

use flowlock::step::Holders;
use flowlock::store::StoreErrorKind;
use flowlock::{Creation, Error, Flowlock, Name};
use flowlock_testkit::sql;

use super::{fresh, open};

/// Holds `report` and a unit of `gpu` in a new store with a run that ended before; then alters it.
fn held_and_altered(directory: &Path, statement: &str) -> Flowlock {
    let file = fresh(directory).join("altered.db");
    let flowlock = open(&file).unwrap();
    flowlock.job("load").output("sales").acquire().unwrap().commit().unwrap();
    let write = flowlock.job("write").output("report").slot("gpu", 1, 2);
    write.lease(Duration::from_mins(10)).acquire().unwrap().detach().unwrap();
    drop(flowlock);
    sql(&file, statement);
    open(&file).unwrap()
}

#[test]
fn a_holder_that_does_not_hold_ends_what_would_end_it_with_an_error_and_not_never() {
    let directory = tempfile::tempdir().unwrap();
    let is_damaged = |error: Error| {
        let said = error.to_string();
        assert!(matches!(&error, Error::Store(error) if error.kind() == StoreErrorKind::Damaged), "{said}");
        assert!(said.contains("contradicts itself"), "{said}");
    };
    for statement in [
        "update hold set lapsed = 1",
        "update hold set ticket = 1",
        "update run set lapsed = 1 where ticket = 2",
        "update run set state = 'committed' where ticket = 2",
        "update run set spec = replace(spec, 'report', 'other') where ticket = 2",
    ] {
        println!("{statement}");
        let flowlock = held_and_altered(directory.path(), statement);
        is_damaged(flowlock.remove(&["report"], Holders::Break).unwrap_err());
        let holders = Holders::Break;
        is_damaged(flowlock.create(&["report"], Creation { holders, ..Creation::default() }).unwrap_err());
    }
    // Whoever needs what lapsed, units too.
    let lapsed = "update hold set lapsed = 1; update units set lapsed = 1; update namespace set lapsed = 1";
    let flowlock = held_and_altered(directory.path(), lapsed);
    is_damaged(flowlock.job("a").slot("gpu", 2, 2).try_acquire().unwrap_err());
    is_damaged(flowlock.job("a").output("report").try_acquire().unwrap_err());
}

#[test]
fn no_commit_takes_a_record_back_to_an_older_version() {
    let directory = tempfile::tempdir().unwrap();
    let file = fresh(directory.path()).join("altered.db");
    let load = |flowlock: &Flowlock| {
        let grant = flowlock.job("load").output("sales").acquire().unwrap();
        grant.commit()
    };
    load(&open(&file).unwrap()).unwrap();
    sql(&file, "update record set version = version + 3600000000");
    let flowlock = open(&file).unwrap();
    let sales = || flowlock.names(&[Name::parse("sales").unwrap()]).unwrap().remove(0).record;
    let newer = sales().map(|record| record.version);
    let said = load(&flowlock).unwrap_err().to_string();
    assert!(said.contains("record sales has version"), "{said}");
    assert_eq!(sales().map(|record| record.version), newer);
}
