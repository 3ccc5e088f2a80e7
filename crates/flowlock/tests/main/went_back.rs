//! A store that went backwards: an older copy, or another store, in the place of the one that was seen.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use flowlock::store::memory::MemoryStore;
use flowlock::store::sqlite::SqliteStore;
use flowlock::store::{Epoch, StoreErrorKind, Watermark};
use flowlock::{Begun, Error, Flowlock, Lost, Name, Namespace};
use flowlock_testkit::sql;
use tempfile::TempDir;

const PATIENT: Duration = Duration::from_secs(20);

/// A place for an embedded store.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("flowlock.db")
    }

    fn open(&self) -> Flowlock {
        Flowlock::with_store(Arc::new(SqliteStore::open(&self.path(), PATIENT).unwrap()))
    }

    /// Puts back what the file was before; nobody may have it open.
    fn restore(&self, content: &[u8]) {
        for side in ["flowlock.db-wal", "flowlock.db-shm"] {
            fs::remove_file(self.directory.path().join(side)).unwrap();
        }
        fs::write(self.path(), content).unwrap();
    }

    fn content(&self) -> Vec<u8> {
        sql(self.path(), "pragma wal_checkpoint(truncate)");
        fs::read(self.path()).unwrap()
    }
}

fn write(flowlock: &Flowlock, name: &str) -> Result<(), Error> {
    flowlock.job("write").output(name).acquire()?.commit().map(drop)
}

fn read(flowlock: &Flowlock, name: &str) -> Result<(), Error> {
    flowlock.names(&[Name::parse(name).unwrap()]).map(drop)
}

fn seen(flowlock: &Flowlock) -> Option<Watermark> {
    flowlock.store().seen(flowlock.namespace())
}

fn expect(flowlock: &Flowlock, watermark: Option<Watermark>) {
    flowlock.store().expect(flowlock.namespace(), watermark.unwrap());
}

/// What is said of a step and of a look, which must be the same.
fn said(flowlock: &Flowlock) -> String {
    let [step, look] = [write(flowlock, "next"), read(flowlock, "next")].map(|result| {
        let error = result.unwrap_err();
        let Error::Store(found) = &error else { panic!("{error:?}") };
        assert_eq!(found.kind(), StoreErrorKind::Replaced, "{found}");
        error.to_string()
    });
    assert_eq!(step, look);
    step
}

fn both_stores() -> [(Flowlock, Option<Place>); 2] {
    let place = Place::new();
    [(Flowlock::with_store(Arc::new(MemoryStore::default())), None), (place.open(), Some(place))]
}

#[test]
fn an_older_state_than_an_earlier_process_saw_is_noticed() {
    for (flowlock, _place) in both_stores() {
        write(&flowlock, "a").unwrap();
        let Watermark { epoch, sequence } = seen(&flowlock).unwrap();
        expect(&flowlock, Some(Watermark { epoch, sequence: 1 }));
        expect(&flowlock, Some(Watermark { epoch, sequence }));
        write(&flowlock, "b").unwrap();
        let now = seen(&flowlock).unwrap();
        assert!(now.sequence > sequence, "{now}");
        expect(&flowlock, Some(Watermark { epoch, sequence: now.sequence + 7 }));
        let was = format!("was at step {} and is at step {}", now.sequence + 7, now.sequence);
        let said = said(&flowlock);
        assert!(said.contains(&was) && said.contains("flowlock doctor --accept-restore"), "{said}");
    }
}

#[test]
fn another_epoch_than_an_earlier_process_saw_is_noticed_however_far_it_came() {
    for (flowlock, _place) in both_stores() {
        write(&flowlock, "a").unwrap();
        expect(&flowlock, Some(Watermark { epoch: Epoch(7), sequence: 1 }));
        let said = said(&flowlock);
        assert!(said.contains("step 1 of epoch 00000000000000000000000000000007"), "{said}");
    }
}

#[test]
fn another_namespace_is_not_affected() {
    for (flowlock, _place) in both_stores() {
        let elsewhere = Namespace::parse("elsewhere").unwrap();
        let other = Flowlock::builder().namespace(elsewhere).with_store(flowlock.store().clone());
        write(&flowlock, "a").unwrap();
        write(&other, "a").unwrap();
        assert_ne!(seen(&flowlock).unwrap().epoch, seen(&other).unwrap().epoch);
        expect(&other, Some(Watermark { epoch: Epoch(7), sequence: 1 }));
        said(&other);
        write(&flowlock, "b").unwrap();
        read(&flowlock, "b").unwrap();
    }
}

#[test]
fn an_epoch_stays_with_its_file() {
    let place = Place::new();
    write(&place.open(), "a").unwrap();
    let flowlock = place.open();
    assert_eq!(seen(&flowlock), None);
    read(&flowlock, "a").unwrap();
    let first = seen(&flowlock).unwrap();
    write(&flowlock, "b").unwrap();
    assert_eq!(seen(&flowlock).unwrap().epoch, first.epoch);
    drop(flowlock);
    fs::remove_file(place.path()).unwrap();
    let flowlock = place.open();
    write(&flowlock, "a").unwrap();
    assert_ne!(seen(&flowlock).unwrap().epoch, first.epoch);
}

#[test]
fn an_older_copy_of_the_file_is_noticed_by_the_next_process_that_was_told() {
    let place = Place::new();
    write(&place.open(), "a").unwrap();
    let old = place.content();
    let flowlock = place.open();
    write(&flowlock, "b").unwrap();
    let last = seen(&flowlock);
    drop(flowlock);
    place.restore(&old);
    read(&place.open(), "a").unwrap();
    let told = place.open();
    expect(&told, last);
    read(&told, "a").unwrap();
    is_told_once(&told, "the store went back: namespace default was at step");
    assert_eq!(told.store().loss(told.namespace()).unwrap().was, last.unwrap());
}

#[test]
fn a_store_made_anew_is_noticed_by_the_next_process_that_was_told() {
    let place = Place::new();
    let flowlock = place.open();
    write(&flowlock, "a").unwrap();
    let last = seen(&flowlock);
    drop(flowlock);
    fs::remove_file(place.path()).unwrap();
    let told = place.open();
    expect(&told, last);
    read(&told, "b").unwrap();
    is_told_once(&told, "the store was replaced by another one");
    assert_eq!(told.store().loss(told.namespace()).unwrap().is, None);
    write(&told, "b").unwrap();
    // From then on it is this process's own.
    let Watermark { epoch, sequence } = seen(&told).unwrap();
    expect(&told, Some(Watermark { epoch, sequence: sequence + 100 }));
    assert!(said(&told).contains("the store went back"));
}

#[track_caller]
fn is_told_once(flowlock: &Flowlock, words: &str) {
    let notices = flowlock.store().take_notices();
    assert!(notices.len() == 1 && notices[0].contains(words), "{notices:?}");
    assert_eq!(flowlock.store().take_notices(), Vec::<String>::new());
}

#[test]
fn a_store_from_before_there_were_epochs_gets_them_when_it_is_written_to() {
    let place = Place::new();
    write(&place.open(), "a").unwrap();
    sql(place.path(), "drop table epoch");
    let flowlock = place.open();
    read(&flowlock, "a").unwrap();
    assert_eq!(seen(&flowlock), None);
    write(&flowlock, "b").unwrap();
    let epoch = seen(&flowlock).unwrap().epoch;
    let other = place.open();
    read(&other, "b").unwrap();
    assert_eq!(seen(&other).unwrap().epoch, epoch);
}

#[test]
fn only_what_was_synced_is_durable() {
    let place = Place::new();
    let flowlock = place.open();
    let durable = || flowlock.store().durable(flowlock.namespace());
    write(&flowlock, "a").unwrap();
    let written = durable();
    assert_eq!(written, seen(&flowlock));
    flowlock.job("lock").lock("l").acquire().unwrap().commit().unwrap();
    assert_eq!(durable(), written, "a lock is not synced");
    assert_ne!(seen(&flowlock), written);
    write(&flowlock, "b").unwrap();
    assert_eq!(durable(), seen(&flowlock));
}

#[test]
fn who_holds_or_waits_in_a_store_that_went_back_hears_of_it() {
    let place = Place::new();
    let flowlock = place.open();
    let grant = flowlock.job("holder").output("a").lease(Duration::from_secs(6)).acquire().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    grant.on_lost(move |by| tell.send(by).unwrap());
    let Begun::Waiting(mut waiting) = flowlock.job("waiter").output("a").begin().unwrap() else { panic!() };
    let Watermark { epoch, sequence } = seen(&flowlock).unwrap();
    expect(&flowlock, Some(Watermark { epoch, sequence: sequence + 100 }));
    let error = loop {
        match waiting.wait(PATIENT) {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("the store went back"), "{error}");
    assert_eq!(told.recv_timeout(PATIENT), Ok(Lost::WithTheStore));
    drop(grant);
}
