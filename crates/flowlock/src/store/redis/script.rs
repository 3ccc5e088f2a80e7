//! The scripts, and which functions of the files in `lua/` each of them contains.
//!
//! Lua defines every function again at each call, which takes a good part of a step's time. So the files
//! do not decide when a function is defined: the lists here do, for each script.

mod assembly;
mod constants;

use std::time::Duration;

use self::assembly::{Plan, assembled};

/// A script, and the digest by which servers know it.
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
    /// The largest size of the reply, in bytes.
    pub most: usize,
    /// Wait until this many replicas have what it wrote, at most this long.
    pub replicas: Option<(u32, Duration)>,
}

/// Where a script takes the time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// The server's.
    Server,
    /// The last argument: only in tests.
    Argument,
}

/// What every step calls.
const ALWAYS: [&str; 28] = [
    "tables.read_meta",
    "tables.first_of",
    "run.letter_of",
    "run.row_of",
    "run.attempt_of",
    "run.ticket_and_head",
    "run.run_from_row",
    "run.run_from",
    "run.spec_of",
    "run.spec_from",
    "run.claim_from",
    "run.made_from",
    "run.is_late",
    "run.due_of",
    "rows.record",
    "rows.record_from",
    "rows.prefetch_records",
    "rows.note_due",
    "rows.note_reserving",
    "holders.prefetch_holders",
    "holders.holders_from",
    "holders.crowd_of",
    "holders.sharers",
    "takeover.may_grant",
    "step.begin_step",
    "step.must_be_able",
    "step.end_step",
    "step.has_leftover",
];

/// What a request calls that is granted at once.
const TO_BE_GRANTED: [&str; 12] = [
    "rule.holders_block",
    "rule.first_obstacle",
    "holders.hold_all",
    "rows.next_token",
    "grant.give_claims",
    "grant.lease_end",
    "grant.start",
    "acquire.acquire",
    "acquire.arrive",
    "acquire.decide",
    "run.insert",
    "explain.running",
];

/// What a run calls that is refreshed, commits or fails.
const TO_GO_ON_OR_LEAVE: [&str; 15] = [
    "run.by_attempt",
    "run.whole_run",
    "rows.save",
    "holders.unhold_all",
    "holders.sort_crowd",
    "leave.finish",
    "leave.release",
    "operate.find",
    "operate.refresh",
    "operate.renew",
    "operate.commit",
    "operate.sign",
    "records.write_outputs",
    "records.write",
    "records.tail_of",
];

/// Functions that are not defined from the start: if one of them is called, these stages are defined in
/// turn until it is there. A function belongs to the stage that names it, else to that of its file.
const STAGES: [&[&str]; 3] = [
    // Waiting runs, and steps that concern a waiting run.
    &[
        "rule",
        "rules_view",
        "step",
        "rows",
        "tables",
        "run",
        "holders",
        "wakes",
        "budget",
        "acquire",
        "withdraw",
        "grant",
        "line",
        "backlog",
        "leave",
        "operate",
        "view",
        "lapse.take_what_lapsed",
        "records.write_outputs",
        "records.write",
        "records.tail_of",
        "records.origin_of",
        "records.will_expire",
        "records.state_of",
        "records.is_written",
        "explain.running",
        "explain.standing",
        "foresee.tell_of_nearer_end",
        "foresee.tell_a_reader",
        "takeover.may_grant",
    ],
    // Why a run waits.
    &["explain", "foresee", "deadlock", "bury.bury_the_dead"],
    // Time, and what is rare.
    &[
        "sweep",
        "lapse",
        "bury",
        "records",
        "rows.record_row",
        "rows.drop_record",
        "by_hand",
        "namespace",
        "takeover",
        "boot",
    ],
];

/// All scripts of the store.
#[derive(Debug)]
pub(super) struct Scripts {
    /// A request for claims. Refused when memory is full.
    pub(super) acquire: Script,
    /// Records made by hand. Refused when memory is full.
    pub(super) create: Script,
    /// All other changes. They must go on when memory is full, or nothing would ever end.
    pub(super) step: Script,
    /// Reading.
    pub(super) view: Script,
    /// Checks whether a namespace can be used.
    pub(super) check: Script,
}

impl Scripts {
    pub(super) fn new(clock: Clock) -> Self {
        let acquire = Plan {
            flags: "#!lua",
            short: &["acquire"],
            at_once: &[&ALWAYS, &TO_BE_GRANTED],
            without: &["operate", "withdraw", "by_hand", "namespace", "view"],
            own: include_str!("lua/scripts/acquire.lua"),
        };
        let create = Plan {
            flags: "#!lua",
            short: &[],
            at_once: &[&ALWAYS, &TO_GO_ON_OR_LEAVE],
            without: &["view"],
            own: include_str!("lua/scripts/step.lua"),
        };
        let step = Plan {
            flags: "#!lua flags=allow-oom",
            short: &["commit", "refresh", "accept", "heartbeat"],
            ..create
        };
        let view = Plan {
            flags: "#!lua flags=no-writes",
            at_once: &[&ALWAYS],
            without: &[],
            own: include_str!("lua/scripts/view.lua"),
            ..create
        };
        let script = |plan: &Plan<'_>| Script::new(assembled(plan, clock));
        Self {
            acquire: script(&acquire),
            create: script(&create),
            step: script(&step),
            view: script(&view),
            check: Script::new(include_str!("lua/scripts/check.lua").to_owned()),
        }
    }
}

#[cfg(test)]
mod tests;
