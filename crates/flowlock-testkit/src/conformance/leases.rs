//! 3.3: leases, lapse, takeover, commit, unlock, death.

use flowlock::step::{Answer, Refreshed, Step, Unlock, Who};
use flowlock::{Attempt, Nonce, Token};

use super::Stage;

pub(super) fn a_refresh_restarts_the_lease(stage: &Stage) {
    let a = stage.run("A").locks("l").lease(10).tries();
    for _ in 0..5 {
        stage.pass(9);
        let answer = stage.step(&Step::Refresh(vec![a.who()]));
        assert_eq!(answer, Answer::Refreshed(vec![Refreshed::Held { lease_left_ms: 10_000, late: false }]));
    }
    stage.run("B").locks("l").tries().is("refused(busy)");
}

pub(super) fn a_lapsed_run_that_nobody_needs_goes_on_late(stage: &Stage) {
    let a = stage.run("A").writes("x").lease(10).tries();
    stage.pass(10);
    a.is("running, lapsed");
    assert_eq!(a.refreshes(), "held late");
    a.is("running");
    stage.pass(3_600);
    assert_eq!(a.commits(), "committed late");
    assert_eq!(stage.written(), "x live");
}

pub(super) fn who_unlocks_or_ends_a_run_by_hand_is_written_down(stage: &Stage) {
    let ann = |ms| Some(("ann@desk pid 7".to_owned(), ms));
    let by_id = |who: Who| Who { nonce: None, by: Some(crate::by_hand()), ..who };
    let [revoked, broken, committed, failed, own] = ["revoked", "broken", "committed", "failed", "own"]
        .map(|id| stage.run(id).writes(id).lease(600).tries());
    assert_eq!(revoked.is_unlocked(Unlock::WhenAcknowledged), "done");
    assert_eq!(broken.is_unlocked(Unlock::Now), "done");
    for run in [&committed, &failed] {
        stage.step(&Step::Detach(run.attempt.clone()));
    }
    stage.step(&Step::Commit { who: by_id(committed.who()), note: Some("here".to_owned()) });
    stage.step(&Step::Fail(by_id(failed.who())));
    assert_eq!(own.commits(), "committed");
    stage.pass(2);
    for run in [&revoked, &broken, &committed, &failed] {
        assert_eq!(run.acted_on_by(), ann(2_000), "{:?}", run.attempt.id);
    }
    assert_eq!(own.acted_on_by(), None);
    // What the holder does afterwards is its own.
    assert_eq!(revoked.fails(), "lost(broken)");
    assert_eq!(revoked.acted_on_by(), ann(2_000));
    // The person who unlocked a run stays recorded, whoever unlocks it again, commits it or ends it.
    let bob = || {
        Some(std::sync::Arc::new(flowlock::Origin { user: "bob".to_owned(), ..(*crate::by_hand()).clone() }))
    };
    for ending in ["fail", "commit"] {
        let run = stage.run(&format!("unlocked {ending}")).locks(ending).lease(600).tries();
        let by_bob = Who { nonce: None, by: bob(), ..run.who() };
        assert_eq!(run.detaches(), "done");
        assert_eq!(run.is_unlocked(Unlock::WhenAcknowledged), "done");
        let how = Unlock::WhenAcknowledged;
        let (id, token, by) = (run.attempt.id.clone(), run.token(), by_bob.by.clone().expect("bob"));
        assert_eq!(stage.step(&Step::Unlock { run: id, token, how, by }), Answer::Done);
        assert_eq!(run.acted_on_by(), ann(0));
        let step = match ending {
            "fail" => Step::Fail(by_bob),
            _ => Step::Commit { who: by_bob, note: None },
        };
        assert_eq!(super::word::word(&stage.step(&step)), "lost(broken)");
        assert_eq!(run.acted_on_by(), ann(0));
    }
    assert_eq!(stage.written_or_removed_by("committed"), ann(2_000));
    assert_eq!(stage.record("committed").and_then(|record| record.note), Some("here".to_owned()));
    assert_eq!(stage.written_or_removed_by("own"), None);
}

pub(super) fn who_makes_and_removes_records_by_hand_is_written_down(stage: &Stage) {
    let ann = |ms| Some(("ann@desk pid 7".to_owned(), ms));
    stage.create(&["made", "gone", "expired", "rewritten"]);
    stage.pass(1);
    assert_eq!(stage.written_or_removed_by("made"), ann(1_000));
    let holder = stage.run("holder").reads("gone").lease(600).tries();
    let failing = stage.run("failing").writes("made").tries();
    assert_eq!(failing.fails(), "failed");
    assert_eq!(stage.run("1").writes("rewritten").tries().commits(), "committed");
    assert_eq!(stage.remove_by_force(&["gone"]), "done");
    stage.pass(1);
    // A failed attempt, and a commit by the run itself, change nothing or everything about that.
    assert_eq!(stage.written_or_removed_by("made"), ann(2_000));
    assert_eq!(stage.written_or_removed_by("rewritten"), None);
    assert_eq!(stage.written_or_removed_by("gone"), ann(1_000));
    holder.is("lost(broken)");
    assert_eq!(holder.acted_on_by(), ann(1_000));
    assert_eq!(stage.written_or_removed_by("never"), None);
}

pub(super) fn a_lapsed_run_that_nobody_needs_ends_by_itself_after_a_day(stage: &Stage) {
    const DAY: u64 = 86_400;
    let a = stage.run("A").writes("x").lease(10).tries();
    stage.pass(10);
    a.is("running, lapsed");
    stage.pass(DAY - 1);
    a.is("running, lapsed");
    // A holder that comes back late begins a new lease.
    assert_eq!(a.refreshes(), "held late");
    stage.pass(10);
    stage.pass(DAY - 1);
    a.is("running, lapsed");
    stage.pass(1);
    assert_eq!(a.refreshes(), "lost(died)");
    assert_eq!(a.commits(), "lost(died)");
    assert_eq!(stage.written(), "");
    stage.run("B").writes("x").tries().is("running");
}

pub(super) fn each_run_is_kept_for_as_long_as_it_said_itself(stage: &Stage) {
    let short = stage.run("short").writes("x").lease(10).kept_for(60).tries();
    let long = stage.run("long").writes("y").lease(10).kept_for(7 * 86_400).tries();
    let without_names = stage.run("nothing").lease(10).kept_for(60).tries();
    let holder = stage.run("holder").locks("l").lease(600).tries();
    let waiter = stage.run("waiter").locks("l").kept_for(60).waits();
    assert_eq!(holder.fails(), "failed");
    stage.pass(10);
    for lapsed in [&short, &long, &without_names] {
        lapsed.is("running, lapsed");
    }
    waiter.is("granted, lapsed");
    stage.pass(59);
    // A holder that comes back in time begins a new lease of the same length.
    assert_eq!(short.refreshes(), "held late");
    stage.pass(1);
    without_names.is("lost(died)");
    waiter.is("timed_out");
    stage.pass(9);
    short.is("running, lapsed");
    stage.pass(60);
    short.is("lost(died)");
    assert_eq!(short.commits(), "lost(died)");
    stage.pass(7 * 86_400 - 130);
    long.is("running, lapsed");
    assert_eq!(long.commits(), "committed late");
    assert_eq!(stage.written(), "y live");
}

pub(super) fn an_unclaimed_grant_that_nobody_needs_ends_by_itself_after_a_day(stage: &Stage) {
    let first = stage.run("first").locks("l").lease(600).tries();
    let waiter = stage.run("waiter").locks("l").waits();
    assert_eq!(first.fails(), "failed");
    stage.pass(10);
    waiter.is("granted, lapsed");
    stage.pass(86_400);
    waiter.is("timed_out");
    assert_eq!(waiter.claims(), "timed_out");
}

pub(super) fn a_late_run_whose_process_is_gone_ends_at_once(stage: &Stage) {
    let dead = stage.run("dead").writes("x").lease(10).tries();
    let living = stage.run("living").writes("y").lease(10).tries();
    dead.dies();
    stage.pass(9);
    dead.is("running");
    stage.pass(1);
    dead.is("lost(died)");
    living.is("running, lapsed");
    assert_eq!(dead.commits(), "lost(died)");
}

pub(super) fn a_lapsed_run_is_lost_in_the_step_that_grants_a_conflicting_run(stage: &Stage) {
    let a = stage.run("A").writes("x").writes("y").lease(10).tries();
    stage.pass(10);
    a.is("running, lapsed");
    stage.run("B").writes("y").tries().is("running");
    a.is("lost(taken)");
    stage.run("C").writes("x").tries().is("running");
}

pub(super) fn a_lost_claim_is_never_retaken(stage: &Stage) {
    let a = stage.run("A").writes("x").lease(10).tries();
    stage.pass(10);
    let b = stage.run("B").writes("x").tries();
    assert_eq!(b.fails(), "failed");
    for _ in 0..2 {
        assert_eq!(a.refreshes(), "lost(taken)");
        assert_eq!(a.commits(), "lost(taken)");
        assert_eq!(a.fails(), "lost(taken)");
        assert_eq!(a.claims(), "lost(taken)");
        assert_eq!(a.again(), "lost(taken)");
    }
    assert_eq!(stage.written(), "");
}

pub(super) fn a_request_that_is_not_granted_takes_nothing(stage: &Stage) {
    stage.run("other").locks("m").lease(600).tries();
    let a = stage.run("A").locks("l").lease(10).tries();
    stage.pass(10);
    stage.run("B").locks("l").locks("m").tries().is("refused(busy)");
    stage.run("C").locks("l").locks("m").waits().is("queued");
    a.is("running, lapsed");
    assert_eq!(a.commits(), "committed late");
}

pub(super) fn a_lapsed_run_blocks_nobody(stage: &Stage) {
    let a = stage.run("A").locks("l").locks("m").lease(10).tries();
    let b = stage.run("B").locks("l").waits();
    stage.pass_hearing(10, &[&b]);
    b.is("granted");
    a.is("lost(taken)");
}

pub(super) fn the_holders_own_late_step_grants_the_waiting_first(stage: &Stage) {
    for (id, late) in [("refresh", true), ("commit", false)] {
        let a = stage.run(&format!("A {id}")).writes(id).lease(8).tries();
        let b = stage.run(&format!("B {id}")).writes(id).waits();
        stage.world(|world| world.advance(std::time::Duration::from_secs(8)));
        let answer = if late { a.refreshes() } else { a.commits() };
        assert_eq!(answer, "lost(taken)", "{id}");
        b.is("granted");
    }
    assert_eq!(stage.written(), "");
}

pub(super) fn a_commit_needs_the_right_nonce(stage: &Stage) {
    let a = stage.run("A").writes("x").tries();
    let stranger = Attempt { nonce: Nonce(u128::MAX), ..a.attempt.clone() };
    let who = Who::from(&stranger);
    let by_id = Who { nonce: None, by: Some(crate::by_hand()), ..who.clone() };
    for who in [who, by_id] {
        for step in [
            Step::Commit { who: who.clone(), note: None },
            Step::Fail(who.clone()),
            Step::Refresh(vec![who.clone()]),
            Step::Accept { attempt: stranger.clone(), holder: a.holder.clone() },
            Step::Detach(stranger.clone()),
        ] {
            assert_eq!(super::word::word(&stage.step(&step)), "not_found", "{step:?}");
        }
    }
    a.is("running");
    assert_eq!(a.commits(), "committed");
}

pub(super) fn a_grant_that_was_not_claimed_cannot_commit(stage: &Stage) {
    let a = stage.run("A").writes("x").tries();
    let b = stage.run("B").writes("x").waits();
    assert_eq!(b.commits(), "not_claimed");
    assert_eq!(a.fails(), "failed");
    b.is("granted");
    assert_eq!(b.commits(), "not_claimed");
    assert_eq!(b.refreshes(), "not_running");
    assert_eq!(b.claims(), "running");
    assert_eq!(b.commits(), "committed");
}

pub(super) fn a_longest_run_time_caps_renewal(stage: &Stage) {
    let a = stage.run("A").locks("l").lease(10).longest(15).tries();
    stage.pass(8);
    let answer = stage.step(&Step::Refresh(vec![a.who()]));
    assert_eq!(answer, Answer::Refreshed(vec![Refreshed::Held { lease_left_ms: 7_000, late: false }]));
    stage.pass(4);
    let answer = stage.step(&Step::Refresh(vec![a.who()]));
    assert_eq!(answer, Answer::Refreshed(vec![Refreshed::MaxRuntime { lease_left_ms: 3_000 }]));
    let b = stage.run("B").locks("l").waits();
    stage.pass(3);
    b.is("granted");
    assert_eq!(a.refreshes(), "lost(taken)");
}

pub(super) fn past_its_longest_run_time_nothing_is_renewed(stage: &Stage) {
    let a = stage.run("A").locks("l").lease(10).longest(12).tries();
    stage.pass(11);
    let held = Refreshed::Held { lease_left_ms: 1_000, late: true };
    assert_eq!(stage.step(&Step::Refresh(vec![a.who()])), Answer::Refreshed(vec![held]));
    // Its lease ends before its run time, and it is late for both.
    let b = stage.run("B").locks("m").lease(10).longest(12).tries();
    stage.pass(13);
    for (run, lease_left_ms) in [(&a, -12_000), (&b, -3_000)] {
        let over = Refreshed::MaxRuntime { lease_left_ms };
        for _ in 0..2 {
            assert_eq!(stage.step(&Step::Refresh(vec![run.who()])), Answer::Refreshed(vec![over]));
        }
        run.is("running, lapsed");
    }
}

pub(super) fn tokens_rise_even_if_the_wall_clock_goes_back(stage: &Stage) {
    let mut last = Token(0);
    for id in 0..5 {
        let run = stage.run(&format!("run {id}")).writes("x").tries();
        assert!(run.token() > last, "{} after {last}", run.token());
        last = run.token();
        assert_eq!(run.commits(), "committed");
        assert_eq!(stage.record("x").unwrap().version, last);
        stage.world(|world| world.shift_wall_clock(-3_600_000_000));
    }
}

pub(super) fn one_refresh_serves_many_runs(stage: &Stage) {
    let a = stage.run("A").locks("a").lease(10).tries();
    let b = stage.run("B").locks("b").lease(20).tries();
    let over = stage.run("over").locks("c").tries();
    assert_eq!(over.fails(), "failed");
    let waiting = stage.run("waiting").locks("a").waits();
    let stranger = Who { run: flowlock::RunId::parse("stranger").unwrap(), nonce: Some(Nonce(7)), by: None };
    let asked = [b.who(), stranger, over.who(), a.who(), waiting.who()];
    let held = |lease_left_ms| Refreshed::Held { lease_left_ms, late: false };
    let answers = [
        held(20_000),
        Refreshed::NotFound,
        Refreshed::Over(flowlock::Outcome::Failed),
        held(10_000),
        Refreshed::NotRunning,
    ];
    // The second time, more than a store asks about at once.
    for times in [1, 201] {
        let all = std::iter::repeat_n(&asked, times).flatten().cloned().collect();
        let answer = stage.step(&Step::Refresh(all));
        assert_eq!(answer, Answer::Refreshed(answers.repeat(times)));
    }
}

pub(super) fn a_detached_run_is_operated_by_its_id_alone(stage: &Stage) {
    let a = stage.run("A").writes("x").tries();
    let by_id = Who { nonce: None, by: Some(crate::by_hand()), ..a.who() };
    assert_eq!(super::word::word(&stage.step(&Step::Refresh(vec![by_id.clone()]))), "not_found");
    assert_eq!(a.detaches(), "done");
    a.dies();
    assert_eq!(a.is_buried(), "done");
    a.is("running");
    assert_eq!(super::word::word(&stage.step(&Step::Refresh(vec![by_id.clone()]))), "held");
    assert_eq!(super::word::word(&stage.step(&Step::Commit { who: by_id, note: None })), "committed");
    assert_eq!(stage.written(), "x live");
}

pub(super) fn a_revoked_run_blocks_until_it_acknowledges(stage: &Stage) {
    for id in ["fail", "claim", "commit", "ask again"] {
        let a = stage.run(&format!("A {id}")).writes(id).tries();
        let b = stage.run(&format!("B {id}")).writes(id).waits();
        assert_eq!(a.is_unlocked(Unlock::WhenAcknowledged), "done");
        a.is("running, revoked");
        assert_eq!(a.detaches(), "not_found");
        assert_eq!(a.refreshes(), "lost(broken)");
        b.is("queued");
        let answer = match id {
            "fail" => a.fails(),
            "claim" => a.claims(),
            // Its work is over, whatever it asked for.
            "commit" => a.commits(),
            _ => a.again(),
        };
        assert_eq!(answer, "lost(broken)");
        b.is("granted");
        assert_eq!(a.commits(), "lost(broken)");
    }
    assert_eq!(stage.written(), "");
}

pub(super) fn a_revoked_run_whose_process_dies_was_broken_all_the_same(stage: &Stage) {
    let a = stage.run("A").writes("x").tries();
    assert_eq!(a.is_unlocked(Unlock::WhenAcknowledged), "done");
    a.dies();
    assert_eq!(a.is_buried(), "done");
    a.is("lost(broken)");
}

pub(super) fn a_revoked_run_ends_at_its_lease_end(stage: &Stage) {
    let a = stage.run("A").writes("x").lease(8).tries();
    let b = stage.run("B").writes("x").waits();
    let alone = stage.run("alone").writes("y").lease(8).tries();
    for run in [&a, &alone] {
        assert_eq!(run.is_unlocked(Unlock::WhenAcknowledged), "done");
    }
    stage.pass(7);
    b.is("queued");
    stage.pass(1);
    b.is("granted");
    a.is("lost(broken)");
    // It is never late, although no run needs its name.
    alone.is("lost(broken)");
    assert_eq!(alone.commits(), "lost(broken)");
}

pub(super) fn unlock_ends_at_once_what_does_not_run(stage: &Stage) {
    let running = stage.run("running").locks("a").tries();
    let granted = stage.run("granted").locks("a").waits();
    assert_eq!(running.is_unlocked(Unlock::Now), "done");
    running.is("lost(broken)");
    granted.is("granted");
    let next = stage.run("next").locks("a").waits();
    assert_eq!(granted.is_unlocked(Unlock::WhenAcknowledged), "done");
    granted.is("lost(broken)");
    next.is("granted");
    let lapsed = stage.run("lapsed").locks("b").lease(2).tries();
    stage.pass(2);
    assert_eq!(lapsed.is_unlocked(Unlock::WhenAcknowledged), "done");
    lapsed.is("lost(broken)");
}

pub(super) fn unlock_needs_the_token_of_the_grant(stage: &Stage) {
    let a = stage.run("A").locks("l").tries();
    let step =
        |token| Step::Unlock { run: a.attempt.id.clone(), token, how: Unlock::Now, by: crate::by_hand() };
    assert_eq!(stage.step(&step(Token(a.token().0 - 1))), Answer::NotFound);
    a.is("running");
    assert_eq!(stage.step(&step(a.token())), Answer::Done);
    a.is("lost(broken)");
}

pub(super) fn a_dead_process_frees_its_names_when_it_is_found(stage: &Stage) {
    let dead = stage.run("dead").writes("x").tries();
    let waiter = stage.run("waiter").writes("x").waits();
    dead.dies();
    waiter.is("queued");
    assert_eq!(dead.is_buried(), "done");
    dead.is("lost(died)");
    waiter.is("granted");
    assert_eq!(dead.commits(), "lost(died)");
    // A new request finds the dead process by itself.
    assert_eq!(waiter.claims(), "running");
    waiter.dies();
    stage.run("newcomer").writes("x").tries().is("running");
    waiter.is("lost(died)");
}

pub(super) fn a_living_process_is_not_buried(stage: &Stage) {
    let a = stage.run("A").locks("l").tries();
    assert_eq!(a.is_buried(), "done");
    a.is("running");
}
