//! What a process sends while its runs wait.

use std::thread;
use std::time::{Duration, Instant};

use flowlock::Flowlock;
use flowlock_testkit::{PATIENCE, RedisServer, until};

const WAITERS: usize = 1_000;
const WATCHED: Duration = Duration::from_secs(15);

#[test]
fn a_thousand_waiters_in_one_process_send_two_commands_a_second_at_most() {
    let server = RedisServer::start();
    // A thousand threads share one connection, and a core with other tests.
    let flowlock = Flowlock::builder().store_timeout(PATIENCE).open(&server.url()).unwrap();
    let holder = flowlock.job("holder").lock("gate").acquire().unwrap();
    thread::scope(|scope| {
        let wait = || flowlock.job("waiter").lock("gate").acquire().unwrap().commit().unwrap();
        for _ in 0..WAITERS {
            // A thousand stacks of the usual size would be two gigabytes.
            let small = thread::Builder::new().stack_size(256 << 10);
            small.spawn_scoped(scope, wait).expect("a thread");
        }
        let all_wait = || (flowlock.runs().unwrap().len() == WAITERS + 1).then_some(());
        until("all wait", PATIENCE * 3, all_wait);
        // Each asks once more after it began to wait; then it is quiet.
        until("quiet", PATIENCE * 3, || {
            let before = server.commands_sent();
            thread::sleep(Duration::from_secs(1));
            (server.commands_sent() - before <= 2).then_some(())
        });
        let (before, begun) = (server.commands_sent(), Instant::now());
        thread::sleep(WATCHED);
        let sent = server.commands_sent() - before;
        let seconds = begun.elapsed().as_secs();
        assert!(sent >= seconds / 6, "{sent} commands in {seconds} s: nobody says that it lives");
        assert!(sent <= 2 * seconds, "{sent} commands in {seconds} s");
        holder.commit().unwrap();
    });
    assert!(flowlock.runs().unwrap().is_empty());
}
