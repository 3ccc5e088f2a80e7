//! The directories of `trusted_projects`: places in which every project's file counts.

use std::path::{Path, PathBuf};

use super::file;
use crate::store::path_walk;

/// What a list says of a file.
#[derive(Debug)]
pub(super) enum Listed {
    /// It lies in a place of the list that only the user and root decide about.
    Trusted,
    /// It lies in no such place: why not, where the list names one.
    Untrusted(Vec<String>),
}

/// Looks a project's file up, its path without links. That the file is the user's does not say who put it there, nor does
/// the name of a directory say who made a link of it.
pub(super) fn look_up(path: &Path, list: &[PathBuf], uid: u32) -> Listed {
    let mut why_not = Vec::new();
    for entry in list {
        // What is not there, or cannot be seen, is not where the file lies.
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

/// Refuses a file that others can have moved to one of the directories between a place and it, sticky or not.
fn brought_within(place: &Path, path: &Path, uid: u32) -> Result<(), String> {
    let mut brought = None;
    let walked = path_walk::see(path, &mut |step| {
        if brought.is_none() && step.at.starts_with(place) {
            brought = file::brought(step.at, step.directory, step.here, uid);
        }
    });
    match (brought, walked) {
        (Some(why), _) => Err(why),
        (None, Err(error)) => Err(format!("{} cannot be looked at: {error}", file::shown(path))),
        (None, Ok(_)) => Ok(()),
    }
}
