//! Access control lists: who may write a file besides those that its mode names.
//!
//! For a file with a list, the group bits of its mode show the most that the list allows anybody. So the
//! list matters only if the group may write; removing that bit removes the right from everybody in the
//! list.

#[cfg(feature = "config")]
use std::fs::File;
use std::io;
use std::path::Path;

use rustix::fs::getxattr;
use rustix::io::Errno;

/// The attribute in which the kernel keeps the list of a file.
pub(crate) const OF_FILE: &str = "system.posix_acl_access";
/// The same for the list that new files in a directory begin with.
#[cfg(feature = "sqlite")]
pub(crate) const OF_NEW_FILES: &str = "system.posix_acl_default";

/// The kernel's limit for any attribute.
const LONGEST: usize = 64 * 1024;

/// A list, as the kernel keeps it (`linux/posix_acl_xattr.h`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Acl(Vec<u8>);

/// An entry of a list: whom it is for.
#[cfg(feature = "config")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    User(u32),
    OwnGroup,
    Group(u32),
}

impl Acl {
    /// Reads a list of the file at a path; `None` if it has none.
    pub(crate) fn of(path: &Path, attribute: &str) -> io::Result<Option<Self>> {
        Self::read(|into| getxattr(path, attribute, into))
    }

    /// Reads the list of an open file; `None` if it has none.
    #[cfg(feature = "config")]
    pub(crate) fn of_open(file: &File) -> io::Result<Option<Self>> {
        Self::read(|into| rustix::fs::fgetxattr(file, OF_FILE, into))
    }

    fn read(get: impl FnOnce(&mut [u8]) -> Result<usize, Errno>) -> io::Result<Option<Self>> {
        let mut bytes = vec![0; LONGEST];
        match get(&mut bytes) {
            Ok(length) => {
                bytes.truncate(length);
                Ok(Some(Self(bytes)))
            }
            // `OPNOTSUPP`: the file system keeps no lists.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives this list to the file at a path.
    #[cfg(feature = "sqlite")]
    pub(crate) fn put_back(&self, path: &Path, attribute: &str) -> io::Result<()> {
        Ok(rustix::fs::setxattr(path, attribute, &self.0, rustix::fs::XattrFlags::empty())?)
    }

    /// Returns the users and groups, besides the owner and everybody, that may write.
    #[cfg(feature = "config")]
    pub(crate) fn writers(&self) -> Vec<Who> {
        const WRITE: u16 = 2;
        const MASK: u16 = 0x10;
        let mask = self.entries().find(|(tag, ..)| *tag == MASK).map_or(u16::MAX, |(_, may, _)| may);
        let who = |(tag, may, id)| match tag {
            _ if may & mask & WRITE == 0 => None,
            0x02 => Some(Who::User(id)),
            0x04 => Some(Who::OwnGroup),
            0x08 => Some(Who::Group(id)),
            _ => None,
        };
        self.entries().filter_map(who).collect()
    }

    /// Returns its entries: a tag, the permissions, and a user's or group's number. All of it is
    /// little-endian, after a version of four bytes.
    #[cfg(feature = "config")]
    fn entries(&self) -> impl Iterator<Item = (u16, u16, u32)> {
        let entries = self.0.get(4..).unwrap_or_default().as_chunks::<8>().0;
        entries.iter().map(|&[t0, t1, p0, p1, i0, i1, i2, i3]| {
            let (tag, permitted) = (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([p0, p1]));
            (tag, permitted, u32::from_le_bytes([i0, i1, i2, i3]))
        })
    }
}

/// Removes the list from the file at a path, if it has one.
#[cfg(feature = "sqlite")]
pub(crate) fn take_away(path: &Path, attribute: &str) -> io::Result<()> {
    match rustix::fs::removexattr(path, attribute) {
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
        done => Ok(done?),
    }
}

/// Creates lists for tests, as `setfacl` would.
#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Gives a file a list: what its owner's group may do, and what a user may do. Returns false, and
    /// prints a line, if the file system keeps no lists.
    pub(crate) fn give(path: &Path, attribute: &str, own_group: u16, user: (u32, u16)) -> bool {
        let mask = own_group | user.1;
        let nobody = u32::MAX;
        let entries = [
            (1, 6, nobody),
            (2, user.1, user.0),
            (4, own_group, nobody),
            (0x10, mask, nobody),
            (0x20, 4, nobody),
        ];
        let mut bytes = 2_u32.to_le_bytes().to_vec();
        for (tag, may, id) in entries {
            bytes.extend([u16::to_le_bytes(tag), u16::to_le_bytes(may)].concat());
            bytes.extend(u32::to_le_bytes(id));
        }
        let given = rustix::fs::setxattr(path, attribute, &bytes, rustix::fs::XattrFlags::empty());
        if given == Err(Errno::OPNOTSUPP) {
            eprintln!("skipped: {} is on a file system without access control lists", path.display());
            return false;
        }
        given.unwrap();
        true
    }

    #[cfg(feature = "config")]
    #[test]
    fn a_list_names_those_who_may_write() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Acl::of(file.path(), OF_FILE).unwrap(), None);
        for (own_group, user, writers) in [
            (4, 6, vec![Who::User(23_456)]),
            (6, 4, vec![Who::OwnGroup]),
            (6, 6, vec![Who::User(23_456), Who::OwnGroup]),
            (4, 4, vec![]),
        ] {
            if !give(file.path(), OF_FILE, own_group, (23_456, user)) {
                return;
            }
            let list = Acl::of(file.path(), OF_FILE).unwrap().unwrap();
            assert_eq!(list.writers(), writers, "{own_group} {user}");
            assert_eq!(Acl::of_open(file.as_file()).unwrap(), Some(list));
        }
    }
}
