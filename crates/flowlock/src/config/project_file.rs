//! A project's `flowlock.toml` as a file: where it is searched, and where the store that it names may
//! be.

use std::fs;
use std::path::{Component, Path, PathBuf};

use nix::libc;

use super::file::{self, Found};
use super::paths;
use super::table::Table;
use crate::error::Error;
use crate::store::path_walk;
use crate::text::shell_argument;

/// The name of a project's file.
pub(super) const NAME: &str = "flowlock.toml";

/// The most bytes of a path that the kernel takes, with the zero at its end.
const PATH_MAX: usize = libc::PATH_MAX as usize;

/// Returns the nearest file, in the directory or above it.
pub(super) fn find(from: &Path) -> Result<Option<PathBuf>, Error> {
    match whole(from)? {
        Some(from) => nearest(&from),
        None => Ok(None),
    }
}

/// Returns the path of a directory from the root, without links; `None` if the user may not enter a
/// directory on the way. It cannot be told of a working directory that was removed, or whose path is
/// longer than the kernel tells: a project's file may be there, or above it.
pub(super) fn whole(from: &Path) -> Result<Option<PathBuf>, Error> {
    let unknown = |why: String| {
        Error::Configuration(format!(
            "the working directory cannot be told ({why}), so a project's {NAME} that may be in it or above it is not found; cd to another directory, or set both store and namespace by flags or variables"
        ))
    };
    match fs::canonicalize(from) {
        Ok(path) if path.as_os_str().len() < PATH_MAX => Ok(Some(path)),
        Ok(_) => Err(unknown("File name too long".to_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
        Err(error) => Err(unknown(error.to_string())),
    }
}

/// Returns the nearest file, in this directory or above it.
pub(super) fn nearest(from: &Path) -> Result<Option<PathBuf>, Error> {
    for directory in from.ancestors() {
        let path = directory.join(NAME);
        match fs::symlink_metadata(&path) {
            Ok(_) => return Ok(Some(path)),
            Err(error) if file::is_absence(&error) => {}
            // A file in a directory that the user may not even enter was not meant for them.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {}
            Err(error) => {
                let shown = file::shown(&path);
                return Err(Error::Configuration(format!("{shown} cannot be examined: {error}")));
            }
        }
    }
    Ok(None)
}

/// Returns the command that trusts a file.
pub(super) fn command(path: &Path) -> String {
    format!("flowlock trust {}", shell_argument(&file::shown(path)))
}

/// Refuses a store whose relative path leads out of the project, or through a link: the user trusted the
/// path, not what a later state of the project makes of it. Also refuses every path through `/proc`,
/// where an absolute path is no better than a relative one: `/proc/self/cwd/pw` is `pw` in the directory
/// where a job is started.
pub(super) fn judge(found: &Found, table: &Table, key: &str) -> Result<(), Error> {
    let Some(setting) = table.settings.get(key).filter(|_| key == "store") else { return Ok(()) };
    let not_taken = |why: String| {
        Err(Error::Configuration(format!("{}: this store is not used, because {why}", setting.source)))
    };
    for (what, path) in setting.paths() {
        let path = path.as_path();
        if path.is_absolute() && (begins_in_proc(path) || is_through_proc(path)) {
            return not_taken(format!(
                "{what} {} leads through /proc, where the same path means a different file for each process; write the path of \
                 the file itself",
                file::shown(path)
            ));
        }
    }
    let directory = crate::store::directory_of(&found.path);
    let below = paths::file_of(&setting.value).filter(|_| table.is_store_relative);
    match below.and_then(|file| way_out(directory, file)) {
        None => Ok(()),
        Some(why) => not_taken(format!(
            "{why}: even in a trusted project's file, a relative path must lie below the project and lead through no symbolic link, because the next pull could point a link anywhere; write the absolute path of the store"
        )),
    }
}

/// Returns whether a path leads through `/proc`, as far as it exists.
fn is_through_proc(path: &Path) -> bool {
    let mut is_through = false;
    let _ = path_walk::see(path, &mut |step| is_through |= step.is_in_proc());
    is_through
}

/// Returns whether a path, as written, begins in `/proc`: a file that does not exist yet, or cannot be
/// seen, may exist later.
fn begins_in_proc(path: &Path) -> bool {
    ["/proc", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr"]
        .iter()
        .any(|place| path.starts_with(place))
}

/// Returns why a file is not below a directory, or is reached through a link: a directory on the path
/// may be one, or the file, or anything beside it whose name begins like its own, such as `-wal` and
/// `-wake`.
pub(super) fn way_out(directory: &Path, file: &str) -> Option<String> {
    let outside =
        || Some(format!("{} is not a file below {}", file::shown(Path::new(file)), file::shown(directory)));
    let Ok(below) = Path::new(file).strip_prefix(directory) else { return outside() };
    let parts: Vec<_> = below.components().collect();
    let plain = parts.iter().all(|part| matches!(part, Component::Normal(_)));
    if !plain || parts.is_empty() || file.ends_with('/') {
        return outside();
    }
    let mut at = directory.to_owned();
    for part in &parts {
        at.push(part);
        if fs::symlink_metadata(&at).is_ok_and(|meta| meta.is_symlink()) {
            return Some(is_a_link(&at));
        }
    }
    link_beside(&at).map(|link| is_a_link(&link))
}

fn is_a_link(path: &Path) -> String {
    let target = fs::read_link(path).unwrap_or_default();
    format!("{} is a symbolic link to {}", file::shown(path), file::shown(&target))
}

fn link_beside(file: &Path) -> Option<PathBuf> {
    let begins = file.file_name().unwrap_or_default().as_encoded_bytes();
    let beside = fs::read_dir(crate::store::directory_of(file)).into_iter().flatten().flatten();
    beside
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(begins))
        .find(|entry| entry.file_type().is_ok_and(|kind| kind.is_symlink()))
        .map(|entry| entry.path())
}
