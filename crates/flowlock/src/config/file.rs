//! A file that only its user or root can change: found, judged and read without following anybody else's link.

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::libc;
use nix::unistd::{Gid, Group, Uid, User};

use crate::acl::{self, Acl, Who};
use crate::error::Error;
use crate::named_file;
use crate::people::is_root;
use crate::text::escape;

/// More than any file of settings has.
const LARGEST: u64 = 64 * 1024;
/// The users of this machine, and the most that is read of them: 10,000 or more.
const PASSWD: &str = "/etc/passwd";
const LARGEST_PASSWD: u64 = 1 << 20;
/// Users with a number below this one come with the system.
const OF_THE_SYSTEM: u32 = 100;
/// As the kernel has it.
const MOST_LINKS: usize = 40;

/// Whether the file may be a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// If everybody on the way is the user or root: people keep such files in a place of their own.
    Followed,
    /// Not at all.
    Refused,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Found {
    /// Where it really is, no link on the way.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Who else could change it or put another one in its place, if somebody can.
    pub(super) weakness: Option<String>,
}

/// Reads a file; none if there is none. Everything else is an error, for a file that cannot be read is not the same as
/// no file: its settings would be gone without a word.
pub(super) fn read(path: &Path, uid: u32, links: Links) -> Result<Option<Found>, Error> {
    let shown = shown(path);
    let wrong = |problem: String| Error::Configuration(format!("{shown} {problem}"));
    let cannot = |error: io::Error| wrong(format!("cannot be read: {error}"));
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(cannot(error)),
    };
    if meta.is_symlink() && links == Links::Refused {
        return Err(wrong(
            "is a link, which anybody may have pointed anywhere; put the file itself there".into(),
        ));
    }
    let weakness = weakness(path, uid).map_err(cannot)?;
    let real = fs::canonicalize(path).map_err(cannot)?;
    // Neither a FIFO nor a device may hold this up; a link put there meanwhile is not followed.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(&real).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if !meta.is_file() {
        return Err(wrong("is not a regular file".into()));
    }
    let weakness = weakness.or_else(|| weakness_of(&real, &meta, || Acl::of_open(&file), uid));
    Ok(Some(Found { text: text(file).map_err(wrong)?, path: real, weakness }))
}

fn text(file: File) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("is longer than {LARGEST} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

/// Whether nothing is there, rather than something that cannot be seen.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(super) fn shown(path: &Path) -> String {
    escape(&path.display().to_string())
}

/// Looks at each directory and link on the way to a file, and at the file: the first that somebody other than the user
/// and root owns or may write, in words. Whoever may write a directory can put another file in the place of this one,
/// unless the directory is sticky.
pub(super) fn weakness(path: &Path, uid: u32) -> io::Result<Option<String>> {
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
        if let Some(weakness) = weakness_of(&next, &meta, || Acl::of(&next, acl::OF_FILE), uid) {
            return Ok(Some(weakness));
        }
        if meta.is_symlink()
            && let Some(weakness) = weakness_in(&next, &at, uid)?
        {
            return Ok(Some(weakness));
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

/// What is weak about a link in a directory, sticky or not: whose it is does not say who moved it there.
fn weakness_in(link: &Path, directory: &Path, uid: u32) -> io::Result<Option<String>> {
    let meta = fs::symlink_metadata(directory)?;
    let who = others_who_write(&meta, || Acl::of(directory, acl::OF_FILE), uid);
    Ok(who.map(|who| format!("the link {} lies in a directory that can be written by {who}", shown(link))))
}

/// The parts of a path, the last one first.
fn parts(path: &Path) -> Vec<OsString> {
    let names = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    names.rev().map(|part| part.as_os_str().to_owned()).collect()
}

/// What is weak about a file, a directory or a link. Its access control list is read where it matters.
pub(super) fn weakness_of(
    path: &Path,
    meta: &Metadata,
    list: impl FnOnce() -> io::Result<Option<Acl>>,
    uid: u32,
) -> Option<String> {
    let what = match () {
        () if meta.is_dir() => format!("the directory {}", shown(path)),
        () if meta.is_symlink() => format!("the link {}", shown(path)),
        () => "it".to_owned(),
    };
    if meta.uid() != uid && !is_root(meta.uid()) {
        return Some(format!("{what} belongs to user {}, neither you nor root", meta.uid()));
    }
    let mode = meta.mode();
    // The mode of a link means nothing. What lies in a sticky directory only its owner can take away.
    if meta.is_symlink() || (meta.is_dir() && mode & 0o1000 != 0) {
        return None;
    }
    others_who_write(meta, list, uid).map(|who| {
        format!("{what} can be written by {who} (mode {:04o}, chmod go-w takes that away)", mode & 0o7777)
    })
}

/// Who may write it besides its owner and root, in words.
fn others_who_write(
    meta: &Metadata,
    list: impl FnOnce() -> io::Result<Option<Acl>>,
    uid: u32,
) -> Option<String> {
    let mode = meta.mode();
    if mode & 0o002 != 0 {
        return Some("everybody".to_owned());
    }
    if mode & 0o020 == 0 {
        return None;
    }
    let own_group = || Some(meta.gid()).filter(|group| !is_of_one_person(*group, uid));
    match list() {
        Ok(None) => own_group().map(|group| format!("group {group}")),
        Ok(Some(list)) => list.writers().into_iter().find_map(|who| match who {
            Who::OwnGroup => own_group().map(|group| format!("group {group}")),
            Who::User(user) if user == uid || is_root(user) => None,
            Who::Group(group) if is_of_one_person(group, uid) => None,
            Who::User(user) => Some(format!("user {user}, whom its access control list names")),
            Who::Group(group) => Some(format!("group {group}, which its access control list names")),
        }),
        Err(error) => Some(format!("whom its access control list names, which cannot be read: {error}")),
    }
}

/// Whether a group has nobody in it but the user, or root: many systems give each person a group of the same name, and
/// let it write by default.
fn is_of_one_person(gid: u32, uid: u32) -> bool {
    let Ok(Some(group)) = Group::from_gid(Gid::from_raw(gid)) else { return false };
    let people = [uid, 0].into_iter().filter_map(|uid| User::from_uid(Uid::from_raw(uid)).ok().flatten());
    let mut people = people.filter(|user| {
        user.gid == group.gid && user.name == group.name && group.mem.iter().all(|name| *name == user.name)
    });
    let passwd = named_file::read(Path::new(PASSWD), LARGEST_PASSWD);
    let Ok(passwd) = passwd.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()) else { return false };
    people.any(|user| is_nobody_elses_first(gid, &user.name, user.uid.as_raw(), &passwd))
}

/// Whether a group is the first one of no other user: who has it so is in it without being among its members. A user of
/// this machine has all others in one file. A directory service is not asked for all its users, which may be many and take
/// long: a user whom it alone knows has a group of their own if it has their number, as those have it who give each
/// person one.
pub(super) fn is_nobody_elses_first(gid: u32, name: &str, uid: u32, passwd: &str) -> bool {
    let users: Vec<_> = passwd.lines().filter_map(user_of).collect();
    let is_local = users.iter().any(|(local, number, _)| *local == name && *number == uid);
    // Some systems come with `sync` and `halt` in root's group.
    let is_harmless = |other: u32| other == uid || (gid == 0 && other < OF_THE_SYSTEM);
    (is_local || gid == uid) && users.iter().all(|(_, other, first)| *first != gid || is_harmless(*other))
}

/// The name, the number and the first group of a user, by their line.
fn user_of(line: &str) -> Option<(&str, u32, u32)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    Some((name, fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?))
}
