//! Who starts when: nobody starves, nobody waits for ever for what cannot come.

use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Gate, Job, Mode, PATIENCE, Witness, until};

use crate::{cli, records, rounds, run, until_it_is};

/// A run whose command the witness watches.
fn watched(cli: &Cli, claims: &str, witness: &Witness, who: &str, mode: Mode, work: &str) -> Job {
    let mut words: Vec<String> =
        ["run"].into_iter().chain(claims.split_whitespace()).map(str::to_owned).collect();
    words.push("--".into());
    words.extend(witness.worker(who, mode, work));
    cli.start(words)
}

#[test]
fn a_writer_among_a_swarm_of_readers_starts_in_its_turn() {
    let cli = cli();
    cli.run(run("-o data --name first", "true")).code(0);
    let witness = Witness::new(cli.home().join("witness"));
    let stop = cli.home().join("stop");
    // Readers come faster than they go, so that without a queue there would never be a moment without one.
    let swarm: Vec<Job> = (0..4)
        .map(|reader| {
            let worker = witness.worker(&format!("reader{reader}"), Mode::Shared, "sleep 0.3");
            let quoted: Vec<String> = worker.iter().map(|word| format!("\"{}\"", escaped(word))).collect();
            let line = format!(
                "while ! test -e {}; do {} run -i data -- {}; done",
                stop.display(),
                env!("CARGO_BIN_EXE_flowlock"),
                quoted.join(" ")
            );
            cli.clone().with_program("/bin/sh").start(["-c".to_owned(), line])
        })
        .collect();
    let readers = || witness.stays().iter().filter(|stay| stay.who.starts_with("reader")).count();
    until("the swarm", PATIENCE, || (readers() >= 8).then_some(()));
    for turn in 0..rounds(5) {
        let writer = watched(&cli, "-o data --name writer", &witness, "writer", Mode::Exclusive, "true");
        until("the writer in line or in", PATIENCE, || {
            crate::states(&cli).contains_key("writer").then_some(()).or_else(|| {
                (witness.stays_by_worker().get("writer").copied().unwrap_or(0) > turn as usize).then_some(())
            })
        });
        let (queued, begun) = (readers(), Instant::now());
        writer.wait().code(0);
        assert!(begun.elapsed() < Duration::from_secs(3), "the writer waited {:?}", begun.elapsed());
        let stays = witness.stays();
        let writer_at = stays.iter().rposition(|stay| stay.who == "writer").expect("the writer was in");
        let before = stays[..writer_at].iter().filter(|stay| stay.who.starts_with("reader")).count();
        // On a busy machine the writer may have been in before they were counted.
        let passed = before.saturating_sub(queued);
        // Those that had been let in, but had not said so yet, at most.
        assert!(passed <= swarm.len(), "{passed} readers passed the writer");
    }
    std::fs::write(&stop, "").unwrap();
    for reader in swarm {
        drop(reader.wait());
    }
    witness.saw_no_overlap(13);
}

/// For use between double quotes of a shell.
fn escaped(word: &str) -> String {
    word.replace('\\', "\\\\").replace('"', "\\\"").replace('$', "\\$").replace('`', "\\`")
}

#[test]
fn a_consumer_started_before_its_producer_starts_when_the_data_is_there() {
    let cli = cli();
    let witness = Witness::new(cli.home().join("witness"));
    let consumer =
        watched(&cli, "-i a -i b -o c --name consumer", &witness, "consumer", Mode::Exclusive, "true");
    until_it_is(&cli, "consumer", "awaiting_input");
    cli.run(run("-o a", "true")).code(0);
    until_it_is(&cli, "consumer", "awaiting_input");
    watched(&cli, "-o b", &witness, "producer", Mode::Exclusive, "sleep 0.1").wait().code(0);
    consumer.wait().code(0);
    witness.saw_no_overlap(2);
    assert_eq!(witness.stays()[1].who, "consumer");
    assert_eq!(records(&cli).into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn two_jobs_that_need_each_others_names_both_finish_however_often_they_meet() {
    let cli = cli();
    cli.run(run("-o a -o b", "true")).code(0);
    let witness = Witness::new(cli.home().join("witness"));
    for _ in 0..rounds(10) {
        let one = watched(&cli, "-i a -o b --name one", &witness, "one", Mode::Exclusive, "true");
        let two = watched(&cli, "-i b -o a --name two", &witness, "two", Mode::Exclusive, "true");
        one.wait().code(0);
        two.wait().code(0);
    }
    witness.saw_no_overlap(20);
}

#[test]
fn a_nested_run_on_what_its_parent_holds_is_a_deadlock_and_says_so_at_once() {
    let cli = cli();
    let flowlock = env!("CARGO_BIN_EXE_flowlock");
    let result = cli.home().join("result.json");
    let inner = format!("{flowlock} run -o out --json-result {} -- echo ran; echo code $?", result.display());
    let begun = Instant::now();
    let outer = cli.run(run("-o out --name outer", &inner));
    let took = begun.elapsed();
    outer.code(0).stdout("code 75\n").stderr_has("deadlock");
    // Less than until the next heartbeat, which finds a deadlock as well.
    assert!(took < Duration::from_secs(4), "it took {took:?}");
    let told: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(result).unwrap()).unwrap();
    assert_eq!(told["outcome"], "deadlock");
    assert_eq!(told["blockers"][0]["job"], "outer");
}

#[test]
fn a_nested_run_that_waits_for_what_only_its_parent_will_write_is_a_deadlock() {
    let cli = cli();
    let inner = format!("{} run -i out -- echo ran; echo code $?", env!("CARGO_BIN_EXE_flowlock"));
    let begun = Instant::now();
    let outer = cli.run(run("-o out --name outer", &inner));
    outer.code(0).stdout("code 75\n").stderr_has("deadlock");
    assert!(begun.elapsed() < Duration::from_secs(1), "it took {:?}", begun.elapsed());
}

#[test]
fn slots_never_hold_more_than_they_have() {
    let cli = cli();
    let witness = Witness::new(cli.home().join("witness"));
    let gate = Gate::new(cli.home().join("gate"));
    let first = cli.start(run("--slot gpu:3/3 --name first", &format!("echo in; {}", gate.wait())));
    first.says("in\n");
    let rest: Vec<Job> = (0..12)
        .map(|n| {
            let taken = 1 + n % 3;
            let mode = Mode::Units { taken, capacity: 3 };
            watched(
                &cli,
                &format!("--slot gpu:{taken}/3 --name j{n}"),
                &witness,
                &format!("j{n}"),
                mode,
                "sleep 0.05",
            )
        })
        .collect();
    until_it_is(&cli, "j11", "queued");
    assert_eq!(witness.stays().len(), 0, "somebody came in while all units were taken");
    gate.open();
    for job in rest {
        job.wait().code(0);
    }
    first.wait().code(0);
    witness.saw_no_overlap(12);
}
