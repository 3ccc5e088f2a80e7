//! The witness sees what happened, accuses the guilty and nobody else.

use std::process::{Child, Command};

use flowlock_testkit::{Mode, PATIENCE, Witness, until};
use tempfile::TempDir;

fn witness() -> (Witness, TempDir) {
    let dir = TempDir::new().unwrap();
    (Witness::new(dir.path().join("log")), dir)
}

fn spawn(witness: &Witness, who: &str, mode: Mode, work: &str) -> Child {
    let worker = witness.worker(who, mode, work);
    Command::new(&worker[0]).args(&worker[1..]).spawn().unwrap()
}

fn met(mode: Mode, other: Mode) -> usize {
    let (witness, _dir) = witness();
    let one = witness.enter("one", mode);
    let mut two = spawn(&witness, "two", other, "true");
    two.wait().unwrap();
    drop(one);
    assert_eq!(witness.stays().len(), 2);
    witness.overlaps().len()
}

#[test]
fn workers_one_after_the_other_are_innocent() {
    let (witness, _dir) = witness();
    for who in ["one", "two"] {
        assert!(spawn(&witness, who, Mode::Exclusive, "true").wait().unwrap().success());
    }
    witness.saw_no_overlap(2);
    assert!(witness.stays().iter().all(|stay| stay.left.is_some_and(|left| left >= stay.entered)));
    assert_eq!(
        witness.stays_by_worker().into_iter().collect::<Vec<_>>(),
        [("one".into(), 1), ("two".into(), 1)]
    );
}

#[test]
fn an_exclusive_worker_meets_nobody_and_shared_ones_only_each_other() {
    assert_eq!(met(Mode::Exclusive, Mode::Exclusive), 1);
    assert_eq!(met(Mode::Exclusive, Mode::Shared), 1);
    assert_eq!(met(Mode::Shared, Mode::Exclusive), 1);
    assert_eq!(met(Mode::Shared, Mode::Shared), 0);
}

#[test]
fn units_fit_into_the_smallest_capacity() {
    let units = |taken, capacity| Mode::Units { taken, capacity };
    assert_eq!(met(units(1, 3), units(2, 3)), 0);
    assert_eq!(met(units(2, 3), units(2, 3)), 1);
    assert_eq!(met(units(1, 2), units(2, 3)), 1);
    assert_eq!(met(units(1, 2), Mode::Shared), 1);
}

#[test]
#[should_panic(expected = "expected at least 1")]
fn silence_is_no_alibi() {
    witness().0.saw_no_overlap(1);
}

#[test]
fn a_killed_worker_is_not_blamed_once_it_was_called_doomed() {
    let (witness, _dir) = witness();
    let mut victim = spawn(&witness, "victim", Mode::Exclusive, "read -r line </dev/zero");
    until("the victim inside", PATIENCE, || (witness.stays().len() == 1).then_some(()));
    witness.doomed("victim");
    victim.kill().unwrap();
    victim.wait().unwrap();
    spawn(&witness, "heir", Mode::Exclusive, "true").wait().unwrap();
    witness.saw_no_overlap(2);
}

#[test]
fn a_worker_passes_its_exit_code_on() {
    let (witness, _dir) = witness();
    assert_eq!(spawn(&witness, "one", Mode::Shared, "(exit 7)").wait().unwrap().code(), Some(7));
}
