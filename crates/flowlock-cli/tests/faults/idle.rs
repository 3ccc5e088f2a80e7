//! Many processes wait on a server: what they ask of it meanwhile.

use std::thread;
use std::time::{Duration, Instant};

use flowlock_testkit::{Job, PATIENCE, RedisServer, until};

use crate::{cli, run};

const WAITERS: u64 = 200;
/// Two heartbeats of each.
const WATCHED: Duration = Duration::from_secs(10);
/// One command of each in 5 s, and room for their disorder.
const A_SECOND: u64 = 50;

#[test]
fn two_hundred_waiting_processes_send_fifty_commands_a_second_at_most() {
    let cli = cli().on(RedisServer::start());
    let server = cli.server();
    let holder = cli.start(run("-l gate", "echo in; until test -e open; do sleep 0.1; done"));
    holder.says("in\n");
    let waiters: Vec<Job> = (0..WAITERS).map(|_| cli.start(run("-l gate --wait 10m", "true"))).collect();
    let count = |what: &str| {
        let status = cli.run(["status", "--json"]);
        status.code(0).json()[what].as_array().map_or(0, Vec::len) as u64
    };
    until("all wait", PATIENCE * 5, || (count("waiting") == WAITERS).then_some(()));
    // Each asks once more after it has begun to listen; then it is quiet.
    until("quiet", PATIENCE, || {
        let before = server.commands_sent();
        thread::sleep(Duration::from_secs(1));
        (server.commands_sent() - before <= 2 * A_SECOND).then_some(())
    });
    let (before, begun) = (server.commands_sent(), Instant::now());
    thread::sleep(WATCHED);
    let sent = server.commands_sent() - before;
    let seconds = begun.elapsed().as_secs();
    assert!(sent >= WAITERS, "{sent} commands in {seconds} s: not all say that they live");
    assert!(sent <= A_SECOND * seconds, "{sent} commands in {seconds} s");
    std::fs::write(cli.home().join("open"), "").expect("room for a file");
    for waiter in waiters {
        waiter.wait_at_most(PATIENCE * 3).code(0);
    }
}
