//! The store's path without symbolic links, so that everybody who reaches it finds the same files beside it.

use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::libc;
use nix::unistd::geteuid;

use super::failure::at_path;
use super::side::{shown, unusable};
use crate::store::StoreError;

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// Follows every link in `path`, which is absolute, as long as this user or root made it: a link of somebody else
/// leads to a store of their choice, or to a file that is no store.
pub(super) fn resolve(path: &Path) -> Result<PathBuf, StoreError> {
    let mut done = PathBuf::from("/");
    let mut rest = names(path);
    let mut links = 0;
    while let Some(name) = rest.pop() {
        if name == ".." {
            done.pop();
            continue;
        }
        let next = done.join(name);
        match fs::symlink_metadata(&next) {
            Ok(meta) if meta.is_symlink() => {
                links += 1;
                if links > LINKS {
                    return Err(at_path("find", path, Errno::ELOOP.into()));
                }
                let target = follow(&next)?;
                if target.is_absolute() {
                    done = PathBuf::from("/");
                }
                rest.extend(names(&target));
            }
            Ok(_) => done = next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                done = next;
                done.extend(rest.drain(..).rev());
            }
            Err(error) => return Err(at_path("look at", &next, error)),
        }
    }
    Ok(done)
}

/// What stands between the slashes, the last first; with `..`, which counts from where a link led to.
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

/// Where a link leads to. Its maker and its target are asked of one descriptor: it cannot be replaced in between.
fn follow(link: &Path) -> Result<PathBuf, StoreError> {
    let read = || -> io::Result<(Metadata, PathBuf)> {
        let flags = libc::O_PATH | libc::O_NOFOLLOW;
        let link = File::options().read(true).custom_flags(flags).open(link)?;
        Ok((link.metadata()?, PathBuf::from(readlinkat(link.as_fd(), "")?)))
    };
    let (meta, target) = read().map_err(|error| at_path("follow", link, error))?;
    if meta.uid() != 0 && meta.uid() != geteuid().as_raw() {
        return Err(unusable(format!(
            "{} is a symbolic link made by user {}, neither you nor root, so it is not followed; if its target {} is the store you mean, name that",
            shown(link),
            meta.uid(),
            shown(&target)
        )));
    }
    Ok(target)
}
