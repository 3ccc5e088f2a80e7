//! The values of flags: texts, durations, slots.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use flowlock::config::duration_within;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_hours(24);

/// How long to wait for a run's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Up to this time; zero means a single try.
    For(Duration),
    /// As long as it takes.
    Forever,
}

/// A slot as it was typed: `NAME:CAP` or `NAME:N/CAP`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Slot {
    /// The counted name, templates not yet filled in.
    pub(crate) name: String,
    /// Units wanted.
    pub(crate) units: u32,
    /// Units that exist.
    pub(crate) capacity: u32,
}

/// Accepts any UTF-8 text; other bytes are refused rather than turned into another name.
pub(crate) fn text() -> impl TypedValueParser<Value = String> {
    OsStringValueParser::new().try_map(utf8)
}

/// A slot, as UTF-8.
pub(crate) fn slots() -> impl TypedValueParser<Value = Slot> {
    OsStringValueParser::new().try_map(|given| slot(&utf8(given)?))
}

fn utf8(given: OsString) -> Result<String, String> {
    given.into_string().map_err(|bytes| {
        let bytes = bytes.into_encoded_bytes();
        let at = std::str::from_utf8(&bytes).map_or_else(|e| e.valid_up_to(), str::len);
        // The rest may be a part of a password.
        let byte = bytes.get(at).copied().unwrap_or_default();
        format!("not UTF-8: \\x{byte:02x} at byte {at}; names must be UTF-8")
    })
}

/// A lease: 1 s to 7 d.
pub(crate) fn lease(text: &str) -> Result<Duration, String> {
    within(text, SECOND, 7 * DAY, "1s to 7d")
}

/// How long a lapsed run is kept: 1 s to 30 d.
pub(crate) fn keep_lapsed(text: &str) -> Result<Duration, String> {
    within(text, SECOND, 30 * DAY, "1s to 30d")
}

/// Time for a process to end after TERM: 0 to 1 d.
pub(crate) fn grace(text: &str) -> Result<Duration, String> {
    within(text, Duration::ZERO, DAY, "0s to 1d")
}

/// The longest life of a run: 1 s to 366 d.
pub(crate) fn runtime(text: &str) -> Result<Duration, String> {
    within(text, SECOND, 366 * DAY, "1s to 366d")
}

/// The life or age of a record: 1 s to 36,500 d.
pub(crate) fn age(text: &str) -> Result<Duration, String> {
    within(text, SECOND, 36_500 * DAY, "1s to 36500d")
}

/// A wait: 0 to 366 d, or `forever`.
pub(crate) fn wait(text: &str) -> Result<Wait, String> {
    if text == "forever" {
        return Ok(Wait::Forever);
    }
    let limits = "0s to 366d, or forever";
    within(text, Duration::ZERO, 366 * DAY, limits).map(Wait::For)
}

fn within(text: &str, least: Duration, most: Duration, limits: &str) -> Result<Duration, String> {
    duration_within(text, &(least..=most), limits)
}

/// Parses `NAME:CAP` or `NAME:N/CAP`, split at the last colon, because names may contain colons.
fn slot(text: &str) -> Result<Slot, String> {
    const SHAPE: &str = "write NAME:CAP or NAME:N/CAP, as in gpu:4 or gpu:2/4, with 1 <= N <= CAP <= 10000";
    let (name, amount) = text.rsplit_once(':').ok_or(SHAPE)?;
    let (units, capacity) = amount.split_once('/').unwrap_or(("1", amount));
    let number = |digits: &str| -> Result<u32, String> {
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse().ok().filter(|n| plain && (1..=10_000).contains(n)).ok_or_else(|| SHAPE.to_owned())
    };
    let (units, capacity) = (number(units)?, number(capacity)?);
    if name.is_empty() || units > capacity {
        return Err(SHAPE.to_owned());
    }
    Ok(Slot { name: name.to_owned(), units, capacity })
}

#[cfg(test)]
mod tests {
    use flowlock::config::duration;

    use super::*;

    #[test]
    fn durations_are_seconds_or_numbers_with_units() {
        let seconds = |text: &str| duration(text).unwrap().as_secs();
        assert_eq!(
            ["90", "90s", "15m", "1h30m", "7d", "2w", "1h 30m", "90 sec"].map(seconds),
            [90, 90, 900, 5_400, 604_800, 1_209_600, 5_400, 90]
        );
        assert_eq!(duration("250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(duration("0.5s").unwrap(), Duration::from_millis(500));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_limits() {
        for bad in
            ["", " ", "-1", "-1s", "+1s", "nan", "inf", "1e308", "5x", "1mo", "1y", "1h ago", "0x10", "s"]
        {
            let said = lease(bad).unwrap_err();
            assert!(said.ends_with("give 1s to 7d, as in 90, 90s, 15m, 1h30m or 7d"), "{bad}: {said}");
        }
        for far in ["0", "999ms", "8d", "87600h"] {
            assert_eq!(lease(far).unwrap_err(), "out of range; give 1s to 7d", "{far}");
        }
        assert!(lease("99999999999999999999999").unwrap_err().starts_with("out of range"));
    }

    #[test]
    fn a_wait_may_be_zero_or_forever() {
        assert_eq!(wait("0"), Ok(Wait::For(Duration::ZERO)));
        assert_eq!(wait("forever"), Ok(Wait::Forever));
        assert!(wait("-1").unwrap_err().contains("0s to 366d, or forever"));
    }

    #[test]
    fn slots_split_at_the_last_colon() {
        let slot_of = |name: &str, units, capacity| Slot { name: name.into(), units, capacity };
        assert_eq!(slot("gpu:4").unwrap(), slot_of("gpu", 1, 4));
        assert_eq!(slot("gpu:2/4").unwrap(), slot_of("gpu", 2, 4));
        assert_eq!(slot("db:main:3").unwrap(), slot_of("db:main", 1, 3));
        for bad in
            ["gpu", "gpu:", ":4", "gpu:0", "gpu:0/4", "gpu:5/4", "gpu:+2", "gpu:1/2/3", "gpu:10001", "gpu:x"]
        {
            assert!(slot(bad).unwrap_err().starts_with("write NAME:CAP"), "{bad}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_never_turned_into_another_name() {
        use std::os::unix::ffi::OsStringExt as _;
        let said = utf8(OsString::from_vec(b"ab\xff\xfe".to_vec())).unwrap_err();
        assert_eq!(said, r"not UTF-8: \xff at byte 2; names must be UTF-8");
    }
}
