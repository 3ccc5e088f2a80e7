//! Directories in which a user's programs keep what they remember.

use std::fs::{DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::libc;

use super::file;

/// Opens such a directory, itself no link. Nobody but the user and root owns or may write it, or anything on the way
/// to it, links included: so nobody else can put another one in its place, and its path leads to it from now on.
#[doc(hidden)]
pub fn open_private(path: &Path, uid: u32) -> io::Result<File> {
    if let Some(weakness) = file::weakness(path, uid)? {
        return Err(io::Error::other(weakness));
    }
    if path.is_symlink() {
        return Err(io::Error::other("it is a link, through which nothing is kept"));
    }
    let flags = libc::O_DIRECTORY | libc::O_NOFOLLOW;
    File::options().read(true).custom_flags(flags).open(path)
}

/// The same; makes it if it is missing, where nobody else could have a hand in that.
#[doc(hidden)]
pub fn make_private(path: &Path, uid: u32) -> io::Result<File> {
    open_private(path, uid).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            DirBuilder::new().recursive(true).mode(0o700).create(path)?;
            open_private(path, uid)
        }
        _ => Err(error),
    })
}
