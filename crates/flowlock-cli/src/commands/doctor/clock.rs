//! Clocks that were set: this machine's, and a server's.

use std::time::Duration;

use flowlock::store::Finding;

use crate::times;

/// Reports a clock that was set back. Tokens are at least the wall clock in microseconds, so a token
/// ahead of it shows that.
pub(super) fn set_back(highest: Option<flowlock::Token>) -> Finding {
    const TOLERATED: Duration = Duration::from_mins(1);
    let now_us = jiff::Timestamp::now().as_microsecond().max(0) as u64;
    let ahead = Duration::from_micros(highest.map_or(0, |token| token.0.saturating_sub(now_us)));
    let now = flowlock::shown_time(now_us as i64);
    if ahead <= TOLERATED {
        return Finding::good("clock", now);
    }
    let problem =
        format!("{now}, but the newest grant is {} ahead: the clock was set back", times::short(ahead));
    Finding::bad("clock", problem)
}

/// Reports that a server's clock was set by this many milliseconds since a command of this user saw it.
pub(super) fn step(step_ms: i64) -> Finding {
    let (way, harm) = if step_ms > 0 {
        ("ahead", "leases that had less left are over, and two jobs may have run at once")
    } else {
        ("back", "names that dead jobs hold are free that much later")
    };
    let seconds = (step_ms.unsigned_abs() + 500) / 1_000;
    let remedy = "let NTP slew it instead of setting it";
    Finding::bad(
        "clock step",
        format!("the server's clock was set {way} by {seconds} s since it was last seen: {harm}; {remedy}"),
    )
}
