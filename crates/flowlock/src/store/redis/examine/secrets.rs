//! The files with a secret in them that a URL names.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::Finding;

/// Checks whether users other than the owner and a group can read a file with a password or a key.
pub(super) fn file(what: &'static str, path: &Path) -> Finding {
    let shown = path.display();
    match fs::metadata(path) {
        Ok(meta) if meta.mode() & 0o006 != 0 => Finding::bad(
            what,
            format!(
                "{shown}, mode {:04o}: every user of this machine can read it, and then do to the store what you can; fix it with chmod o-rwx",
                meta.mode() & 0o7777
            ),
        ),
        Ok(meta) => {
            Finding::good(what, format!("{shown}, mode {:04o}, owner {}", meta.mode() & 0o7777, meta.uid()))
        }
        Err(error) => Finding::bad(what, format!("{shown}: {error}")),
    }
}
