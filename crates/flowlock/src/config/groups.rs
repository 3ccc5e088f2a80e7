//! Groups with one person in them: many systems give each person a group of the same name, and let it
//! write by default.

use std::path::Path;

use nix::unistd::{Gid, Group, Uid, User};

use crate::named_file;

/// The users and the groups of this machine, and how much of each file is read: 10,000 entries or more.
const PASSWD: &str = "/etc/passwd";
const GROUP: &str = "/etc/group";
const LARGEST: u64 = 1 << 20;
/// Users with a lower number come with the system.
const OF_THE_SYSTEM: u32 = 100;

/// Returns whether the user, or root, is the only member of a group.
pub(super) fn is_of_one_person(gid: u32, uid: u32) -> bool {
    let Ok(Some(group)) = Group::from_gid(Gid::from_raw(gid)) else { return false };
    let people = [uid, 0].into_iter().filter_map(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
    let mut people = people.filter(|user| has_own(user, &group));
    let (Some(passwd), Some(groups)) = (text_of(PASSWD), text_of(GROUP)) else { return false };
    people.any(|user| {
        has_no_other_member(gid, &user.name, &groups)
            && is_nobody_elses_first(gid, &user.name, user.uid.as_raw(), &passwd)
    })
}

/// Returns whether a group is a user's first one, has their name, and no other member.
pub(super) fn has_own(user: &User, group: &Group) -> bool {
    user.gid == group.gid && user.name == group.name && group.mem.iter().all(|name| *name == user.name)
}

fn text_of(path: &str) -> Option<String> {
    let bytes = named_file::read(Path::new(path), LARGEST).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns whether no line of the file gives the group another member: several lines may have the same
/// number (`groupadd -o`), and a lookup by number returns only the first of them. A directory service is
/// asked only by that lookup.
pub(super) fn has_no_other_member(gid: u32, name: &str, groups: &str) -> bool {
    let members = groups.lines().filter_map(group_of).filter(|(number, _)| *number == gid);
    members.flat_map(|(_, members)| members.split(',')).all(|member| {
        let member = member.trim();
        member.is_empty() || member == name
    })
}

/// Reads the number and the members of a group from its line.
fn group_of(line: &str) -> Option<(u32, &str)> {
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?))
}

/// Returns whether a group is the first group of no other user: a user is in their first group without
/// being listed as a member. All local users are in one file. A directory service is not asked for all
/// its users, which may be many and take long: a user whom only it knows has a group of their own if the
/// numbers are equal, as in systems that give each person one.
pub(super) fn is_nobody_elses_first(gid: u32, name: &str, uid: u32, passwd: &str) -> bool {
    let users: Vec<_> = passwd.lines().filter_map(user_of).collect();
    let is_local = users.iter().any(|(local, number, _)| *local == name && *number == uid);
    // Some systems come with `sync` and `halt` in root's group.
    let is_harmless = |other: u32| other == uid || (gid == 0 && other < OF_THE_SYSTEM);
    (is_local || gid == uid) && users.iter().all(|(_, other, first)| *first != gid || is_harmless(*other))
}

/// Parses a line: the name, the number and the first group of a user.
fn user_of(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    Some((name, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}
