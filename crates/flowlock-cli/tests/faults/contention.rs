//! Many processes, one name: all get their share, and no two are ever in together.

use std::time::{Duration, Instant};

use flowlock_testkit::{Cli, Job, Mode, PATIENCE, Witness, until};

use crate::{cli, rounds};

/// How many processes contend.
const CROWD: usize = 16;
/// The most grants of any, divided by the least, is at most this.
const FAIR: (usize, usize) = (3, 2);

/// Comes back for the name as soon as it has left it, until the file `stop` exists.
fn insistent(cli: &Cli, claim: &str, witness: &Witness, who: &str, mode: Mode) -> Job {
    let worker = witness.worker(who, mode, "true").pop().expect("a script");
    let loops = format!(
        "while ! test -e stop; do {} run {claim} --name {who} -- sh -c \"$WORKER\" || exit 1; done",
        env!("CARGO_BIN_EXE_flowlock")
    );
    cli.clone().with_program("/bin/sh").with("WORKER", worker).start(["-c", &loops])
}

/// Lets them go at it for a while, then asks the witness.
fn contend(claim: impl Fn(usize) -> String, mode: impl Fn(usize) -> Mode, time: Duration) -> (Cli, Witness) {
    let cli = cli();
    let witness = Witness::new(cli.home().join("witness"));
    let begun = Instant::now();
    let crowd: Vec<Job> =
        (0..CROWD).map(|n| insistent(&cli, &claim(n), &witness, &format!("p{n}"), mode(n))).collect();
    until("the end of the contest", time + PATIENCE, || (begun.elapsed() > time).then_some(()));
    std::fs::write(cli.home().join("stop"), "").unwrap();
    for job in crowd {
        job.wait_at_most(Duration::from_mins(1)).code(0);
    }
    (cli, witness)
}

#[test]
fn sixteen_processes_that_want_one_name_all_the_time_get_the_same_share() {
    let time = Duration::from_secs(if rounds(1) > 1 { 30 } else { 10 });
    let (_home, witness) = contend(|_| "-l hot".into(), |_| Mode::Exclusive, time);
    witness.saw_no_overlap(5 * CROWD);
    let shares = witness.stays_by_worker();
    let (most, least) = (shares.values().max().unwrap(), shares.values().min().unwrap());
    eprintln!("grants: most {most}, least {least}, of {}", shares.values().sum::<usize>());
    assert_eq!(shares.len(), CROWD);
    assert!(most * FAIR.1 <= least * FAIR.0, "most {most}, least {least}");
}

#[test]
fn a_crowd_of_readers_writers_and_slots_never_meets_wrongly() {
    let time = Duration::from_secs(5 * rounds(1));
    let claim =
        |n: usize| if n.is_multiple_of(4) { "-l door".into() } else { "--lock-shared door".to_owned() };
    let mode = |n: usize| if n.is_multiple_of(4) { Mode::Exclusive } else { Mode::Shared };
    let (_home, witness) = contend(claim, mode, time);
    witness.saw_no_overlap(CROWD);
    let taken = |n: usize| 1 + n as u32 % 3;
    let (_home, witness) = contend(
        |n| format!("--slot pool:{}/4", taken(n)),
        |n| Mode::Units { taken: taken(n), capacity: 4 },
        time,
    );
    witness.saw_no_overlap(CROWD);
}
