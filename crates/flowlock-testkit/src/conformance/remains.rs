//! What is left of a namespace once all its runs have ended: its records, and nothing that is not
//! needed any more.

use std::time::Duration;

use flowlock::Bounds;
use flowlock::step::Answer;
use flowlock::store::StoreErrorKind;

use super::stage::Stage;

/// How many days pass, one step after the other: waits and leases end, lapsed runs are given up,
/// outcomes are forgotten, and at last the evidence of records.
const DAYS: [u64; 4] = [1, 2, 1, 8];
/// More steps than needed to finish what a case leaves over.
const MOST_STEPS: usize = 200;

/// Lets time pass until nothing more happens, and checks what the store still has.
#[track_caller]
pub(super) fn are_records_alone(stage: &Stage) {
    stage.world(|world| world.bound_steps(Bounds::default()));
    for namespace in stage.listed() {
        stage.enter(&namespace);
        for days in DAYS {
            stage.world(|world| world.advance(Duration::from_hours(24 * days)));
            if !settles(stage) {
                // In a world in which the store refuses everything.
                return;
            }
        }
        // Each step forgets only so many outcomes.
        let is_over = || {
            stage.counted().starts_with("0 running, 0 waiting, ") && stage.counted().ends_with(" 0 outcomes")
        };
        let forgotten = (0..MOST_STEPS).any(|_| is_over() || !settles(stage));
        assert!(forgotten, "{}", stage.counted());
    }
    assert_eq!(traces(&stage.rows()), [""; 0], "left once everything was over");
    assert_eq!(stage.miscounts(), [""; 0]);
}

/// Makes steps until nothing is left over; returns whether the store allows it.
fn settles(stage: &Stage) -> bool {
    let step = crate::nothing_by_hand();
    for _ in 0..MOST_STEPS {
        match stage.attempt(&step) {
            Ok(Answer::NotFound) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == StoreErrorKind::Unusable => return false,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("work is still left over after {MOST_STEPS} steps");
}

/// Returns the rows that are neither records nor about a namespace as a whole, and those of namespaces
/// that count something. Rows are indented below what contains them: a table of the embedded store, or a
/// key on a server.
fn traces(rows: &[String]) -> Vec<&str> {
    let mut place = "";
    let mut traces = Vec::new();
    for row in rows {
        let Some(row) = row.strip_prefix("  ") else {
            place = row;
            continue;
        };
        let is_expected = match place {
            "epoch" | "record" => true,
            "namespace" => row.contains(" waiting=0 queued=0 lapsed=0 has_backlog=0 "),
            // The index of records, and the fields of the namespace and of its records.
            key if key.ends_with("}:n") => true,
            key if key.ends_with("}:h") => {
                ["m: ", "M: ", "x: ", "o"].iter().any(|field| row.starts_with(field))
            }
            _ => false,
        };
        if !is_expected {
            traces.push(row);
        }
    }
    traces
}
