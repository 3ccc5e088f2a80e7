//! Files that a user or a command names. They are read whole, but only if they are regular files and not
//! too large; they are written only if no other user chose what is overwritten.
//!
//! A FIFO or `/dev/zero` has no end, and a file of some gigabytes would be read into memory before it
//! turns out not to be a password.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc;

/// A mark in a path of a store's URL: what follows was a relative path in a project's file, or is below
/// a project that is not trusted, and must be reached without links. The mark is part of the path, so
/// that it is kept wherever the URL goes: to a new connection hours later, or to a flowlock in the
/// command of a run.
pub(crate) const PROJECT: &str = "/./";

/// Opens a regular file for reading. Does not wait for the other end of a FIFO, and does not take a
/// terminal as the controlling one.
pub fn open(path: &Path) -> io::Result<File> {
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

/// Opens a file for writing, also a pipe or a terminal; creates it if it is missing, and keeps its
/// content. Follows no link that another user made or may have moved there, and opens no file that
/// another user may have put there: otherwise that user would choose what is overwritten.
#[cfg(any(feature = "redis", feature = "sqlite", feature = "config"))]
pub fn open_to_write(path: &Path) -> io::Result<File> {
    crate::store::path_walk::open_to_write(path)
}

/// Opens for reading a regular file, or what this process holds open, which may be a pipe. Follows no
/// link that another user made or may have moved there: otherwise that user would choose what is read.
#[cfg(any(feature = "redis", feature = "sqlite", feature = "config"))]
pub fn open_to_read(path: &Path) -> io::Result<File> {
    crate::store::path_walk::open_to_read(path)
}

/// Creates a directory and the missing ones above it. Follows no such link.
#[cfg(any(feature = "redis", feature = "sqlite", feature = "config"))]
pub fn make_directory(path: &Path) -> io::Result<()> {
    crate::store::path_walk::make_directory(path)
}

/// Reads a regular file of up to `most` bytes.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_whole(open(path)?, most)
}

/// Reads an open file of up to `most` bytes.
pub fn read_whole(file: File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("longer than {most} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_within_its_limit_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let (file, fifo) = (directory.path().join("file"), directory.path().join("fifo"));
        std::fs::write(&file, "12345").unwrap();
        assert_eq!(read(&file, 5).unwrap(), b"12345");
        assert_eq!(read(&file, 4).unwrap_err().to_string(), "longer than 4 bytes");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for other in [&fifo, Path::new("/dev/zero"), directory.path()] {
            assert_eq!(read(other, 5).unwrap_err().to_string(), "not a regular file", "{other:?}");
        }
        assert_eq!(read(&directory.path().join("none"), 5).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
