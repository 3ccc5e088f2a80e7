//! Opens a file that a user names to be read, by the same rule as a file to be written: another user's
//! link would choose another file, whose content would then be used in place of this one's.

use std::fs::File;
use std::io;
use std::path::Path;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::{Links, Missing, find, is_in_proc};

/// Opens a regular file for reading. Follows no link that another user made, or may have moved there.
/// What this process holds open (`/dev/stdin`, `<(COMMAND)`) may be a pipe.
pub(crate) fn open_to_read(path: &Path) -> io::Result<File> {
    let way = find(path, Missing::Refused, Links::OrHeld)?;
    if is_in_proc(&way.held) {
        let flags = OFlag::O_RDONLY | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        return Ok(File::from(openat(&way.held, way.name.as_os_str(), flags, Mode::empty())?));
    }
    let file = way.open()?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};

    use super::*;

    fn content(path: &Path) -> Result<String, String> {
        let mut text = String::new();
        open_to_read(path)
            .and_then(|mut file| file.read_to_string(&mut text))
            .map_err(|error| error.to_string())?;
        Ok(text)
    }

    #[test]
    fn what_a_link_of_others_leads_to_is_not_read() {
        let root = tempfile::tempdir().unwrap();
        let [open, mine] = ["open", "mine"].map(|name| root.path().join(name));
        fs::create_dir(&open).unwrap();
        fs::write(&mine, "mine").unwrap();
        fs::write(open.join("list"), "list").unwrap();
        let link = open.join("link");
        symlink(&mine, &link).unwrap();
        symlink(root.path(), open.join("up")).unwrap();
        for (mode, is_read) in [(0o755, true), (0o1777, false), (0o777, false)] {
            fs::set_permissions(&open, Permissions::from_mode(mode)).unwrap();
            for path in [&link, &open.join("up/mine")] {
                let read = content(path);
                let why = read.clone().err().unwrap_or_default();
                assert_eq!(read.is_ok(), is_read, "{path:?} {mode:o} {why}");
                assert!(
                    is_read
                        || why.contains(
                            "is a symbolic link that somebody other than you and root may have moved there"
                        ),
                    "{why}"
                );
            }
            // What is there itself is what the user named.
            assert_eq!(content(&open.join("list")).unwrap(), "list");
        }
        fs::set_permissions(&open, Permissions::from_mode(0o755)).unwrap();
        if nix::unistd::geteuid().is_root() {
            lchown(&link, Some(23_456), None).unwrap();
            assert!(content(&link).unwrap_err().contains("made by user 23456, who is neither you nor root"));
        }
    }

    #[test]
    fn a_pipe_is_read_if_this_process_holds_it_open_and_is_else_no_file() {
        let root = tempfile::tempdir().unwrap();
        let fifo = root.path().join("fifo");
        nix::unistd::mkfifo(&fifo, Mode::S_IRWXU).unwrap();
        assert_eq!(content(&fifo).unwrap_err(), "not a regular file");
        let (reader, writer) = nix::unistd::pipe().unwrap();
        nix::unistd::write(&writer, b"piped").unwrap();
        drop(writer);
        assert_eq!(content(Path::new(&format!("/dev/fd/{}", reader.as_raw_fd()))).unwrap(), "piped");
    }
}
