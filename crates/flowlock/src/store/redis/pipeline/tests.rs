use std::sync::Barrier;
use std::sync::atomic::AtomicBool;

use super::*;
use crate::store::redis::pack;
use crate::store::redis::tests::interrupted::interrupted;
use crate::store::redis::tests::server::*;
use crate::store::redis::url::{Deployment, Options};
use crate::store::{StoreError, StoreErrorKind};

const THREADS: usize = 16;
const CALLS: usize = 500;

#[test]
fn threads_that_meet_share_a_write_and_each_gets_its_own_answer() {
    let server = Server::start(&[]);
    let line = line(&server);
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (line, start) = (&line, &start);
            scope.spawn(move || {
                start.wait();
                for call in 0..CALLS {
                    let word = format!("{thread}.{call}");
                    assert_eq!(echo(line, &word, &soon()).unwrap(), word);
                }
            });
        }
    });
    let (calls, writes) = ((THREADS * CALLS) as u64, writes(&line));
    assert!(writes < calls / 2, "{writes} writes for {calls} calls");
    assert_eq!(server.cli(&["CLIENT", "LIST"]).matches("name=flowlock").count(), 1);
}

#[test]
fn each_caller_skips_the_replies_of_its_own_job_whoever_sends_it() {
    let server = Server::start(&[]);
    let line = line(&server);
    let start = Barrier::new(THREADS);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (line, start) = (&line, &start);
            scope.spawn(move || {
                start.wait();
                for call in 0..CALLS {
                    // Like ASKING, which is sent ahead of a step that a migrating slot needs: its reply
                    // belongs to no caller.
                    let (word, skip) = (format!("{thread}.{call}"), (thread + call) % 3);
                    let ahead = pack::arguments(&[b"ECHO", b"skipped"]).repeat(skip);
                    let head = [ahead, pack::arguments(&[b"ECHO", word.as_bytes()])].concat();
                    // Like WAIT, which follows a step that replicas must have: all of them come after
                    // all steps.
                    let follows = (thread + call) % 2 == 0;
                    let last = format!("tail of {word}");
                    let tail = follows.then(|| pack::arguments(&[b"ECHO", last.as_bytes()]));
                    let replies = line.ask(Job { head, skip, tail, ..Job::default() }, &soon()).unwrap();
                    let said = follows.then(|| Value::BulkString(last.into_bytes()));
                    assert_eq!((replies.head, replies.tail), (Value::BulkString(word.into_bytes()), said));
                }
            });
        }
    });
    assert!(writes(&line) < (THREADS * CALLS) as u64 / 2, "callers did wait for each other");
}

#[test]
fn one_thread_alone_writes_once_per_call() {
    let server = Server::start(&[]);
    let line = line(&server);
    for _ in 0..100 {
        echo(&line, "x", &soon()).unwrap();
    }
    assert_eq!(writes(&line), 100);
}

#[test]
fn who_waits_leaves_at_its_own_deadline_and_the_others_go_on() {
    let (server, line) = frozen();
    std::thread::scope(|scope| {
        let leading = scope.spawn(|| echo(&line, "lead", &Limits::within(Duration::from_secs(3))));
        eventually("the line is taken", || writes(&line) == 2);
        let patient = scope.spawn(|| echo(&line, "patient", &Limits::within(LONG)));
        let begun = Instant::now();
        let hasty = echo(&line, "hasty", &Limits::within(Duration::from_millis(200)));
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_error(hasty, StoreErrorKind::Unreachable, "nothing was sent for it");
        server.thaw();
        assert_eq!(leading.join().unwrap().unwrap(), "lead");
        assert_eq!(patient.join().unwrap().unwrap(), "patient");
    });
}

#[test]
fn who_was_sent_with_others_and_leaves_first_does_not_know() {
    let (server, line) = frozen();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| echo(&line, "first", &Limits::within(Duration::from_millis(300))));
        eventually("the first has the line", || writes(&line) == 2);
        // These two are sent together once the first has given up.
        let long = scope.spawn(|| echo(&line, "long", &Limits::within(LONG)));
        eventually("one waits", || waiting(&line) == 1);
        let short = scope.spawn(|| echo(&line, "short", &Limits::within(Duration::from_secs(2))));
        eventually("two wait", || waiting(&line) == 2);
        assert_error(first.join().unwrap(), StoreErrorKind::Unknown, "did not answer in time");
        server.thaw();
        eventually("both are sent", || writes(&line) == 3);
        assert_eq!(long.join().unwrap().unwrap(), "long");
        assert_eq!(short.join().unwrap().unwrap(), "short");
    });
}

#[test]
fn who_waits_for_others_and_is_interrupted_leaves_and_they_go_on() {
    let (server, line) = frozen();
    std::thread::scope(|scope| {
        let leading = scope.spawn(|| echo(&line, "lead", &Limits::within(LONG)));
        eventually("the line is taken", || writes(&line) == 2);
        let said = interrupted(|limits| echo(&line, "later", limits));
        assert_eq!(said, "interrupted while waiting for the store");
        server.thaw();
        assert_eq!(leading.join().unwrap().unwrap(), "lead");
    });
}

#[test]
fn what_nobody_waits_for_any_more_is_not_sent() {
    let (server, line) = frozen();
    let given_up = Arc::<AtomicBool>::default();
    let limits = Limits { given_up: Some(given_up.clone()), ..Limits::within(LONG) };
    std::thread::scope(|scope| {
        let leading = scope.spawn(|| echo(&line, "lead", &Limits::within(LONG)));
        eventually("the line is taken", || writes(&line) == 2);
        // One of them leads next, the other would be sent along.
        let asked = [(); 2].map(|()| scope.spawn(|| echo(&line, "unwanted", &limits)));
        eventually("two wait", || waiting(&line) == 2);
        let wanted = scope.spawn(|| echo(&line, "wanted", &Limits::within(LONG)));
        eventually("three wait", || waiting(&line) == 3);
        given_up.store(true, Ordering::Release);
        server.thaw();
        for asked in asked {
            assert_error(asked.join().unwrap(), StoreErrorKind::Unreachable, "nothing was sent for it");
        }
        assert_eq!(leading.join().unwrap().unwrap(), "lead");
        assert_eq!(wanted.join().unwrap().unwrap(), "wanted");
    });
    assert_eq!(writes(&line), 3);
    let echoed = server.cli(&["INFO", "commandstats"]);
    assert!(echoed.contains("cmdstat_echo:calls=3,"), "{echoed}");
}

#[test]
fn who_is_interrupted_while_it_leads_leaves_the_line_to_the_next() {
    let (server, line) = frozen();
    std::thread::scope(|scope| {
        let leading = scope.spawn(|| interrupted(|limits| echo(&line, "lead", limits)));
        eventually("the line is taken", || writes(&line) == 2);
        let patient = scope.spawn(|| echo(&line, "patient", &Limits::within(LONG)));
        let said = leading.join().unwrap();
        assert!(said.starts_with("interrupted while waiting for the store; whether"), "{said}");
        server.thaw();
        assert_eq!(patient.join().unwrap().unwrap(), "patient");
    });
}

#[test]
fn who_gets_the_line_too_late_leaves_the_connection_to_the_next() {
    let server = Server::start(&[]);
    let line = line(&server);
    echo(&line, "x", &soon()).unwrap();
    let first = line.dials();
    let ended = Limits::within(Duration::ZERO);
    let connection = lock(&line.queue).connection.take();
    lock(&line.queue).led = true;
    std::thread::scope(|scope| {
        let next = scope.spawn(|| echo(&line, "next", &soon()));
        eventually("one waits", || waiting(&line) == 1);
        let too_late = Leader::new(&line, connection).carry(&Job::default(), &ended).map(drop);
        assert_error(
            too_late.map_err(StoreError::from),
            StoreErrorKind::Unreachable,
            "nothing was sent for it",
        );
        assert_eq!(next.join().unwrap().unwrap(), "next");
    });
    assert_error(echo(&line, "y", &ended), StoreErrorKind::Unreachable, "nothing was sent for it");
    assert_eq!(echo(&line, "z", &soon()).unwrap(), "z");
    assert_eq!(line.dials(), first, "it is the first connection still");
}

#[test]
fn a_panic_of_one_does_not_block_the_others() {
    let server = Server::start(&[]);
    let line = line(&server);
    echo(&line, "x", &soon()).unwrap();
    let panicked = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let bad = scope.spawn(|| {
            lock(&line.queue).led = true;
            let _leads = Leader::new(&line, None);
            eventually("others wait", || waiting(&line) == 3);
            panicked.store(true, Ordering::SeqCst);
            std::panic::resume_unwind(Box::new("on purpose"));
        });
        eventually("the line is taken", || lock(&line.queue).led);
        let others: Vec<_> = (0..3).map(|_| scope.spawn(|| echo(&line, "y", &soon()))).collect();
        for other in others {
            assert_eq!(other.join().unwrap().unwrap(), "y");
        }
        assert!(bad.join().is_err() && panicked.load(Ordering::SeqCst));
    });
    assert!(!lock(&line.queue).led);
}

fn writes(line: &Pipeline) -> u64 {
    line.writes.load(Ordering::SeqCst)
}

fn waiting(line: &Pipeline) -> usize {
    lock(&line.queue).callers.len()
}

fn line(server: &Server) -> Pipeline {
    let options = Options::parse(&server.url()).unwrap();
    let Deployment::One(address) = options.deployment.clone() else { unreachable!() };
    Pipeline::new(Arc::new(Dialler::new(options)), address, Part::Alone, PATIENCE)
}

/// A server that is stopped, and a pipeline that it has answered before.
fn frozen() -> (Server, Pipeline) {
    let server = Server::start(&[]);
    let line = line(&server);
    echo(&line, "x", &soon()).unwrap();
    server.freeze();
    (server, line)
}

fn echo(line: &Pipeline, word: &str, limits: &Limits) -> Result<String, StoreError> {
    let head = pack::arguments(&[b"ECHO", word.as_bytes()]);
    match line.ask(Job { head, ..Job::default() }, limits)?.head {
        Value::BulkString(word) => Ok(String::from_utf8(word).unwrap()),
        other => panic!("{other:?}"),
    }
}
