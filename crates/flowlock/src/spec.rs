//! [`Spec`]: what a run asked for, which never changes.

use serde::{Deserialize, Serialize};

use crate::claim::Claims;
use crate::name::JobName;
use crate::parent::Parent;

/// What to do if an output already has a live record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IfWritten {
    /// Write it again.
    #[default]
    Overwrite,
    /// Refuse to start; the caller treats that as a failure.
    Fail,
    /// Refuse to start; the caller treats that as success.
    Skip,
}

/// What happens to an old record if a run that was to rewrite it fails or is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFail {
    /// It stays, with the failed attempt in its evidence.
    #[default]
    Keep,
    /// It is incomplete from the start of the run until the next commit.
    Incomplete,
}

/// The body of a request: everything about a run that never changes. Two requests of one attempt must
/// have equal bodies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The user's name for the work.
    pub job: JobName,
    /// What it reads, writes and locks.
    pub claims: Claims,
    /// How long its claims are held without a renewal, in milliseconds.
    pub lease_ms: u64,
    /// What to do about live records of outputs.
    #[serde(default)]
    pub if_written: IfWritten,
    /// What happens to old records after a failure.
    #[serde(default)]
    pub on_fail: OnFail,
    /// The run on whose behalf it asks. It counts only if its proof is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// How long the records that it writes live, in milliseconds; for ever if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record_life_ms: Option<u64>,
    /// For how long it may renew its lease, in milliseconds since it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_runtime_ms: Option<u64>,
    /// How long it is kept after it lapsed, if no run needs its names, in milliseconds.
    #[serde(default = "default_keep_lapsed_ms")]
    pub keep_lapsed_ms: u64,
}

/// How long a lapsed run is kept by default, in milliseconds: a day.
pub(crate) const KEEP_LAPSED_MS: u64 = 86_400_000;

fn default_keep_lapsed_ms() -> u64 {
    KEEP_LAPSED_MS
}
