//! The directories of `trusted_projects`: every project's file below them is trusted.

use std::path::{Path, PathBuf};

use super::file;
use crate::store::path_walk;

/// What the list says about a file.
#[derive(Debug)]
pub(super) enum Listed {
    /// The file is below a directory of the list, and only the user and root control what is there.
    Trusted,
    /// The file is not below such a directory. Says why not for each directory of the list that contains the
    /// file.
    Untrusted(Vec<String>),
}

/// Looks up a project's file, by its path without links. A file that belongs to the user may have been
/// put there by somebody else, and a directory of the list may be a link that somebody else made.
pub(super) fn look_up(path: &Path, list: &[PathBuf], uid: u32) -> Listed {
    let mut why_not = Vec::new();
    for entry in list {
        // A directory that does not exist, or cannot be seen, does not contain the file.
        let (Ok(way), weakness) = file::look(entry, uid) else { continue };
        let place = way.path();
        if !path.starts_with(&place) {
            continue;
        }
        match weakness.map_or_else(|| brought_within(&place, path, uid), Err) {
            Ok(()) => return Listed::Trusted,
            Err(why) => {
                why_not.push(format!("trusted_projects names {}, but {why}", file::shown(entry)));
            }
        }
    }
    Listed::Untrusted(why_not)
}

/// Refuses a file that others can have moved to one of the directories between a place and the file,
/// sticky or not.
fn brought_within(place: &Path, path: &Path, uid: u32) -> Result<(), String> {
    let mut brought = None;
    let walked = path_walk::see(path, &mut |step| {
        if brought.is_none() && step.at.starts_with(place) {
            brought = file::brought(step.at, step.directory, step.here, uid);
        }
    });
    match (brought, walked) {
        (Some(why), _) => Err(why),
        (None, Err(error)) => Err(format!("{} cannot be examined: {error}", file::shown(path))),
        (None, Ok(_)) => Ok(()),
    }
}
