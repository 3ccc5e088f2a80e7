//! The parameters after the `?`, and their values.

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{Durability, LONGEST_PAUSE};

const MOST_REPLICAS: u32 = 100;
const LONGEST_WITHIN_MS: u64 = 600_000;

const KNOWN: [&str; 9] = [
    "password_file",
    "sentinel_user",
    "sentinel_password_file",
    "ca",
    "cert",
    "key",
    "durability",
    "failover_pause",
    "db",
];

/// The parameters; each is taken once.
pub(super) struct Query<'u>(Vec<(&'u str, &'u str)>);

impl<'u> Query<'u> {
    pub(super) fn split(text: &'u str) -> Result<Self, String> {
        let mut pairs = Vec::new();
        for part in text.split('&').filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            if pairs.iter().any(|(other, _)| *other == name) {
                // The name is not repeated unless it is known: it may be a part of a password.
                let known = KNOWN.iter().find(|known| **known == name).unwrap_or(&"of that name");
                return Err(format!("the parameter {known} is given twice"));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// Takes the value of a parameter.
    pub(super) fn take(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.0.iter().position(|(other, _)| *other == name) else {
            return Ok(None);
        };
        let value = decoded(name, self.0.swap_remove(at).1)?;
        if value.is_empty() {
            return Err(format!("the parameter {name} is empty; give it a value or leave it out"));
        }
        Ok(Some(value))
    }

    /// Returns an error if a parameter was not taken, because it is unknown.
    pub(super) fn nothing_left(&self) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let (last, others) = KNOWN.split_last().expect("there are parameters");
        Err(format!(
            "it has an unknown parameter; the known ones are {} and {last}; put a password before the host, or better into a password_file",
            others.join(", ")
        ))
    }
}

/// Percent-decodes a text; the error does not repeat it.
pub(super) fn decoded(what: &str, text: &str) -> Result<String, String> {
    let bytes = text.as_bytes();
    let is_hex = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_hexdigit);
    let broken = text.match_indices('%').any(|(at, _)| !(is_hex(at + 1) && is_hex(at + 2)));
    let decoded = percent_decode_str(text).decode_utf8();
    match decoded {
        Ok(decoded) if !broken && !decoded.contains('\0') => Ok(decoded.into_owned()),
        _ => Err(format!("the {what} is not percent-encoded UTF-8; write a '%' as %25")),
    }
}

pub(super) fn durability(text: &str) -> Result<Durability, String> {
    let wrong = || {
        format!(
            "durability must be none or replicas(N,MS) with N from 1 to {MOST_REPLICAS} and MS from 1 to {LONGEST_WITHIN_MS}, such as replicas(1,500)"
        )
    };
    if text == "none" {
        return Ok(Durability::None);
    }
    let inner = text.strip_prefix("replicas(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(wrong)?;
    let (count, within) = inner.split_once(',').ok_or_else(wrong)?;
    let count = count.trim().parse().ok().filter(|count| (1..=MOST_REPLICAS).contains(count));
    let within = within.trim().parse().ok().filter(|ms| (1..=LONGEST_WITHIN_MS).contains(ms));
    let (count, within) = count.zip(within).ok_or_else(wrong)?;
    Ok(Durability::Replicas { count, within: Duration::from_millis(within) })
}

pub(super) fn pause(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let number = text[..digits].parse::<u64>().ok();
    let unit_ms = match &text[digits..] {
        "ms" => Some(1),
        "s" => Some(1_000),
        "m" | "min" => Some(60_000),
        _ => None,
    };
    let pause =
        number.zip(unit_ms).and_then(|(number, ms)| number.checked_mul(ms)).map(Duration::from_millis);
    pause
        .filter(|pause| *pause <= LONGEST_PAUSE)
        .ok_or_else(|| "failover_pause must be a duration from 0s to 10m, such as 10s or 500ms".to_owned())
}
