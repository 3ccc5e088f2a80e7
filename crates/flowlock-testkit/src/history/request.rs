//! From drawn numbers to requests.

use std::sync::Arc;

use flowlock::{Claims, IfWritten, JobName, Name, OnFail, Parent, Spec};

use super::op::{Arrival, NAMES, SLOTS, Use, Wish};
use crate::oracle::Patience;
use flowlock::step;

/// The data names and slots all histories are about.
pub(super) const DATA: [&str; NAMES] = ["a", "b", "c", "d", "e"];
const COUNTED: [&str; SLOTS] = ["s", "t"];

/// The jobs that the requests are of.
pub(super) const JOBS: [&str; 2] = ["job", "other job"];

pub(super) fn name(text: &str) -> Name {
    Name::parse(text).expect("a plain name")
}

/// The names whose bits are set.
pub(super) fn names(bits: u8) -> Vec<Name> {
    DATA.iter().enumerate().filter(|(i, _)| bits >> i & 1 == 1).map(|(_, text)| name(text)).collect()
}

impl Arrival {
    fn claims(&self) -> Claims {
        let mut builder = Claims::builder();
        for (wanted, text) in self.data.iter().zip(DATA) {
            builder = match wanted {
                Use::No => builder,
                Use::Read => builder.input(name(text)),
                Use::Write => builder.output(name(text)),
                Use::Rewrite => builder.input(name(text)).output(name(text)),
            };
        }
        builder = match self.lock {
            None => builder,
            Some(true) => builder.lock(name("l")),
            Some(false) => builder.lock_shared(name("l")),
        };
        for (wanted, text) in self.slots.iter().zip(COUNTED) {
            if let Some((units, capacity)) = *wanted {
                builder = builder.slot(name(text), units, capacity);
            }
        }
        builder.build().expect("few claims")
    }

    pub(super) fn spec(&self, parent: Option<Parent>) -> Arc<Spec> {
        let ms = |seconds: u8| u64::from(seconds) * 1_000;
        Arc::new(Spec {
            job: JobName::parse(JOBS[usize::from(self.client) % JOBS.len()]).expect("a plain job"),
            claims: self.claims(),
            lease_ms: ms(self.lease),
            if_written: if self.keeps_old { IfWritten::Fail } else { IfWritten::Overwrite },
            on_fail: if self.spoils_old { OnFail::Incomplete } else { OnFail::Keep },
            parent,
            record_life_ms: self.record_life.map(|seconds| u64::from(seconds) * 1_000),
            max_runtime_ms: self.max_runtime.map(ms),
            keep_lapsed_ms: u64::from(self.keep_lapsed) * 1_000,
        })
    }
}

impl Wish {
    pub(super) fn patience(self) -> step::Patience {
        let ms = |seconds: u8| u64::from(seconds) * 1_000;
        match self {
            Wish::Try => step::Patience::Try,
            Wish::Resource(seconds) => step::Patience::HoldPlace(ms(seconds)),
            Wish::Wait(seconds) => step::Patience::Wait(Some(ms(seconds))),
            Wish::WaitForEver => step::Patience::Wait(None),
        }
    }
}

/// When a run that arrives now with this patience stops waiting.
pub(super) fn ends(patience: step::Patience, now_ms: i64) -> Patience {
    match patience {
        step::Patience::Try | step::Patience::Wait(None) => Patience::default(),
        step::Patience::HoldPlace(ms) => {
            Patience { place_end: Some(now_ms + ms as i64), ..Patience::default() }
        }
        step::Patience::Wait(Some(ms)) => {
            Patience { wait_end: Some(now_ms + ms as i64), ..Patience::default() }
        }
    }
}

impl Arrival {
    /// A request for nothing, to be filled in.
    pub fn nothing() -> Self {
        Arrival {
            client: 0,
            elsewhere: false,
            data: [Use::No; NAMES],
            lock: None,
            slots: [None; SLOTS],
            patience: Wish::Try,
            nested: false,
            keeps_old: false,
            spoils_old: false,
            lease: 20,
            record_life: None,
            max_runtime: None,
            keep_lapsed: 86_400,
        }
    }
}
