//! Reading a namespace: runs, names, records; and the namespaces of a store.

use std::time::{Duration, Instant};

use crate::endings::Concern;
use crate::error::Error;
use crate::flowlock::Flowlock;
use crate::id::Ticket;
use crate::name::{Name, Namespace, RunId};
use crate::store::{Content, NameSeen, NamespaceSeen, Page, Seen, StoreError, StoreErrorKind, View, pages};
use crate::world::later;

/// How much memory all runs of a namespace may take at once: a faulty server may invent more and more
/// runs.
const MOST_BYTES_OF_RUNS: usize = 128 << 20;
/// How many times `store_timeout` all questions about a store's namespaces may take together: a faulty
/// server may list any number of them, and answer each question slowly.
const MOST_TIME: u32 = 10;
impl Flowlock {
    /// Reads one page of anything, as one snapshot.
    ///
    /// ```
    /// use flowlock::{Flowlock, store::{Content, View}};
    /// let flowlock = Flowlock::open("memory:")?;
    /// flowlock.create(&["a", "b"], Default::default())?;
    /// let page = flowlock.view(&View::Records { prefix: String::new(), after: None, limit: 1 })?;
    /// let Content::Records(records, next) = page.content else { unreachable!() };
    /// assert_eq!((records.len(), next.unwrap().as_str()), (1, "a"));
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn view(&self, view: &View) -> Result<Page, Error> {
        Ok(self.connection.view(view)?)
    }

    /// Returns the runs that wait or hold their claims, in the order of arrival.
    ///
    /// # Errors
    /// [`Error::Store`] if they would take more than 128 MiB here; [`view`](Self::view) reads them page
    /// by page.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// let grant = flowlock.job("import").output("sales").acquire()?;
    /// let runs = flowlock.runs()?;
    /// assert_eq!(runs[0].run.spec.job.as_str(), "import");
    /// # grant.commit()?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn runs(&self) -> Result<Vec<Seen>, Error> {
        let mut all: Vec<Seen> = Vec::new();
        let (mut from, mut bytes) = (Ticket(0), 0);
        loop {
            let view = View::Runs { job: None, from, limit: 1_000 };
            let Content::Runs(runs, next) = self.view(&view)?.content else {
                return Ok(all);
            };
            bytes += runs.iter().map(pages::size_of).sum::<usize>();
            all.extend(runs);
            if bytes > MOST_BYTES_OF_RUNS {
                return Err(pages::too_much(all.len(), MOST_BYTES_OF_RUNS).into());
            }
            match next {
                Some(next) => from = next,
                None => return Ok(all),
            }
        }
    }

    /// Returns the latest run with this id, also an ended one while it is remembered.
    pub fn run(&self, id: &RunId) -> Result<Option<Seen>, Error> {
        match self.view(&View::Run(id.clone()))?.content {
            Content::Run(seen) => Ok(seen.map(|seen| *seen)),
            _ => Ok(None),
        }
    }

    /// Returns everything about some names: record, holders, queue.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// use flowlock::Name;
    /// let grant = flowlock.job("import").output("sales").acquire()?;
    /// let seen = flowlock.names(&[Name::parse("sales")?])?;
    /// assert!(seen[0].record.is_none());
    /// assert_eq!(seen[0].holders[0].1.job.as_str(), "import");
    /// # grant.commit()?;
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn names(&self, names: &[Name]) -> Result<Vec<NameSeen>, Error> {
        let mut all = Vec::with_capacity(names.len());
        while let Some(rest) = names.get(all.len()..).filter(|rest| !rest.is_empty()) {
            match self.view(&View::Names(rest.to_vec()))?.content {
                Content::Names(seen) if !seen.is_empty() => all.extend(seen),
                _ => break,
            }
        }
        Ok(all)
    }

    /// Returns all namespaces of the store, by name, each with how much is in it; `None` for one that
    /// this user may not read.
    ///
    /// ```
    /// # let flowlock = flowlock::Flowlock::open("memory:")?;
    /// flowlock.create(&["sales"], Default::default())?;
    /// let all = flowlock.namespaces()?;
    /// assert_eq!(all[0].0.as_str(), "default");
    /// assert_eq!(all[0].1.as_ref().unwrap().records, 1);
    /// # Ok::<(), flowlock::Error>(())
    /// ```
    pub fn namespaces(&self) -> Result<Vec<(Namespace, Option<NamespaceSeen>)>, Error> {
        let limits = self.connection.settle(&Concern::All, self.connection.limits_of_caller());
        let most = self.connection.store_timeout * MOST_TIME;
        let end = later(Instant::now(), most);
        let mut all = Vec::new();
        let namespaces = self.connection.list_namespaces(&limits)?;
        let count = namespaces.len();
        for (asked, namespace) in namespaces.into_iter().enumerate() {
            if Instant::now() >= end {
                return Err(looked_too_long(asked, count, most).into());
            }
            let limits = self.connection.limits_of_caller().no_later_than(end);
            limits.check()?;
            let page = self.connection.view_in(&namespace, &View::Namespace, &limits);
            match page.map(|page| page.content) {
                Ok(Content::Namespace(Some(seen))) if seen.removed.is_none() => {
                    all.push((namespace, Some(seen)));
                }
                Ok(_) => {}
                Err(error) if error.kind() == StoreErrorKind::Unusable => all.push((namespace, None)),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }
}

fn looked_too_long(asked: usize, all: usize, time: Duration) -> StoreError {
    let message = format!(
        "{asked} of {all} namespaces were read within {} s; set a larger store_timeout to give them more time",
        time.as_secs()
    );
    StoreError::new(StoreErrorKind::Unreachable, message).out_of_time()
}
