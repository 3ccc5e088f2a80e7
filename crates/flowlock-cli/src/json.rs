//! The JSON of every command. Times are RFC 3339 in UTC; tokens and versions are strings, because they
//! are larger than many JSON readers represent exactly.

use flowlock::store::Seen;
use flowlock::{
    Actor, Blocked, Blocker, Claim, Input, Mode, Origin, Outcome, Record, Run, Space, State, Token,
};
use serde::Serialize;

use crate::times::rfc3339;

/// The version of these formats.
pub(crate) const VERSION: u32 = 1;

/// One reason why a run waits.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct BlockerJson {
    kind: &'static str,
    name: String,
    run: Option<String>,
    job: Option<String>,
    host: Option<String>,
    pid: Option<u32>,
    since: Option<String>,
    lease_left_ms: Option<i64>,
}

impl From<&Blocker> for BlockerJson {
    fn from(blocker: &Blocker) -> Self {
        let by = blocker.by.as_ref();
        Self {
            kind: blocker.kind.as_str(),
            name: blocker.name.as_str().to_owned(),
            run: by.map(|by| by.run.as_str().to_owned()),
            job: by.map(|by| by.job.as_str().to_owned()),
            host: by.map(|by| by.origin.host.clone()),
            pid: by.map(|by| by.origin.pid),
            since: by.map(|by| rfc3339(by.since_us)),
            lease_left_ms: by.and_then(|by| by.lease_left_ms),
        }
    }
}

/// Returns all reasons.
pub(crate) fn blockers(blocked: Option<&Blocked>) -> Vec<BlockerJson> {
    blocked.iter().flat_map(|blocked| &blocked.by).map(BlockerJson::from).collect()
}

/// Who acted by hand on a run or a record that is not its own, and when.
#[derive(Debug, Serialize)]
pub(crate) struct ActorJson {
    user: String,
    host: String,
    pid: u32,
    at: String,
}

impl From<&Actor> for ActorJson {
    fn from(actor: &Actor) -> Self {
        let Origin { host, pid, user, .. } = actor.origin.as_ref();
        Self { user: user.clone(), host: host.clone(), pid: *pid, at: rfc3339(actor.at_us) }
    }
}

/// Says what was done by hand to a run: `unlocked by you@vm1 pid 123 at …`.
pub(crate) fn by_hand(run: &Run) -> Option<String> {
    let actor = run.actor.as_ref()?;
    let what = match run.state {
        State::Ended(Outcome::Committed) => "committed",
        State::Ended(Outcome::Failed) => "failed",
        _ => "unlocked",
    };
    Some(format!("{what} by {actor}"))
}

/// A run that holds its names or waits for them.
#[derive(Debug, Serialize)]
pub(crate) struct RunJson {
    run: String,
    job: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    locks: Vec<String>,
    locks_shared: Vec<String>,
    slots: Vec<String>,
    token: Option<String>,
    since: String,
    deadline: Option<String>,
    /// How long it is kept once it lapsed, if no run needs its names.
    keep_lapsed_ms: u64,
    host: String,
    pid: u32,
    user: String,
    state: &'static str,
    /// Since when, at the latest, the process of an absent run has been silent.
    #[serde(skip_serializing_if = "Option::is_none")]
    silent_since: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    blockers: Option<Vec<BlockerJson>>,
    /// Who unlocked it, or ended it by its id alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_hand: Option<ActorJson>,
}

impl RunJson {
    /// Describes a run as it was seen, by the store's clock.
    pub(crate) fn new(seen: &Seen) -> Self {
        let run = &seen.run;
        let names = |wanted: fn(&Claim) -> bool| -> Vec<String> {
            let chosen = run.spec.claims.iter().filter(|claim| wanted(claim));
            chosen.map(|claim| claim.name.as_str().to_owned()).collect()
        };
        Self {
            run: run.attempt.id.as_str().to_owned(),
            job: run.spec.job.as_str().to_owned(),
            inputs: names(Claim::is_input),
            outputs: names(Claim::is_output),
            locks: names(|claim| claim.space == Space::Lock && claim.mode == Mode::Exclusive),
            locks_shared: names(|claim| claim.space == Space::Lock && claim.mode == Mode::Shared),
            slots: run.spec.claims.iter().filter_map(slot).collect(),
            token: run.token.filter(|_| run.state.is_holding()).map(|token| token.to_string()),
            since: rfc3339(run.since_us),
            deadline: seen
                .lease_left_ms
                .map(|left| rfc3339(seen.seen_us.saturating_add(left.saturating_mul(1_000)))),
            keep_lapsed_ms: run.spec.keep_lapsed_ms,
            host: run.holder.origin.host.clone(),
            pid: run.holder.origin.pid,
            user: run.holder.origin.user.clone(),
            state: state(seen),
            silent_since: seen.silent_since_us.map(rfc3339),
            blockers: run.state.is_waiting().then(|| blockers(seen.blocked.as_ref())),
            by_hand: run.actor.as_ref().map(ActorJson::from),
        }
    }
}

/// Formats a slot as it is typed: `NAME:N/CAP`.
pub(crate) fn slot(claim: &Claim) -> Option<String> {
    match claim.mode {
        Mode::Units { units, capacity } => Some(format!("{}:{units}/{capacity}", claim.name.as_str())),
        Mode::Shared | Mode::Exclusive => None,
    }
}

/// Returns the word for a run's state, including what its lease and the silence of its process add to
/// it.
pub(crate) fn state(seen: &Seen) -> &'static str {
    match seen.lease_left_ms {
        _ if seen.run.revoked && seen.run.state.is_holding() => "revoked",
        _ if seen.silent_since_us.is_some() => "absent",
        Some(left) if left <= 0 => "late",
        _ => seen.run.state.as_str(),
    }
}

/// A record.
#[derive(Debug, Serialize)]
pub(crate) struct RecordJson {
    name: String,
    version: String,
    run: String,
    job: String,
    written_at: String,
    expires_at: Option<String>,
    note: Option<String>,
    /// Who wrote it by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_hand: Option<ActorJson>,
}

impl From<&Record> for RecordJson {
    fn from(record: &Record) -> Self {
        Self {
            name: record.name.as_str().to_owned(),
            version: record.version.to_string(),
            run: record.run.as_str().to_owned(),
            job: record.job.as_str().to_owned(),
            written_at: rfc3339(record.written_at_us),
            expires_at: record.expires_at_us.map(rfc3339),
            note: record.note.clone(),
            by_hand: record.actor.as_ref().map(ActorJson::from),
        }
    }
}

/// An input, as the command finds it in `FLOWLOCK_INPUTS`.
#[derive(Debug, Serialize)]
pub(crate) struct InputJson<'a> {
    name: &'a str,
    version: String,
    run: &'a str,
    written_at: String,
    note: Option<&'a str>,
}

impl<'a> From<&'a Input> for InputJson<'a> {
    fn from(input: &'a Input) -> Self {
        Self {
            name: input.name.as_str(),
            version: input.version.to_string(),
            run: input.run.as_str(),
            written_at: rfc3339(input.written_at_us),
            note: input.note.as_deref(),
        }
    }
}

/// The content of `--json-result`.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ResultJson {
    /// The version of the format.
    pub(crate) version: u32,
    /// One word: `committed`, `failed`, `lost`, `busy`, `input_missing`, `output_exists`, `deadlock` …
    pub(crate) outcome: &'static str,
    /// The exit code of this process.
    pub(crate) exit_code: u8,
    /// The exit code of the command, if it ran.
    pub(crate) command_exit_code: Option<u8>,
    /// The run.
    pub(crate) run: Option<String>,
    /// Its job.
    pub(crate) job: Option<String>,
    /// Its fencing token, once granted.
    pub(crate) token: Option<String>,
    /// The store.
    pub(crate) store: Option<String>,
    /// The namespace.
    pub(crate) namespace: Option<String>,
    /// How long it waited for its names.
    pub(crate) waited_ms: u64,
    /// The message, if there was one.
    pub(crate) message: Option<String>,
    /// What was in the way, if it did not start.
    pub(crate) blockers: Vec<BlockerJson>,
}

/// Formats a token for JSON.
pub(crate) fn token(token: Token) -> String {
    token.to_string()
}
