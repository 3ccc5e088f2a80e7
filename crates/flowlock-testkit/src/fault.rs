//! Faults for real processes: a small preloaded library (`shim/fault.c`) and its remote control.

mod journal;

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::errno::Errno;
use tempfile::TempDir;

use crate::shim;

pub use journal::{Journal, Luck};

/// A kind of call that can be counted, refused or made fatal. `shim/fault.c` uses the same numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// `write`, `pwrite`, `writev`.
    Write = 1,
    /// `fsync`, `fdatasync`, of files and directories.
    Sync = 2,
    /// `send`, `sendto`, `sendmsg`, on any socket, because messages have no path.
    Send = 4,
    /// `ftruncate`.
    Truncate = 8,
    /// `rename`, by the old path.
    Rename = 16,
    /// `link`, by the existing path.
    Link = 32,
    /// `unlink`.
    Unlink = 64,
    /// `open` for writing.
    Open = 128,
    /// `pread`.
    Read = 1024,
}

impl Call {
    /// Everything that can change what another process or the next boot sees.
    pub const EFFECTS: [Call; 8] = [
        Call::Write,
        Call::Sync,
        Call::Send,
        Call::Truncate,
        Call::Rename,
        Call::Link,
        Call::Unlink,
        Call::Open,
    ];
}

/// What `statfs` returns instead of the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FileSystem {
    /// NFS.
    Nfs = 0x6969,
    /// SMB/CIFS before version 2.
    Cifs = 0xff53_4d42,
    /// SMB 2 and later.
    Smb2 = 0xfe53_4d42,
    /// A user-space file system such as sshfs.
    Fuse = 0x6573_5546,
    /// 9P, as in some virtual machines.
    Plan9 = 0x0102_1997,
    /// Ceph.
    Ceph = 0x00c3_6400,
}

/// A plan of faults for the processes that load it. Without faults, the calls below the directory are
/// only counted.
#[derive(Debug, Clone)]
pub struct Fault {
    below: PathBuf,
    calls: Vec<Call>,
    at: u64,
    act: Act,
    errno: Errno,
    journal: bool,
    file_system: Option<(PathBuf, FileSystem)>,
    boot: Option<String>,
    late: Duration,
    armed: bool,
}

#[derive(Debug, Clone, Copy)]
enum Act {
    Nothing = 0,
    KillBefore = 1,
    KillAfter = 2,
    RefuseOnce = 3,
    RefuseForEver = 4,
    StopBefore = 5,
}

impl Fault {
    /// Plans faults for calls on paths at or below `directory` (and for messages to anywhere). Counts
    /// [`Call::EFFECTS`].
    ///
    /// # Panics
    ///
    /// If `directory` does not exist.
    pub fn below(directory: impl AsRef<Path>) -> Self {
        Fault {
            below: directory.as_ref().canonicalize().expect("the directory of a fault exists"),
            calls: Call::EFFECTS.to_vec(),
            at: 0,
            act: Act::Nothing,
            errno: Errno::EIO,
            journal: false,
            file_system: None,
            boot: None,
            late: Duration::ZERO,
            armed: true,
        }
    }

    /// Counts only these kinds of calls.
    #[must_use]
    pub fn calls(mut self, calls: &[Call]) -> Self {
        self.calls = calls.to_vec();
        self
    }

    /// Kills the process that makes the `n`th counted call (from 1) just before it.
    #[must_use]
    pub fn kill_before(mut self, n: u64) -> Self {
        (self.act, self.at) = (Act::KillBefore, n);
        self
    }

    /// Kills the process that makes the `n`th counted call (from 1) just after it.
    #[must_use]
    pub fn kill_after(mut self, n: u64) -> Self {
        (self.act, self.at) = (Act::KillAfter, n);
        self
    }

    /// Stops (SIGSTOP) the process that makes the `n`th counted call (from 1) just before it.
    #[must_use]
    pub fn stop_before(mut self, n: u64) -> Self {
        (self.act, self.at) = (Act::StopBefore, n);
        self
    }

    /// Refuses the `n`th counted call with this error; the next one works again.
    #[must_use]
    pub fn refuse_once(mut self, n: u64, errno: Errno) -> Self {
        (self.act, self.at, self.errno) = (Act::RefuseOnce, n, errno);
        self
    }

    /// Refuses the `n`th counted call and every later one with this error.
    #[must_use]
    pub fn refuse_from(mut self, n: u64, errno: Errno) -> Self {
        (self.act, self.at, self.errno) = (Act::RefuseForEver, n, errno);
        self
    }

    /// Keeps a journal of every change below the directory, for [`Journal::after_power_loss`].
    #[must_use]
    pub fn journal(mut self) -> Self {
        self.journal = true;
        self
    }

    /// Makes `path` and what is below it appear to be on another kind of file system.
    #[must_use]
    pub fn file_system(mut self, path: impl AsRef<Path>, kind: FileSystem) -> Self {
        self.file_system = Some((path.as_ref().to_owned(), kind));
        self
    }

    /// Makes the process read this as the id of the running boot.
    #[must_use]
    pub fn boot(mut self, id: &str) -> Self {
        self.boot = Some(id.to_owned());
        self
    }

    /// Delays the process's first thread by this time whenever it looks at what it waits for.
    #[must_use]
    pub fn late(mut self, by: Duration) -> Self {
        self.late = by;
        self
    }

    /// Makes it neither count nor act until [`Injected::arm`].
    #[must_use]
    pub fn disarmed(mut self) -> Self {
        self.armed = false;
        self
    }

    /// Builds the library if needed and makes the remote control.
    ///
    /// # Panics
    ///
    /// If there is no C compiler (`$CC` or `cc`); the message says so.
    pub fn inject(&self) -> Injected {
        let dir = TempDir::with_prefix("fault-").expect("a temporary directory");
        let control = File::options()
            .create_new(true)
            .read(true)
            .write(true)
            .open(dir.path().join("control"))
            .expect("a control file");
        control.set_len(4096).expect("room for the control block");
        if let Some(id) = &self.boot {
            std::fs::write(dir.path().join("boot_id"), format!("{id}\n")).expect("a boot id");
        }
        let injected = Injected { variables: self.variables(dir.path()), control, dir };
        if self.armed {
            injected.arm();
        }
        injected
    }

    fn variables(&self, dir: &Path) -> Vec<(OsString, OsString)> {
        let kinds: u32 = self.calls.iter().map(|call| *call as u32).sum();
        let mut variables: Vec<(OsString, OsString)> = vec![
            ("LD_PRELOAD".into(), shim::FAULT.library().into()),
            ("FAULT_CONTROL".into(), dir.join("control").into()),
            ("FAULT_BELOW".into(), self.below.clone().into()),
            ("FAULT_KINDS".into(), kinds.to_string().into()),
            ("FAULT_AT".into(), self.at.to_string().into()),
            ("FAULT_ACT".into(), (self.act as u32).to_string().into()),
            ("FAULT_ERRNO".into(), (self.errno as i32).to_string().into()),
        ];
        if self.journal {
            variables.push(("FAULT_JOURNAL".into(), dir.join("journal").into()));
        }
        if let Some((path, kind)) = &self.file_system {
            variables.push(("FAULT_FS_PATH".into(), path.clone().into()));
            variables.push(("FAULT_FS_TYPE".into(), (*kind as u32).to_string().into()));
        }
        if !self.late.is_zero() {
            variables.push(("FAULT_LATE_MS".into(), self.late.as_millis().to_string().into()));
        }
        if self.boot.is_some() {
            variables.push(("FAULT_BOOT_ID".into(), dir.join("boot_id").into()));
        }
        variables
    }
}

/// The remote control of a plan. Processes that are started with its [`variables`](Injected::variables),
/// and their children, share one count.
#[derive(Debug)]
pub struct Injected {
    variables: Vec<(OsString, OsString)>,
    control: File,
    dir: TempDir,
}

/// Positions in the control block, in 8-byte words.
mod word {
    pub(super) const WALL: u64 = 0;
    pub(super) const BOOT: u64 = 1;
    pub(super) const ARMED: u64 = 2;
    pub(super) const SEEN: u64 = 3;
    pub(super) const FIRED: u64 = 4;
}

impl Injected {
    /// Returns the environment that loads the faults into a process.
    pub fn variables(&self) -> &[(OsString, OsString)] {
        &self.variables
    }

    /// Adds [`variables`](Injected::variables) to a command.
    pub fn load_into<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.envs(self.variables.iter().map(|(name, value)| (name, value)))
    }

    /// Starts counting and acting.
    pub fn arm(&self) {
        self.set(word::ARMED, 1);
    }

    /// Stops counting and acting; clocks stay where they are.
    pub fn disarm(&self) {
        self.set(word::ARMED, 0);
    }

    /// Returns how many counted calls the processes have made.
    pub fn seen(&self) -> u64 {
        self.get(word::SEEN) as u64
    }

    /// Returns how many calls were refused or fatal. A test that expects a fault must assert that it
    /// happened.
    pub fn fired(&self) -> u64 {
        self.get(word::FIRED) as u64
    }

    /// Sets the difference between the processes' wall clock and the true one, also for running
    /// processes.
    pub fn shift_wall_clock(&self, milliseconds: i64) {
        self.set(word::WALL, milliseconds * 1_000_000);
    }

    /// Moves the boot-time clock, as a suspended machine does when it wakes up. Sleeping threads do not
    /// wake earlier.
    pub fn shift_boot_clock(&self, milliseconds: i64) {
        self.set(word::BOOT, milliseconds * 1_000_000);
    }

    /// Returns what was changed so far.
    ///
    /// # Panics
    ///
    /// If the plan keeps no journal.
    pub fn journal(&self) -> Journal {
        Journal::read(&self.dir.path().join("journal"))
    }

    fn get(&self, word: u64) -> i64 {
        let mut bytes = [0; 8];
        self.control.read_exact_at(&mut bytes, word * 8).expect("the control block is readable");
        i64::from_ne_bytes(bytes)
    }

    fn set(&self, word: u64, value: i64) {
        self.control.write_all_at(&value.to_ne_bytes(), word * 8).expect("the control block is writable");
    }
}
