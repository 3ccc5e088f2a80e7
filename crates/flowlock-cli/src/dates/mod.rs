//! Dates in names: `{date}`, `{date-7d..date-1d}`, `{hour-1h}`, `{month-1m:YYYYMM}`.
//!
//! Names without braces are never changed. `{{` and `}}` are braces. A range stands for several names.
//! All templates of one command use the same moment, so midnight cannot fall between two names.

mod template;
#[cfg(test)]
mod tests;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ZonedDateTime};

use template::Piece;

use crate::zones::{Unknown, Zones};

/// The most names that one text may stand for: as many as one request may claim.
const MOST_NAMES: usize = 1_000;

/// Why a date, a time zone or a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadDate(pub(crate) String);

/// The moment that templates count from, in the time zone they are written in.
#[derive(Debug, Clone)]
pub(crate) struct Dates {
    moment: ZonedDateTime,
}

impl Dates {
    /// Counts from `date` if given, else from `now`; in `zone`, else in UTC.
    pub(crate) fn new(now: Timestamp, date: Option<&str>, zone: Option<&str>) -> Result<Self, BadDate> {
        let zone = zone.map_or(Ok(TimeZone::UTC), time_zone)?;
        let moment = match date {
            None => now.to_zoned_datetime(zone),
            Some(text) => moment(text, zone)?,
        };
        Ok(Self { moment })
    }

    /// Returns the day, as the command sees it in `FLOWLOCK_DATE`.
    pub(crate) fn day(&self) -> String {
        self.moment.date().to_string()
    }

    /// Returns the names that `text` stands for: one, or several if it has a range.
    pub(crate) fn fill(&self, text: &str) -> Result<Vec<String>, BadDate> {
        if !text.contains(['{', '}']) {
            return Ok(vec![text.to_owned()]);
        }
        let explain = |problem: String| BadDate(format!("\"{}\": {problem}", crate::terminal::shown(text)));
        let mut names = vec![String::new()];
        for piece in template::parse(text).map_err(explain)? {
            names = self.append(&names, &piece).map_err(explain)?;
        }
        Ok(names)
    }

    fn append(&self, names: &[String], piece: &Piece) -> Result<Vec<String>, String> {
        let endings = match piece {
            Piece::Text(text) => vec![text.clone()],
            Piece::Dates(dates) => dates.texts(&self.moment, MOST_NAMES)?,
        };
        if names.len() * endings.len() > MOST_NAMES {
            return Err(format!("it stands for more than {MOST_NAMES} names"));
        }
        let joined =
            names.iter().flat_map(|name| endings.iter().map(move |ending| format!("{name}{ending}")));
        Ok(joined.collect())
    }
}

/// Returns the zone with that name; `local` is the one in `TZ`, or that of the machine.
pub(crate) fn time_zone(name: &str) -> Result<TimeZone, BadDate> {
    let zones = Zones::of_this_process();
    match name {
        "" => Ok(TimeZone::UTC),
        "local" => zones.local().map_err(BadDate),
        _ => zones.named(name).map_err(|Unknown(problem)| {
            let shown = crate::terminal::shown(&flowlock::store::misplaced(name));
            let why = problem.map(|problem| format!(" ({problem})")).unwrap_or_default();
            BadDate(format!("unknown time zone \"{shown}\"{why}; give one like Europe/Berlin, UTC or local"))
        }),
    }
}

/// Parses a date, a date and time, or Unix seconds; in `zone` unless it has an offset.
fn moment(text: &str, zone: TimeZone) -> Result<ZonedDateTime, BadDate> {
    let bad = || {
        let shown = crate::terminal::shown(&flowlock::store::misplaced(text));
        BadDate(format!(
            "\"{shown}\" is not a date; give 2026-11-22, 2026-11-22T10:00, 2026-11-22T10:00+01:00 or Unix seconds"
        ))
    };
    if text.bytes().all(|b| b.is_ascii_digit()) {
        // Eight digits are a date without punctuation, not a second of 1970.
        let seconds = text.parse().ok().filter(|_| text.len() >= 9).ok_or_else(bad)?;
        return Ok(Timestamp::from_second(seconds).map_err(|_| bad())?.to_zoned_datetime(zone));
    }
    if let Ok(instant) = text.parse::<Timestamp>() {
        return Ok(instant.to_zoned_datetime(zone));
    }
    let civil: DateTime = text.parse().map_err(|_| bad())?;
    civil.to_zoned_datetime(zone).map_err(|_| bad())
}
