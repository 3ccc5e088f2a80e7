//! Points in time as people read them: the same format in every sentence and table.

use std::sync::OnceLock;

use jiff::Timestamp;
use jiff::tz::TimeZone;

static ZONE: OnceLock<fn() -> TimeZone> = OnceLock::new();

/// Makes all texts of this process show times in this zone. The zone is asked for once, when it is first
/// needed. Default: UTC.
pub fn show_time_in(zone: fn() -> TimeZone) {
    let _ = ZONE.set(zone);
}

/// Formats a time, given in microseconds since 1970, as in `2026-11-24 03:15:30 +01:00`.
///
/// ```
/// assert_eq!(flowlock::shown_time(1_795_351_200_000_000), "2026-11-22 12:40:00 +00:00");
/// ```
pub fn shown_time(at_us: i64) -> String {
    static LOCAL: OnceLock<TimeZone> = OnceLock::new();
    match ZONE.get() {
        Some(zone) => in_zone(at_us, LOCAL.get_or_init(zone)),
        None => in_zone(at_us, &TimeZone::UTC),
    }
}

fn in_zone(at_us: i64, zone: &TimeZone) -> String {
    let Ok(at) = Timestamp::from_microsecond(at_us) else {
        return format!("{at_us} µs");
    };
    at.to_zoned_datetime(zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_shown_with_the_offset_of_its_zone() {
        let at = 1_795_351_200_000_000;
        assert_eq!(in_zone(at, &TimeZone::get("Europe/Berlin").unwrap()), "2026-11-22 13:40:00 +01:00");
        assert_eq!(in_zone(at, &TimeZone::UTC), "2026-11-22 12:40:00 +00:00");
        assert_eq!(in_zone(i64::MAX, &TimeZone::UTC), "9223372036854775807 µs");
    }
}
