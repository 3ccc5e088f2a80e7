//! Which server it is, how far away, its time, and whether it allows what flowlock does.

use std::time::{Duration, Instant};

use redis::Value;

use super::{Examined, Finding};
use crate::id::ClientId;
use crate::name::Namespace;
use crate::store::redis::arguments::Arguments;
use crate::store::redis::keys::Keys;
use crate::store::redis::reply;
use crate::store::redis::resp::SHORT;
use crate::store::redis::{RedisStore, attempt};
use crate::store::{Limits, Store as _, StoreError};
use crate::world::system_now;

/// How often the round trip is measured.
const ROUND_TRIPS: usize = 20;
/// Tokens and the times of records come from the server's clock: a larger difference is reported.
const TOLERATED: Duration = Duration::from_mins(5);

pub(super) fn server(examined: &Examined<'_>) -> Finding {
    let (kind, version) = match examined.field("valkey_version") {
        "" => ("Redis", examined.field("redis_version")),
        version => ("Valkey", version),
    };
    let days = examined.number("uptime_in_days").unwrap_or(0);
    let mode = match examined.field("redis_mode") {
        "" => examined.field("server_mode"),
        mode => mode,
    };
    Finding::good("server", format!("{kind} {version}, {mode}, up for {}", super::counted(days, "day")))
}

/// Checks whether every key has the right type and every command of the scripts is allowed.
pub(super) fn rights(store: &RedisStore, keys: &Keys, limits: &Limits) -> Finding {
    let limits = attempt(store.patience, limits);
    let checked = store
        .send(keys, &store.scripts.check, &Arguments::new(), SHORT, None, &limits)
        .and_then(|answer| reply::check(answer.reply))
        // A server that knows the scripts does not need their text until it is restarted.
        .and_then(|_| {
            let script = redis::cmd("EVAL").arg("return 1").arg(0).to_owned();
            store.client.command(&keys.tag, &script, &limits)
        });
    match checked {
        Ok(_) => Finding::good("rights", "this user may do all that a step does"),
        Err(error) => Finding::bad("rights", error.to_string()),
    }
}

/// Checks whether this user may listen to the namespace's channels.
pub(super) fn wake_ups(examined: &Examined<'_>, namespace: &Namespace) -> Result<Finding, StoreError> {
    match examined.store.inbox(namespace, ClientId::fresh()) {
        Ok(_) => Ok(Finding::good("wake-ups", "this user may listen to the namespace's channels")),
        Err(error) if error.is_transient() => Err(error),
        Err(error) => Ok(Finding::bad("wake-ups", error.to_string())),
    }
}

pub(super) fn round_trip(examined: &Examined<'_>) -> Result<Finding, StoreError> {
    let mut times = Vec::with_capacity(ROUND_TRIPS);
    for _ in 0..ROUND_TRIPS {
        let begun = Instant::now();
        examined.ask(&[b"TIME"])?;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    let (median, longest) = (times[ROUND_TRIPS / 2].as_micros(), times[ROUND_TRIPS - 1].as_micros());
    Ok(Finding::good("round trip", format!("median {median} µs, longest {longest} µs of {ROUND_TRIPS}")))
}

pub(super) fn clock(examined: &Examined<'_>) -> Result<Finding, StoreError> {
    let before_us = system_now().wall_us;
    let answer = examined.ask(&[b"TIME"])?;
    let here_us = i64::midpoint(before_us, system_now().wall_us);
    let Some(there_us) = answer.as_ref().and_then(time_us) else {
        return Ok(Finding::bad("server's clock", "this user may not ask the server for its TIME"));
    };
    let ahead_ms = there_us.saturating_sub(here_us) / 1_000;
    let word = if ahead_ms < 0 { "behind" } else { "ahead of" };
    let off = Duration::from_millis(ahead_ms.unsigned_abs());
    let found = format!("{} ms {word} this machine's", off.as_millis());
    Ok(if off <= TOLERATED {
        Finding::good("server's clock", found)
    } else {
        let why =
            "tokens and the times of records come from the server's clock: correct the clock that is wrong";
        Finding::bad("server's clock", format!("{found}; {why}"))
    })
}

fn time_us(answer: &Value) -> Option<i64> {
    let Value::Array(parts) = answer else { return None };
    let number = |part: &Value| match part {
        Value::BulkString(text) => std::str::from_utf8(text).ok()?.parse::<i64>().ok(),
        _ => None,
    };
    match parts.as_slice() {
        [seconds, microseconds] => {
            number(seconds)?.checked_mul(1_000_000)?.checked_add(number(microseconds)?)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_no_clock_has_is_none() {
        let told = |parts: [&str; 2]| {
            time_us(&Value::Array(parts.map(|part| Value::BulkString(part.as_bytes().to_vec())).to_vec()))
        };
        assert_eq!(told(["1700000000", "5"]), Some(1_700_000_000_000_005));
        assert_eq!(told(["9223372036854775807", "0"]), None);
        assert_eq!(told(["9223372036854", "9223372036854775807"]), None);
    }
}
