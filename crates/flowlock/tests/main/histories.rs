//! Random histories, with a second opinion at every step.

use flowlock_testkit::history::{Takeovers, histories_keep_their_promises};

/// On the memory store, the embedded store and the Redis store, which give the same answers.
#[test]
fn random_histories_keep_every_promise_on_all_stores() {
    histories_keep_their_promises(192, 120, Takeovers::Never);
}

/// On the Redis store, where one server takes over from another again and again.
#[test]
fn random_histories_with_takeovers_keep_every_promise() {
    histories_keep_their_promises(64, 120, Takeovers::Happen);
}
