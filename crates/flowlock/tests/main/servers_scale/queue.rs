//! A long line in front of one name: what it costs the server to let it go on.

use std::collections::BTreeMap;
use std::time::Duration;

use flowlock::step::{Answer, Standing, Step, Who};
use flowlock::{ClaimsBuilder, ClientId, RunId, Ticket};

use super::{Run, Stage, lock, name};

const MANY: usize = 10_000;
/// The processes that the runs in line belong to.
const PROCESSES: usize = 4;
/// No call occupies the server longer.
const LONGEST_CALL: Duration = Duration::from_millis(20);

fn reader(number: usize) -> Run {
    Run::new(format!("reader.{number}"), ClaimsBuilder::default().input(name("data"))).of(number % PROCESSES)
}

fn writer() -> Run {
    Run::new("writer", ClaimsBuilder::default().output(name("data")))
}

impl Stage {
    /// The server's processor time for a call. What else goes on on this machine is not its fault, and would be in its
    /// slow log.
    fn server_busy_with(&self, call: &mut dyn FnMut()) -> Duration {
        let before = self.server.cpu_time();
        call();
        self.server.cpu_time().saturating_sub(before)
    }
}

#[test]
fn ten_thousand_readers_behind_a_writer_are_granted_in_order_of_arrival_by_short_calls() {
    let stage = Stage::new();
    stage.passes(&writer());
    let writer = Run::new("second.writer", ClaimsBuilder::default().output(name("data")));
    stage.runs(&writer);
    let readers: Vec<Run> = (0..MANY).map(reader).collect();
    for reader in &readers {
        stage.waits(reader);
    }
    let mut longest = Duration::ZERO;
    let mut timed = |call: &mut dyn FnMut()| longest = longest.max(stage.server_busy_with(call));
    timed(&mut || stage.commit(&writer));
    let mut tokens = Vec::new();
    for reader in &readers {
        timed(&mut || match stage.claim(reader) {
            Answer::Standing(Standing::Running(running)) => tokens.push(running.token),
            other => panic!("{reader:?}: {other:?}"),
        });
    }
    // As many as a process renews in one call.
    let refresh = Step::Refresh(readers.iter().take(500).map(|reader| Who::from(&reader.attempt)).collect());
    timed(&mut || drop(stage.step(&refresh)));
    assert_eq!(tokens.len(), MANY);
    assert!(tokens.is_sorted_by(|earlier, later| earlier < later), "granted in another order");
    assert!(longest <= LONGEST_CALL, "{longest:?}; {:?}", stage.server.slow_log().first());
}

/// What a release calls on the server while so many wait for the name.
fn release(waiting: usize, run: impl Fn(usize) -> Run) -> BTreeMap<String, u64> {
    let stage = Stage::new();
    stage.passes(&writer());
    let holder = Run::new("holder", ClaimsBuilder::default().output(name("data")).lock(name("gate")));
    stage.runs(&holder);
    (0..waiting).for_each(|number| stage.waits(&run(number)));
    let calls = stage.calls(|| stage.commit(&holder));
    assert!(calls.contains_key("spublish"), "nobody was told: {calls:?}");
    calls
}

#[test]
fn a_release_does_as_much_for_ten_thousand_who_want_the_name_alone_as_for_ten() {
    let run = |number| Run::new(format!("run.{number}"), lock("gate")).of(number % PROCESSES);
    let few = release(10, run);
    assert_eq!(few["spublish"], 1, "more than one was granted: {few:?}");
    assert_eq!(release(MANY, run), few);
}

#[test]
fn a_release_does_as_much_for_ten_thousand_readers_as_for_the_first_hundred() {
    let few = release(100, reader);
    assert_eq!(few["spublish"], 64, "a step looks at 64: {few:?}");
    assert_eq!(release(MANY, reader), few);
}

#[test]
fn a_process_with_ten_thousand_waiting_runs_is_heard_a_page_at_a_time_by_short_calls() {
    let stage = Stage::new();
    stage.runs(&Run::new("holder", lock("gate")));
    (0..MANY).for_each(|number| stage.waits(&Run::new(format!("run.{number}"), lock("gate")).of(1)));
    let (mut from, mut heard, mut longest) = (Some(Ticket(0)), 0, Duration::ZERO);
    while let Some(page) = from {
        let explain = (0..16).map(|number| RunId::parse(&format!("run.{number}")).unwrap()).collect();
        let beat = Step::Heartbeat { client: ClientId(1), from: page, explain };
        let ask = || match stage.step(&beat) {
            Answer::Heard { runs, next } => (runs.len(), next),
            other => panic!("{other:?}"),
        };
        // The same page costs the same each time; what disturbs a processor does not come three times in a row.
        let mut answer = (0, None);
        let busy = (0..3).map(|_| stage.server_busy_with(&mut || answer = ask())).min();
        longest = longest.max(busy.unwrap_or_default());
        let (runs, next) = answer;
        (heard, from) = (heard + runs, next);
    }
    assert_eq!(heard, MANY);
    assert!(longest <= LONGEST_CALL, "{longest:?}");
}
