//! Prepares the shared store.

use std::path::PathBuf;
use std::time::Duration;

use flowlock::store::sqlite::SqliteStore;
use nix::unistd::Group;

use crate::exit::{self, Failure};
use crate::terminal::{self, shown};

/// Creates the shared store: everything belongs to root and the group; members can write to it, but can
/// replace nothing. Returns its path.
pub(super) fn init_shared(group: &str) -> Result<PathBuf, Failure> {
    let root = std::env::var_os("FLOWLOCK_SYSTEM_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let directory = root.join("var/lib/flowlock");
    let at = shown(&directory.display().to_string());
    let gid = match Group::from_name(group) {
        Ok(Some(found)) => found.gid.as_raw(),
        Ok(None) => {
            return Err(Failure::usage(format!(
                "there is no group {}; create it with groupadd",
                shown(group)
            )));
        }
        Err(error) => return Err(not_shared(&format!("cannot look up the group: {error}"))),
    };
    let store = directory.join("flowlock.db");
    SqliteStore::make_shared(&store, gid, Duration::from_secs(30))
        .map_err(|error| not_shared(&error.to_string()))?;
    terminal::say(&format!("{at} is ready: members of {} share the store in it", shown(group)));
    Ok(store)
}

fn not_shared(problem: &str) -> Failure {
    let hint = if nix::unistd::geteuid().is_root() { "" } else { "; run this as root" };
    Failure::new(exit::CONFIG, "configuration", format!("{problem}{hint}"))
}
