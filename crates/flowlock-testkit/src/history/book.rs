//! What a test records about one namespace while a history is played.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use flowlock::store::{Content, Store, View};
use flowlock::{Attempt, Claims, JobName, Name, Namespace, Now, Outcome, Record, Run, Spec, Ticket, Token};

use super::request::JOBS;
use super::{Verdict, promise};

use crate::oracle::{Knowledge, Patience, Scene, Snapshot, holds};
use crate::subject::FAILOVER_PAUSE;

/// A request that was made.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) attempt: Attempt,
    pub(super) spec: Arc<Spec>,
    /// The index of the process it belongs to.
    pub(super) client: usize,
    /// The latest arrival of its last repetition.
    pub(super) latest_ms: i64,
    pub(super) patience: Patience,
    /// How it ended, once an answer said so; final.
    pub(super) ended: Option<Outcome>,
}

/// A grant that was made, while a later one could contradict it.
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
    /// Whether a step was made.
    pub(super) has_begun: bool,
    /// The last takeover.
    pub(super) takeover: Option<Takeover>,
    /// Whether another server took over, and not everything has continued since.
    pub(super) is_taken_over: bool,
    /// Whether the machine restarted since the last step.
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
            has_begun: false,
            takeover: None,
            is_taken_over: false,
            rebooted: false,
        }
    }

    /// Notes that the lease clock began again; tokens and versions must still grow.
    pub(super) fn after_reboot(&mut self) {
        self.rebooted = true;
        self.takeover = None;
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

    /// Returns the request of a living run.
    pub(super) fn find(&self, attempt: &Attempt) -> Option<usize> {
        self.known.iter().rposition(|known| known.attempt == *attempt)
    }

    /// Returns the living run of a request.
    pub(super) fn run_of(&self, known: usize) -> Option<&Run> {
        let attempt = &self.known[known].attempt;
        self.snapshot.runs.iter().find(|run| run.attempt == *attempt)
    }

    pub(super) fn set_patience(&mut self, known: usize, patience: Patience) {
        self.known[known].patience = patience;
        self.knowledge.patience.insert(self.known[known].attempt.clone(), patience);
    }
}

/// The size of a page with room for everything in a history.
pub(super) const WHOLE: usize = 10_000;

/// Reads everything that a store says about a namespace, in pages of this size.
pub(super) fn snapshot(store: &dyn Store, namespace: &Namespace, page: usize) -> Result<Snapshot, String> {
    let reader = Reader { store, namespace, page };
    let runs = reader.runs(None)?;
    let records = reader.records()?;
    if page < WHOLE {
        for job in JOBS {
            let job = JobName::parse(job).expect("a plain job");
            let expected = runs.iter().filter(|run| run.spec.job == job);
            let of_job = reader.runs(Some(&job))?;
            promise!(of_job.iter().eq(expected), "not all runs of {job}, and no others: {of_job:?}");
        }
    }
    Ok(Snapshot { runs, records })
}

struct Reader<'r> {
    store: &'r dyn Store,
    namespace: &'r Namespace,
    page: usize,
}

impl Reader<'_> {
    fn read(&self, view: &View) -> Result<Content, String> {
        let page = self.store.view(self.namespace, view);
        page.map(|page| page.content).map_err(|error| format!("a view failed: {error}"))
    }

    fn runs(&self, job: Option<&JobName>) -> Result<Vec<Run>, String> {
        let (mut all, mut from) = (Vec::new(), Ticket(0));
        loop {
            let view = View::Runs { job: job.cloned(), from, limit: self.page };
            let Content::Runs(seen, next) = self.read(&view)? else {
                return Err("not a list of runs".into());
            };
            promise!(seen.len() <= self.page, "a page of {} has {}", self.page, seen.len());
            all.extend(seen.into_iter().map(|seen| seen.run));
            let Some(next) = next else { return Ok(all) };
            promise!(next > from, "the list of runs goes back from {from} to {next}");
            from = next;
        }
    }

    fn records(&self) -> Result<BTreeMap<Name, Record>, String> {
        let (mut all, mut after) = (BTreeMap::new(), None);
        loop {
            let view = View::Records { prefix: String::new(), after: after.clone(), limit: self.page };
            let Content::Records(records, next) = self.read(&view)? else {
                return Err("not a list of records".into());
            };
            promise!(records.len() <= self.page, "a page of {} has {}", self.page, records.len());
            all.extend(records.into_iter().map(|record| (record.name.clone(), record)));
            if next.is_none() {
                return Ok(all);
            }
            promise!(next > after, "the list of records goes back from {after:?} to {next:?}");
            after = next;
        }
    }
}

/// The last takeover.
#[derive(Debug, Clone, Copy)]
pub(super) struct Takeover {
    at_ms: i64,
}

impl Takeover {
    pub(super) fn at(now: Now) -> Self {
        Self { at_ms: now.boot_ms }
    }

    /// Checks that no step grants anything before the pause is over.
    pub(super) fn nothing_is_granted(self, now: Now, before: &Snapshot, after: &Snapshot) -> Verdict {
        if now.boot_ms >= self.at_ms + FAILOVER_PAUSE.as_millis() as i64 || before.runs.is_empty() {
            return Ok(());
        }
        let token = |ticket| before.runs.iter().find(|old| old.ticket == ticket).and_then(|old| old.token);
        let fresh = after.runs.iter().find(|run| holds(run) && token(run.ticket) != run.token);
        promise!(fresh.is_none(), "granted in the pause after the takeover at {} ms: {fresh:?}", self.at_ms);
        Ok(())
    }
}
