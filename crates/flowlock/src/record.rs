//! The record of a written name.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use sha1::Digest as _;

use crate::id::Token;
use crate::name::{JobName, Name, RunId};
use crate::origin::Actor;
use crate::run::Outcome;

/// The longest note, in bytes.
pub const LONGEST_NOTE: usize = 4_096;

/// Whether a record lets readers start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RecordState {
    /// It does.
    Live,
    /// A run that rewrites it (with `on_fail = incomplete`) has begun and not committed.
    Incomplete,
    /// It expired; kept for a while as evidence.
    Expired,
    /// It was removed by hand; kept for a while as evidence.
    Removed,
    /// It was never written; kept for a while as evidence of a failed attempt.
    NeverWritten,
}

impl RecordState {
    const WORDS: [(Self, &'static str); 5] = [
        (Self::Live, "live"),
        (Self::Incomplete, "incomplete"),
        (Self::Expired, "expired"),
        (Self::Removed, "removed"),
        (Self::NeverWritten, "never_written"),
    ];

    /// Returns the word for it.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(s, _)| *s == self).map_or("", |(_, w)| w)
    }

    /// Returns the state that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(_, w)| *w == word).map(|(s, _)| *s)
    }

    /// Returns whether something is written there, complete or not.
    pub fn is_written(self) -> bool {
        matches!(self, Self::Live | Self::Incomplete)
    }
}

/// The statement that a name is written, or evidence that it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The name.
    pub name: Name,
    /// Whether it is live.
    pub state: RecordState,
    /// Whether it is incomplete only since its present holder began, which may still give it back as it
    /// was.
    pub was_live: bool,
    /// The token of the run that wrote it.
    pub version: Token,
    /// That run.
    pub run: RunId,
    /// Its job.
    pub job: JobName,
    /// When it was written, in microseconds since 1970.
    pub written_at_us: i64,
    /// When it expires, or when the evidence of it is dropped, in microseconds since 1970.
    pub expires_at_us: Option<i64>,
    /// What its writer wanted readers to know, such as the path of the file.
    pub note: Option<String>,
    /// What it was made from.
    pub made_from: MadeFrom,
    /// The last attempt to rewrite it that failed or was lost.
    pub failure: Option<Failure>,
    /// Who wrote or removed it by hand, or committed its run by the run's id alone.
    pub actor: Option<Actor>,
}

/// The inputs a record was made from, with their versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum MadeFrom {
    /// All of them, at most 64.
    Inputs(Vec<(Name, Token)>),
    /// More than 64: how many, and a fingerprint of their names and versions.
    Digest {
        /// How many inputs there were.
        inputs: usize,
        /// Hexadecimal SHA-1 over `name NUL version NUL` of each, in claim order: to compare two sets of
        /// inputs, not for protection.
        sha1: String,
    },
}

impl MadeFrom {
    /// Creates it from names and versions in claim order; a digest if there are more than `most`.
    pub(crate) fn new(inputs: Vec<(Name, Token)>, most: usize) -> Self {
        if inputs.len() <= most {
            return Self::Inputs(inputs);
        }
        let mut hash = sha1::Sha1::new();
        for (name, version) in &inputs {
            hash.update(name.as_str());
            hash.update([0]);
            hash.update(version.to_string());
            hash.update([0]);
        }
        let sha1 = hash.finalize().iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Self::Digest { inputs: inputs.len(), sha1 }
    }
}

/// A run that was to write a name and did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The run.
    pub run: RunId,
    /// Its job.
    pub job: JobName,
    /// When, in microseconds since 1970.
    pub at_us: i64,
    /// How it ended.
    #[serde(with = "outcome_word")]
    pub outcome: Outcome,
}

mod outcome_word {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::run::Outcome;

    #[allow(clippy::trivially_copy_pass_by_ref)] // the signature is serde's
    pub(super) fn serialize<S: Serializer>(outcome: &Outcome, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(outcome.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Outcome, D::Error> {
        let word = String::deserialize(from)?;
        Outcome::from_word(&word).ok_or_else(|| serde::de::Error::custom("unknown outcome"))
    }
}

/// An input as a granted run sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The name.
    pub name: Name,
    /// The version it reads.
    pub version: Token,
    /// The run that wrote that version.
    pub run: RunId,
    /// When it was written, in microseconds since 1970.
    pub written_at_us: i64,
    /// The writer's note.
    pub note: Option<String>,
}
