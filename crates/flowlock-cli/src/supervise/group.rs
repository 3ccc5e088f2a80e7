//! Who is in a process group.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A process, and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its number.
    pub(crate) pid: i32,
    /// Its user.
    pub(crate) uid: u32,
}

impl Member {
    /// Whether it is another user's, so that it can be neither signalled nor ended.
    pub(super) fn is_out_of_reach(self) -> bool {
        kill(Pid::from_raw(self.pid), None) == Err(Errno::EPERM)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} of user {}", self.pid, self.uid)
    }
}

/// The living members of a group, as far as they can be seen.
pub(super) fn members(group: Pid) -> Vec<Member> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(process.path().join("stat")).ok()?;
            // After the command's name, which may hold anything: state, parent, group.
            let mut words = stat.rsplit(") ").next()?.split_whitespace();
            let (dead, its) = (words.next()? == "Z", words.nth(1)?);
            let uid = process.metadata().ok()?.uid();
            (!dead && its.parse() == Ok(group.as_raw())).then_some(Member { pid, uid })
        })
        .collect()
}
