//! Why a run cannot start yet, with evidence.

use crate::name::{JobName, Name, RunId};
use crate::origin::{Actor, Origin};
use crate::record::{Failure, RecordState};

/// One reason why a run cannot start, and the run behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocker {
    /// What kind of reason.
    pub kind: BlockerKind,
    /// The name that both runs want.
    pub name: Name,
    /// The run behind it, if there is one.
    pub by: Option<By>,
    /// What is known about the name's record, if a record is the reason.
    pub record: Option<RecordEvidence>,
}

/// The kinds of [`Blocker`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BlockerKind {
    /// The input was never written, or its record expired or was removed.
    InputMissing,
    /// Another run is writing the input.
    InputBeingWritten,
    /// The input's record was marked incomplete by a rewrite that did not commit.
    InputIncomplete,
    /// Another run is writing the output.
    OutputBeingWritten,
    /// Another run is reading the output.
    OutputBeingRead,
    /// The output is written already and may not be overwritten.
    OutputExists,
    /// Another run holds the lock.
    LockHeld,
    /// The slot has too few units left.
    SlotsTaken,
    /// An earlier run waits for one of the same names.
    QueuedBehind,
}

impl BlockerKind {
    /// All kinds, with the word for each in JSON, messages and scripts.
    const WORDS: [(Self, &'static str); 9] = [
        (Self::InputMissing, "input_missing"),
        (Self::InputBeingWritten, "input_being_written"),
        (Self::InputIncomplete, "input_incomplete"),
        (Self::OutputBeingWritten, "output_being_written"),
        (Self::OutputBeingRead, "output_being_read"),
        (Self::OutputExists, "output_exists"),
        (Self::LockHeld, "lock_held"),
        (Self::SlotsTaken, "slots_taken"),
        (Self::QueuedBehind, "queued_behind"),
    ];

    /// Returns the word for it in JSON and messages, such as `input_missing`.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(kind, _)| *kind == self).map_or("", |(_, word)| word)
    }

    /// Returns the kind that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, w)| *w == word).map(|(kind, _)| *kind)
    }
}

/// The run behind a blocker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub job: JobName,
    /// Where it was started.
    pub origin: Origin,
    /// Since when it has been in its state, in microseconds since 1970.
    pub since_us: i64,
    /// What is left of its lease in milliseconds; negative once it has ended. `None` for a run that
    /// waits.
    pub lease_left_ms: Option<i64>,
    /// Whether its process was found dead. A run that needs the names gets them; none has yet.
    pub process_gone: bool,
}

/// What a store remembers about a name's record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEvidence {
    /// The state of the record; [`RecordState::NeverWritten`] also if nothing is remembered.
    pub state: RecordState,
    /// Who wrote it last, and when (microseconds since 1970).
    pub last_written: Option<(RunId, JobName, i64)>,
    /// The last attempt to rewrite it that failed or was lost.
    pub failure: Option<Failure>,
    /// Who wrote or removed it by hand, or committed its run by the run's id alone.
    pub actor: Option<Actor>,
}

/// Why a request was not granted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// The reasons, at most ten.
    pub by: Vec<Blocker>,
    /// Whether there are more reasons than `by` has.
    pub more: bool,
    /// How many runs are ahead of it at the name it waits at, counted up to 11.
    pub ahead: u32,
    /// When to try again, in milliseconds: when the first run in the way is expected to end, at most 30
    /// s, minus a random part of up to a tenth. `None` if the answer is final as things stand.
    pub retry_after_ms: Option<u64>,
}

impl Blocked {
    /// Shortens the time to come back by up to a tenth, using `random`, so that not all callers that
    /// were refused because of the same run come back at once. Leaves the time as it is if the reason is
    /// older work or a pause.
    pub(crate) fn spread(mut self, random: u64) -> Self {
        if !self.by.is_empty() {
            self.retry_after_ms = self.retry_after_ms.map(|ms| ms - random % (ms / 10 + 1));
        }
        self
    }

    /// Returns one line for people: the first blocker as a sentence, and how many more there are.
    pub fn summary(&self) -> String {
        let Some(first) = self.by.first() else {
            return match self.retry_after_ms {
                Some(ms) if ms > 0 => format!(
                    "the store was restarted or another server took over: nothing new is granted for {} s, so that holders whose grants were lost hear of it first",
                    ms.div_ceil(1_000)
                ),
                _ => "the store finishes older work first".into(),
            };
        };
        match (self.by.len() - 1, self.more) {
            (0, false) => first.to_string(),
            (n, false) => format!("{first} (and {n} more)"),
            (n, true) => format!("{first} (and {n}+ more)"),
        }
    }
}

impl std::fmt::Display for Blocker {
    /// Formats the blocker as a sentence; the same words are used everywhere.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = &self.name;
        match self.kind {
            BlockerKind::InputMissing => write!(f, "input {name} is missing")?,
            BlockerKind::InputBeingWritten => write!(f, "input {name} is being written")?,
            BlockerKind::InputIncomplete => write!(f, "input {name} is incomplete")?,
            BlockerKind::OutputBeingWritten => write!(f, "output {name} is being written")?,
            BlockerKind::OutputBeingRead => write!(f, "output {name} is being read")?,
            BlockerKind::OutputExists => write!(f, "output {name} is already written")?,
            BlockerKind::LockHeld => write!(f, "lock {name} is held")?,
            BlockerKind::SlotsTaken if self.by.is_some() => write!(f, "units of slot {name} are taken")?,
            BlockerKind::SlotsTaken => write!(f, "slot {name} has too few units left")?,
            BlockerKind::QueuedBehind => write!(f, "queued for {name} behind")?,
        }
        match (&self.by, self.kind) {
            (None, _) => {}
            (Some(by), BlockerKind::QueuedBehind) => write!(f, " {by}")?,
            (Some(by), _) => write!(f, " by {by}")?,
        }
        match &self.record {
            Some(record) if self.by.is_none() => write!(f, "{record}"),
            _ => Ok(()),
        }
    }
}

impl std::fmt::Display for By {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Origin { host, pid, user, ci } = &self.origin;
        let escape = crate::text::escape;
        write!(f, "{} (run {}, {}, pid {pid}, user {}", self.job, self.run, escape(host), escape(user))?;
        if let Some(ci) = ci {
            write!(f, ", {}", escape(ci))?;
        }
        match self.lease_left_ms {
            _ if self.process_gone => write!(f, ", its process is gone")?,
            None => {}
            Some(left) if left > 0 => write!(f, ", lease left {} s", (left + 999) / 1_000)?,
            Some(_) => write!(f, ", lease over")?,
        }
        f.write_str(")")
    }
}

impl std::fmt::Display for RecordEvidence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.state {
            RecordState::NeverWritten => f.write_str(": it was never written")?,
            RecordState::Expired => f.write_str(": its record expired")?,
            RecordState::Removed => {
                f.write_str(": its record was removed")?;
                if let Some(actor) = &self.actor {
                    write!(f, " by {actor}")?;
                }
            }
            RecordState::Incomplete => f.write_str(": a rewrite of it did not commit")?,
            RecordState::Live => {}
        }
        if let Some((run, _, at_us)) = &self.last_written {
            write!(f, ", last written by {run} at {}", crate::shown_time(*at_us))?;
        }
        if let Some(actor) = self.actor.as_ref().filter(|_| self.state != RecordState::Removed) {
            write!(f, ", by hand of {actor}")?;
        }
        if let Some(failure) = &self.failure {
            write!(
                f,
                "; the last attempt, {}, ended {} at {}",
                failure.run,
                failure.outcome.as_str(),
                crate::shown_time(failure.at_us)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_to_come_back_is_brought_nearer_by_up_to_a_tenth_and_never_to_nothing() {
        let name = Name::parse("n").unwrap();
        let by = vec![Blocker { kind: BlockerKind::LockHeld, name, by: None, record: None }];
        let blocked =
            |by: &[Blocker], ms| Blocked { by: by.to_vec(), more: false, ahead: 0, retry_after_ms: ms };
        let told = |by: &[Blocker], ms, random| blocked(by, ms).spread(random).retry_after_ms;
        let of_30_s: Vec<_> = [0, 1, 2_999, 3_000, 3_001].map(|n| told(&by, Some(30_000), n).unwrap()).into();
        assert_eq!(of_30_s, [30_000, 29_999, 27_001, 27_000, 30_000]);
        for ms in 0..40 {
            let nearest = (0..100).filter_map(|random| told(&by, Some(ms), random)).min();
            assert_eq!(nearest, Some(ms - ms / 10));
        }
        assert_eq!(told(&by, None, 7), None);
        assert_eq!(told(&[], Some(10_000), 7), Some(10_000), "a pause, or older work");
    }
}
