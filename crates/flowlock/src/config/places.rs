//! Where the embedded store is by default.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::unistd::AccessFlags;

use super::private;
use super::surroundings::Surroundings;
use crate::error::Error;
use crate::people::may_be_root;
use crate::text::escape;

/// Returns the default store: the one shared by all users if the machine was prepared for that, else the
/// user's own. Never falls back from one to the other.
pub(super) fn default_store(surroundings: &Surroundings) -> Result<PathBuf, Error> {
    let shared = surroundings.root.join("var/lib/flowlock");
    if shared.is_dir() {
        return match nix::unistd::access(&shared, AccessFlags::W_OK.union(AccessFlags::X_OK)) {
            Ok(()) => Ok(shared.join("flowlock.db")),
            Err(error) => Err(Error::Configuration(format!(
                "the shared store's directory {} cannot be written by user {}: {}; join its group, or name another store with --store",
                escape(&shared.display().to_string()),
                surroundings.uid,
                error.desc()
            ))),
        };
    }
    match surroundings.state_directory()? {
        Some(state) => Ok(state.join("flowlock.db")),
        None => Err(Error::Configuration(format!(
            "user {} has no home directory for the store; set HOME or XDG_STATE_HOME, or name a store with --store",
            surroundings.uid
        ))),
    }
}

/// Creates the directory of the user's own store, where no other user could interfere: another user's
/// link higher up would decide where it is.
pub(super) fn make_private(directory: &Path, me: u32) -> Result<(), Error> {
    if let Ok(meta) = fs::metadata(directory) {
        let is_everybodys = meta.mode() & 0o1002 == 0o002;
        // Where it lies is judged when the store is opened.
        if (meta.uid() == me || may_be_root(meta.uid())) && !is_everybodys {
            return Ok(());
        }
        return Err(Error::Configuration(format!(
            "the store's directory {} belongs to user {} (mode {:04o}), so others can put another store there; name a store \
             with --store, or remove the directory",
            escape(&directory.display().to_string()),
            meta.uid(),
            meta.mode() & 0o7777
        )));
    }
    private::make_private(directory, me).map(drop).map_err(|error| {
        let shown = escape(&directory.display().to_string());
        Error::Configuration(format!(
            "cannot create the store's directory {shown}: {error}; name a store with --store"
        ))
    })
}
