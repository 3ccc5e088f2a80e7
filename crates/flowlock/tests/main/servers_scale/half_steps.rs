//! A step that fails has changed nothing, whichever right or key was taken away since the first use.

use std::sync::Arc;
use std::time::Duration;

use flowlock::step::{Acquire, Holders, Patience, Sent, Step, Unlock, Who};
use flowlock::store::{Store as _, redis::RedisStore};
use flowlock::{ClaimsBuilder, ClientId, Ticket};
use flowlock_testkit::{Clock, RedisServer, documented_rule};

use super::{Run, Stage, lock, name};

/// A server, a user of it with the rights of the documentation, and a namespace in which everything goes on at once.
struct Scene {
    stage: Stage,
    clock: Clock,
}

/// What the runs of a scene want.
fn runs() -> [Run; 8] {
    let data = ClaimsBuilder::default;
    [
        Run::new("commits", data().input(name("in")).output(name("out")).lock(name("l"))),
        Run::new("waits", lock("l").output(name("w"))),
        Run::new("alone", data().input(name("in")).output(name("alone"))),
        Run::new("fails", data().output(name("in fails"))),
        Run::new("slot", data().slot(name("s"), 1, 2)),
        Run::new("given back", data().output(name("kept")))
            .with(|spec| spec.on_fail = flowlock::OnFail::Incomplete),
        Run::new("lapses", lock("late")).with(|spec| spec.lease_ms = 5_000),
        Run::new("behind", lock("late")),
    ]
}

impl Scene {
    fn new(server: RedisServer, clock: Clock) -> Self {
        let store = RedisStore::open(&server.url_as("flow", "secret"), Duration::from_secs(20)).unwrap();
        let namespace = flowlock::Namespace::parse(&flowlock_testkit::fresh_namespace()).unwrap();
        let stage = Stage { server, store, namespace };
        stage.passes(&Run::new("before", ClaimsBuilder::default().output(name("in")).output(name("kept"))));
        stage.passes(&Run::new("mortal", ClaimsBuilder::default().output(name("mortal"))).with(|spec| {
            spec.record_life_ms = Some(6_000);
        }));
        let [commits, waits, alone, fails, slot, given_back, lapses, behind] = runs();
        for run in [commits, alone, fails, slot, given_back, lapses] {
            stage.runs(&run);
        }
        stage.waits(&waits);
        stage.waits(&behind);
        // Leases, waits and a record are due in whatever step comes next.
        clock.advance(Duration::from_secs(8));
        Self { stage, clock }
    }

    /// Every kind of step, in an order in which each has something to do.
    fn steps(&self) -> Vec<(&'static str, Step)> {
        let [commits, waits, alone, fails, slot, given_back, _, behind] = runs();
        let acquire = |run: Run, patience| {
            let latest_ms = self.stage.store.clock_ms(&self.stage.namespace).unwrap() + 60_000;
            let Run { attempt, holder, spec } = run;
            Step::Acquire(Acquire { attempt, spec, holder, patience, latest_ms })
        };
        let commit = |run: &Run| Step::Commit { who: Who::from(&run.attempt), note: Some("note".into()) };
        let claim = |run: &Run| Step::Accept { attempt: run.attempt.clone(), holder: run.holder.clone() };
        let data = ClaimsBuilder::default;
        vec![
            ("refresh", Step::Refresh(vec![Who::from(&commits.attempt), Who::from(&alone.attempt)])),
            (
                "heartbeat",
                Step::Heartbeat {
                    client: behind.holder.client,
                    from: Ticket(0),
                    explain: vec![behind.attempt.id.clone()],
                },
            ),
            ("claim", claim(&behind)),
            (
                "acquire",
                acquire(Run::new("new", data().input(name("in")).output(name("new"))), Patience::Try),
            ),
            ("a slot", acquire(Run::new("new slot", data().slot(name("s"), 1, 2)), Patience::Try)),
            ("wait", acquire(Run::new("new waiter", lock("l").input(name("in"))), Patience::Wait(None))),
            ("try", acquire(Run::new("busy", lock("l")), Patience::Try)),
            ("commit alone", commit(&alone)),
            ("commit", commit(&commits)),
            ("fail", Step::Fail(Who::from(&fails.attempt))),
            ("fail a slot", Step::Fail(Who::from(&slot.attempt))),
            ("give back", Step::GiveBack(given_back.attempt)),
            ("cancel", Step::Cancel { attempt: waits.attempt, latest_ms: i64::MAX / 2 }),
            ("detach", Step::Detach(behind.attempt)),
            ("bury", Step::Bury(Vec::new())),
            (
                "remove",
                Step::Remove {
                    names: vec![name("mortal"), name("out")],
                    holders: Holders::Break,
                    sent: Sent::First,
                    by: Arc::default(),
                },
            ),
            (
                "create",
                Step::Create {
                    names: vec![name("by hand"), name("in")],
                    spec: alone.spec,
                    run: alone.attempt.id,
                    note: None,
                    holders: Holders::Break,
                    sent: Sent::First,
                    by: Arc::default(),
                },
            ),
            (
                "unlock",
                Step::Unlock {
                    run: commits.attempt.id,
                    token: flowlock::Token(1),
                    how: Unlock::Now,
                    by: Arc::default(),
                },
            ),
        ]
    }

    /// Tries every step: it works, or it says so and has changed nothing. Answers how many worked.
    #[track_caller]
    fn is_whole_after_every_step(&self, without: &str) -> usize {
        let mut worked = 0;
        for (what, step) in self.steps() {
            let before = self.stage.server.dump();
            match self.stage.store.step(&self.stage.namespace, &step) {
                Ok(_) => worked += 1,
                Err(error) => {
                    assert!(self.stage.server.dump() == before, "half a {what} without {without}: {error}");
                }
            }
        }
        worked
    }

    /// With everything given back, everything goes on.
    fn goes_on(&self, without: &str) {
        self.clock.advance(Duration::from_mins(30));
        for _ in 0..8 {
            self.stage.step(&Step::Heartbeat { client: ClientId(1), from: Ticket(0), explain: Vec::new() });
        }
        let run = Run::new(format!("after {without}"), lock("l").slot(name("s"), 2, 2).output(name("out")));
        self.stage.passes(&run);
    }
}

fn server(clock: &Clock) -> RedisServer {
    RedisServer::setup().clock(clock).user("flow", &documented_rule()).start()
}

#[test]
fn no_right_that_is_taken_away_later_leaves_half_a_step() {
    let rule = documented_rule();
    let commands = rule.split_whitespace().filter_map(|word| word.strip_prefix('+'));
    let of_scripts =
        |command: &&str| !command.contains('|') && !command.starts_with("eval") && *command != "select";
    let clock = Clock::new();
    let mut scene = Scene::new(server(&clock), clock);
    for command in commands.filter(of_scripts) {
        scene.stage.server.command(&["ACL", "SETUSER", "flow", &format!("-{command}")]);
        let worked = scene.is_whole_after_every_step(command);
        if command == "spublish" {
            assert_eq!(worked, scene.steps().len(), "a wake-up is a hint: no step needs it");
        }
        scene.stage.server.command(&["ACL", "SETUSER", "flow", &format!("+{command}")]);
        scene.goes_on(command);
        scene = Scene::new(scene.stage.server, scene.clock);
    }
    scene.stage.server.command(&["ACL", "SETUSER", "flow", "resetchannels"]);
    assert_eq!(scene.is_whole_after_every_step("channels"), scene.steps().len());
    scene.goes_on("channels");
}

#[test]
fn no_key_that_another_program_takes_over_leaves_half_a_step() {
    let clock = Clock::new();
    let mut scene = Scene::new(server(&clock), clock);
    for letter in "hinedcb".chars() {
        let key = format!("fl:{{{}}}:{letter}", scene.stage.namespace.as_str());
        scene.stage.server.command(&["DEL", &key]);
        scene.stage.server.command(&["LPUSH", &key, "theirs"]);
        scene.is_whole_after_every_step(&key);
        scene = Scene::new(scene.stage.server, scene.clock);
    }
}
