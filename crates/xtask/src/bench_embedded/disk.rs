//! What the store's file lies on.

use std::path::Path;

use nix::sys::statfs::{self, EXT4_SUPER_MAGIC, TMPFS_MAGIC};

use crate::Trouble;

/// The file system of a folder, and the version of SQLite.
pub(crate) fn description(folder: &Path) -> Result<String, Trouble> {
    let file_system = match statfs::statfs(folder)?.filesystem_type() {
        EXT4_SUPER_MAGIC => "ext4".to_owned(),
        TMPFS_MAGIC => "tmpfs".to_owned(),
        other => format!("file system {:#x}", other.0),
    };
    Ok(format!("{file_system}, SQLite {}", rusqlite::version()))
}
