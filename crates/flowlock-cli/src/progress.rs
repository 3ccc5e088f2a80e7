//! What is printed while a run waits: one live line on a terminal, log lines in a build, else nothing.

use std::time::{Duration, Instant};

use flowlock::{Blocked, Pending, State};

use crate::args::Global;
use crate::terminal::{self, LiveLine, Screen, shown};
use crate::times::short;

/// How a wait is shown.
#[derive(Debug)]
pub(crate) enum WaitProgress {
    /// Not at all; if the run is refused, the error says everything.
    Silent,
    /// One line that is rewritten in place.
    Live(LiveLine),
    /// Lines with a time, when something changes and at intervals.
    Log(Log),
}

/// What was logged last.
#[derive(Debug, Default)]
pub(crate) struct Log {
    told: Option<String>,
    reminders: u32,
}

impl WaitProgress {
    /// Chooses by what standard error is and where this runs.
    pub(crate) fn for_wait(global: &Global, screen: Screen) -> Self {
        let build =
            ["CI", "JENKINS_URL"].iter().any(|name| std::env::var_os(name).is_some_and(|v| !v.is_empty()));
        match () {
            () if global.quiet => Self::Silent,
            () if screen.live && global.verbose == 0 => Self::Live(LiveLine::default()),
            () if build || global.verbose > 0 => Self::Log(Log::default()),
            () => Self::Silent,
        }
    }

    /// Returns how soon [`tell`](Self::tell) must be called again.
    pub(crate) fn pause(&self) -> Duration {
        match self {
            Self::Silent => Duration::from_hours(1),
            Self::Live(_) | Self::Log(_) => Duration::from_secs(1),
        }
    }

    /// Shows where a waiting run stands.
    pub(crate) fn tell(&mut self, pending: &Pending, begun: Instant) {
        let elapsed = begun.elapsed();
        match self {
            Self::Silent => {}
            Self::Live(line) => line.draw(&sentence(pending, elapsed)),
            Self::Log(log) => {
                let reason = essence(&pending.blocked());
                let changed = log.told.as_ref() != Some(&reason);
                if changed || elapsed >= reminder(log.reminders) {
                    log.told = Some(reason);
                    while elapsed >= reminder(log.reminders) {
                        log.reminders += 1;
                    }
                    terminal::say(&format!("{} {}", timestamp(), sentence(pending, elapsed)));
                }
            }
        }
    }

    /// Ends the display.
    pub(crate) fn end(&mut self) {
        if let Self::Live(line) = self {
            line.clear();
        }
    }
}

/// Returns when a reminder is printed: after 30 s, 1 min, then every 5 min.
fn reminder(number: u32) -> Duration {
    match number {
        0 => Duration::from_secs(30),
        1 => Duration::from_mins(1),
        n => Duration::from_mins(5) * (n - 1),
    }
}

fn timestamp() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns what is in the way, without the numbers that change all the time.
fn essence(blocked: &Blocked) -> String {
    let word = |blocker: &flowlock::Blocker| {
        let run = blocker.by.as_ref().map_or("", |by| by.run.as_str());
        format!("{} {} {run}", blocker.kind.as_str(), blocker.name)
    };
    blocked.by.iter().map(word).collect::<Vec<_>>().join("; ")
}

fn sentence(pending: &Pending, elapsed: Duration) -> String {
    let blocked = pending.blocked();
    let state = match pending.state() {
        State::AwaitingInput => "waiting for input",
        _ => "waiting in the queue",
    };
    let place = match blocked.ahead {
        0 => String::new(),
        n @ 1..=10 => format!(", {n} ahead"),
        _ => ", more than 10 ahead".to_owned(),
    };
    let end = pending.until().map_or_else(String::new, |until| {
        format!(", gives up in {}", short(until.saturating_duration_since(Instant::now())))
    });
    shown(&format!("{state} for {}{place}{end}: {}", short(elapsed), blocked.summary()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reminders_come_at_half_a_minute_a_minute_and_every_five_minutes() {
        assert_eq!([0, 1, 2, 3, 4].map(|n| reminder(n).as_secs()), [30, 60, 300, 600, 900]);
    }
}
