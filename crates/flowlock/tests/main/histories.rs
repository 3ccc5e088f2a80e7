//! Random histories, with a second opinion at every step.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flowlock::store::redis::Ways;
use flowlock_testkit::conformance::a_pause_begins_with_the_first_step_that_might_grant;
use flowlock_testkit::history::{Takeovers, histories_keep_their_promises};

/// On the memory store, the embedded store and the Redis store, which give the same answers.
#[test]
fn random_histories_keep_every_promise_on_all_stores() {
    histories_keep_their_promises(192, 120, Takeovers::Never);
}

/// On the Redis store, where one server takes over from another again and again.
#[test]
fn random_histories_with_takeovers_keep_every_promise() {
    let _alone = alone_on_the_server();
    histories_keep_their_promises(64, 120, Takeovers::Happen);
}

#[test]
fn a_takeover_is_noticed_in_the_same_step_by_the_short_ways_and_the_long_ones() {
    let _alone = alone_on_the_server();
    for ways in [Ways::Short, Ways::Long] {
        a_pause_begins_with_the_first_step_that_might_grant(ways);
    }
}

/// Every takeover is one for all that is on the server, which these tests share.
fn alone_on_the_server() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
