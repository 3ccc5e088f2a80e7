//! Who a file belongs to, seen from this process.

use std::fs;

/// Whether that is root, or cannot be told from root: in a user namespace all users of the machine that it does not know
/// have one number, root mostly among them. There every directory from `/` on would be a stranger's.
pub(crate) fn is_root(uid: u32) -> bool {
    const NOBODY_KNOWN: u32 = 65_534;
    let knows_everybody = || {
        let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        map.split_whitespace().eq(["0", "0", "4294967295"])
    };
    uid == 0 || (uid == NOBODY_KNOWN && !knows_everybody())
}

/// Whether this process may do what members of a group may.
#[cfg(feature = "sqlite")]
pub(crate) fn is_member(gid: u32) -> bool {
    let groups = nix::unistd::getgroups().unwrap_or_default();
    groups.into_iter().chain([nix::unistd::getegid()]).any(|group| group.as_raw() == gid)
}
