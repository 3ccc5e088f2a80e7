//! Ages and durations as people read them, and times as programs do. (Times for people:
//! `flowlock::shown_time`.)

use std::time::Duration;

use jiff::Timestamp;

/// Formats a time for JSON: RFC 3339, UTC, milliseconds.
pub(crate) fn rfc3339(at_us: i64) -> String {
    let at = Timestamp::from_microsecond(at_us).unwrap_or(Timestamp::MAX);
    format!("{at:.3}")
}

/// Formats how long ago a time was, or how far ahead it is: `3m ago`, `in 2h`.
pub(crate) fn relative(now_us: i64, at_us: i64) -> String {
    let distance = Duration::from_micros(now_us.abs_diff(at_us));
    match short(distance).as_str() {
        "0s" => "now".to_owned(),
        text if at_us < now_us => format!("{text} ago"),
        text => format!("in {text}"),
    }
}

/// Formats the two largest units: `45s`, `3m 20s`, `2h 5m`, `4d 3h`.
pub(crate) fn short(duration: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = duration.as_secs();
    let Some(largest) = UNITS.iter().position(|(size, _)| seconds >= *size) else {
        return "0s".to_owned();
    };
    let (size, unit) = UNITS[largest];
    let rest = UNITS.get(largest + 1).map_or(0, |(small, _)| seconds % size / small);
    if rest == 0 {
        return format!("{}{unit}", seconds / size);
    }
    format!("{}{unit} {rest}{}", seconds / size, UNITS[largest + 1].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_show_their_two_largest_units() {
        let of = |seconds| short(Duration::from_secs(seconds));
        assert_eq!(
            [0, 45, 60, 200, 7_500, 3_600, 356_400].map(of),
            ["0s", "45s", "1m", "3m 20s", "2h 5m", "1h", "4d 3h"]
        );
        assert_eq!(short(Duration::from_millis(999)), "0s");
    }

    #[test]
    fn moments_are_told_from_now() {
        let now = 1_795_351_200_000_000;
        assert_eq!(relative(now, now - 180_000_000), "3m ago");
        assert_eq!(relative(now, now + 7_200_000_000), "in 2h");
        assert_eq!(relative(now, now), "now");
    }

    #[test]
    fn programs_see_utc() {
        let at = 1_795_351_200_000_000;
        assert_eq!(rfc3339(at), "2026-11-22T12:40:00.000Z");
    }
}
