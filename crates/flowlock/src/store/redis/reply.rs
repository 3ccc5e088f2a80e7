//! Parses a script's reply.

mod parts;
mod seen;
mod standing;

use redis::Value;

use self::parts::{Parts, Result, strange};
use self::seen::{name_seen, named_record, namespace_seen, seen};
use self::standing::{blocked, by, standing};
use super::brief;
use crate::run::State;
use crate::step::{Answer, Cancelled, Finished, InUse, Invalid, Refreshed, Step};
use crate::store::{StoreError, StoreErrorKind, View};
use crate::view::Content;

/// A reply: the namespace's epoch and sequence number, the server's clock, and the answer.
#[derive(Debug)]
pub(super) struct Reply {
    /// `None` if nothing was ever written there.
    pub(super) epoch: Option<u128>,
    pub(super) sequence: u64,
    pub(super) now_ms: i64,
    /// How often another primary took over; `None` if the script says why it cannot answer.
    pub(super) takeovers: Option<i64>,
    /// The server's wall clock in microseconds; a step answers only milliseconds.
    wall_us: i64,
    answer: Value,
}

impl Reply {
    pub(super) fn take(value: Value) -> Result<Self> {
        let value = brief::spelled_out(value).ok_or_else(|| strange("readable text"))?;
        let mut parts = Parts::of(value)?;
        let epoch = match parts.next()? {
            Value::Nil => None,
            Value::BulkString(bytes) => {
                Some(u128::from_be_bytes(bytes.try_into().map_err(|_| strange("an epoch"))?))
            }
            _ => return Err(strange("an epoch")),
        };
        let (sequence, now_ms) = (parts.number()? as u64, parts.number()?);
        let answer = parts.next()?;
        let mut further = || parts.0.peek().is_some().then(|| parts.number()).transpose();
        let (takeovers, wall_us) = (further()?, further()?.unwrap_or_else(|| now_ms.saturating_mul(1_000)));
        Ok(Self { epoch, sequence, now_ms, takeovers, wall_us, answer })
    }

    /// Returns the answer to a step. An unreadable one is not a refusal: the step may have taken effect.
    pub(super) fn answer(self, step: &Step) -> Result<Answer> {
        self.read_answer(step).map_err(StoreError::unknown_if_garbled)
    }

    fn read_answer(self, step: &Step) -> Result<Answer> {
        match step {
            Step::Refresh(_) if self.epoch.is_some() => {
                Parts::of(self.answer)?.each(refreshed).map(Answer::Refreshed)
            }
            Step::Heartbeat { .. } if self.epoch.is_some() => {
                let mut parts = Parts::of(self.answer)?;
                let runs = parts.list()?.each(|mut run| {
                    let mut run = run.list()?;
                    Ok((run.run()?, standing(run.list()?)?))
                })?;
                Ok(Answer::Heard { runs, next: parts.optional(Parts::ticket)? })
            }
            _ => one_answer(Parts::of(self.answer)?, step),
        }
    }

    /// Returns the answer to a view.
    pub(super) fn content(self, view: &View) -> Result<Content> {
        let at_us = self.wall_us;
        let mut parts = Parts::of(self.answer)?;
        if parts.begins_with("schema") {
            let word = parts.text()?;
            return Err(refusal(&word, &mut parts));
        }
        Ok(match view {
            View::Runs { .. } => Content::Runs(parts.list()?.each(|mut run| seen(run.list()?, at_us))?, {
                parts.optional(Parts::ticket)?
            }),
            View::Run(_) | View::Attempt(_) => {
                Content::Run(parts.optional(|parts| Ok(Box::new(seen(parts.list()?, at_us)?)))?)
            }
            View::Records { .. } => {
                let records = parts.list()?.each(|mut record| named_record(record.list()?))?;
                let next = parts.optional(Parts::name)?;
                Content::Records(records, next)
            }
            View::Namespace => {
                Content::Namespace(parts.optional(|parts| namespace_seen(parts.list()?, at_us))?)
            }
            View::Names(_) => Content::Names(parts.each(|mut name| name_seen(name.list()?, at_us))?),
        })
    }
}

/// Returns the server's clock in milliseconds, after asking whether a namespace can be used.
pub(super) fn check(value: Value) -> Result<i64> {
    let mut parts = Parts::of(value)?;
    let now_ms = parts.number()?;
    let Some(problem) = parts.0.next() else { return Ok(now_ms) };
    let what = crate::text::escape(&parts.text()?);
    let is_kind = matches!(problem, Value::BulkString(word) if word == b"kind");
    let (kind, message) = if is_kind {
        (
            StoreErrorKind::Damaged,
            format!(
                "key {what} was not made by flowlock: another program uses the same prefix; give flowlock a database of its own"
            ),
        )
    } else {
        (
            StoreErrorKind::Unusable,
            format!(
                "the server does not let this user call {what}, which flowlock needs; see its ACL in docs/redis.md"
            ),
        )
    };
    Err(StoreError::new(kind, message))
}

/// Returns the error that a script sends in place of an answer.
fn refusal(word: &str, parts: &mut Parts) -> StoreError {
    let mut number = || parts.number().unwrap_or_default();
    match word {
        "schema" => {
            let (found, ours) = (number(), number());
            StoreError::new(
                StoreErrorKind::Unusable,
                format!(
                    "the namespace was written in schema {found}, but this flowlock uses schema {ours}; use the release that wrote it"
                ),
            )
        }
        "two_hosts" => StoreError::two_hosts(number(), number()),
        "clock" => StoreError::wrong_clock("the server's", number().saturating_mul(1_000_000)),
        _ => strange("known word"),
    }
}

fn one_answer(mut parts: Parts, step: &Step) -> Result<Answer> {
    if let Step::Acquire(_) | Step::Accept { .. } = step
        && !["invalid", "not_found", "schema", "two_hosts", "clock"]
            .iter()
            .any(|word| parts.begins_with(word))
    {
        return standing(parts).map(Answer::Standing);
    }
    let word = parts.text()?;
    if let Step::Commit { .. } | Step::Fail(_) = step
        && let Some(finished) = finished(&word, &mut parts)?
    {
        return Ok(Answer::Finished(finished));
    }
    Ok(match word.as_str() {
        "done" => Answer::Done,
        "not_found" => Answer::NotFound,
        "in_use" => Answer::InUse(in_use(&mut parts)?),
        "refused" => Answer::Refused(blocked(parts.list()?)?),
        "withdrawn" => Answer::Cancelled(Cancelled::Withdrawn),
        "too_late" => Answer::Cancelled(Cancelled::TooLate(parts.parsed("state", State::from_word)?)),
        "invalid" => Answer::Invalid(parts.parsed("reason", invalid)?),
        "contradiction" => {
            let (name, version, token) = (parts.name()?, parts.number()?, parts.number()?);
            return Err(StoreError::damaged(format!(
                "record {name} has version {version}, above token {token}"
            )));
        }
        word => return Err(refusal(word, &mut parts)),
    })
}

fn in_use(parts: &mut Parts) -> Result<InUse> {
    Ok(match parts.text()?.as_str() {
        "runs" => InUse::Runs,
        "records" => InUse::Records,
        "outcomes" => InUse::Outcomes { remembered_ms: parts.number()?.unsigned_abs() },
        _ => return Err(strange("reason")),
    })
}

fn invalid(word: &str) -> Option<Invalid> {
    Some(match word {
        "run_id_in_use" => Invalid::RunIdInUse,
        "run_id_reused" => Invalid::RunIdReused,
        "arrived_too_late" => Invalid::ArrivedTooLate,
        "latest_too_far" => Invalid::LatestTooFar,
        _ => return None,
    })
}

fn finished(word: &str, parts: &mut Parts) -> Result<Option<Finished>> {
    Ok(Some(match word {
        "ended" => Finished::Ended { outcome: parts.outcome()?, late: parts.number()? == 1 },
        "again" => Finished::AskAgain,
        "unaccepted" => Finished::NotAccepted,
        "unknown" => Finished::NotFound,
        _ => return Ok(None),
    }))
}

fn refreshed(mut run: Parts) -> Result<Refreshed> {
    let mut parts = run.list()?;
    Ok(match parts.text()?.as_str() {
        "held" => Refreshed::Held { lease_left_ms: parts.number()?, late: parts.number()? == 1 },
        "max_runtime" => Refreshed::MaxRuntime { lease_left_ms: parts.number()? },
        "ask_again" => Refreshed::AskAgain,
        "over" => Refreshed::Over(parts.outcome()?),
        "not_running" => Refreshed::NotRunning,
        "not_found" => Refreshed::NotFound,
        _ => return Err(strange("answer to a refresh")),
    })
}
