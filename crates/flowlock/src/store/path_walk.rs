//! Walks a path once: each link and each directory is opened and judged by its descriptor.
//!
//! A path leads to another place as soon as somebody who may write a directory on the way puts another
//! directory or a link there, if only for a moment. A walk keeps open what it has judged, so nothing can
//! be exchanged afterwards.
//!
//! All paths are walked in the same way, but the rule about the users who may own the way differs. What
//! belongs to a store may be a group's ([`find`]), because a store can be shared. What decides which
//! store it is must belong to the user or root: the configuration is shown each step ([`see`]), and
//! judges it by a stricter rule of its own.

#![cfg_attr(
    not(all(feature = "redis", feature = "sqlite", feature = "config")),
    allow(dead_code, reason = "each of them asks for something else")
)]

mod read;
mod way;
mod write;

pub(crate) use self::read::open_to_read;
pub(crate) use self::way::{Astray, Links, Missing, Open, Planted, Step, Way};
pub(crate) use self::write::{make_directory, open_to_write};

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::libc;
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::sys::statvfs::{FsFlags, fstatvfs};
use nix::unistd::geteuid;

use crate::people::may_be_root;
use crate::text::escape;

/// The same number of links as the kernel follows.
const LINKS: usize = 40;

/// Walks a path to the name at its end, whether or not that exists.
pub(crate) fn find(path: &Path, missing: Missing, links: Links) -> Result<Way, Astray> {
    let path = std::path::absolute(path).map_err(|error| failed("find", path, error))?;
    Walk::begin(&path, missing, links, &mut |_| {})?.finish()
}

/// Walks a path to its end, which may be a directory, and follows all links. Shows each step before it
/// goes on from there.
pub(crate) fn see(path: &Path, show: &mut dyn FnMut(&Step<'_>)) -> io::Result<Way> {
    let path = std::path::absolute(path)?;
    Ok(Walk::begin(&path, Missing::Refused, Links::Shown, show)?.finish()?)
}

fn failed(doing: &'static str, path: &Path, error: impl Into<io::Error>) -> Astray {
    Astray::Failed { doing, path: path.to_owned(), error: error.into() }
}

fn shown(path: &Path) -> String {
    escape(&path.display().to_string())
}

/// The state of a walk.
struct Walk<'p, 's> {
    /// The path, as it was given.
    path: &'p Path,
    missing: Missing,
    links: Links,
    show: &'s mut dyn FnMut(&Step<'_>),
    /// The current directory, its metadata, and its path.
    at: File,
    here: Metadata,
    done: PathBuf,
    is_settled: bool,
    /// The first directory so far in which another user could have put what is on the way.
    led: Option<PathBuf>,
    open: Open,
    /// The names that are left, the next one last.
    rest: Vec<OsString>,
    followed: usize,
}

impl<'p, 's> Walk<'p, 's> {
    fn begin(
        path: &'p Path,
        missing: Missing,
        links: Links,
        show: &'s mut dyn FnMut(&Step<'_>),
    ) -> Result<Self, Astray> {
        let (at, here, done) = root()?;
        let is_settled = is_settled(&here);
        let (open, rest) = (Open::default(), names(path));
        Ok(Self {
            path,
            missing,
            links,
            show,
            at,
            here,
            done,
            is_settled,
            led: None,
            open,
            rest,
            followed: 0,
        })
    }

    fn finish(mut self) -> Result<Way, Astray> {
        if self.links == Links::None && self.rest.iter().any(|name| name == "..") {
            return Err(Astray::Refused(format!(
                "{} has \"..\" in it, but a project's store must lie below the project; write its absolute path",
                shown(self.path)
            )));
        }
        while let Some(name) = self.rest.pop() {
            let found = match self.open(&name) {
                Ok(found) => found,
                Err(Errno::ENOENT) if self.rest.is_empty() => return Ok(self.arrive(name, None)),
                Err(Errno::ENOENT) => self.make(&name)?,
                Err(error) => return Err(failed("look at", &self.done.join(name), error)),
            };
            let meta = found.metadata().map_err(|error| failed("look at", &self.done.join(&name), error))?;
            self.show(&name, &found, &meta);
            if meta.is_symlink() && self.links == Links::OrHeld && is_in_proc(&self.at) {
                let held = self.held(&name)?;
                if self.rest.is_empty() {
                    return Ok(self.arrive(name, Some(held)));
                }
                let meta =
                    held.metadata().map_err(|error| failed("look at", &self.done.join(&name), error))?;
                self.enter(&name, held, meta)?;
                continue;
            }
            if meta.is_symlink() {
                self.follow(&name, &found, &meta)?;
                continue;
            }
            self.judge(&name, &meta);
            if self.rest.is_empty() && name != ".." {
                return Ok(self.arrive(name, Some(found)));
            }
            self.enter(&name, found, meta)?;
        }
        match (self.links, self.at.try_clone()) {
            (Links::Shown, Ok(found)) => Ok(self.arrive(OsString::from("."), Some(found))),
            _ => Err(Astray::Refused(format!("{} is a directory; name a file in it", shown(self.path)))),
        }
    }

    fn show(&mut self, name: &OsStr, found: &File, meta: &Metadata) {
        if name == ".." {
            return;
        }
        let path = self.done.join(name);
        let (directory, here, at, is_last) = (&self.at, &self.here, &self.done, self.rest.is_empty());
        (self.show)(&Step { directory, here, at, found, meta, path: &path, is_last });
    }

    fn open(&self, name: &OsStr) -> Result<File, Errno> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        openat(&self.at, name, flags, Mode::empty()).map(File::from)
    }

    /// Opens what the kernel's own link leads to.
    fn held(&self, name: &OsStr) -> Result<File, Astray> {
        let held = openat(&self.at, name, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty());
        held.map(File::from).map_err(|error| failed("look at", &self.done.join(name), error))
    }

    /// Creates a directory on the way, if that is allowed.
    fn make(&self, name: &OsStr) -> Result<File, Astray> {
        if self.missing == Missing::Refused {
            let rest = self.rest.iter().skip(1).rev();
            let directory = rest.fold(self.done.join(name), |path, name| path.join(name));
            return Err(failed("use the directory of the store", &directory, Errno::ENOENT));
        }
        let made = match mkdirat(&self.at, name, Mode::from_bits_truncate(0o777)) {
            Ok(()) | Err(Errno::EEXIST) => self.open(name),
            Err(error) => Err(error),
        };
        made.map_err(|error| failed("make", &self.done.join(name), error))
    }

    /// Notes whether anybody may have put this where it is, or could replace it.
    fn judge(&mut self, name: &OsStr, meta: &Metadata) {
        if name == ".." || self.here.mode() & 0o002 == 0 {
            return;
        }
        if may_be_planted(&self.here, meta) {
            let (path, directory) = (self.done.join(name), self.done.clone());
            self.open.planted.get_or_insert(Planted { path, owner: meta.uid(), directory });
        }
        // In a sticky directory what exists stays; but a socket is created anew, and then the name is
        // free.
        if self.here.mode() & 0o1000 == 0 || !meta.is_dir() {
            self.open.to_all.get_or_insert_with(|| self.done.clone());
        }
    }

    fn enter(&mut self, name: &OsStr, directory: File, meta: Metadata) -> Result<(), Astray> {
        if !meta.is_dir() {
            return Err(failed("use", &self.done.join(name), Errno::ENOTDIR));
        }
        if name == ".." {
            self.done.pop();
        } else {
            self.done.push(name);
        }
        self.is_settled &= is_settled(&meta);
        let is_strangers = is_strangers(&meta) || may_be_planted(&self.here, &meta);
        if is_strangers && !(is_trusted(&meta) && meta.mode() & 0o1000 != 0) {
            self.led.get_or_insert_with(|| self.done.clone());
        }
        (self.at, self.here) = (directory, meta);
        Ok(())
    }

    /// Follows a link. Its owner and its target are read from one descriptor, so the link cannot be
    /// replaced in between.
    fn follow(&mut self, name: &OsStr, link: &File, meta: &Metadata) -> Result<(), Astray> {
        let path = self.done.join(name);
        self.followed += 1;
        if self.followed > LINKS {
            return Err(failed("find", self.path, Errno::ELOOP));
        }
        let target = readlinkat(link.as_fd(), "").map_err(|error| failed("follow", &path, error))?;
        let target = PathBuf::from(target);
        if self.links == Links::None {
            return Err(Astray::Refused(format!(
                "{} is a symbolic link to {}, but a store that a project names must be reached without links, \
                 because the next pull could point one anywhere; name the store itself",
                shown(&path),
                shown(&target)
            )));
        }
        if self.links != Links::Shown {
            self.may_follow(&path, meta, &target)?;
        }
        if target.is_absolute() {
            (self.at, self.here, self.done) = root()?;
        }
        self.rest.extend(names(&target));
        Ok(())
    }

    fn may_follow(&self, path: &Path, meta: &Metadata, target: &Path) -> Result<(), Astray> {
        if !is_trusted(meta) && !may_be_root(meta.uid()) {
            return Err(Astray::Refused(format!(
                "{} is a symbolic link made by user {}, who is neither you nor root, so it is not followed; if you mean its target {}, name that",
                shown(path),
                meta.uid(),
                shown(target)
            )));
        }
        self.is_where_it_was_made(path, target)
    }

    /// The owner of a link does not tell who put it where it is: whoever may write the directory that
    /// contains it can rename it, also into another directory.
    fn is_where_it_was_made(&self, path: &Path, target: &Path) -> Result<(), Astray> {
        let here = || is_strangers(&self.here).then_some(&self.done).filter(|_| !is_read_only(&self.at));
        let Some(directory) = self.led.as_ref().or_else(here) else { return Ok(()) };
        Err(Astray::Refused(format!(
            "{} is a symbolic link that somebody other than you and root may have moved there, because others \
             may write {}, so it is not followed; if you mean its target {}, name that",
            shown(path),
            shown(directory),
            shown(target)
        )))
    }

    fn arrive(self, name: OsString, found: Option<File>) -> Way {
        Way { held: self.at, directory: self.done, name, found, is_settled: self.is_settled, open: self.open }
    }
}

fn root() -> Result<(File, Metadata, PathBuf), Astray> {
    let done = PathBuf::from("/");
    let at = File::options().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(&done);
    let at = at.map_err(|error| failed("open", &done, error))?;
    let here = at.metadata().map_err(|error| failed("look at", &done, error))?;
    Ok((at, here, done))
}

/// Where the kernel shows what this process holds open.
pub(super) const HELD: &str = "/proc/self/fd/";

/// Returns the path of an open file, whatever has its name by now.
pub(crate) fn way_to(open: &File) -> PathBuf {
    Path::new(HELD).join(open.as_raw_fd().to_string())
}

/// Returns the names between the slashes, the last first; with `..`, which is relative to where a link
/// led.
fn names(path: &Path) -> Vec<OsString> {
    let names = path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        _ => None,
    });
    let mut names: Vec<_> = names.collect();
    names.reverse();
    names
}

/// Returns whether something is in a directory which everybody may write, and belongs neither to this
/// user, nor to root, nor to the directory's owner.
pub(crate) fn may_be_planted(here: &Metadata, meta: &Metadata) -> bool {
    // If the user namespace does not know an owner, equal numbers do not mean the same user.
    let is_the_directorys = meta.uid() == here.uid() && !may_be_root(meta.uid());
    here.mode() & 0o002 != 0 && !is_trusted(meta) && !is_the_directorys
}

/// Returns whether the directory is in `/proc`.
fn is_in_proc(directory: &File) -> bool {
    fstatfs(directory).is_ok_and(|found| found.filesystem_type() == PROC_SUPER_MAGIC)
}

/// Returns whether a directory belongs to another user, or everybody may write it. Members of a group
/// that may write it are trusted with its content.
fn is_strangers(meta: &Metadata) -> bool {
    let is_somebodys = !is_trusted(meta) && !may_be_root(meta.uid());
    is_somebodys || meta.mode() & 0o002 != 0
}

/// Returns whether nothing at all can be moved into a directory, whatever its mode: this is how secrets
/// are mounted into containers.
fn is_read_only(directory: &File) -> bool {
    fstatvfs(directory).is_ok_and(|found| found.flags().contains(FsFlags::ST_RDONLY))
}

fn is_trusted(meta: &Metadata) -> bool {
    [0, geteuid().as_raw()].contains(&meta.uid())
}

/// Returns whether only this user and root can replace what is in a directory.
fn is_settled(meta: &Metadata) -> bool {
    is_trusted(meta) && (meta.mode() & 0o022 == 0 || meta.mode() & 0o1000 != 0)
}
