//! The server comes back with an older state.

use std::time::Duration;

use flowlock::{Begun, Error, Grant, Lost, Progress};
use flowlock_testkit::{Persistence, RedisServer};

use super::{Before, PATIENT, hears, namespace, open, version, write};

#[test]
fn an_older_snapshot_is_noticed_and_the_commits_since_are_named() {
    let server = RedisServer::setup().persistence(Persistence::Snapshots).start();
    let before = Before::on(server);
    before.server.command(&["SAVE"]);
    let flowlock = &before.flowlock;
    let later = flowlock.job("later").output("later").run_id("later.1").acquire().unwrap();
    let late = later.commit().unwrap().version;
    before.server.restart();
    assert_eq!(version(flowlock, "later"), None);
    let said = hears(flowlock, "was committed");
    assert!(said.contains("the store went back: in namespace "), "{said}");
    assert!(said.contains("later.1 was committed, but the store has lost that"), "{said}");
    assert_eq!(said.matches("was committed").count(), 1, "the commit before the snapshot is there: {said}");
    assert_eq!(version(flowlock, "written"), Some(before.written));
    before.grant.commit().unwrap();
    assert!(write(flowlock, "later") > late, "tokens rise above those of the lost time");
}

/// What was in line when the server was saved is there again, though it was granted since.
#[test]
fn a_run_that_waits_again_in_an_older_snapshot_is_lost_with_the_store() {
    for ask in [
        |grant: Grant| grant.verify(),
        |grant: Grant| grant.refresh().map(drop),
        |grant: Grant| grant.commit().map(drop),
    ] {
        let server = RedisServer::setup().persistence(Persistence::Snapshots).start();
        let namespace = namespace();
        let [first, second] = [(); 2].map(|()| open(&server.url(), &namespace));
        let before = first.job("first").lock("l").lease(Duration::from_mins(1)).acquire().unwrap();
        let job = second.job("second").lock("l").output("out").fixed_lease();
        let Begun::Waiting(mut waiting) = job.begin().unwrap() else { panic!("granted beside the first") };
        server.command(&["SAVE"]);
        before.fail();
        let Progress::Granted(grant) = waiting.wait(PATIENT).unwrap() else {
            panic!("it was not handed over")
        };
        server.restart();
        // A renewal by hand takes effect once a second.
        std::thread::sleep(Duration::from_millis(1_010));
        let ended = ask(grant);
        assert!(matches!(ended, Err(Error::Lost { by: Lost::WithTheStore, .. })), "{ended:?}");
        assert_eq!(version(&first, "out"), None);
    }
}
