//! The way that a path leads, step by step, links followed.

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::sys::statfs::{PROC_SUPER_MAGIC, statfs};

use super::file::is_absence;

/// As the kernel has it.
const MOST_LINKS: usize = 40;

/// What is next on a way, and the directory that it lies in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'s> {
    pub(super) at: &'s Path,
    pub(super) next: &'s Path,
    pub(super) meta: &'s Metadata,
}

/// Shows each directory and link on the way to a file, and the file, until something is found.
pub(super) fn walk<T>(
    path: &Path,
    mut find: impl FnMut(Step<'_>) -> io::Result<Option<T>>,
) -> io::Result<Option<T>> {
    let mut ahead: Vec<OsString> = parts(path);
    let mut at = PathBuf::from("/");
    let mut links = 0;
    while let Some(part) = ahead.pop() {
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let meta = fs::symlink_metadata(&next)?;
        if let Some(found) = find(Step { at: &at, next: &next, meta: &meta })? {
            return Ok(Some(found));
        }
        if !meta.is_symlink() {
            at = next;
            continue;
        }
        links += 1;
        if links > MOST_LINKS {
            return Err(io::Error::from_raw_os_error(libc::ELOOP));
        }
        let target = fs::read_link(&next)?;
        if target.is_absolute() {
            at = PathBuf::from("/");
        }
        ahead.extend(parts(&target));
    }
    Ok(None)
}

/// Whether a path leads through the kernel's list of processes, in which it means another file for each of them. What
/// is not there leads nowhere.
pub(super) fn is_through_proc(path: &Path) -> io::Result<bool> {
    let is_proc = |at: &Path| statfs(at).map(|found| found.filesystem_type() == PROC_SUPER_MAGIC);
    match walk(path, |step| Ok(is_proc(step.at)?.then_some(()))) {
        Ok(found) => Ok(found.is_some()),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.rev().map(|part| part.as_os_str().to_owned()).collect()
}
