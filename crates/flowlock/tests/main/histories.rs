//! Random histories, with a second opinion at every step.

use std::sync::{Mutex, MutexGuard, PoisonError};

use flowlock::Bounds;
use flowlock::store::redis::Ways;
use flowlock_testkit::conformance::a_pause_begins_with_the_first_step_that_might_grant;
use flowlock_testkit::history::{
    Arrival, Op, Script, Takeovers, Use, Wish, histories_keep_their_promises, play,
};

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

/// Somebody asks to write names, of a to e.
fn writer(client: u8, data: [Use; 5], patience: Wish) -> Op {
    Op::Arrive(Arrival { client, data, patience, ..Arrival::nothing() })
}

#[test]
fn a_commit_of_what_nobody_waits_for_leaves_nothing_to_later_steps() {
    const A: [Use; 5] = [Use::Write, Use::No, Use::No, Use::No, Use::No];
    const BCD: [Use; 5] = [Use::No, Use::Write, Use::Write, Use::Write, Use::No];
    let holder_and_waiter = |client| writer(client, A, Wish::WaitForEver);
    let ops = vec![
        holder_and_waiter(0),
        writer(1, BCD, Wish::WaitForEver),
        holder_and_waiter(2),
        // The second one commits, and somebody tries what is free.
        Op::Act(1, 5),
        writer(3, BCD, Wish::Try),
        Op::Settle,
    ];
    // A step that drops one hint would not come through three that are for nobody.
    let bounds = Bounds { hints: 1, ..Bounds::default() };
    let script = Script { bounds, clients: 4, written: 0, ops };
    play(&script, Takeovers::Never).unwrap_or_else(|failed| panic!("{}\n{}", failed.verdict, failed.trace));
}
