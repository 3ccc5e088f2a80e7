//! Answers that never arrive, and requests that arrive too late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use flowlock::step::Step;
use flowlock::store::redis::RedisStore;
use flowlock::store::{Limits, Store as _};
use flowlock::{Acquired, Begun, Error, Flowlock, Lost, LostBy, Namespace, Progress};
use flowlock_testkit::{Direction, PATIENCE, Proxy, RedisServer, Then, until};

use super::between::through;
use super::{PATIENT, impatient, is_lost, namespace, open, version, write};

/// What one step may take on a line that can hang.
const PATIENCE_OF_A_STEP: Duration = Duration::from_millis(400);

/// A server, a bad line to it, and a good one.
struct Lines {
    server: RedisServer,
    line: Proxy,
    namespace: Namespace,
    bad: Flowlock,
    good: Flowlock,
}

impl Lines {
    fn new() -> Self {
        let server = RedisServer::start();
        let (line, namespace) = (Proxy::to(&server), namespace());
        let bad = impatient(line.url(), &namespace, PATIENCE_OF_A_STEP);
        let good = open(&server.url(), &namespace);
        // From now on both know the namespace and the server all scripts.
        write(&bad, "known");
        write(&good, "known");
        Self { server, line, namespace, bad, good }
    }

    /// Swallows the answer to the next step of a kind.
    fn lose_answer(&self, to: &str, then: Then) {
        self.line.drop_reply_to(&word(to), then);
    }

    /// The living runs.
    fn runs(&self) -> Vec<String> {
        let runs = self.good.runs().unwrap();
        runs.iter().map(|seen| format!("{} {}", seen.run.spec.job, seen.run.state.as_str())).collect()
    }
}

/// A kind of step, as a request has it.
fn word(step: &str) -> String {
    format!("\r\n${}\r\n{step}\r\n", step.len())
}

fn for_all_ways(test: impl Fn(&Lines, Then)) {
    for then in [Then::Reset, Then::Hang] {
        let lines = Lines::new();
        test(&lines, then);
        assert_eq!(lines.line.dropped_replies(), 1, "{then:?}: an answer was lost");
        assert_eq!(lines.runs(), [""; 0], "{then:?}: nothing is left behind");
    }
}

#[test]
fn a_grant_whose_answer_was_lost_is_granted_once() {
    for_all_ways(|lines, then| {
        lines.lose_answer("acquire", then);
        let grant = lines.bad.job("job").output("out").acquire().unwrap();
        assert_eq!(lines.runs(), ["job running"]);
        let token = grant.token();
        grant.commit().unwrap();
        assert_eq!(version(&lines.good, "out"), Some(token));
    });
}

#[test]
fn a_grant_whose_acceptance_got_no_answer_is_accepted_once() {
    for_all_ways(|lines, then| {
        let first = lines.good.job("first").output("out").acquire().unwrap();
        let Begun::Waiting(mut waiting) = lines.bad.job("second").output("out").begin().unwrap() else {
            panic!("both were granted")
        };
        assert!(matches!(waiting.wait(Duration::ZERO).unwrap(), Progress::Waiting));
        until("a quiet line", PATIENCE, || {
            (lines.runs() == ["first running", "second queued"]).then_some(())
        });
        lines.lose_answer("accept", then);
        first.commit().unwrap();
        let Progress::Granted(grant) = waiting.wait(PATIENT).unwrap() else { panic!("never granted") };
        assert_eq!(lines.runs(), ["second running"]);
        grant.commit().unwrap();
    });
}

/// It arrived, its answer did not, and the line breaks before it is withdrawn. The process waits for something else too,
/// so that its heartbeats would keep it in the queue.
#[test]
fn a_request_whose_answer_was_lost_on_a_line_that_breaks_leaves_the_queue_when_the_line_is_mended() {
    let server = RedisServer::start();
    let (line, namespace) = (Arc::new(Proxy::to(&server)), namespace());
    let good = open(&server.url(), &namespace);
    let bad = impatient(line.url(), &namespace, PATIENCE_OF_A_STEP);
    write(&bad, "known");
    let (breaks, is_mended) = (line.clone(), Arc::new(AtomicBool::new(false)));
    let mended = is_mended.clone();
    let bad = through(&bad, move |carry_out, step| {
        match step {
            Step::Acquire(asked) if asked.spec.job.as_str() == "orphan" => {
                breaks.black_hole(Direction::Replies);
            }
            Step::Cancel { .. } if !mended.load(Ordering::SeqCst) => breaks.refuse(),
            _ => {}
        }
        carry_out()
    });
    let _holder = good.job("holder").lock("a").acquire().unwrap();
    let Begun::Waiting(mut besides) = bad.job("besides").lock("a").begin().unwrap() else { panic!() };
    assert!(matches!(besides.wait(Duration::ZERO).unwrap(), Progress::Waiting));
    let asked = bad.job("orphan").lock("a").begin();
    assert!(matches!(&asked, Err(Error::Store(error)) if error.is_unknown()), "{asked:?}");
    let jobs = || -> Vec<_> {
        good.runs().unwrap().iter().map(|seen| seen.run.spec.job.as_str().to_owned()).collect()
    };
    assert_eq!(jobs(), ["holder", "besides", "orphan"]);
    is_mended.store(true, Ordering::SeqCst);
    line.pass();
    until("the orphan leaves", PATIENT, || (jobs() == ["holder", "besides"]).then_some(()));
}

#[test]
fn a_commit_whose_answer_was_lost_counts_once_and_says_so() {
    for_all_ways(|lines, then| {
        let grant = lines.bad.job("job").output("out").acquire().unwrap();
        lines.lose_answer("commit", then);
        let committed = grant.commit().unwrap();
        assert!(!committed.late);
        assert_eq!(version(&lines.good, "out"), Some(committed.version));
    });
}

#[test]
fn a_commit_that_did_not_arrive_before_another_was_granted_is_lost_and_not_unknown() {
    let lines = Lines::new();
    let job = lines.bad.job("slow").output("out").lease(Duration::from_secs(1)).fixed_lease();
    let grant = job.acquire().unwrap();
    lines.line.black_hole(Direction::Requests);
    std::thread::scope(|scope| {
        let committing = scope.spawn(|| grant.commit());
        let next = lines.good.job("next").output("out").acquire().unwrap();
        lines.line.pass();
        is_lost(&committing.join().unwrap(), Lost::By(LostBy::Taken));
        assert_eq!(version(&lines.good, "out"), None);
        let token = next.token();
        next.commit().unwrap();
        assert_eq!(version(&lines.good, "out"), Some(token));
    });
}

#[test]
fn a_failure_whose_answer_was_lost_frees_the_names() {
    for_all_ways(|lines, then| {
        let grant = lines.bad.job("job").output("out").acquire().unwrap();
        lines.lose_answer("fail", then);
        grant.fail();
        write(&lines.good, "out");
    });
}

#[test]
fn a_withdrawal_whose_answer_was_lost_leaves_nobody_in_line() {
    for_all_ways(|lines, then| {
        let first = lines.good.job("first").output("out").acquire().unwrap();
        let Begun::Waiting(waiting) = lines.bad.job("second").output("out").begin().unwrap() else {
            panic!("both were granted")
        };
        lines.lose_answer("cancel", then);
        waiting.cancel().unwrap();
        assert_eq!(lines.runs(), ["first running"]);
        first.commit().unwrap();
    });
}

/// The copy answers no question.
#[test]
fn an_answer_that_comes_twice_is_not_taken_for_that_of_the_next_question() {
    let lines = Lines::new();
    let holder = lines.good.job("holder").lock("held").acquire().unwrap();
    lines.line.double_reply_to(&word("acquire"));
    let first = lines.bad.job("first").output("first").acquire().unwrap();
    let second = lines.bad.job("second").lock("held").try_acquire().unwrap();
    assert!(matches!(second, Acquired::Blocked(_)), "{second:?}");
    lines.line.double_reply_to(&word("acquire"));
    let third = lines.bad.job("third").output("third").acquire().unwrap();
    let token = third.token();
    assert_eq!(third.commit().unwrap().version, token);
    assert_eq!(version(&lines.good, "third"), Some(token));
    assert_eq!(lines.line.connections(), 3, "a connection with a copy on it is not used again");
    for grant in [first, holder] {
        grant.commit().unwrap();
    }
    assert_eq!(lines.runs(), [""; 0]);
}

#[test]
fn a_request_that_arrives_after_it_was_withdrawn_is_never_a_grant_that_nobody_holds() {
    let lines = Lines::new();
    // The request takes the bad way, the withdrawal the good one.
    let slow = lines.bad.store().clone();
    let namespace = lines.namespace.clone();
    let torn = through(&lines.good, move |carry_out, step| match step {
        Step::Acquire(_) => slow.step(&namespace, step),
        _ => carry_out(),
    });
    lines.line.black_hole(Direction::Requests);
    let scripts = || lines.server.command_count("evalsha").calls;
    let error = torn.job("late").output("out").acquire().unwrap_err();
    assert!(matches!(&error, Error::Store(error) if error.is_unknown()), "{error}");
    let before = scripts();
    lines.line.pass();
    until("the late request", PATIENCE, || (scripts() > before).then_some(()));
    let first = lines.good.job("first").output("out").wait(Duration::from_secs(2)).acquire();
    first.expect("free long before the end of a lease").commit().unwrap();
}

#[test]
fn a_request_that_is_late_without_being_withdrawn_is_refused_by_its_latest_arrival() {
    let lines = Lines::new();
    let slow = lines.bad.store().clone();
    let namespace = lines.namespace.clone();
    let sent = Arc::new(std::sync::Mutex::new(0));
    let latest = sent.clone();
    let torn = through(&lines.good, move |_, step| {
        if let Step::Acquire(request) = step {
            *latest.lock().unwrap() = request.latest_ms;
        }
        slow.step(&namespace, step)
    });
    lines.line.black_hole(Direction::Requests);
    let error = torn.job("late").output("out").acquire().unwrap_err();
    assert!(matches!(&error, Error::Store(error) if error.is_transient()), "{error}");
    let latest_ms = *sent.lock().unwrap();
    until("its latest arrival", PATIENCE, || (lines.server.time_us() / 1_000 > latest_ms).then_some(()));
    let scripts = || lines.server.command_count("evalsha").calls;
    let before = scripts();
    lines.line.pass();
    until("the late request", PATIENCE, || (scripts() > before).then_some(()));
    let first = lines.good.job("first").output("out").wait(Duration::from_secs(2)).acquire();
    first.expect("free long before the end of a lease").commit().unwrap();
}

/// Each of its forty questions is answered on that line, after 400 ms.
#[test]
fn an_examination_on_a_slow_line_ends_when_its_time_is_over() {
    let (server, namespace) = (RedisServer::start(), namespace());
    let line = Proxy::to(&server);
    let store = RedisStore::open(line.url(), Duration::from_secs(30)).unwrap();
    let all = store.examine(&namespace, &Limits::within(Duration::from_secs(30)));
    assert!(all.len() > 10 && all.iter().all(|finding| finding.away.is_none()), "{all:#?}");
    line.delay(Direction::Replies, Duration::from_millis(400));
    let cut = store.examine(&namespace, &Limits::within(Duration::from_secs(2)));
    let is_cut_short = matches!(cut.as_slice(), [only] if only.what == "server" && only.away.is_some());
    assert!(is_cut_short, "{cut:#?}");
}
