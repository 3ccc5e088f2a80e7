//! Notices that a namespace went back: the server was restored, restarted empty, or failed over without
//! its newest steps.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use super::client::Source;
use crate::id::{Attempt, Nonce};
use crate::name::{Namespace, RunId};
use crate::store::{Loss, Watermark, Watermarks};
use crate::sync::lock;

/// How many commits are remembered, and how long by the server's clock: a server that knows of a commit
/// says so for ten minutes of its own time. This process's clocks do not measure that: it may have
/// slept, and the server's clock may have been set.
const MOST_COMMITS: usize = 1_000;
const REMEMBERED: Duration = Duration::from_mins(9);
/// How many notices are kept for callers; the rest was only logged.
const MOST_NOTICES: usize = 100;

/// What this process has seen of a store, and its notices.
#[derive(Debug, Default)]
pub(super) struct RollbackDetector {
    watermarks: Watermarks,
    commits: Mutex<VecDeque<Commit>>,
    /// How many more commits were made than are remembered, and when the last of them was.
    more: Mutex<BTreeMap<Namespace, (u64, i64)>>,
    /// Where the last answer came from, and how many takeovers it counted.
    sources: Mutex<BTreeMap<Namespace, (Source, Option<i64>)>>,
    notices: Mutex<Vec<String>>,
}

/// A commit that this process was told succeeded.
#[derive(Debug, Clone)]
pub(super) struct Commit {
    namespace: Namespace,
    pub(super) run: RunId,
    pub(super) nonce: Nonce,
    pub(super) note: Option<String>,
    /// The server's clock in that answer.
    at_ms: i64,
}

impl Commit {
    /// Returns whether a server with this clock must still know of it.
    pub(super) fn is_recent(&self, server_ms: i64) -> bool {
        is_recent(self.at_ms, server_ms)
    }
}

fn is_recent(at_ms: i64, server_ms: i64) -> bool {
    server_ms.saturating_sub(at_ms) < REMEMBERED.as_millis() as i64
}

impl RollbackDetector {
    pub(super) fn newest(&self, namespace: &Namespace) -> Option<Watermark> {
        self.watermarks.newest(namespace)
    }

    pub(super) fn expect(&self, namespace: &Namespace, watermark: Watermark) {
        self.watermarks.expect(namespace, watermark);
    }

    pub(super) fn loss(&self, namespace: &Namespace) -> Option<Loss> {
        self.watermarks.loss(namespace)
    }

    /// Takes in the state of an answer. Returns whether it went back: it has another epoch than
    /// `before`, the newest state known before the question was sent, or is not later. From then on the
    /// older state is what is known.
    pub(super) fn take_in_state(
        &self,
        namespace: &Namespace,
        before: Option<Watermark>,
        found: Option<Watermark>,
    ) -> bool {
        let Some(found) = found else {
            return match before {
                Some(before) if self.newest(namespace).is_some() => {
                    self.watermarks.forget(namespace);
                    self.tell(format!(
                        "the store lost namespace {namespace}: this process saw {before}, now there is nothing; names that were held are lost, and records written since the last backup are missing"
                    ));
                    true
                }
                _ => false,
            };
        };
        // Of several threads that notice it at the same moment, only one reports it.
        let was_told = |before: Watermark| {
            self.newest(namespace).is_some_and(|newest| {
                newest.epoch == found.epoch
                    && (before.epoch != newest.epoch || newest.sequence < before.sequence)
            })
        };
        match before {
            Some(before)
                if (before.epoch != found.epoch || before.sequence > found.sequence) && !was_told(before) =>
            {
                self.watermarks.go_back_to(namespace, found);
                self.tell(format!(
                    "the store went back: in namespace {namespace} this process saw {before}, now there is {found}; grants since then are lost, and outputs written since then may be missing"
                ));
                true
            }
            _ => {
                self.watermarks.note_seen(namespace, found);
                false
            }
        }
    }

    /// Takes in where an answer came from. Returns whether another server may have taken over since the
    /// last one, by its own count or because it answered on another connection. Then what was recorded
    /// just before may be lost, even if others have moved the namespace past the last state that was
    /// seen here.
    pub(super) fn take_in_source(&self, namespace: &Namespace, from: Source, takeovers: Option<i64>) -> bool {
        let now = (from, takeovers);
        let known = lock(&self.sources).insert(namespace.clone(), now.clone());
        known.is_some_and(|known| known != now)
    }

    /// Makes the next answer a reason to look for the commits again.
    pub(super) fn doubt(&self, namespace: &Namespace) {
        if let Some((from, _)) = lock(&self.sources).get_mut(namespace) {
            from.dials = 0;
        }
    }

    pub(super) fn note_commit(
        &self,
        namespace: &Namespace,
        Attempt { id, nonce }: &Attempt,
        note: Option<&str>,
        at_ms: i64,
    ) {
        let mut commits = lock(&self.commits);
        if commits.len() == MOST_COMMITS
            && let Some(oldest) = commits.pop_front()
        {
            self.count_one_more(&oldest);
        }
        let (namespace, run, note) = (namespace.clone(), id.clone(), note.map(str::to_owned));
        commits.push_back(Commit { namespace, run, nonce: *nonce, note, at_ms });
    }

    /// Counts a commit that is not remembered any more.
    fn count_one_more(&self, commit: &Commit) {
        let mut more = lock(&self.more);
        let (count, at_ms) = more.entry(commit.namespace.clone()).or_insert((0, commit.at_ms));
        // Those before are too old to be looked for.
        if !is_recent(*at_ms, commit.at_ms) {
            *count = 0;
        }
        (*count, *at_ms) = (*count + 1, commit.at_ms);
    }

    /// Reports, once a commit is missing, that there were recent ones before it that nobody looks for.
    pub(super) fn report_more_commits(&self, namespace: &Namespace, server_ms: i64) {
        let Some((count, at_ms)) = lock(&self.more).remove(namespace) else { return };
        if is_recent(at_ms, server_ms) {
            self.tell(format!(
                "only the newest {MOST_COMMITS} commits of this process are looked for; up to {count} earlier ones in namespace {namespace} may be missing too: check their outputs"
            ));
        }
    }

    /// Returns the newest commits of this process in a namespace, including old ones.
    pub(super) fn commits(&self, namespace: &Namespace) -> Vec<Commit> {
        lock(&self.commits).iter().filter(|commit| commit.namespace == *namespace).cloned().collect()
    }

    pub(super) fn report_missing_commit(&self, missing: &Commit) {
        let mut commits = lock(&self.commits);
        let Some(at) = commits.iter().position(|commit| commit.nonce == missing.nonce) else { return };
        commits.remove(at);
        drop(commits);
        self.tell(format!(
            "{} was committed, but the store has lost that: its outputs are not recorded as written; run the job again",
            missing.run
        ));
    }

    /// Notes a message for people. A program that shows notices itself leaves this target out of the
    /// log.
    pub(super) fn tell(&self, notice: String) {
        tracing::error!(target: crate::store::NOTICES, "{notice}");
        let mut notices = lock(&self.notices);
        if notices.len() < MOST_NOTICES {
            notices.push(notice);
        }
    }

    /// Takes the notices.
    pub(super) fn take_notices(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.notices))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the notices about a detector's missing commit, at this time of the server, after so many commits, one a millisecond.
    fn notices(commits: usize, server_ms: i64) -> Vec<String> {
        let detector = RollbackDetector::default();
        let namespace = Namespace::default();
        for at in 0..commits {
            let attempt = Attempt { id: RunId::parse(&format!("r{at}")).unwrap(), nonce: Nonce(at as u128) };
            detector.note_commit(&namespace, &attempt, None, at as i64);
        }
        detector.report_more_commits(&namespace, server_ms);
        detector.report_more_commits(&namespace, server_ms);
        detector.take_notices()
    }

    #[test]
    fn commits_that_nobody_looks_for_are_counted_in_one_notice() {
        let said = notices(2_500, 3_000);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("up to 1500 earlier ones in namespace default"), "{said:?}");
        assert!(notices(1_000, 3_000).is_empty(), "all of them are looked for");
        assert!(notices(2_500, 600_000).is_empty(), "they are too old");
    }

    #[test]
    fn those_that_are_too_old_do_not_count() {
        let detector = RollbackDetector::default();
        let namespace = Namespace::default();
        let long = REMEMBERED.as_millis() as i64;
        for (run, at_ms) in [("a", 0), ("b", 1), ("c", long + 1)] {
            let run = RunId::parse(run).unwrap();
            let commit = Commit { namespace: namespace.clone(), run, nonce: Nonce(1), note: None, at_ms };
            detector.count_one_more(&commit);
        }
        detector.report_more_commits(&namespace, long + 2);
        assert!(detector.take_notices()[0].contains("up to 1 earlier"));
    }
}
