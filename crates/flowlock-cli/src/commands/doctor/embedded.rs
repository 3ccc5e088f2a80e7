//! The embedded store's file and all around it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowlock::store::sqlite::SqliteStore;
use nix::unistd::Group;

use super::FindingJson;
use crate::context::Context;
use crate::exit::{self, Failure};
use crate::terminal::{self, shown};
use crate::times;

/// The file, its directory, and what is in it.
pub(super) fn examine(context: &Context) -> Vec<FindingJson> {
    let mut findings = Vec::new();
    if let Some(path) = context.flowlock.store().url().strip_prefix("sqlite:").map(Path::new) {
        findings.extend(files(path));
        findings.extend(content(path, context.flowlock.store_timeout()));
    }
    findings.push(FindingJson::good("SQLite", SqliteStore::sqlite_version()));
    findings
}

fn files(path: &Path) -> Vec<FindingJson> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut findings = vec![mode("directory", directory), mode("file", path), file_system(directory)];
    let old = |left: &PathBuf| {
        let made = fs::symlink_metadata(left).and_then(|meta| meta.modified());
        made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > Duration::from_mins(1)))
    };
    let left: Vec<_> = SqliteStore::leftovers(path).into_iter().filter(old).collect();
    if !left.is_empty() {
        let list = left.iter().map(|left| shown(&left.display().to_string())).collect::<Vec<_>>().join(", ");
        findings.push(FindingJson::good(
            "leftover files",
            format!("of processes that died while making a store; can be removed: {list}"),
        ));
    }
    findings
}

fn mode(what: &'static str, path: &Path) -> FindingJson {
    match fs::metadata(path) {
        Ok(meta) => {
            let mode = meta.mode() & 0o7777;
            let found = format!("mode {mode:04o}, owner {}, group {}", meta.uid(), meta.gid());
            match who_else(what, &meta) {
                None => {
                    // In a directory with the sticky bit members remove and replace only what they made themselves.
                    let open = meta.is_dir() && mode & 0o1020 == 0o020;
                    let hint =
                        if open { "; members of the group can replace the store: chmod +t" } else { "" };
                    FindingJson::good(what, found + hint)
                }
                Some(problem) => FindingJson::bad(what, format!("{found}: {problem}")),
            }
        }
        Err(error) => FindingJson::bad(what, error.to_string()),
    }
}

/// Who else could spoil or replace the store, and what to do about that.
fn who_else(what: &str, meta: &fs::Metadata) -> Option<String> {
    let (mode, owner) = (meta.mode(), meta.uid());
    let is_ours = owner == 0 || owner == nix::unistd::getuid().as_raw();
    match () {
        // As /tmp is: that is right for such a directory, and it is none for a store.
        () if meta.is_dir() && mode & 0o1002 == 0o1002 => Some(
            "everybody may make files in it, as in /tmp, also those that belong beside the store; keep the store in a directory of its own"
                .to_owned(),
        ),
        () if mode & 0o002 != 0 => Some("everybody may write it; take that away with chmod o-w".to_owned()),
        () if !is_ours => Some(format!(
            "user {owner} may change, replace or remove the {what} as they like; keep the store where its owner is you or root, as doctor --init-shared makes it"
        )),
        () => None,
    }
}

fn file_system(directory: &Path) -> FindingJson {
    use nix::sys::statfs;
    const KNOWN: [(statfs::FsType, &str); 7] = [
        (statfs::EXT4_SUPER_MAGIC, "ext"),
        (statfs::XFS_SUPER_MAGIC, "xfs"),
        (statfs::BTRFS_SUPER_MAGIC, "btrfs"),
        (statfs::TMPFS_MAGIC, "tmpfs: gone after a reboot"),
        (statfs::OVERLAYFS_SUPER_MAGIC, "overlay: gone with its container"),
        (statfs::FUSE_SUPER_MAGIC, "fuse: make sure that it is not shared with another host"),
        (statfs::MSDOS_SUPER_MAGIC, "FAT"),
    ];
    match statfs::statfs(directory) {
        Ok(found) => {
            let kind = found.filesystem_type();
            let name = KNOWN.iter().find(|(known, _)| *known == kind);
            let name = name.map_or_else(|| format!("type {:#x}", kind.0), |(_, name)| (*name).to_owned());
            let free = found.blocks_available() * found.block_size() as u64 / (1024 * 1024);
            let told = format!("{name}, {free} MiB free");
            if free < 16 {
                FindingJson::bad("file system", told)
            } else {
                FindingJson::good("file system", told)
            }
        }
        Err(error) => FindingJson::bad("file system", error.to_string()),
    }
}

/// What is in the file and beside it.
fn content(path: &Path, store_timeout: Duration) -> Vec<FindingJson> {
    let store = match SqliteStore::open(path, store_timeout) {
        Ok(store) => store,
        Err(error) => return vec![FindingJson::bad("content", error.to_string())],
    };
    let mut findings = vec![match store.check() {
        Ok(problems) if problems.is_empty() => {
            FindingJson::good("content", "every page reads, tables and indexes agree")
        }
        Ok(problems) => FindingJson::bad("content", problems.join("; ")),
        Err(error) => FindingJson::bad("content", error.to_string()),
    }];
    findings.extend(store.examine().into_iter().map(FindingJson::from));
    findings
}

/// Tokens are at least the wall clock in microseconds: one ahead of it shows a clock that was set back.
pub(super) fn clock(highest: Option<flowlock::Token>) -> FindingJson {
    const TOLERATED: Duration = Duration::from_mins(1);
    let now_us = jiff::Timestamp::now().as_microsecond().max(0) as u64;
    let ahead = Duration::from_micros(highest.map_or(0, |token| token.0.saturating_sub(now_us)));
    let now = flowlock::shown_time(now_us as i64);
    if ahead <= TOLERATED {
        return FindingJson::good("clock", now);
    }
    let problem =
        format!("{now}, but the newest grant is {} ahead: the clock was set back", times::short(ahead));
    FindingJson::bad("clock", problem)
}

/// Makes the shared store: everything belongs to root and the group, members can write it and replace nothing.
/// Answers its path.
pub(super) fn init_shared(group: &str) -> Result<PathBuf, Failure> {
    let root = std::env::var_os("FLOWLOCK_SYSTEM_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from);
    let directory = root.join("var/lib/flowlock");
    let at = shown(&directory.display().to_string());
    let gid = match Group::from_name(group) {
        Ok(Some(found)) => found.gid.as_raw(),
        Ok(None) => {
            return Err(Failure::usage(format!("there is no group {}; make it with groupadd", shown(group))));
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
