//! Random histories on the memory store, the embedded store and the Redis store, with a second opinion at every step.

use flowlock_testkit::history::histories_keep_their_promises;

#[test]
fn random_histories_keep_every_promise_on_all_stores() {
    histories_keep_their_promises(256, 120);
}
