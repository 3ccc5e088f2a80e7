//! The members of a process group.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;

/// A process, and its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its process id.
    pub(crate) pid: i32,
    /// Its user id.
    pub(crate) uid: u32,
}

impl Member {
    /// Returns whether it belongs to another user, so that it can be neither signalled nor ended.
    pub(super) fn is_out_of_reach(self) -> bool {
        kill(Pid::from_raw(self.pid), None) == Err(Errno::EPERM)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} of user {}", self.pid, self.uid)
    }
}

/// Returns the living members of a group, as far as they can be seen.
pub(super) fn members(group: Pid) -> Vec<Member> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|process| {
            let pid = process.file_name().to_str()?.parse().ok()?;
            let stat = fs::read(process.path().join("stat")).ok()?;
            // After the command's name, which may contain anything, also half a character: state,
            // parent, group.
            let name_ends = stat.windows(2).rposition(|bytes| bytes == b") ")?;
            let mut words = std::str::from_utf8(&stat[name_ends + 2..]).ok()?.split_whitespace();
            let (dead, its) = (words.next()? == "Z", words.nth(1)?);
            let uid = process.metadata().ok()?.uid();
            (!dead && its.parse() == Ok(group.as_raw())).then_some(Member { pid, uid })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// The kernel cuts a name after 15 bytes, possibly in the middle of a character.
    #[test]
    fn a_process_whose_name_is_no_text_is_seen() {
        let mut command = Command::new("sh");
        command.args(["-c", "printf '1) Z 1\\303' > /proc/$$/comm; echo in; read end"]).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0; 3]).unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let found = members(Pid::from_raw(pid));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(found.iter().map(|member| member.pid).collect::<Vec<_>>(), [pid]);
    }
}
