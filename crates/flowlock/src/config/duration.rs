//! Durations as people write them.

use std::time::Duration;

use jiff::SpanRelativeTo;
use jiff::fmt::friendly::SpanParser;

/// Parses `90` (seconds), `90s`, `15m`, `1h30m` or `7d`; a day is 24 hours and a week 7 days.
///
/// # Errors
/// What is wrong, in a few words.
pub fn duration(text: &str) -> Result<Duration, &'static str> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Duration::from_secs).map_err(|_| "out of range");
    }
    if text.trim_start().starts_with(['-', '+']) || text.ends_with("ago") {
        return Err("a duration cannot have a sign");
    }
    let span = SpanParser::new().parse_span(text).map_err(|_| "not a duration")?;
    let exact = span
        .to_duration(SpanRelativeTo::days_are_24_hours())
        .map_err(|_| "months and years vary in length")?;
    Duration::try_from(exact).map_err(|_| "a duration cannot have a sign")
}

/// Parses a duration within limits; `limits` states them for people.
///
/// # Errors
/// A sentence that says what is wrong and what to give.
pub fn duration_within(
    text: &str,
    allowed: &std::ops::RangeInclusive<Duration>,
    limits: &str,
) -> Result<Duration, String> {
    let duration = duration(text)
        .map_err(|problem| format!("{problem}; give {limits}, as in 90, 90s, 15m, 1h30m or 7d"))?;
    if !allowed.contains(&duration) {
        return Err(format!("out of range; give {limits}"));
    }
    Ok(duration)
}
