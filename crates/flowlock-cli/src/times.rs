//! Ages and durations as people read them, and times as programs do. (Times for people:
//! `flowlock::shown_time`.)

use std::ffi::OsStr;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The most bytes read of a zone's file; real ones have far fewer.
const LARGEST_ZONE: u64 = 1 << 20;

/// Returns the zone of this machine, or the one in `TZ`; UTC if `TZ` names something that is not read
/// ([`unreadable_zone`]).
pub(crate) fn system_zone() -> TimeZone {
    if unreadable_zone().is_some() { TimeZone::UTC } else { TimeZone::system() }
}

/// Returns what `TZ` names if that is not the file of a zone: reading a pipe could wait forever, and a
/// file of any length would be read whole.
pub(crate) fn unreadable_zone() -> Option<PathBuf> {
    let set = std::env::var_os("TZ")?;
    let set = Path::new(OsStr::from_bytes(set.as_bytes().strip_prefix(b":").unwrap_or(set.as_bytes())));
    // A name is looked for in the machine's list of zones, and only then as a file here.
    let is_a_zones = |set: &Path| set.to_str().is_some_and(|name| zone_named(name).is_some());
    let is_good = |meta: &Metadata| meta.is_file() && meta.len() <= LARGEST_ZONE;
    let is_bad = in_the_list(set).is_some() || set.metadata().is_ok_and(|meta| !is_good(&meta));
    (is_bad && (set.is_absolute() || !is_a_zones(set))).then(|| set.to_owned())
}

/// Returns the zone with a name, unless the directory in `TZDIR` has something else there.
pub(crate) fn zone_named(name: &str) -> Option<TimeZone> {
    if in_the_list(Path::new(name)).is_some() { None } else { TimeZone::get(name).ok() }
}

/// Returns what has the name in the directory in `TZDIR`, if it is not the file of a zone.
fn in_the_list(name: &Path) -> Option<Metadata> {
    let meta = Path::new(&std::env::var_os("TZDIR")?).join(name).metadata().ok()?;
    (!meta.is_file() || meta.len() > LARGEST_ZONE).then_some(meta)
}

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
