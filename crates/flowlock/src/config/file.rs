//! A file that only its user or root can change: found, judged and read without following any other
//! user's link.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::groups::is_of_one_person;
use crate::acl::{self, Acl, Who};
use crate::error::Error;
use crate::people::{is_unknown, may_be_root};
use crate::store::path_walk::{self, Step, Way, way_to};
use crate::text::escape;

/// Larger than any file of settings.
const LARGEST: u64 = 64 * 1024;

/// Whether the file may be reached through a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Links {
    /// Yes, if only the user and root control the way: people keep such files in a directory of their
    /// own.
    Followed,
    /// No.
    Refused,
}

/// A file that was read.
#[derive(Debug)]
pub(super) struct Found {
    /// Its real path, without links.
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// Who else could change or replace it, if anybody can.
    pub(super) weakness: Option<String>,
    /// Who else could have moved the file to where it is, if anybody could. Such a file may belong to the
    /// user and still be another user's choice.
    pub(super) brought: Option<String>,
}

/// Reads a file; `None` if there is none. Everything else is an error, because a file that cannot be
/// read is not the same as no file: its settings would be silently ignored.
pub(super) fn read(path: &Path, uid: u32, links: Links) -> Result<Option<Found>, Error> {
    let shown = shown(path);
    let wrong = |problem: String| Error::Configuration(format!("{shown} {problem}"));
    let cannot = |error: io::Error| wrong(format!("cannot be read: {error}"));
    match fs::symlink_metadata(path) {
        Ok(_) => {}
        Err(error) if is_absence(&error) => return Ok(None),
        Err(error) => return Err(cannot(error)),
    }
    let (mut weakness, mut is_link) = (None, false);
    let way = path_walk::see(path, &mut |step| {
        is_link |= step.is_last && step.meta.is_symlink();
        weakness = weakness.take().or_else(|| weakness_at(step, uid));
    });
    if is_link && links == Links::Refused {
        return Err(wrong(
            "is a symbolic link, which somebody else may have pointed anywhere; put the file itself there"
                .into(),
        ));
    }
    let way = way.map_err(cannot)?;
    // The file is opened through the descriptors of the walk, not by its path again: what is read is the file
    // to which the walk led, and that file is judged.
    let file = way.open().map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    if !meta.is_file() {
        return Err(wrong("is not a regular file".into()));
    }
    let real = way.path();
    let weakness = weakness.or_else(|| weakness_of(&real, &meta, || Acl::of_open(&file), uid));
    let here = way.held.metadata().map_err(cannot)?;
    let brought = brought(&way.directory, &way.held, &here, uid);
    Ok(Some(Found { text: text(file).map_err(wrong)?, path: real, weakness, brought }))
}

fn text(file: File) -> Result<String, String> {
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > LARGEST {
        return Err(format!("is longer than {LARGEST} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

/// Returns whether nothing exists there, rather than something that cannot be seen.
pub(super) fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(super) fn shown(path: &Path) -> String {
    escape(&path.display().to_string())
}

/// Checks each directory and link on the way to a file, and the file. Returns where the path leads, and
/// the first thing, in words, that somebody other than the user and root owns or may write. A user who
/// may write a directory can replace this file, unless the directory is sticky. A file that does not
/// exist is an error, but there may be a weakness before it on the way.
pub(super) fn look(path: &Path, uid: u32) -> (io::Result<Way>, Option<String>) {
    let mut weakness = None;
    let way = path_walk::see(path, &mut |step| {
        weakness = weakness.take().or_else(|| weakness_at(step, uid));
    });
    let is_there = |way: Way| if way.found.is_some() { Ok(way) } else { Err(io::ErrorKind::NotFound.into()) };
    (way.and_then(is_there), weakness)
}

fn weakness_at(step: &Step<'_>, uid: u32) -> Option<String> {
    if step.meta.is_symlink() {
        return weak_link(step, uid);
    }
    weakness_of(step.path, step.meta, || list_of(step.found), uid).or_else(|| weakness_of_unknown(step))
}

/// What is weak about a step that belongs to an unknown user: that others may write the directory. It is root's only where
/// nobody else can have put it.
fn weakness_of_unknown(step: &Step<'_>) -> Option<String> {
    let is_open = step.here.mode() & 0o022 != 0;
    (is_open && is_unknown(step.meta.uid())).then(|| {
        format!(
            "{} belongs to a user whom this user namespace does not know, and lies in {}, where others than root may make files",
            shown(step.path),
            shown(step.at)
        )
    })
}

/// Returns what is weak about a step that is a link: somebody other than the user and root made it, or
/// may have moved it there. The link's owner does not tell who moved it there, whether or not the
/// directory is sticky.
pub(super) fn weak_link(step: &Step<'_>, uid: u32) -> Option<String> {
    if !step.meta.is_symlink() {
        return None;
    }
    let moved = || {
        let who = others_who_write(step.here, || list_of(step.directory), uid)?;
        Some(format!("the link {} lies in a directory that can be written by {who}", shown(step.path)))
    };
    let unknown = || weakness_of_unknown(step);
    weakness_of(step.path, step.meta, || Ok(None), uid).or_else(unknown).or_else(moved)
}

/// Returns who may have moved a file to this directory, in words: anybody who may write it, whether or
/// not it is sticky. A directory cannot be moved like that: to give a directory a new parent, the kernel
/// requires the right to write that directory itself.
pub(super) fn brought(directory: &Path, held: &File, meta: &Metadata, uid: u32) -> Option<String> {
    others_who_write(meta, || list_of(held), uid).map(|who| {
        format!(
            "the directory {} can be written by {who} (mode {:04o}), so it may have been moved there",
            shown(directory),
            meta.mode() & 0o7777
        )
    })
}

/// Returns the access control list of a file opened with `O_PATH`. The kernel does not return it for such
/// a descriptor, only for the descriptor's path in `/proc`.
fn list_of(open: &File) -> io::Result<Option<Acl>> {
    Acl::of(&way_to(open), acl::OF_FILE)
}

/// Returns what is weak about a file, a directory or a link. Reads its access control list only if it
/// matters.
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
    if meta.uid() != uid && !may_be_root(meta.uid()) {
        return Some(format!("{what} belongs to user {}, neither you nor root", meta.uid()));
    }
    let mode = meta.mode();
    // The mode of a link has no effect. In a sticky directory, only its owner can remove a file.
    if meta.is_symlink() || (meta.is_dir() && mode & 0o1000 != 0) {
        return None;
    }
    others_who_write(meta, list, uid).map(|who| {
        format!("{what} can be written by {who} (mode {:04o}; fix it with chmod go-w)", mode & 0o7777)
    })
}

/// Says who may write it besides its owner and root.
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
            Who::User(user) if user == uid || user == 0 => None,
            Who::Group(group) if is_of_one_person(group, uid) => None,
            Who::User(user) => Some(format!("user {user}, who is in its access control list")),
            Who::Group(group) => Some(format!("group {group}, which is in its access control list")),
        }),
        Err(error) => Some(format!("others in its access control list, which cannot be read: {error}")),
    }
}
