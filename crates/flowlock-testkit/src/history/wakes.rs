//! Wake-ups: a process that is handed a grant is told, on every store, and is not told about other
//! processes' runs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use flowlock::store::Inbox;
use flowlock::{ClientId, Namespace, Run, RunId, State};

use super::{Verdict, promise};
use crate::PATIENCE;
use crate::oracle::Snapshot;
use crate::subject::Subject;

/// Where the wake-ups of all processes arrive; one inbox per store for each.
#[derive(Debug, Default)]
pub(super) struct Inboxes {
    of: BTreeMap<ClientId, Vec<Listener>>,
}

impl Inboxes {
    /// Listens for a process on every store.
    pub(super) fn open(&mut self, subjects: &[Subject], namespace: &Namespace, client: ClientId) {
        let listener = |subject: &Subject| {
            let inbox = subject.store().inbox(namespace, client).expect("there is room for an inbox");
            Listener { store: subject.name(), inbox, told: BTreeSet::new() }
        };
        self.of.insert(client, subjects.iter().map(listener).collect());
    }

    /// Checks that a process that is handed a grant is told, so that it need not ask. All stores must
    /// tell a process exactly what the first one tells it.
    pub(super) fn wakes_are_sent(&mut self, at: usize, before: &Snapshot, after: &Snapshot) -> Verdict {
        for listeners in self.of.values_mut() {
            let (first, others) = listeners.split_first_mut().expect("there are stores");
            let news = first.listen(Duration::ZERO);
            // With takeovers all stores are on one server, which tells all processes about all of them.
            let compared = !first.is_redis();
            for other in others.iter_mut().filter(|other| compared && (at == 0 || !other.is_redis())) {
                other.is_told(&news)?;
            }
        }
        for (run, old) in handed_over(before, after) {
            // In this very step another process may have taken the run over.
            let owners = [old, run].map(|run| run.holder.client);
            let is_told = self.is_told(at, owners, &run.attempt.id);
            promise!(is_told, "L4: nobody was told of the grant of {run:?}");
        }
        Ok(())
    }

    /// Returns whether the first store told one of the processes of the run; the Redis store is given a
    /// moment.
    fn is_told(&mut self, at: usize, clients: [ClientId; 2], run: &RunId) -> bool {
        let until = Instant::now() + PATIENCE;
        loop {
            for client in clients {
                let Some(first) = self.of.get_mut(&client).and_then(|listeners| listeners.first_mut()) else {
                    continue;
                };
                if first.told.contains(run) || first.is_redis() && at != 0 {
                    return true;
                } else if !first.is_redis() {
                    continue;
                }
                let before = std::mem::take(&mut first.told);
                first.listen(Duration::from_millis(10));
                first.told.extend(before);
            }
            if Instant::now() > until || clients.iter().any(|client| self.is_in_this_process(*client)) {
                return false;
            }
        }
    }

    /// Returns whether the first store tells its processes within the step itself: then there is no need
    /// to wait.
    fn is_in_this_process(&self, client: ClientId) -> bool {
        self.of.get(&client).is_some_and(|listeners| !listeners[0].is_redis())
    }
}

/// One process's inbox on one store.
#[derive(Debug)]
struct Listener {
    store: &'static str,
    inbox: Box<dyn Inbox>,
    /// What it was told since the last step.
    told: BTreeSet<RunId>,
}

impl Listener {
    /// Returns whether it hears about only one namespace, and a moment later.
    fn is_redis(&self) -> bool {
        self.store.starts_with("redis")
    }

    /// Takes in what has arrived; waits up to `at_most` for news if there is none.
    fn listen(&mut self, at_most: Duration) -> BTreeSet<RunId> {
        self.told = self.inbox.wait(at_most).runs.into_iter().collect();
        self.told.clone()
    }

    /// Waits until it is told what the first store told, and checks that it is told nothing else.
    fn is_told(&mut self, news: &BTreeSet<RunId>) -> Verdict {
        let until = Instant::now() + PATIENCE;
        let mut heard = self.listen(Duration::ZERO);
        while !news.is_subset(&heard) {
            promise!(Instant::now() < until, "L4: the {} store tells {heard:?}, not {news:?}", self.store);
            heard.extend(self.listen(Duration::from_millis(50)));
        }
        let too_much: Vec<_> = heard.difference(news).collect();
        promise!(too_much.is_empty(), "the {} store tells a process of {too_much:?} too", self.store);
        Ok(())
    }
}

/// Returns the runs that were granted in a step, and their state before.
fn handed_over<'s>(before: &'s Snapshot, after: &'s Snapshot) -> impl Iterator<Item = (&'s Run, &'s Run)> {
    after.runs.iter().filter(|run| run.state == State::Granted).filter_map(|run| {
        let old = before.runs.iter().find(|old| old.ticket == run.ticket)?;
        (old.token != run.token).then_some((run, old))
    })
}
