//! Random histories on the memory store and the embedded store, with a second opinion at every step.

use flowlock_testkit::history::histories_keep_their_promises;

#[test]
fn random_histories_keep_every_promise_on_both_stores() {
    histories_keep_their_promises(256, 120);
}
