//! What a test writes down about one namespace while a history is played.

use std::collections::HashMap;
use std::sync::Arc;

use flowlock::store::{Content, Store, View};
use flowlock::{Attempt, Claims, Name, Namespace, Now, Outcome, Run, Spec, Ticket, Token};

use crate::oracle::{Knowledge, Patience, Scene, Snapshot};

/// A request somebody made.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) attempt: Attempt,
    pub(super) spec: Arc<Spec>,
    /// The index of the process it belongs to.
    pub(super) client: usize,
    /// The latest arrival of its last sending.
    pub(super) latest_ms: i64,
    pub(super) patience: Patience,
    /// How it ended, once an answer said so; final.
    pub(super) ended: Option<Outcome>,
}

/// A grant that was made, for as long as a later one could contradict it.
#[derive(Debug, Clone)]
pub(super) struct GrantMade {
    pub(super) token: Token,
    pub(super) ticket: Ticket,
    pub(super) claims: Claims,
}

/// One namespace.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) namespace: Namespace,
    pub(super) known: Vec<Known>,
    pub(super) knowledge: Knowledge,
    pub(super) snapshot: Snapshot,
    pub(super) last_token: Token,
    pub(super) versions: HashMap<Name, Token>,
    pub(super) grants: Vec<GrantMade>,
    /// The clocks at the last step, if that step left nothing over.
    pub(super) settled_at: Option<Now>,
    /// The machine restarted since the last step.
    pub(super) rebooted: bool,
}

impl Book {
    pub(super) fn new(namespace: &str) -> Self {
        Book {
            namespace: Namespace::parse(namespace).expect("a plain namespace"),
            known: Vec::new(),
            knowledge: Knowledge::default(),
            snapshot: Snapshot::default(),
            last_token: Token(0),
            versions: HashMap::new(),
            grants: Vec::new(),
            settled_at: None,
            rebooted: false,
        }
    }

    /// The lease clock began anew; tokens and versions must go on rising.
    pub(super) fn after_reboot(&mut self) {
        self.rebooted = true;
        self.settled_at = None;
        self.knowledge = Knowledge::default();
        self.grants.clear();
        for known in &mut self.known {
            known.latest_ms = 0;
        }
    }

    pub(super) fn scene(&self, now: Now) -> Scene<'_> {
        Scene { snapshot: &self.snapshot, knowledge: &self.knowledge, now }
    }

    /// The request behind a living run.
    pub(super) fn find(&self, attempt: &Attempt) -> Option<usize> {
        self.known.iter().rposition(|known| known.attempt == *attempt)
    }

    /// The living run of a request.
    pub(super) fn run_of(&self, known: usize) -> Option<&Run> {
        let attempt = &self.known[known].attempt;
        self.snapshot.runs.iter().find(|run| run.attempt == *attempt)
    }

    pub(super) fn set_patience(&mut self, known: usize, patience: Patience) {
        self.known[known].patience = patience;
        self.knowledge.patience.insert(self.known[known].attempt.clone(), patience);
    }
}

/// Everything a store says about a namespace.
pub(super) fn snapshot(store: &dyn Store, namespace: &Namespace) -> Result<Snapshot, String> {
    let all = 10_000;
    let read = |view: View| store.view(namespace, &view).map_err(|error| format!("a view failed: {error}"));
    let runs = match read(View::Runs { job: None, from: Ticket(0), limit: all })?.content {
        Content::Runs(seen, None) => seen.into_iter().map(|seen| seen.run).collect(),
        other => return Err(format!("not a whole list of runs: {other:?}")),
    };
    let records = match read(View::Records { prefix: String::new(), after: None, limit: all })?.content {
        Content::Records(records, None) => {
            records.into_iter().map(|record| (record.name.clone(), record)).collect()
        }
        other => return Err(format!("not a whole list of records: {other:?}")),
    };
    Ok(Snapshot { runs, records })
}
