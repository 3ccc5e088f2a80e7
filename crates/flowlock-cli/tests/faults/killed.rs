//! kill -9, at any moment: the names are free at once, and what the killed began is not written.

use std::time::{Duration, Instant};

use flowlock_testkit::{Gate, PATIENCE, until};
use nix::sys::signal::Signal;

use crate::{Chance, cli, records, rounds, run, starts_at_once, until_it_is};

/// How long a run lives that commits by itself, roughly: moments are chosen from a bit more.
const LIFE: Duration = Duration::from_millis(120);

#[test]
fn a_holder_killed_at_any_moment_wrote_all_or_nothing_and_its_names_are_free_at_once() {
    let mut chance = Chance::new();
    let cli = cli();
    let mut slowest = Duration::ZERO;
    for round in 0..rounds(40) {
        let holder = cli.start(run(&format!("-o one -o two --name holder{round}"), "sleep 0.04"));
        chance.pause(LIFE);
        holder.signal(Signal::SIGKILL);
        let killed = Instant::now();
        drop(holder.wait());
        let before = records(&cli);
        let job = |name: &str| before.get(name).map(|written| written.job.clone());
        assert_eq!(job("one"), job("two"), "both outputs of one run, or none");
        let next = cli.start(run("-o one -o two --name next", "echo in"));
        slowest = slowest.max(starts_at_once(&cli, &next, killed));
        next.wait().code(0);
        assert!(records(&cli).values().all(|written| written.job == "next"), "the killed wrote afterwards");
    }
    eprintln!("slowest next start: {slowest:?}");
}

#[test]
fn whoever_waits_for_a_killed_holder_starts_at_once() {
    let mut chance = Chance::new();
    let cli = cli();
    cli.run(run("-o out --name first", "true")).code(0);
    let mut slowest = Duration::ZERO;
    for _ in 0..rounds(15) {
        let holder = cli.start(run("-o out --name holder", "echo in; exec sleep 1000"));
        holder.says("in\n");
        let waiter = cli.start(run("-i out -l more --name waiter", "echo in"));
        until_it_is(&cli, "waiter", "queued");
        chance.pause(Duration::from_millis(700));
        let before = records(&cli);
        let killed = Instant::now();
        holder.signal(Signal::SIGKILL);
        slowest = slowest.max(starts_at_once(&cli, &waiter, killed));
        waiter.wait().code(0);
        assert_eq!(records(&cli), before);
    }
    eprintln!("slowest start: {slowest:?}");
}

#[test]
fn a_waiter_killed_at_any_moment_holds_nobody_up() {
    let mut chance = Chance::new();
    let cli = cli();
    for round in 0..rounds(15) {
        let gate = Gate::new(cli.home().join(format!("gate{round}")));
        let holder = cli.start(run("-o out --name holder", &format!("echo in; {}", gate.wait())));
        holder.says("in\n");
        let waiter = cli.start(run("-o out --name waiter", "sleep 0.04"));
        chance.pause(LIFE);
        let token = cli.home().join(format!("token{round}"));
        let says = format!("echo $FLOWLOCK_TOKEN >{}; echo in", token.display());
        let behind = cli.start(run("-o out --name behind", &says));
        until_it_is(&cli, "behind", "queued");
        let open_first = chance.below(2) == 0;
        if open_first {
            gate.open();
            chance.pause(LIFE);
        }
        waiter.signal(Signal::SIGKILL);
        let killed = Instant::now();
        drop(waiter.wait());
        if !open_first {
            gate.open();
        }
        starts_at_once(&cli, &behind, killed);
        holder.wait().code(0);
        behind.wait().code(0);
        let token: u64 = std::fs::read_to_string(token).unwrap().trim().parse().unwrap();
        let last = &records(&cli)["out"];
        if last.job == "waiter" {
            // It was slow to start, came last, and was through before it was killed.
            assert!(open_first && last.version > token, "{last:?} after {token}");
        } else {
            assert_eq!((last.job.as_str(), last.version), ("behind", token));
        }
    }
}

#[test]
fn a_grandchild_that_still_writes_keeps_the_names_until_the_lease_ends() {
    let cli = cli();
    let ticks = cli.home().join("ticks");
    let busy = format!("setsid sh -c 'while :; do echo tick >>{}; sleep 0.02; done' & wait", ticks.display());
    let holder = cli.start(run("-o out --duration 3s --name holder", &format!("echo in; {busy}")));
    holder.says("in\n");
    until("a grandchild that writes", PATIENCE, || ticks.exists().then_some(()));
    holder.signal(Signal::SIGKILL);
    let killed = Instant::now();
    let (_, grandchild) = holder.wait_leaving_others(PATIENCE);
    let next = cli.start(run("-o out --name next", "echo in"));
    next.says("in\n");
    let took = killed.elapsed();
    // The last renewal was at most a third of the lease before the kill.
    assert!(took > Duration::from_millis(1_950), "the lease was not over after {took:?}");
    assert!(took < Duration::from_secs(5), "the lease was over long ago: {took:?}");
    let written = std::fs::metadata(&ticks).unwrap().len();
    until("more ticks", PATIENCE, || (std::fs::metadata(&ticks).unwrap().len() > written).then_some(()));
    drop(grandchild);
    next.wait().code(0);
}

#[test]
fn with_close_a_grandchild_keeps_nothing() {
    let cli = cli();
    let holder = cli.start(run("-o out --close", "echo in; setsid sleep 1000 & wait"));
    holder.says("in\n");
    let next = cli.start(run("-o out --name next", "echo in"));
    until_it_is(&cli, "next", "queued");
    holder.signal(Signal::SIGKILL);
    let killed = Instant::now();
    let (_, grandchild) = holder.wait_leaving_others(PATIENCE);
    starts_at_once(&cli, &next, killed);
    drop(grandchild);
    next.wait().code(0);
}
