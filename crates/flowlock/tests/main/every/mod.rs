//! What holds on every store.
//!
//! `main.rs` includes this file once for each store, and the module's name there says which it is. All that a test
//! here knows of its store comes from [`Fresh`], so none can be on one store only.

mod answers;
mod begun;
mod between;
mod claimed;
mod dropped;
mod ear;
mod forgotten;
mod holders;
mod kept;
mod namespaces;
mod orphans;
mod pages;
mod parents;
mod same_id;
mod unreachable;
mod waiters;

use std::path::Path;
use std::time::Duration;

use flowlock::{Builder, Flowlock, Namespace};
use flowlock_testkit::{RedisServer, fresh_namespace};
use tempfile::TempDir;

use crate::Backing;

const BACKING: Backing = Backing::named(module_path!());

/// Waits until `found`, for at most 20 s.
#[track_caller]
fn until(what: &str, mut found: impl FnMut() -> bool) {
    flowlock_testkit::until(what, Duration::from_secs(20), || found().then_some(()));
}

/// An empty store for one test, which must outlive what the test opens.
struct Fresh {
    url: String,
    namespace: Namespace,
    _directory: Option<TempDir>,
}

impl Fresh {
    fn new() -> Self {
        let (url, directory) = match BACKING {
            Backing::Memory => ("memory:".to_owned(), None),
            Backing::Embedded => {
                // In memory where the machine has such a place: no test here waits for a disk.
                let shared_memory = Path::new("/dev/shm");
                let directory =
                    if shared_memory.is_dir() { TempDir::new_in(shared_memory) } else { TempDir::new() };
                let directory = directory.expect("room for a store");
                (format!("sqlite:{}/flowlock.db", directory.path().display()), Some(directory))
            }
            Backing::Redis => (RedisServer::shared().url(), None),
        };
        let namespace = Namespace::parse(&fresh_namespace()).expect("a plain name");
        Self { url, namespace, _directory: directory }
    }

    /// A connection with the usual settings. In memory, each is to a store of its own.
    fn open(&self) -> Flowlock {
        self.open_with(Flowlock::builder())
    }

    fn open_with(&self, settings: Builder) -> Flowlock {
        settings.namespace(self.namespace.clone()).open(&self.url).unwrap()
    }

    /// A connection whose steps go through `meddle`.
    fn through(&self, meddle: impl between::Meddling + 'static) -> Flowlock {
        between::through(&self.open(), meddle)
    }

    /// The same; what it hears goes through `hear`.
    fn through_hearing(
        &self,
        meddle: impl between::Meddling + 'static,
        hear: impl between::Hearing + 'static,
    ) -> Flowlock {
        between::through_hearing(&self.open(), meddle, hear)
    }
}
