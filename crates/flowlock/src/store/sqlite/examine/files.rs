//! The file and its directory: who may change them, where they are, and what dead processes left beside
//! them.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use super::super::create::{MOST_LEFTOVERS, leftovers};
use super::super::held_path::HeldPath;
use crate::store::{Finding, FirstFew};

/// A younger file may be in use by a process.
const OLD: Duration = Duration::from_mins(1);

pub(super) fn examine(store: &HeldPath) -> Vec<Finding> {
    let directory = store.directory_path();
    let mut findings = vec![mode("directory", directory), mode("file", store.path()), file_system(directory)];
    findings.extend(left_behind(store));
    findings
}

fn left_behind(store: &HeldPath) -> Option<Finding> {
    let is_old = |left: &HeldPath| {
        let made = left.look().and_then(|meta| meta.modified());
        made.is_ok_and(|made| made.elapsed().is_ok_and(|age| age > OLD))
    };
    let mut left = FirstFew::default();
    leftovers(store).iter().filter(|file| is_old(file)).for_each(|file| left.add(|| file.shown()));
    let told = format!(
        "left by processes that died while making a store; you can remove them: {}{}",
        left.list(", ", ", "),
        if left.count() == MOST_LEFTOVERS { "; there may be others" } else { "" }
    );
    (left.count() > 0).then(|| Finding::good("leftover files", told))
}

fn mode(what: &'static str, path: &Path) -> Finding {
    match fs::metadata(path) {
        Ok(meta) => {
            let mode = meta.mode() & 0o7777;
            let found = format!("mode {mode:04o}, owner {}, group {}", meta.uid(), meta.gid());
            match who_else(what, &meta) {
                None => {
                    // In a directory with the sticky bit, members can remove and replace only what they
                    // made themselves.
                    let open = meta.is_dir() && mode & 0o1020 == 0o020;
                    let hint =
                        if open { "; members of the group can replace the store: chmod +t" } else { "" };
                    Finding::good(what, found + hint)
                }
                Some(problem) => Finding::bad(what, format!("{found}: {problem}")),
            }
        }
        Err(error) => Finding::bad(what, error.to_string()),
    }
}

/// Says who else could damage or replace the store, and what to do about that.
fn who_else(what: &str, meta: &fs::Metadata) -> Option<String> {
    let (mode, owner) = (meta.mode(), meta.uid());
    let is_ours = owner == 0 || owner == nix::unistd::getuid().as_raw();
    match () {
        // Like /tmp: that is right for /tmp, but not for the directory of a store.
        () if meta.is_dir() && mode & 0o1002 == 0o1002 => Some(
            "everybody may create files in it, as in /tmp, including those beside the store; keep the store in a directory of its own"
                .to_owned(),
        ),
        () if mode & 0o002 != 0 => Some("everybody may write it; fix it with chmod o-w".to_owned()),
        () if !is_ours => Some(format!(
            "user {owner} may change, replace or remove the {what} as they like; keep the store where its owner is you or root, as doctor --init-shared makes it"
        )),
        () => None,
    }
}

fn file_system(directory: &Path) -> Finding {
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
            if free < 16 { Finding::bad("file system", told) } else { Finding::good("file system", told) }
        }
        Err(error) => Finding::bad("file system", error.to_string()),
    }
}
