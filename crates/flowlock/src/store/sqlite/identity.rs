//! Which file it is, whatever its name, and whether this process has it open.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Mutex;

use super::failure::at_path;
use super::place::Place;
use crate::store::StoreError;
use crate::sync::lock;

/// The file as it was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    /// Of what the path leads to now.
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

/// How often each store is open in this process. Closing any descriptor of its files would drop the locks of all.
static OPEN: Mutex<BTreeMap<Identity, usize>> = Mutex::new(BTreeMap::new());

/// One of those, until dropped.
#[derive(Debug)]
pub(super) struct Counted(Identity);

impl Counted {
    pub(super) fn new(store: &Place) -> Result<Self, StoreError> {
        let identity = Identity::of(store.inside())?;
        *lock(&OPEN).entry(identity).or_default() += 1;
        Ok(Self(identity))
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

/// Whether this process has the store open.
pub(super) fn is_open_here(store: &Place) -> bool {
    Identity::of(store.inside()).is_ok_and(|identity| lock(&OPEN).contains_key(&identity))
}
