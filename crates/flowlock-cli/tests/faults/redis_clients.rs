//! Real processes on a server: one that sleeps through its lease, ones with wrong clocks, a writer among readers.

use flowlock_testkit::{Cli, Fault, Gate, PATIENCE, RedisServer, until};
use nix::sys::signal::Signal;

use crate::{records, run, states, until_it_is};

fn cli() -> Cli {
    crate::cli().on(RedisServer::start())
}

#[test]
fn a_paused_holder_whose_names_were_granted_to_another_cannot_commit() {
    let cli = cli();
    let gate = Gate::new(cli.home().join("gate"));
    let sleeper = cli.start(run("-o out --duration 1s --name sleeper", &format!("echo in; {}", gate.wait())));
    sleeper.says("in\n");
    sleeper.signal(Signal::SIGSTOP);
    cli.run(run("-o out --name next", "true")).code(0);
    let written = records(&cli);
    assert_eq!(written["out"].job, "next");
    gate.open();
    sleeper.signal(Signal::SIGCONT);
    sleeper.wait().code(79).stderr_has("its outputs are not recorded as written");
    assert_eq!(records(&cli), written);
}

#[test]
fn a_paused_holder_whose_names_nobody_needed_commits_late() {
    let cli = cli();
    let gate = Gate::new(cli.home().join("gate"));
    let done = cli.home().join("done");
    let script = format!("echo in; {}; touch {}", gate.wait(), done.display());
    let sleeper = cli.start(run("-o out --duration 1s --name sleeper", &script));
    sleeper.says("in\n");
    sleeper.signal(Signal::SIGSTOP);
    gate.open();
    until("the end of the command", PATIENCE, || done.exists().then_some(()));
    until("the end of the lease", PATIENCE, || {
        (states(&cli).get("sleeper").map(String::as_str) == Some("late")).then_some(())
    });
    sleeper.signal(Signal::SIGCONT);
    sleeper.wait().code(0);
    assert_eq!(records(&cli)["out"].job, "sleeper");
}

#[test]
fn a_clients_wall_clock_that_is_ten_minutes_wrong_changes_nothing() {
    let cli = cli();
    for (round, shift_ms) in [600_000, -600_000].into_iter().enumerate() {
        let wrong = Fault::below(cli.home()).inject();
        wrong.shift_wall_clock(shift_ms);
        let theirs = cli.clone().with_faults(&wrong);
        let before = records(&cli).get("out").map_or(0, |written| written.version);
        let gate = Gate::new(cli.home().join(format!("gate{round}")));
        let holder =
            theirs.start(run("-o out --duration 2s --name wrong", &format!("echo in; {}", gate.wait())));
        holder.says("in\n");
        let next = cli.start(run("-o out --name right", "echo in"));
        until_it_is(&cli, "right", "queued");
        // Past its first lease: it is renewed, and stands in the way.
        let begun = std::time::Instant::now();
        until("a lease and a half", PATIENCE, || (begun.elapsed().as_secs() >= 3).then_some(()));
        assert_eq!(states(&cli)["wrong"], "running");
        assert_eq!(next.stdout(), "");
        gate.open();
        holder.wait().code(0);
        next.wait().code(0).stdout("in\n");
        let written = &records(&cli)["out"];
        assert_eq!(written.job, "right");
        let server_us = cli.server().time_us() as u64;
        assert!(before < written.version && written.version <= server_us, "tokens are of the server's clock");
        theirs.run(run("-o out --name wrong --wait 5s", "true")).code(0);
    }
}

#[test]
fn a_writer_among_overlapping_readers_starts_in_its_turn() {
    let cli = cli();
    cli.run(run("-o in --name first", "true")).code(0);
    let gates = ["one", "two", "three", "behind"].map(|name| Gate::new(cli.home().join(name)));
    let reader = |at: usize| {
        let name = ["one", "two", "three", "behind"][at];
        let job = cli.start(run(&format!("-i in --name {name}"), &format!("echo in; {}", gates[at].wait())));
        (name, job)
    };
    let ahead = [0, 1, 2].map(reader);
    for (_, job) in &ahead {
        job.says("in\n");
    }
    let writer = cli.start(run("-o in --name writer", "echo in"));
    until_it_is(&cli, "writer", "queued");
    let (_, behind) = reader(3);
    until_it_is(&cli, "behind", "queued");
    let [one, two, three] = ahead;
    for (at, (_, job)) in [one, two].into_iter().enumerate() {
        gates[at].open();
        job.wait().code(0);
        assert_eq!((writer.stdout(), behind.stdout()), (String::new(), String::new()));
    }
    gates[2].open();
    three.1.wait().code(0);
    writer.wait().code(0).stdout("in\n");
    behind.says("in\n");
    gates[3].open();
    behind.wait().code(0);
    assert_eq!(records(&cli)["in"].job, "writer");
}

#[test]
fn a_server_without_memory_is_said_to_be_full() {
    let cli = cli();
    let gate = Gate::new(cli.home().join("gate"));
    let holder = cli.start(run("-o out --name holder", &format!("echo in; {}", gate.wait())));
    holder.says("in\n");
    cli.server().command(&["CONFIG", "SET", "maxmemory", "1"]);
    let impatient = cli.clone().with("FLOWLOCK_STORE_TIMEOUT", "1s");
    impatient
        .run(run("-o new", "echo ran"))
        .code(74)
        .stdout("")
        .stderr_has("has no memory left; raise maxmemory");
    gate.open();
    holder.wait().code(0);
    assert_eq!(records(&cli)["out"].job, "holder");
}
