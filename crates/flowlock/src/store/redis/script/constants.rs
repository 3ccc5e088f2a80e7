//! The constants of the scripts, which have their home in Rust. Each has a name in the files in `lua/`,
//! which is replaced by its value, so that no script has to look one up or pass one to its functions.

use std::fmt::Write as _;

use super::Clock;
use crate::bounds::Bounds;
use crate::engine;
use crate::id::Ticket;
use crate::store::plausible;
use crate::store::redis::{brief, rows};
use crate::view;

/// The number of the layout that `lua/state.lua` describes. Once released, another layout needs another
/// number; a test compares the rows of a small history with the stored ones.
const SCHEMA: u8 = 1;

/// How rows and answers are packed; the scripts use these names.
///
/// The namespace's row is in two fields: schema, sequence, next due, waiting, backlog, next expiry, next
/// to be forgotten, takeovers, epoch, last use; and the last ticket and token, how far tokens are ahead,
/// queued, lapsed, the end of a pause, replication. For what changes of a run that holds its claims, see
/// `lua/state.lua`; for the answers of the fast paths, `brief.rs`. A record's head: its state, its
/// version, when it was written, when it is due.
const PACKED: [(&str, &str); 6] = [
    ("META", ">Bdddddddc16d"),
    ("META_REST", ">ddddddc40"),
    ("RUN_HEAD", ">c16c1ddddddd"),
    ("RECORD_HEAD", ">c1ddd"),
    ("BRIEF", ">c16dddc1"),
    ("BRIEF_RUNNING", ">c16dddc1dd"),
];

/// The keys of a namespace, in the order in which every call names them.
const KEYS: [&str; 7] = ["HASH", "INDEX", "WRITTEN", "EXPIRIES", "DEADLINES", "CLIENTS", "BACKLOG"];

/// The first characters of entries of the backlog: a dirty place, or a hint; and of the reasons of a
/// hint.
const BACKLOG: [(&str, char); 6] =
    [("DIRTY", '0'), ("HINT", '1'), ("PARKED", '1'), ("ALONE", '2'), ("READERS", '3'), ("GUARDS", '4')];

/// Characters whose codes the scripts compare. Those of a row: of a run that holds its claims, is
/// queued, or awaits input.
const CODES: [(&str, u8); 12] = [
    ("RECORD_CODE", rows::RECORD),
    ("DATA_CODE", rows::DATA),
    ("LOCK_CODE", rows::LOCK),
    ("SLOT_CODE", rows::SLOT),
    ("SHARED_CODE", rows::SHARED),
    ("EXCLUSIVE_CODE", rows::EXCLUSIVE),
    ("UNITS_CODE", rows::UNITS),
    ("MUST_EXIST_CODE", rows::MUST_EXIST),
    ("NOTE_CODE", rows::NOTE),
    ("HOLDER_ROW_CODE", b'H'),
    ("QUEUED_ROW_CODE", brief::QUEUED),
    ("AWAITING_ROW_CODE", brief::AWAITING_INPUT),
];

/// Subtracted from a run's score while its outcome is remembered, so that ended runs come before all
/// others; in milliseconds, far beyond every clock.
const FORGET: u64 = 1 << 52;

/// How many fields of the hash one command takes: a list of arguments must fit on Lua's stack.
const LONGEST_LIST: usize = 1_000;

/// Returns the names of the constants, and their values.
pub(super) fn constants(clock: Clock) -> Vec<(&'static str, String)> {
    let quoted = |text: &str| format!("'{text}'");
    let numbers = numbers().map(|(name, number)| (name, number.to_string()));
    let packed = PACKED.map(|(name, format)| (name, quoted(format)));
    let keys = (1..).zip(KEYS).map(|(at, name)| (name, format!("KEYS[{at}]")));
    let backlog = BACKLOG.map(|(name, first)| (name, quoted(first.encode_utf8(&mut [0; 4]))));
    let codes = CODES.map(|(name, code)| (name, code.to_string()));
    let tickets = [
        ("FIRST", quoted(&rows::ticket_text(Ticket(0)))),
        ("TICKET_FORMAT", format!("'%0{}.0f'", rows::TICKET)),
    ];
    let all = bounds(clock).into_iter().chain(numbers).chain(packed).chain(keys);
    all.chain(backlog).chain(codes).chain(tickets).collect()
}

/// The limits of a step. In tests they are part of the world.
fn bounds(clock: Clock) -> Vec<(&'static str, String)> {
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
    bounds.into()
}

/// All other numbers; times in milliseconds, or in microseconds if they are of the wall clock.
fn numbers() -> [(&'static str, u64); 23] {
    [
        ("MOST_RECORDS", view::MOST_RECORDS as u64),
        ("MOST_RUNS", view::MOST_RUNS as u64),
        ("MOST_NAMES", view::MOST_NAMES as u64),
        ("HEARTBEAT", engine::HEARTBEAT_MS.unsigned_abs()),
        ("SILENCE", engine::SILENCE_MS.unsigned_abs()),
        ("KEEP_LAPSED", crate::spec::KEEP_LAPSED_MS),
        ("OUTCOME_MEMORY", engine::OUTCOME_MEMORY_MS.unsigned_abs()),
        ("ABANDONED_AFTER", crate::run::ABANDONED_AFTER_MS.unsigned_abs()),
        ("LATEST_AHEAD", engine::LATEST_AHEAD_MS.unsigned_abs()),
        ("LONGEST_PLACE", engine::LONGEST_PLACE_MS),
        ("LONGEST_RETRY", engine::explain::LONGEST_RETRY_MS.unsigned_abs()),
        ("RETRY_BY_HAND", engine::RETRY_BY_HAND_MS),
        ("TOKEN_BLOCK", engine::TOKEN_BLOCK),
        ("END_OF_TIME", engine::END_OF_TIME_US.unsigned_abs()),
        ("EVIDENCE", engine::EVIDENCE_US.unsigned_abs()),
        ("BOOT_TIME_SLACK", engine::BOOT_TIME_SLACK_US.unsigned_abs()),
        ("SCHEMA", SCHEMA.into()),
        // Never: the largest number that a double represents exactly.
        ("FAR", plausible::LARGEST),
        ("FORGET", FORGET),
        ("LONGEST_LIST", LONGEST_LIST as u64),
        ("TICKET", rows::TICKET as u64),
        ("SHA1_HEX", crate::parent::PROOF_LENGTH as u64),
        ("RECORD_HEAD_SIZE", rows::RECORD_HEAD as u64),
    ]
}

/// Adds a line to a script, with the constants replaced by their values.
pub(super) fn put_constants(mut text: String, line: &str, constants: &[(&str, String)]) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = line;
    while let Some(begin) = rest.find(is_part) {
        let word = &rest[begin..];
        let word = &word[..word.find(|c| !is_part(c)).unwrap_or(word.len())];
        let constant = constants.iter().find(|(known, _)| *known == word);
        let _ =
            write!(text, "{}{}", &rest[..begin], constant.map_or(word, |(_, constant)| constant.as_str()));
        rest = &rest[begin + word.len()..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_names_of_constants() {
        let constants = [("PAGE", "64".to_owned())];
        let put = |line| put_constants(String::new(), line, &constants);
        assert_eq!(
            put("from = page[PAGE] .. NEXT_PAGE + PAGES(PAGE)"),
            "from = page[64] .. NEXT_PAGE + PAGES(64)"
        );
    }
}
