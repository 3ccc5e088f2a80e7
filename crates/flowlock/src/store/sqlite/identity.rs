//! Which file it is, whatever its name, and whether this process has it open.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Mutex;

use super::failure::at_path;
use super::held_path::HeldPath;
use crate::store::StoreError;
use crate::sync::lock;

/// The file as it was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Returns the identity of what the path leads to now.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        // Only stat: opening and closing the file here would drop SQLite's own locks on it.
        let meta = fs::symlink_metadata(path).map_err(|error| at_path("look at the store", path, error))?;
        Ok(Self::from(&meta))
    }
}

impl From<&Metadata> for Identity {
    fn from(meta: &Metadata) -> Self {
        Self { device: meta.dev(), inode: meta.ino() }
    }
}

/// How often each store is open in this process, or about to be. Closing any descriptor of its files
/// would drop the locks of all.
static OPEN: Mutex<BTreeMap<Identity, usize>> = Mutex::new(BTreeMap::new());

/// One of those, until dropped: from before `SQLite` opens the store until after it has closed it.
#[derive(Debug)]
pub(super) struct Counted(Identity);

impl Counted {
    pub(super) fn new(store: &HeldPath) -> Result<Self, StoreError> {
        let identity = Identity::of(store.inside())?;
        *lock(&OPEN).entry(identity).or_default() += 1;
        Ok(Self(identity))
    }

    /// Returns whether this file still has the name.
    pub(super) fn is_at(&self, store: &HeldPath) -> bool {
        Identity::of(store.inside()).is_ok_and(|identity| identity == self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut open = lock(&OPEN);
        if let Some(times) = open.get_mut(&self.0) {
            *times -= 1;
            if *times == 0 {
                open.remove(&self.0);
            }
        }
    }
}

/// Opens and closes files of a store, to look into them; does nothing if this process has the store
/// open. No thread can begin to open it meanwhile, because closing would drop the locks that the thread
/// got.
pub(super) fn unless_open<T>(store: &HeldPath, look: impl FnOnce() -> T) -> Option<T> {
    let identity = Identity::of(store.inside()).ok();
    let open = lock(&OPEN);
    let is_open = identity.is_some_and(|identity| open.contains_key(&identity));
    (!is_open).then(look)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::super::file::OpenFile;
    use super::super::format::IN_USE;
    use super::super::held_path::Missing;
    use super::super::lockers::{Kind, Lock, locks_on};
    use crate::store::Limits;

    use super::*;

    #[test]
    fn a_thread_that_looks_into_a_store_before_it_opens_it_drops_no_lock_of_another() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.db");
        let store = || HeldPath::find(&path, Missing::Refused).unwrap();
        let limits = Limits::within(Duration::from_secs(20));
        drop(OpenFile::open(&store(), &limits).unwrap());
        let index = store().beside("-shm");
        let is_locked = || {
            let all = locks_on(index.inside(), Kind::Bytes, &limits);
            let is_it = |lock: &Lock| (lock.bytes.0..=lock.bytes.1).contains(&IN_USE);
            all.iter().any(|lock| is_it(lock) && lock.keeper.pid() == Some(std::process::id()))
        };
        let (together, unlocked) = (Barrier::new(3), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for round in 0..200 {
                        together.wait();
                        let open = OpenFile::open(&store(), &limits);
                        together.wait();
                        if open.is_err() || !is_locked() {
                            lock(&unlocked).push((round, open.err()));
                        }
                        together.wait();
                    }
                });
            }
        });
        let unlocked = unlocked.into_inner().unwrap();
        assert!(unlocked.is_empty(), "{unlocked:?}");
    }

    #[test]
    fn nobody_begins_to_open_a_store_while_somebody_looks_into_it() {
        let directory = tempfile::tempdir().unwrap();
        let place = HeldPath::find(&directory.path().join("s.db"), Missing::Refused).unwrap();
        std::fs::write(place.inside(), "").unwrap();
        let (began, counted) = (Barrier::new(2), std::sync::atomic::AtomicBool::new(false));
        std::thread::scope(|scope| {
            let looked = unless_open(&place, || {
                scope.spawn(|| {
                    began.wait();
                    let _counted = Counted::new(&place).unwrap();
                    counted.store(true, std::sync::atomic::Ordering::SeqCst);
                });
                began.wait();
                !counted.load(std::sync::atomic::Ordering::SeqCst)
            });
            assert_eq!(looked, Some(true));
        });
        assert_eq!(unless_open(&place, || ()), Some(()), "it is open no more");
        let _counted = Counted::new(&place).unwrap();
        assert_eq!(unless_open(&place, || ()), None);
    }
}
