//! The directories of `trusted_projects`: places in which every project's file counts.

use std::fs;
use std::path::{Path, PathBuf};

use super::file;

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
        // Judged first: what cannot be exchanged leads to the same place afterwards.
        let weakness = file::weakness(entry, uid).map_err(|error| error.to_string());
        let Some(place) = fs::canonicalize(entry).ok().filter(|place| path.starts_with(place)) else {
            continue;
        };
        match weakness.and_then(|weakness| weakness.map_or_else(|| brought_within(&place, path, uid), Err)) {
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
    let directories = path.ancestors().skip(1).take_while(|directory| directory.starts_with(place));
    for directory in directories {
        if let Some(why) = file::brought(directory, uid).map_err(|error| error.to_string())? {
            return Err(why);
        }
    }
    Ok(())
}
