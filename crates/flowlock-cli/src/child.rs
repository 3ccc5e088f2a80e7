//! Starts COMMAND. Besides `lost_memory.rs`, this is the only file with unsafe code.
//!
//! Between `fork` and `exec` only async-signal-safe calls are allowed; every closure here uses only thin
//! wrappers of system calls. Linux only: the parent-death signal and the order of events rely on it.
#![allow(unsafe_code, reason = "a child must be prepared between fork and exec")]

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, RawFd};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::unistd::{Pid, getpgrp, getpid, getppid, tcgetpgrp, tcsetpgrp};

/// What to start.
#[derive(Debug)]
pub(crate) struct Launch<'a> {
    /// The command and its arguments.
    pub(crate) command: &'a [OsString],
    /// Variables to add to the environment; those without a value are removed from it.
    pub(crate) environment: Vec<(&'static str, Option<OsString>)>,
    /// A descriptor that the child's whole process tree keeps open.
    pub(crate) inherit: Option<BorrowedFd<'a>>,
}

/// A started child, leader of its own process group, not yet reaped.
#[derive(Debug)]
pub(crate) struct Child {
    /// Its process id, which is its group's id too.
    pub(crate) pid: Pid,
    /// Whether standard input is a terminal that it shares with flowlock.
    pub(crate) at_terminal: bool,
}

/// Why a command cannot be started.
#[derive(Debug)]
pub(crate) enum CannotStart {
    /// No such file: exit code 127.
    NotFound(io::Error),
    /// A file that cannot be executed: exit code 126.
    NotExecutable(io::Error),
}

impl From<io::Error> for CannotStart {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound(error),
            _ => Self::NotExecutable(error),
        }
    }
}

/// Looks for `command` as `execvp` will, so that a misspelt one never takes a lock.
pub(crate) fn find(command: &OsStr) -> Result<PathBuf, CannotStart> {
    let given = Path::new(command);
    if command.as_encoded_bytes().contains(&b'/') {
        return executable(given).map(|()| given.to_owned()).map_err(CannotStart::from);
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut problem = io::Error::from_raw_os_error(libc::ENOENT);
    for folder in std::env::split_paths(&path) {
        let file = folder.join(given);
        match executable(&file) {
            Ok(()) => return Ok(file),
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => problem = error,
            Err(_) => {}
        }
    }
    Err(problem.into())
}

fn executable(file: &Path) -> io::Result<()> {
    let folder = std::fs::metadata(file)?.is_dir();
    if folder {
        return Err(io::Error::from_raw_os_error(libc::EACCES));
    }
    Ok(nix::unistd::access(file, nix::unistd::AccessFlags::X_OK)?)
}

/// Starts the child. Its parent-death signal belongs to the calling *thread*: call this from the main
/// thread.
pub(crate) fn start(launch: Launch<'_>) -> Result<Child, CannotStart> {
    let foreground = foreground();
    let terminal = if foreground == Some(getpgrp()) { Terminal::HandedOn } else { Terminal::LeftAlone };
    let wrapper = getpid();
    let inherit = launch.inherit.map(|descriptor| descriptor.as_raw_fd());
    let image = Image::new(launch)?;
    let mut command = Command::new(OsStr::from_bytes(image.file.as_bytes()));
    command.process_group(0);
    // SAFETY: the closure runs between fork and exec. It allocates nothing and calls only
    // async-signal-safe functions: prctl, getppid, sigprocmask, tcsetpgrp, fcntl, execve.
    unsafe {
        command.pre_exec(move || {
            prepare(wrapper, terminal, inherit)?;
            Err(image.execute())
        });
    }
    let child = command.spawn()?;
    Ok(Child { pid: Pid::from_raw(child.id().cast_signed()), at_terminal: foreground.is_some() })
}

/// What the child executes. The standard library would pass a file that the kernel does not know to
/// `/bin/sh`.
struct Image {
    file: CString,
    /// What the pointers below point to.
    _strings: [Vec<CString>; 2],
    arguments: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
}

// SAFETY: the pointers lead to the strings of the same value, which are never changed.
unsafe impl Send for Image {}
// SAFETY: the same.
unsafe impl Sync for Image {}

impl Image {
    fn new(launch: Launch<'_>) -> Result<Self, CannotStart> {
        let file = text(find(&launch.command[0])?.into_os_string())?;
        let arguments: Vec<CString> = launch.command.iter().cloned().map(text).collect::<io::Result<_>>()?;
        let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        for (name, value) in launch.environment {
            match value {
                Some(value) => drop(variables.insert(name.into(), value)),
                None => drop(variables.remove(OsStr::new(name))),
            }
        }
        let joined = |(mut name, value): (OsString, OsString)| {
            name.push("=");
            name.push(value);
            text(name)
        };
        let environment: Vec<CString> = variables.into_iter().map(joined).collect::<io::Result<_>>()?;
        let pointers = |strings: &[CString]| {
            strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect::<Vec<_>>()
        };
        Ok(Self {
            file,
            arguments: pointers(&arguments),
            environment: pointers(&environment),
            _strings: [arguments, environment],
        })
    }

    /// Returns only if that fails.
    fn execute(&self) -> io::Error {
        // SAFETY: three strings and lists of strings that end with a null pointer, all alive.
        unsafe { libc::execve(self.file.as_ptr(), self.arguments.as_ptr(), self.environment.as_ptr()) };
        io::Error::last_os_error()
    }
}

fn text(text: OsString) -> io::Result<CString> {
    Ok(CString::new(text.into_vec())?)
}

/// What happens to the terminal when the child starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Terminal {
    /// The child gets it, because its parent had it.
    HandedOn,
    /// Another process has it, or there is none.
    LeftAlone,
}

fn prepare(wrapper: Pid, terminal: Terminal, inherit: Option<RawFd>) -> io::Result<()> {
    prctl::set_pdeathsig(Signal::SIGKILL)?;
    // The wrapper may have died before the line above; then no signal will ever come.
    if getppid() != wrapper {
        return Err(Errno::ESRCH.into());
    }
    if terminal == Terminal::HandedOn {
        take_terminal(getpid())?;
    }
    if let Some(descriptor) = inherit {
        // SAFETY: the parent keeps the descriptor open until the child was executed.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
    }
    Ok(())
}

/// Returns the process group that has the terminal on standard input, if it is the terminal of this
/// session.
pub(crate) fn foreground() -> Option<Pid> {
    tcgetpgrp(io::stdin()).ok()
}

/// Makes `group` the foreground of the terminal on standard input, even from the background.
pub(crate) fn take_terminal(group: Pid) -> nix::Result<()> {
    let mut terminal_output = SigSet::empty();
    terminal_output.add(Signal::SIGTTOU);
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&terminal_output), Some(&mut before))?;
    // SAFETY: descriptor 0 is only used for this call; if it is closed, the call fails with EBADF.
    let result = tcsetpgrp(unsafe { BorrowedFd::borrow_raw(0) }, group);
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
    result
}

/// Returns whether a signal was ignored when this process began, as HUP is under `nohup`.
pub(crate) fn is_ignored(signal: Signal) -> bool {
    // SAFETY: an all-zero `sigaction` is a valid value to be overwritten.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: with a null new action the call only writes the current one to `action`.
    let asked = unsafe { libc::sigaction(signal as libc::c_int, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}
