//! `doctor` on Redis and Valkey: what it finds on servers of every kind, and what it says of addresses that are wrong.

mod health;
mod rights;
mod several;
mod wrong;

use std::collections::BTreeMap;

use flowlock_testkit::{Cli, Finished};
use serde_json::Value;

use crate::cli_with_a_file;

/// The program with this store, whatever it is.
fn cli_at(url: impl AsRef<str>) -> Cli {
    cli_with_a_file().with("FLOWLOCK_STORE", url.as_ref()).with("FLOWLOCK_STORE_TIMEOUT", "5s")
}

/// The findings, by subject; each subject occurs once.
struct Report {
    ended: Finished,
    findings: BTreeMap<String, (bool, String)>,
}

impl Report {
    #[track_caller]
    fn of(cli: &Cli) -> Self {
        let ended = cli.run(["doctor", "--json"]);
        let report = ended.json();
        let all = report["findings"].as_array().unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let findings: BTreeMap<_, _> = all
            .iter()
            .map(|found| (text(&found["what"]), (found["ok"].as_bool().unwrap(), text(&found["found"]))))
            .collect();
        assert_eq!(findings.len(), all.len(), "each thing once: {all:#?}");
        assert_eq!(report["ok"], findings.values().all(|(ok, _)| *ok));
        Report { ended, findings }
    }

    #[track_caller]
    fn found(&self, what: &str) -> &(bool, String) {
        self.findings.get(what).unwrap_or_else(|| panic!("nothing about {what:?}: {:#?}", self.findings))
    }

    #[track_caller]
    fn good(&self, what: &str, says: &str) -> &Self {
        let (ok, found) = self.found(what);
        assert!(*ok && found.contains(says), "no good {says:?} of {what:?}: {:#?}", self.findings);
        self
    }

    #[track_caller]
    fn bad(&self, what: &str, says: &str) -> &Self {
        let (ok, found) = self.found(what);
        assert!(!*ok && found.contains(says), "no bad {says:?} of {what:?}: {:#?}", self.findings);
        self
    }

    /// Asserts that all is well but these things.
    #[track_caller]
    fn only_bad(&self, expected: &[&str]) -> &Self {
        let bad: Vec<_> = self.findings.iter().filter(|(_, (ok, _))| !ok).map(|(what, _)| what).collect();
        assert_eq!(bad, expected, "{:#?}", self.findings);
        self
    }

    #[track_caller]
    fn code(&self, code: i32) -> &Self {
        self.ended.code(code);
        self
    }
}
