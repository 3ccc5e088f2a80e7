//! The promises of the store for many hosts, tried on servers that crash, forget, fill up, freeze and replace each other.

mod clusters;
mod failovers;
mod reconnects;
mod replies;
mod restarts;
mod scripts;

#[expect(clippy::duplicate_mod, reason = "the same store in between")]
#[path = "../every/between.rs"]
mod between;

use std::sync::mpsc;
use std::time::Duration;

use flowlock::{Acquired, Error, Flowlock, Grant, Job, Lost, Name, Namespace, Token};
use flowlock_testkit::fresh_namespace;

/// Long enough for a failover on a loaded machine.
const PATIENT: Duration = Duration::from_secs(40);

/// `short` times the effort that was asked for.
fn rounds(short: usize) -> usize {
    short * flowlock_testkit::effort() as usize
}

fn namespace() -> Namespace {
    Namespace::parse(&fresh_namespace()).unwrap()
}

/// A connection of its own: another process would have no more in common with the other ones.
fn open(url: &str, namespace: &Namespace) -> Flowlock {
    impatient(url, namespace, Duration::from_secs(20))
}

/// The same, which gives the store less time to answer.
fn impatient(url: &str, namespace: &Namespace, timeout: Duration) -> Flowlock {
    let settings = Flowlock::builder().namespace(namespace.clone()).store_timeout(timeout);
    settings.open(url).unwrap()
}

/// A run that writes a name, from beginning to end; answers the version.
fn write(flowlock: &Flowlock, name: &str) -> Token {
    flowlock.job("write").output(name).acquire().unwrap().commit().unwrap().version
}

/// The version of a name's record.
fn version(flowlock: &Flowlock, name: &str) -> Option<Token> {
    let seen = flowlock.names(&[Name::parse(name).unwrap()]).unwrap();
    seen[0].record.as_ref().map(|record| record.version)
}

/// What will be told of a loss.
fn told(grant: &Grant) -> mpsc::Receiver<Lost> {
    let (tell, told) = mpsc::channel();
    grant.on_lost(move |by| {
        let _ = tell.send(by);
    });
    told
}

/// When a try that was refused says it is worth trying again.
#[track_caller]
fn refused(job: &Job) -> Duration {
    let Acquired::Blocked(blocked) = job.try_acquire().unwrap() else { panic!("granted") };
    Duration::from_millis(blocked.retry_after_ms.unwrap())
}

#[track_caller]
fn is_lost(committed: &Result<flowlock::Committed, Error>, how: Lost) {
    let Err(Error::Lost { by, .. }) = committed else { panic!("{committed:?}") };
    assert_eq!(*by, how);
}

/// Takes the store's notices, as one text.
fn take_notices(flowlock: &Flowlock) -> String {
    flowlock.store().take_notices().join("\n")
}

/// Waits until this is part of the store's notices, which another thread may add; returns all of them.
#[track_caller]
fn hears(flowlock: &Flowlock, part: &str) -> String {
    let mut all = String::new();
    flowlock_testkit::until(part, PATIENT, || {
        all += &take_notices(flowlock);
        all.contains(part).then(|| all.clone())
    })
}
