//! Death at every point: before and after every write, sync, rename, removal and message of a real run, one after the
//! other, until the run survives. Afterwards the store is as before the step or as after it, and the next run works.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use flowlock_testkit::{Call, Cli, Fault, Finished, Gate, Injected, PATIENCE, until};
use nix::sys::signal::Signal;

use crate::{cli, records, run, starts_at_once, states, until_it_is};

/// When a process dies, counted in calls on the store's directory and messages.
#[derive(Debug, Clone, Copy)]
enum Death {
    Before(u64),
    After(u64),
}

impl Death {
    fn plan(self, cli: &Cli) -> Fault {
        let fault = Fault::below(cli.home().join("store"));
        match self {
            Death::Before(n) => fault.kill_before(n),
            Death::After(n) => fault.kill_after(n),
        }
    }
}

/// Plays a scene with every death there is, a few at a time; the scene answers whether its victim survived.
fn sweep(least: u64, scene: impl Fn(Death) -> bool + Sync) {
    let (next, deaths, survived) = (AtomicU64::new(1), AtomicU64::new(0), AtomicBool::new(false));
    let play = || {
        while !survived.load(Ordering::SeqCst) {
            let n = next.fetch_add(1, Ordering::SeqCst);
            let lived = [Death::Before(n), Death::After(n)].map(|death| {
                eprintln!("{death:?}");
                scene(death)
            });
            deaths.fetch_add(lived.iter().filter(|lived| !**lived).count() as u64, Ordering::SeqCst);
            survived.fetch_or(lived == [true, true], Ordering::SeqCst);
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..3 {
            threads.spawn(play);
        }
    });
    let deaths = deaths.into_inner();
    eprintln!("{deaths} deaths");
    assert!(deaths >= least, "only {deaths} deaths: the sweep missed most of the run");
}

/// Whether the victim lived to end well.
#[track_caller]
fn survived(victim: &Finished, faults: &Injected) -> bool {
    if faults.fired() == 0 {
        victim.code(0);
        return true;
    }
    victim.killed_by(Signal::SIGKILL);
    false
}

/// A store in which one run has written `raw`, `a` and `b`.
fn written_before() -> Cli {
    let cli = cli();
    cli.run(run("-o raw -o a -o b --name before", "true")).code(0);
    cli
}

/// Asserts that `a` and `b` are the work of one run, this one if it ended well, and answers whose.
#[track_caller]
fn all_or_nothing(cli: &Cli, survivor: Option<&str>) -> String {
    let records = records(cli);
    assert_eq!(records.get("a"), records.get("b"), "a commit in two halves");
    let job = records.get("a").map_or_else(String::new, |written| written.job.clone());
    if let Some(survivor) = survivor {
        assert_eq!(job, survivor, "an acknowledged commit is gone");
    }
    job
}

/// Asserts that the next run starts at once, that it can write, and that the store is sound.
#[track_caller]
fn the_next_run_works(cli: &Cli, claims: &str, since: Instant) {
    let next = cli.start(run(&format!("{claims} --name next"), "echo in"));
    starts_at_once(cli, &next, since);
    next.wait().code(0);
    cli.run(["doctor"]).code(0);
}

#[test]
fn a_run_that_dies_anywhere_wrote_all_or_nothing() {
    sweep(20, |death| {
        let cli = written_before();
        let faults = death.plan(&cli).inject();
        let victim = cli.clone().with_faults(&faults).run(run("-i raw -o a -o b --name victim", "true"));
        let died = Instant::now();
        let lived = survived(&victim, &faults);
        all_or_nothing(&cli, lived.then_some("victim"));
        the_next_run_works(&cli, "-i raw -o a -o b", died);
        assert_eq!(all_or_nothing(&cli, None), "next");
        lived
    });
}

#[test]
fn a_run_that_dies_while_it_makes_the_store_is_no_obstacle() {
    sweep(40, |death| {
        let cli = cli();
        let faults = death.plan(&cli).inject();
        let victim = cli.clone().with_faults(&faults).run(run("-o a -o b --name victim", "true"));
        let died = Instant::now();
        let lived = survived(&victim, &faults);
        the_next_run_works(&cli, "-o c", died);
        assert_eq!(drafts(&cli), Vec::<PathBuf>::new());
        all_or_nothing(&cli, lived.then_some("victim"));
        lived
    });
}

/// What lies beside the store under the names of unfinished files.
fn drafts(cli: &Cli) -> Vec<PathBuf> {
    let paths = fs::read_dir(cli.home().join("store")).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().contains(".new-")).collect()
}

/// What is left by a process that dies just before it would move the unfinished file of this name to its place.
fn left_by_a_dead_maker(cli: &Cli, name: &str) -> PathBuf {
    for n in 1.. {
        let faults = Fault::below(cli.home().join("store")).calls(&[Call::Rename]).kill_before(n).inject();
        cli.clone().with_faults(&faults).run(run("-o a", "true")).killed_by(Signal::SIGKILL);
        let is_of_it = |path: &PathBuf| path.to_string_lossy().contains(&format!("/{name}.new-"));
        if let Some(left) = drafts(cli).into_iter().find(is_of_it) {
            return left;
        }
    }
    unreachable!("it dies at one of its calls")
}

/// Whoever makes the store clears that away, and then there is nothing to name: so the store is another one.
#[test]
fn what_a_dead_maker_left_beside_a_store_is_named_by_doctor() {
    for name in ["flowlock.db", "flowlock.db-live"] {
        let (cli, backup) = (cli(), written_before());
        if name == "flowlock.db" {
            left_by_a_dead_maker(&cli, name);
            fs::copy(backup.store(), cli.store()).unwrap();
        } else {
            cli.run(run("-o raw", "true")).code(0);
            fs::remove_file(cli.home().join("store").join(name)).unwrap();
            left_by_a_dead_maker(&cli, name);
        }
        // It may still be somebody's work.
        assert!(!cli.run(["doctor"]).code(0).out().contains("leftover"));
        let left = drafts(&cli);
        for path in &left {
            let old = SystemTime::now() - Duration::from_mins(2);
            fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        }
        let [left] = &*left else { panic!("{left:?}") };
        let shown = format!("you can remove them: ~/store/{}\n", left.file_name().unwrap().display());
        let doctor = cli.run(["doctor"]);
        let named = "ok  leftover files  left by processes that died while making a store; ";
        assert!(doctor.code(0).out().contains(&format!("{named}{shown}")), "{doctor:#?}");
        fs::remove_file(left).unwrap();
        assert!(!cli.run(["doctor"]).code(0).out().contains("leftover"));
    }
}

#[test]
fn a_holder_that_dies_while_it_hands_over_leaves_nobody_waiting() {
    sweep(10, |death| {
        let cli = written_before();
        let faults = death.plan(&cli).disarmed().inject();
        let gate = Gate::new(cli.home().join("gate"));
        let victim = run("-o a -o b --name victim", &format!("echo ready; {}", gate.wait()));
        let victim = cli.clone().with_faults(&faults).start(victim);
        victim.says("ready\n");
        let waiter = cli.start(run("-i a -o c --name waiter", "echo in"));
        until_it_is(&cli, "waiter", "queued");
        faults.arm();
        gate.open();
        let victim = victim.wait();
        starts_at_once(&cli, &waiter, Instant::now());
        waiter.wait().code(0);
        let lived = survived(&victim, &faults);
        all_or_nothing(&cli, lived.then_some("victim"));
        the_next_run_works(&cli, "-o a -o b -o c", Instant::now());
        lived
    });
}

#[test]
fn a_waiter_that_dies_anywhere_between_its_request_and_its_commit_leaves_nobody_waiting() {
    sweep(20, |death| {
        let cli = written_before();
        let gate = Gate::new(cli.home().join("gate"));
        let holder = cli.start(run("-o raw --name holder", &format!("echo ready; {}", gate.wait())));
        holder.says("ready\n");
        let faults = death.plan(&cli).inject();
        let mut victim =
            cli.clone().with_faults(&faults).start(run("-i raw -o a -o b --name victim", "true"));
        until("the victim in line or dead", PATIENCE, || {
            let in_line = || states(&cli).get("victim").is_some_and(|state| state == "queued");
            (!victim.is_running() || in_line()).then_some(())
        });
        let behind = cli.start(run("-i raw -o a -o b --name behind", "echo in"));
        until_it_is(&cli, "behind", "queued");
        gate.open();
        let victim = victim.wait();
        let died = Instant::now();
        holder.wait().code(0);
        let lived = survived(&victim, &faults);
        starts_at_once(&cli, &behind, died);
        behind.wait().code(0);
        assert_eq!(all_or_nothing(&cli, None), "behind");
        the_next_run_works(&cli, "-o raw -o a -o b", Instant::now());
        lived
    });
}

#[test]
fn a_commit_by_id_that_dies_anywhere_can_be_sent_again() {
    sweep(6, |death| {
        let cli = written_before();
        let id = cli.run(["start", "build", "--duration", "1m", "-o", "a", "-o", "b"]);
        let id = id.code(0).out().trim();
        let faults = death.plan(&cli).inject();
        let victim = cli.clone().with_faults(&faults).run(["commit", id]);
        let lived = survived(&victim, &faults);
        all_or_nothing(&cli, lived.then_some("build"));
        cli.run(["commit", id]).code(0);
        all_or_nothing(&cli, Some("build"));
        the_next_run_works(&cli, "-i a -o b", Instant::now());
        lived
    });
}
