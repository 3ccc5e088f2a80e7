//! The scripts: put together from the files in `lua/`, one for what may take up memory, one for what must go on when
//! memory is full, one for reading.

use std::fmt::Write as _;
use std::time::Duration;

use crate::bounds::Bounds;
use crate::engine;

const WORLD: &str = include_str!("lua/world.lua");
const WORLD_OF_TESTS: &str = include_str!("lua/world_of_tests.lua");
const BOOT_OF_TESTS: &str = include_str!("lua/boot_of_tests.lua");
const SHORT_ACQUIRE: &str = include_str!("lua/short_acquire.lua");
const SHORT_STEPS: [&str; 4] = [
    include_str!("lua/short_commit.lua"),
    include_str!("lua/short_refresh.lua"),
    include_str!("lua/short_claim.lua"),
    include_str!("lua/short_heartbeat.lua"),
];
const STATE: &str = include_str!("lua/state.lua");
const COMMON: &str = include_str!("lua/common.lua");
const HOLD: &str = include_str!("lua/hold.lua");
const LEAVE: &str = include_str!("lua/leave.lua");
const MORE: [&str; 2] = [include_str!("lua/more.lua"), include_str!("lua/line.lua")];
const EXPLAIN: &str = include_str!("lua/explain.lua");
const LAPSE: &str = include_str!("lua/lapse.lua");

/// The number of the layout that `lua/state.lua` describes. Once it was released, another layout has another number; a test
/// compares the rows of a small history with those that are written down for it.
const SCHEMA: u8 = 1;

/// A script and the digest by which servers know it.
#[derive(Debug)]
pub(super) struct Script {
    source: String,
    sha: String,
}

impl Script {
    pub(super) fn new(source: String) -> Self {
        let sha = redis::Script::new(&source).get_hash().to_owned();
        Self { source, sha }
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }

    pub(super) fn sha(&self) -> &str {
        &self.sha
    }
}

/// A script's run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// The encoded namespace: all its keys are on one node.
    pub tag: &'a str,
    pub script: &'a Script,
    pub keys: &'a [Vec<u8>],
    pub args: &'a [Vec<u8>],
    /// The most bytes that the reply may take up.
    pub most: usize,
    /// Wait until so many replicas have what it wrote, at most so long.
    pub replicas: Option<(u32, Duration)>,
}

/// Where a script takes its time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// The server's.
    Server,
    /// The last argument: only in tests.
    Argument,
}

/// All scripts of the store.
#[derive(Debug)]
pub(super) struct Scripts {
    /// A request for claims: refused when memory is full.
    pub(super) acquire: Script,
    /// Records made by hand: refused when memory is full.
    pub(super) create: Script,
    /// Everything else that changes something: must go on when memory is full, or nothing would ever end.
    pub(super) step: Script,
    /// Reading.
    pub(super) view: Script,
    /// Whether a namespace can be used.
    pub(super) check: Script,
}

impl Scripts {
    pub(super) fn new(clock: Clock) -> Self {
        let (acquire, step) = (include_str!("lua/acquire.lua"), include_str!("lua/step.lua"));
        Self {
            acquire: script("#!lua", clock, &[SHORT_ACQUIRE], [HOLD, LEAVE], acquire),
            create: script("#!lua", clock, &[], [LEAVE, HOLD], step),
            step: script("#!lua flags=allow-oom", clock, &SHORT_STEPS, [LEAVE, HOLD], step),
            view: script("#!lua flags=no-writes", clock, &[], [HOLD, LEAVE], include_str!("lua/view.lua")),
            check: Script::new(include_str!("lua/check.lua").to_owned()),
        }
    }
}

/// A script: the world, the short ways for what is ordinary, the tables, the functions, and what it does with them. The
/// functions of `hot` are there from the start; those of `cold`, and all others, are defined stage by stage when one of them
/// is first called.
fn script(flags: &str, clock: Clock, short: &[&str], [hot, cold]: [&str; 2], own: &str) -> Script {
    let (world, boot) = match clock {
        Clock::Server => (WORLD, ""),
        Clock::Argument => (WORLD_OF_TESTS, BOOT_OF_TESTS),
    };
    let parts = [
        flags,
        world,
        &short.join("\n"),
        STATE,
        "local stage = 0\nlocal function add(stage)\nif stage == 1 then",
        "for name, definition in pairs({",
        cold,
        "}) do F[name] = definition end",
        MORE[0],
        MORE[1],
        "elseif stage == 2 then",
        EXPLAIN,
        "elseif stage == 3 then",
        LAPSE,
        "end\nend",
        "local function find(_, name)\nwhile stage < 3 do\nstage = stage + 1\nadd(stage)",
        "local found = rawget(F, name)\nif found then return found end\nend\nend",
        "F = setmetatable({",
        COMMON,
        hot,
        "}, { __index = find })",
        boot,
        own,
    ];
    // Without comment lines: the server keeps the text in memory.
    let lines = parts.into_iter().flat_map(str::lines).map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    let numbers = numbers(clock);
    let with_numbers = |text, line| put_numbers(text, line, &numbers) + "\n";
    Script::new(code.fold(String::new(), with_numbers))
}

/// How rows and answers are packed: each word stands in the scripts for one of these.
///
/// The namespace's row is in two fields: schema, sequence, next due, waiting, backlog, next expiry, next to be forgotten, reign,
/// epoch, last use; and the last ticket and token, what tokens are ahead, queued, lapsed, the end of a pause, replication. What changes
/// of a run that holds its claims: see `lua/state.lua`. What the short ways answer: see `brief.rs`.
const PACKED: [(&str, &str); 5] = [
    ("META", ">Bdddddddc16d"),
    ("META_REST", ">ddddddc40"),
    ("RUN_HEAD", ">c16c1ddddddd"),
    ("BRIEF", ">c16dddc1"),
    ("BRIEF_RUNNING", ">c16dddc1dd"),
];

/// The words that stand for a number, or for how a row is packed, in the scripts, and what is put in their place: nothing
/// that a script would have to look up or pass to its functions. In tests the bounds are part of the world.
fn numbers(clock: Clock) -> Vec<(&'static str, String)> {
    let Bounds {
        looks,
        claims,
        due,
        hints,
        ends,
        forgets,
        blockers,
        probes,
        examined,
        ancestors,
        explained,
        heard,
        made_from,
        page,
    } = Bounds::default();
    let bounds = [
        ("LOOKS", looks as usize),
        ("CLAIMS", claims),
        ("DUE", due),
        ("HINTS", hints),
        ("ENDS", ends),
        ("FORGETS", forgets),
        ("BLOCKERS", blockers),
        ("PROBES", probes),
        ("EXAMINED", examined),
        ("ANCESTORS", ancestors),
        ("EXPLAINED", explained),
        ("HEARD", heard),
        ("MADE_FROM", made_from),
        ("PAGE", page),
    ];
    let bounds = bounds.map(|(word, number)| match clock {
        Clock::Server => (word, number.to_string()),
        Clock::Argument => (word, format!("world.bounds.{}", word.to_ascii_lowercase())),
    });
    let times = [
        ("MOST_RECORDS", crate::view::MOST_RECORDS.to_string()),
        ("MOST_RUNS", crate::view::MOST_RUNS.to_string()),
        ("MOST_NAMES", crate::view::MOST_NAMES.to_string()),
        ("HEARTBEAT", engine::HEARTBEAT_MS.to_string()),
        ("SILENCE", engine::SILENCE_MS.to_string()),
        ("KEEP_LAPSED", crate::spec::KEEP_LAPSED_MS.to_string()),
        ("OUTCOME_MEMORY", engine::OUTCOME_MEMORY_MS.to_string()),
        ("ABANDONED_AFTER", crate::run::ABANDONED_AFTER_MS.to_string()),
        ("LATEST_AHEAD", engine::LATEST_AHEAD_MS.to_string()),
        ("LONGEST_PLACE", engine::LONGEST_PLACE_MS.to_string()),
        ("LONGEST_RETRY", engine::explain::LONGEST_RETRY_MS.to_string()),
        ("TOKEN_BLOCK", engine::TOKEN_BLOCK.to_string()),
        ("END_OF_TIME", engine::END_OF_TIME_US.to_string()),
        ("EVIDENCE", engine::EVIDENCE_US.to_string()),
        ("BOOT_TIME_SLACK", engine::BOOT_TIME_SLACK_US.to_string()),
        ("SCHEMA", SCHEMA.to_string()),
    ];
    let packed = PACKED.map(|(word, format)| (word, format!("'{format}'")));
    bounds.into_iter().chain(times).chain(packed).collect()
}

/// Adds a line to a script, with the numbers in place of their words.
fn put_numbers(mut text: String, line: &str, numbers: &[(&str, String)]) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = line;
    while let Some(begin) = rest.find(is_part) {
        let word = &rest[begin..];
        let word = &word[..word.find(|c| !is_part(c)).unwrap_or(word.len())];
        let number = numbers.iter().find(|(known, _)| *known == word);
        let _ = write!(text, "{}{}", &rest[..begin], number.map_or(word, |(_, number)| number.as_str()));
        rest = &rest[begin + word.len()..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_used_and_no_word_is_left_without_one() {
        let text = |clock| {
            let Scripts { acquire, create, step, view, .. } = Scripts::new(clock);
            [acquire, create, step, view].iter().map(Script::source).collect::<String>()
        };
        let (server, tests) = (text(Clock::Server), text(Clock::Argument));
        for (word, number) in numbers(Clock::Argument) {
            assert!(tests.contains(&number), "{word} is used nowhere");
            let mut words = server.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
            assert!(!words.any(|found| found == word), "{word} is left in a script");
        }
        assert!(!server.contains("world.bounds"), "a number of the tests is left in a script of the server");
    }

    #[test]
    fn only_whole_words_become_numbers() {
        let numbers = [("PAGE", "64".to_owned())];
        let put = |line| put_numbers(String::new(), line, &numbers);
        assert_eq!(
            put("from = page[PAGE] .. NEXT_PAGE + PAGES(PAGE)"),
            "from = page[64] .. NEXT_PAGE + PAGES(64)"
        );
    }
}
