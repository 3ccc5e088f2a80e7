//! Parses a script's reply.

use redis::Value;

use crate::blocker::{Blocked, Blocker, BlockerKind, By, RecordEvidence};
use crate::id::{Ticket, Token};
use crate::name::{JobName, Name, RunId};
use crate::origin::Origin;
use crate::record::{Input, Record, RecordState};
use crate::run::{Outcome, State};
use crate::step::{Answer, Cancelled, Finished, InUse, Invalid, Refreshed, Running, Standing, Step, Waiting};
use crate::store::plausible::LARGEST;
use crate::store::{NamespaceSeen, StoreError, StoreErrorKind, View};
use crate::view::{Content, NameSeen, Seen};
use crate::world::LivenessId;

use super::{brief, rows};

type Result<T> = std::result::Result<T, StoreError>;

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

fn namespace_seen(mut parts: Parts, seen_us: i64) -> Result<NamespaceSeen> {
    let mut count = || parts.number().map(i64::unsigned_abs);
    let (living, waiting, records, outcomes) = (count()?, count()?, count()?, count()?);
    Ok(NamespaceSeen {
        running: living.saturating_sub(waiting),
        waiting,
        records,
        outcomes,
        last_used_us: parts.parsed("time", |text| text.parse().ok())?,
        removed: parts.optional(|parts| parts.parsed("actor", rows::actor_from))?,
        seen_us,
    })
}

fn strange(what: &str) -> StoreError {
    StoreError::damaged(format!("the server's answer has no {what} where one is expected")).garbled()
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

/// The parts of an array, one after the other.
struct Parts(std::iter::Peekable<std::vec::IntoIter<Value>>);

impl Parts {
    fn of(value: Value) -> Result<Self> {
        match value {
            Value::Array(parts) => Ok(Self(parts.into_iter().peekable())),
            _ => Err(strange("list")),
        }
    }

    fn next(&mut self) -> Result<Value> {
        self.0.next().ok_or_else(|| strange("further part"))
    }

    fn list(&mut self) -> Result<Self> {
        Self::of(self.next()?)
    }

    /// Reads every part as a list with parts of its own.
    fn each<T>(self, mut read: impl FnMut(Self) -> Result<T>) -> Result<Vec<T>> {
        self.0.map(|value| read(Self(vec![value].into_iter().peekable()))).collect()
    }

    fn begins_with(&mut self, word: &str) -> bool {
        matches!(self.0.peek(), Some(Value::BulkString(bytes)) if bytes == word.as_bytes())
    }

    /// Returns `None` for nil, or what `read` makes of it.
    fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<Option<T>> {
        if let Some(Value::Nil) = self.0.peek() {
            self.0.next();
            return Ok(None);
        }
        read(self).map(Some)
    }

    fn number(&mut self) -> Result<i64> {
        match self.next()? {
            // The scripts send no larger numbers, and sums of larger ones would overflow.
            Value::Int(number) if number.unsigned_abs() <= LARGEST => Ok(number),
            _ => Err(strange("number")),
        }
    }

    fn bytes(&mut self) -> Result<Vec<u8>> {
        match self.next()? {
            Value::BulkString(bytes) => Ok(bytes),
            Value::Int(number) => Ok(number.to_string().into_bytes()),
            _ => Err(strange("text")),
        }
    }

    fn text(&mut self) -> Result<String> {
        String::from_utf8(self.bytes()?).map_err(|_| strange("text"))
    }

    fn parsed<T>(&mut self, what: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        parse(&self.text()?).ok_or_else(|| strange(what))
    }

    fn run(&mut self) -> Result<RunId> {
        self.parsed("run id", |text| RunId::parse(text).ok())
    }

    fn name(&mut self) -> Result<Name> {
        self.parsed("name", |text| Name::parse(text).ok())
    }

    fn ticket(&mut self) -> Result<Ticket> {
        self.parsed("ticket", rows::ticket_from)
    }

    fn token(&mut self) -> Result<Token> {
        Ok(Token(self.number()? as u64))
    }

    fn outcome(&mut self) -> Result<Outcome> {
        self.parsed("outcome", Outcome::from_word)
    }
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

fn standing(mut parts: Parts) -> Result<Standing> {
    Ok(match parts.text()?.as_str() {
        "running" => Standing::Running(Running {
            token: parts.token()?,
            lease_left_ms: parts.number()?,
            inputs: parts.list()?.each(|mut input| read_input(input.list()?))?,
        }),
        "granted" => Standing::Granted { token: parts.token()? },
        "waiting" => Standing::Waiting(Waiting {
            state: parts.parsed("state", State::from_word)?,
            present: parts.number()? == 1,
            blocked: blocked(parts.list()?)?,
            probe: parts.list()?.each(|mut probe| {
                let mut probe = probe.list()?;
                Ok((probe.ticket()?, LivenessId(probe.parsed("liveness", |text| text.parse().ok())?)))
            })?,
            look_again_ms: parts.optional(Parts::number)?.map(|ms| ms.max(0) as u64),
        }),
        "still_waiting" => Standing::StillWaiting {
            state: parts.parsed("state", State::from_word)?,
            present: parts.number()? == 1,
        },
        "ended" => Standing::Ended {
            outcome: parts.outcome()?,
            blocked: parts.optional(|parts| blocked(parts.list()?))?,
        },
        "ask_again" => Standing::AskAgain,
        _ => return Err(strange("standing")),
    })
}

fn read_input(mut parts: Parts) -> Result<Input> {
    let (name, version) = (parts.name()?, parts.token()?);
    rows::unpack_input(&name, version, &parts.bytes()?)
}

fn blocked(mut parts: Parts) -> Result<Blocked> {
    Ok(Blocked {
        by: parts.list()?.each(|mut blocker| read_blocker(blocker.list()?))?,
        more: parts.number()? == 1,
        ahead: parts.number()? as u32,
        retry_after_ms: parts.optional(Parts::number)?.map(|ms| ms.max(0) as u64),
    })
}

fn read_blocker(mut parts: Parts) -> Result<Blocker> {
    let kind = parts.parsed("blocker", BlockerKind::from_word)?;
    let name = parts.name()?;
    let by = parts.optional(|parts| by(parts.list()?))?;
    let record = parts.optional(|parts| evidence(&name, parts.list()?))?;
    Ok(Blocker { kind, name, by, record })
}

fn by(mut parts: Parts) -> Result<By> {
    Ok(By {
        run: parts.run()?,
        job: parts.parsed("job", |text| JobName::parse(text).ok())?,
        origin: parts.parsed("origin", |text| serde_json::from_str::<Origin>(text).ok())?,
        since_us: parts.number()?,
        lease_left_ms: parts.optional(Parts::number)?,
        process_gone: parts.number()? == 1,
    })
}

/// Reads what a record, or its absence, says; its state is the current one.
fn evidence(name: &Name, mut parts: Parts) -> Result<RecordEvidence> {
    let state = parts.parsed("state", |letter| rows::record_state(*letter.as_bytes().first()?))?;
    let record = parts.optional(|parts| rows::unpack_record(name, &parts.bytes()?))?;
    Ok(crate::engine::explain::evidence(record.map(|record| Record { state, ..record })))
}

fn seen(mut parts: Parts, seen_us: i64) -> Result<Seen> {
    let (row, spec) = (parts.bytes()?, parts.bytes()?);
    let versions = parts.optional(Parts::bytes)?;
    Ok(Seen {
        run: rows::unpack_run(&row, &spec, versions.as_deref())?,
        lease_left_ms: parts.optional(Parts::number)?,
        blocked: parts.optional(|parts| blocked(parts.list()?))?,
        silent_since_us: parts.optional(Parts::number)?,
        seen_us,
    })
}

fn named_record(mut parts: Parts) -> Result<Record> {
    let name = parts.name()?;
    rows::unpack_record(&name, &parts.bytes()?)
}

fn name_seen(mut parts: Parts, seen_us: i64) -> Result<NameSeen> {
    let name = parts.name()?;
    let record = parts.optional(|parts| rows::unpack_record(&name, &parts.bytes()?))?;
    let space = |parts: &mut Parts| parts.parsed("space", rows::space_from);
    let holders = parts.list()?.each(|mut holder| {
        let mut holder = holder.list()?;
        Ok((space(&mut holder)?, by(holder.list()?)?, holder.token()?))
    })?;
    let waiters = |parts: &mut Parts| {
        parts.list()?.each(|mut waiter| {
            let mut waiter = waiter.list()?;
            Ok((space(&mut waiter)?, by(waiter.list()?)?))
        })
    };
    let line = waiters(&mut parts)?;
    let has_expired = parts.number()? == 1;
    let beside_line = waiters(&mut parts)?;
    let more_beside_line = parts.number()? == 1;
    let record = record.map(|record| {
        let state = if has_expired { RecordState::Expired } else { record.state };
        Record { state, ..record }
    });
    let evidence = crate::engine::explain::evidence(record.clone());
    let version = record.as_ref().map_or(Token(0), |record| record.version);
    let record = record.filter(|record| matches!(record.state, RecordState::Live | RecordState::Incomplete));
    Ok(NameSeen { name, record, version, evidence, holders, line, beside_line, more_beside_line, seen_us })
}
