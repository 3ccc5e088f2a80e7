//! Whatever a URL, a server's replies and its rows contain, the worst result is an error.
//!
//! `cargo test` tries good inputs that are changed at random, for a second each; `cargo xtask torture`
//! does so for longer, and `cargo bolero test` guided by coverage.

use flowlock_testkit::Bent;
use redis::Value;

use super::super::reply::Reply;
use super::super::resp::tests::Drops;
use super::super::resp::{Replies, SHORT};
use super::super::rows;
use super::super::url::Options;
use crate::id::{Attempt, ClientId, Nonce, Ticket, Token};
use crate::name::{Name, RunId};
use crate::step::{Step, Who};
use crate::store::{StoreErrorKind, View};

#[test]
fn a_url_of_any_shape_is_read_or_refused_and_what_is_shown_of_it_reads_the_same() {
    let seeds = [
        "redis://user:pw@redis.example.org:6379/2?failover_pause=5s",
        "rediss://h?ca=/etc/ca.pem&cert=/c.pem&key=/k.pem",
        "redis+unix:///run/r%20s.sock?db=2",
        "redis+sentinel://a,b:5,[::1]/my%2Fmaster/3?sentinel_user=u&sentinel_password_file=/p",
        "valkey+cluster://a,[fe80::1]:7000/0?durability=replicas(2,500)",
        "redis://h?password_file=/p&store_timeout=2s",
    ];
    let pieces = [
        "://", "@", ":", "/", "?", "&", "=", "%", "%2F", "%00", ",", "[", "]", "redis", "+", "#", "\u{202e}",
        "db=",
    ];
    bolero::check!().with_generator(Bent::new(seeds, pieces)).for_each(|input: &Vec<u8>| {
        let Ok(url) = std::str::from_utf8(input) else { return };
        match Options::parse(url) {
            Ok(options) => {
                let shown = options.shown();
                let again = Options::parse(&shown).unwrap_or_else(|problem| panic!("{shown}: {problem}"));
                assert_eq!((again.deployment, again.db), (options.deployment, options.db), "{shown}");
            }
            Err(problem) => assert!(!problem.chars().any(char::is_control), "{problem:?}"),
        }
    });
}

/// Parses all replies at the beginning of `bytes`.
fn replies(bytes: &[u8], at_once: usize) -> Vec<Value> {
    let (mut from, mut replies) = (Drops(bytes, at_once), Replies::new());
    std::iter::from_fn(|| replies.next(&mut from, SHORT).ok()).collect()
}

const REPLIES: [&str; 12] = [
    "+OK\r\n:12\r\n",
    "-MOVED 12 10.0.0.1:6379\r\n-ERR what is this\r\n",
    "$-1\r\n$4\r\nab\r\n\r\n",
    "*3\r\n:1\r\n*2\r\n$1\r\na\r\n$-1\r\n-NOSCRIPT none\r\n",
    // Whole answers of scripts: epoch, sequence, clock, answer.
    "*4\r\n$16\r\n0123456789abcdef\r\n:7\r\n:1000\r\n*4\r\n$7\r\nrunning\r\n:17\r\n:60000\r\n*0\r\n",
    "*4\r\n$16\r\n0123456789abcdef\r\n:7\r\n:1000\r\n*6\r\n$7\r\nwaiting\r\n$6\r\nqueued\r\n:1\r\n*4\r\n*1\r\n*4\r\n$9\r\nlock_held\r\n$1\r\nx\r\n$-1\r\n$-1\r\n:0\r\n:0\r\n:500\r\n*0\r\n:5\r\n",
    "*4\r\n$16\r\n0123456789abcdef\r\n:7\r\n:1000\r\n*2\r\n*3\r\n$4\r\nheld\r\n:60000\r\n:0\r\n*2\r\n$4\r\nover\r\n$4\r\nlost\r\n",
    "*4\r\n$16\r\n0123456789abcdef\r\n:7\r\n:1000\r\n*3\r\n$5\r\nended\r\n$9\r\ncommitted\r\n:1\r\n",
    // The same, packed: see `brief.rs`. A double of eight capital letters is 2261634.5, of eight zeros behind one 32.
    "$41\r\n0123456789abcdefAAAAAAAAAAAAAAAA@@\0\0\0\0\0\0c\r\n",
    "$57\r\n0123456789abcdefAAAAAAAAAAAAAAAA@@\0\0\0\0\0\0hAAAAAAAABBBBBBBB\r\n",
    "$67\r\n0123456789abcdefAAAAAAAAAAAAAAAA@@\0\0\0\0\0\0w0000000000000000Qa.1\0Ab.2\0\r\n",
    "*4\r\n$57\r\n0123456789abcdefAAAAAAAAAAAAAAAA@@\0\0\0\0\0\0rAAAAAAAAAAAAAAAA\r\n$1\r\nx\r\n:9\r\n$3\r\nLAA\r\n",
];
const MARKS: [&str; 16] = [
    "*",
    "$",
    ":",
    "+",
    "-",
    "\r\n",
    "*-1\r\n",
    "$-1\r\n",
    "*1\r\n",
    "$0\r\n\r\n",
    "$7\r\nrefused\r\n",
    "$4\r\ndone\r\n",
    "$9\r\nnot_found\r\n",
    "$6\r\nschema\r\n",
    "$13\r\ncontradiction\r\n",
    "*1000000000\r\n",
];

#[test]
fn replies_are_read_the_same_however_they_are_cut_and_as_the_general_parser_reads_them() {
    bolero::check!().with_generator((Bent::new(REPLIES, MARKS), 1_usize..40)).for_each(
        |(bytes, at_once): &(Vec<u8>, usize)| {
            let whole = replies(bytes, usize::MAX);
            assert_eq!(
                replies(bytes, *at_once),
                whole,
                "cut every {at_once} bytes: {}",
                bytes.escape_ascii()
            );
            if let Some(first) = whole.first() {
                assert_eq!(
                    redis::parse_redis_value(bytes).ok().as_ref(),
                    Some(first),
                    "{}",
                    bytes.escape_ascii()
                );
            }
        },
    );
}

#[test]
fn an_answer_of_any_shape_is_understood_or_refused() {
    let id = RunId::parse("job.1").unwrap();
    let who = Who { run: id.clone(), nonce: None, by: None };
    let steps = [
        Step::Accept {
            attempt: Attempt { id: id.clone(), nonce: Nonce(1) },
            holder: crate::origin::Holder {
                client: ClientId(1),
                liveness: None,
                origin: std::sync::Arc::new(
                    serde_json::from_str(r#"{"host":"h","pid":1,"user":"u"}"#).unwrap(),
                ),
            },
        },
        Step::Refresh(vec![who.clone(), who.clone()]),
        Step::Commit { who: who.clone(), note: None },
        Step::Heartbeat { client: ClientId(1), from: Ticket(0), explain: Vec::new() },
        Step::Bury(vec![Ticket(1)]),
    ];
    let name = Name::parse("x").unwrap();
    let views = [View::Run(id), View::Names(vec![name])];
    bolero::check!().with_generator(Bent::new(REPLIES, MARKS)).for_each(|bytes: &Vec<u8>| {
        for value in replies(bytes, usize::MAX) {
            let _ = super::super::reply::check(value.clone());
            for step in &steps {
                let _ = Reply::take(value.clone()).and_then(|reply| reply.answer(step));
            }
            for view in &views {
                let _ = Reply::take(value.clone()).and_then(|reply| reply.content(view));
            }
        }
    });
}

#[test]
fn an_answer_to_another_question_is_no_refusal_and_a_refusal_is_one() {
    let who = Who { run: RunId::parse("job.1").unwrap(), nonce: None, by: None };
    let commit = Step::Commit { who, note: None };
    let answered = |answer: &str| {
        let whole = format!("*4\r\n$16\r\n0123456789abcdef\r\n:7\r\n:1000\r\n{answer}");
        let reply = Reply::take(replies(whole.as_bytes(), usize::MAX).remove(0)).unwrap();
        reply.answer(&commit).unwrap_err().kind()
    };
    for other in [
        "*4\r\n$7\r\nrunning\r\n:17\r\n:60000\r\n*0\r\n",
        "*2\r\n*3\r\n$4\r\nheld\r\n:60000\r\n:0\r\n*0\r\n",
        "*2\r\n$5\r\nended\r\n$5\r\nwhat?\r\n",
        "$-1\r\n",
    ] {
        assert_eq!(answered(other), StoreErrorKind::Unknown, "{other}");
    }
    let contradiction = "*4\r\n$13\r\ncontradiction\r\n$1\r\nx\r\n:9\r\n:8\r\n";
    assert_eq!(answered(contradiction), StoreErrorKind::Damaged);
    assert_eq!(answered("*3\r\n$6\r\nschema\r\n:9\r\n:8\r\n"), StoreErrorKind::Unusable);
}

#[test]
fn values_inside_of_each_other_without_end_are_no_row_and_cost_no_stack() {
    const A_LITTLE_STACK: usize = 256 << 10;
    let nested = |begin: &[u8]| [begin, b"\x91".repeat(100_000).as_slice()].concat();
    let rows = [nested(b""), nested(b"\x81\xa5other"), nested(b"\x81\xa9ancestors")];
    let read = move || {
        for row in &rows {
            assert!(rows::unpack_run(row, b"\x90", None).is_err());
            assert!(rows::unpack_run(b"\x80", row, None).is_err());
        }
    };
    std::thread::Builder::new().stack_size(A_LITTLE_STACK).spawn(read).unwrap().join().unwrap();
}

#[test]
fn a_row_of_any_shape_is_read_or_said_to_be_damaged() {
    let name = Name::parse("x").unwrap();
    let spec =
        rmp_serde::to_vec(&("job", 60_000, false, false, false, false, false, "s!dx", "u-1/4:sgpu")).unwrap();
    let row = serde_json::json!({
        "ticket": "0000000000000001", "id": "job.1", "nonce": "0".repeat(32), "client": "1".repeat(32), "liveness": "7",
        "origin": r#"{"host":"h","pid":1,"user":"u"}"#, "state": "running", "since": 1_000, "ancestors": ["1"],
        "token": 17, "deadline": 60_000, "parked": "dx",
    });
    let row = rmp_serde::to_vec_named(&row).unwrap();
    let mut record = b"L".to_vec();
    record.extend([17.0_f64, 1_000.0, -1.0].map(f64::to_be_bytes).concat());
    record.extend_from_slice(b"1000 {\"host\":\"vm1\",\"pid\":7,\"user\":\"ann\"}\0job.0\0job\0failed\x001000\0job.1\0job\x001\0y\x009\0+a note");
    assert!(
        rows::unpack_record(&name, &record).is_ok()
            && rows::unpack_run(&row, &spec, Some(b"1\0x\x0017\0")).is_ok()
    );
    let pieces: [&[u8]; 7] =
        [b"\0", b"\x93", b"\xc0", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff", b"#", b"-"];
    let bent = |seed: &[u8]| Bent::new([seed], pieces);
    let rows = (bent(&record), bent(&row), bent(&spec), bent(b"1\0x\x0017\0"));
    bolero::check!().with_generator(rows).for_each(
        |(record, row, spec, versions): &(Vec<u8>, Vec<u8>, Vec<u8>, Vec<u8>)| {
            let input = rows::unpack_input(&name, Token(17), record);
            if let Ok(record) = rows::unpack_record(&name, record) {
                let told = input.map(|input| (input.run, input.written_at_us, input.note)).ok();
                assert_eq!(told, Some((record.run, record.written_at_us, record.note)));
            }
            let _ = rows::unpack_run(row, spec, Some(versions));
        },
    );
}
