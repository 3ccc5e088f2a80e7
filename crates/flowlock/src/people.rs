//! Whom a file belongs to, as seen from this process.

use std::fs;

/// Returns whether that is root or cannot be told from root. In a user namespace, all users of the
/// machine that it does not know share one number, and root is usually one of them. Without this, every
/// directory from `/` on would belong to a stranger there. It is not enough for something that anybody
/// may have put where it is.
pub(crate) fn may_be_root(uid: u32) -> bool {
    uid == 0 || is_unknown(uid)
}

/// Returns whether that is the number of every user whom this process's user namespace does not know.
pub(crate) fn is_unknown(uid: u32) -> bool {
    const NOBODY_KNOWN: u32 = 65_534;
    let map = || fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    uid == NOBODY_KNOWN && !is_mapped(&map(), NOBODY_KNOWN)
}

/// Returns whether a user of this namespace has the number: an account like any other, even if it is
/// called nobody. Each line of the map has the first number here, the first outside, and how many.
fn is_mapped(map: &str, uid: u32) -> bool {
    map.lines().any(|line| {
        let mut numbers = line.split_whitespace().map(str::parse::<u64>);
        let (Some(Ok(first)), Some(Ok(_)), Some(Ok(count))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        u64::from(uid).checked_sub(first).is_some_and(|above| above < count)
    })
}

/// Returns whether this process has the rights of a member of a group.
#[cfg(feature = "sqlite")]
pub(crate) fn is_member(gid: u32) -> bool {
    let groups = nix::unistd::getgroups().unwrap_or_default();
    groups.into_iter().chain([nix::unistd::getegid()]).any(|group| group.as_raw() == gid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_nobody_is_a_users_where_a_user_has_it() {
        let unknown = ["", "0 1000 1\n", "0 0 1\n1 100000 65533\n", "1000 1000 1", "what is no map"];
        assert!(!unknown.iter().any(|map| is_mapped(map, 65_534)));
        let known = ["0 0 4294967295\n", "0 100000 65536\n", "0 1000 1\n1 100000 65536\n", "65534 65534 1"];
        assert!(known.iter().all(|map| is_mapped(map, 65_534)));
    }
}
