//! Scripts that vanish from the server, servers without memory, without rights, busy with something else.

use std::time::Duration;

use flowlock::store::StoreErrorKind;
use flowlock::{Acquired, Begun, Error, Flowlock, Progress};
use flowlock_testkit::{Over, PATIENCE, RedisServer, documented_rule, fresh_namespace, until};

use super::{PATIENT, impatient, namespace, open, rounds, version, write};

#[test]
fn commits_count_exactly_once_while_scripts_vanish_all_the_time() {
    let (server, namespace, over) = (RedisServer::start(), namespace(), Over::default());
    let flowlock = open(&server.url(), &namespace);
    let tokens = std::thread::scope(|scope| {
        let _vanishing = over.when_dropped();
        scope.spawn(|| {
            while !over.is_over() {
                server.command(&["SCRIPT", "FLUSH"]);
            }
        });
        let writers = [(); 8].map(|()| {
            scope.spawn(|| {
                let own = open(&server.url(), &namespace);
                (0..rounds(20)).map(|_| write(&own, "out")).collect::<Vec<_>>()
            })
        });
        writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect::<Vec<_>>()
    });
    let mut distinct = tokens.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(
        (tokens.len(), distinct.len()),
        (rounds(160), rounds(160)),
        "every commit has a version of its own"
    );
    assert_eq!(version(&flowlock, "out"), distinct.last().copied());
    assert!(server.errors("NOSCRIPT") > 0, "scripts did vanish");
}

#[track_caller]
fn is_full<T: std::fmt::Debug>(answer: Result<T, Error>) {
    let Err(Error::Store(error)) = answer else { panic!("{answer:?}") };
    assert_eq!(error.kind(), StoreErrorKind::Full);
    assert!(error.to_string().contains("no memory left; raise maxmemory"), "{error}");
}

#[test]
fn without_memory_nothing_new_is_granted_and_everything_that_runs_can_end() {
    let (server, namespace) = (RedisServer::setup().max_memory("0", "noeviction").start(), namespace());
    let flowlock = impatient(&server.url(), &namespace, Duration::from_millis(300));
    // Renewed by hand alone: a process that begins to listen asks about what it holds, and a renewal would alter the dump.
    let held = |name: &str| {
        flowlock.job(name).output(name).lease(Duration::from_secs(30)).fixed_lease().acquire().unwrap()
    };
    let [renewed, committed, failed] = ["renewed", "committed", "failed"].map(held);
    let Begun::Waiting(waiting) = flowlock.job("waiting").output("renewed").begin().unwrap() else {
        panic!("granted twice")
    };
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    let before = server.dump();
    let refusing = RefusedOnce::new(&flowlock);
    assert_eq!(refusing.refused(), StoreErrorKind::Full);
    assert!(server.dump() == before, "a refused request leaves nothing behind");
    is_full(flowlock.job("new").output("new").acquire());
    is_full(flowlock.create(&["by hand"], flowlock::Creation::default()));
    renewed.refresh().unwrap();
    waiting.cancel().unwrap();
    failed.fail();
    let version_committed = committed.commit().unwrap().version;
    assert_eq!(version(&flowlock, "committed"), Some(version_committed));
    renewed.commit().unwrap();
    assert_eq!(flowlock.runs().unwrap().len(), 0);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    write(&flowlock, "new");
}

/// A request that is sent once and not taken back, as if its process had died.
struct RefusedOnce {
    kind: std::sync::Arc<std::sync::Mutex<Option<StoreErrorKind>>>,
    flowlock: Flowlock,
}

impl RefusedOnce {
    fn new(flowlock: &Flowlock) -> Self {
        let kind = std::sync::Arc::new(std::sync::Mutex::new(None));
        let first = kind.clone();
        let flowlock = super::between::through(flowlock, move |carry_out, _| {
            let mut first = first.lock().unwrap();
            if first.is_none() {
                let error = carry_out().unwrap_err();
                *first = Some(error.kind());
            }
            Err(flowlock::store::StoreError::new(StoreErrorKind::Damaged, "only once"))
        });
        Self { kind, flowlock }
    }

    fn refused(&self) -> StoreErrorKind {
        self.flowlock.job("once").output("once").acquire().unwrap_err();
        self.kind.lock().unwrap().expect("it was sent")
    }
}

#[test]
fn a_key_that_another_program_uses_is_named_before_anything_is_written() {
    let server = RedisServer::start();
    for letter in "hinedcb".chars() {
        let namespace = namespace();
        let key = format!("fl:{{{}}}:{letter}", namespace.as_str());
        server.command(&["LPUSH", &key, "theirs"]);
        let keys = server.keys();
        let Err(Error::Store(error)) = open(&server.url(), &namespace).job("j").output("o").acquire() else {
            panic!("granted over {key}")
        };
        assert!(error.to_string().contains(&key), "{error}");
        assert!(!error.is_transient(), "{error}");
        assert_eq!(server.keys(), keys, "nothing was written");
    }
}

#[test]
fn a_key_that_vanishes_costs_an_error_or_a_notice_and_never_a_panic_or_a_hang() {
    let server = RedisServer::start();
    for letter in "hinedcb".chars() {
        let namespace = namespace();
        let flowlock = impatient(&server.url(), &namespace, Duration::from_millis(300));
        write(&flowlock, "written");
        let grant = flowlock.job("holder").output("held").acquire().unwrap();
        let Begun::Waiting(mut waiting) = flowlock.job("waiter").output("held").begin().unwrap() else {
            panic!("granted twice")
        };
        server.command(&["DEL", &format!("fl:{{{}}}:{letter}", namespace.as_str())]);
        let committed = grant.commit();
        let waited = waiting.wait(Duration::from_millis(200));
        let next = flowlock
            .job("next")
            .output("next")
            .wait(Duration::from_secs(1))
            .acquire()
            .map(flowlock::Grant::commit);
        let told = flowlock.store().take_notices();
        drop(waiting);
        if letter == 'h' {
            assert!(committed.is_err() && !told.is_empty(), "{committed:?} {told:?}");
        }
        assert!(
            next.is_ok() || matches!(next, Err(Error::Store(_) | Error::TimedOut { .. })),
            "{letter}: {next:?}"
        );
        assert!(waited.is_ok() || waited.is_err_and(|error| !error.to_string().is_empty()));
    }
}

#[test]
fn a_user_with_the_documented_rights_can_do_everything() {
    let server = RedisServer::setup().user("flow", &documented_rule()).start();
    let (url, namespace) = (server.url_as("flow", "secret"), namespace());
    let flowlock = open(&url, &namespace);
    write(&flowlock, "in");
    let first = flowlock.job("first").input("in").output("out").slot("slot", 1, 2).acquire().unwrap();
    let Begun::Waiting(mut second) = flowlock.job("second").lock("l").output("out").begin().unwrap() else {
        panic!("granted twice")
    };
    until("a listener", PATIENCE, || (server.info("pubsubshard_channels") == "2").then_some(()));
    first.commit().unwrap();
    let Progress::Granted(second) = second.wait(PATIENT).unwrap() else { panic!("never granted") };
    second.fail();
    assert!(flowlock.remove(&["in"], flowlock::step::Holders::Respect).unwrap());
    open(&format!("{url}&durability=replicas(1,5)"), &namespace);
    open(&url.replace("/0?", "/1?"), &namespace).create(&["x"], flowlock::Creation::default()).unwrap();
}

/// What a process does without, or with a warning: names for connections, wake-ups, replicas, another database, clusters;
/// and what doctor and `namespaces` alone ask, whose tests take these words away.
const OPTIONAL: [&str; 12] = [
    "scan",
    "zcount",
    "zrevrangebyscore",
    "client|setname",
    "ssubscribe",
    "wait",
    "select",
    "asking",
    "cluster|slots",
    "cluster|info",
    "zlexcount",
    "memory|usage",
];

#[test]
fn a_right_that_is_missing_is_named_before_anything_is_written() {
    let server = RedisServer::setup().user("flow", &documented_rule()).start();
    let rule = documented_rule();
    let needed: Vec<&str> = rule.split_whitespace().filter_map(|word| word.strip_prefix('+')).collect();
    assert!(needed.len() > 15, "{needed:?}");
    for command in needed.iter().filter(|command| !OPTIONAL.contains(command)) {
        server.command(&["ACL", "SETUSER", "flow", &format!("-{command}")]);
        // Whoever is not known to the server yet needs EVAL.
        server.command(&["SCRIPT", "FLUSH"]);
        let namespace = fresh_namespace();
        let settings = Flowlock::builder().namespace(flowlock::Namespace::parse(&namespace).unwrap());
        let asked = settings
            .open(&server.url_as("flow", "secret"))
            .and_then(|flowlock| flowlock.job("j").output("o").try_acquire());
        let Err(error) = asked else { panic!("granted without {command}") };
        let said = error.to_string().to_lowercase();
        let named = [format!("may not run {command};"), format!("call {command},")];
        assert!(named.iter().any(|words| said.contains(words)), "{command}: {error}");
        assert_eq!(server.key_names(&format!("fl:{{{namespace}}}*")), [""; 0], "{command}");
        server.command(&["ACL", "SETUSER", "flow", &format!("+{command}")]);
    }
}

#[test]
fn a_server_that_is_busy_paused_or_hangs_up_on_listeners_only_delays_those_who_wait() {
    let (server, namespace) = (RedisServer::setup().line("busy-reply-threshold 50").start(), namespace());
    let flowlock = open(&server.url(), &namespace);
    write(&flowlock, "out");
    let slow = "local t = redis.call('TIME') repeat local n = redis.call('TIME') until n[1] - t[1] > 1";
    let hand_over = |disturb: &dyn Fn()| {
        let Acquired::Granted(first) = flowlock.job("first").output("out").try_acquire().unwrap() else {
            panic!("not free")
        };
        let Begun::Waiting(mut second) = flowlock.job("second").output("out").begin().unwrap() else {
            panic!("granted twice")
        };
        disturb();
        first.commit().unwrap();
        let Progress::Granted(second) = second.wait(PATIENT).unwrap() else { panic!("never granted") };
        second.commit().unwrap();
    };
    std::thread::scope(|scope| {
        hand_over(&|| {
            let mut line = server.connect().unwrap();
            scope.spawn(move || redis::cmd("EVAL").arg(slow).arg(0).query::<()>(&mut line));
        });
    });
    hand_over(&|| drop(server.command(&["CLIENT", "PAUSE", "1000", "WRITE"])));
    hand_over(&|| drop(server.command(&["CLIENT", "PAUSE", "1000", "ALL"])));
    let over = Over::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.is_over() {
                server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            }
        });
        let _killing = over.when_dropped();
        for _ in 0..3 {
            hand_over(&|| ());
        }
    });
}
