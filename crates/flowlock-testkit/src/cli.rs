//! Runs the real binary in a home of its own.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Debug;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::finished::Plain;
use crate::{Finished, Injected, Job, PATIENCE, RedisServer, Terminal, until};

/// Runs the `flowlock` binary with an empty home, an empty environment, `TZ=UTC` and a store of its own.
///
/// Clones share the home and the store; the home goes away with the last of them.
///
/// ```no_run
/// # use flowlock_testkit::Cli;
/// let cli = Cli::new("target/debug/flowlock"); // in a test: env!("CARGO_BIN_EXE_flowlock")
/// cli.run(["run", "-l", "nightly", "--", "echo", "done"]).code(0).stdout("done\n").stderr("");
/// ```
#[derive(Debug, Clone)]
pub struct Cli {
    binary: PathBuf,
    home: Arc<TempDir>,
    /// Where outputs are kept: not in the home, because faults may count every write there.
    talk: Arc<TempDir>,
    directory: PathBuf,
    server: Option<Arc<RedisServer>>,
    variables: BTreeMap<OsString, OsString>,
    stdin: Option<String>,
}

/// Starts the program with no signal ignored. A shell that runs the tests in the background makes them
/// ignore INT and QUIT, `nohup` HUP; programs inherit that, and flowlock rightly keeps it.
const ENV: &str = "/usr/bin/env";
const DEFAULT_SIGNALS: &str = "--default-signal=HUP,INT,QUIT,TERM,USR1,USR2";

impl Cli {
    /// Creates a new home for this binary. `FLOWLOCK_STORE` names a file in it that does not exist yet.
    ///
    /// # Panics
    ///
    /// If there is no room for a temporary directory.
    pub fn new(binary: impl Into<PathBuf>) -> Self {
        let home = TempDir::with_prefix("flowlock-").expect("room for a temporary home");
        let path = home.path().canonicalize().expect("a fresh home exists");
        std::fs::create_dir(path.join("store")).expect("room for a store");
        let cli = Cli {
            binary: binary.into(),
            directory: path.clone(),
            server: None,
            home: Arc::new(home),
            talk: Arc::new(TempDir::with_prefix("talk-").expect("room for outputs")),
            variables: BTreeMap::new(),
            stdin: None,
        };
        let store = cli.store();
        cli.with("HOME", &path)
            .with("PATH", std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into()))
            .with("TZ", "UTC")
            .with("LC_ALL", "C.UTF-8")
            .with("TERM", "xterm")
            .with("FLOWLOCK_STORE", format!("sqlite:{}", store.display()))
    }

    /// Keeps the store on this server instead of in the file. In outputs, its address reads `server`.
    #[must_use]
    pub fn on(mut self, server: RedisServer) -> Self {
        let url = server.url();
        self.server = Some(Arc::new(server));
        self.with("FLOWLOCK_STORE", url)
    }

    /// Sets an environment variable.
    #[must_use]
    pub fn with(mut self, variable: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.variables.insert(variable.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Unsets a variable; without `FLOWLOCK_STORE` the default store below the home is used.
    #[must_use]
    pub fn without(mut self, variable: impl AsRef<OsStr>) -> Self {
        self.variables.remove(variable.as_ref());
        self
    }

    /// Loads faults into every process that is started from here.
    #[must_use]
    pub fn with_faults(mut self, faults: &Injected) -> Self {
        self.variables.extend(faults.variables().iter().cloned());
        self
    }

    /// Runs another program in the same home, with the same store and environment.
    #[must_use]
    pub fn with_program(mut self, program: impl Into<PathBuf>) -> Self {
        self.binary = program.into();
        self
    }

    /// Starts processes in this directory instead of the home.
    #[must_use]
    pub fn in_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = directory.into();
        self
    }

    /// Sets what the next processes read from standard input; default: nothing.
    #[must_use]
    pub fn with_stdin(mut self, text: impl Into<String>) -> Self {
        self.stdin = Some(text.into());
        self
    }

    /// Returns the home directory, canonical.
    pub fn home(&self) -> PathBuf {
        self.home.path().canonicalize().expect("the home lives as long as its owner")
    }

    /// Returns the store's file.
    pub fn store(&self) -> PathBuf {
        self.home().join("store/flowlock.db")
    }

    /// Returns the store's server.
    ///
    /// # Panics
    ///
    /// If the store is a file.
    pub fn server(&self) -> &RedisServer {
        self.server.as_ref().expect("the store is on a server")
    }

    /// Runs to the end, for at most [`PATIENCE`](crate::PATIENCE).
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Finished {
        self.start(arguments).wait()
    }

    /// Runs to the end, for at most `patience`.
    #[track_caller]
    pub fn run_within<A: AsRef<OsStr>>(
        &self,
        patience: Duration,
        arguments: impl IntoIterator<Item = A>,
    ) -> Finished {
        self.start(arguments).wait_at_most(patience)
    }

    fn plain(&self) -> Plain {
        let address = |server: &Arc<RedisServer>| format!("127.0.0.1:{}", server.port());
        Plain { home: self.home(), server: self.server.as_ref().map(address) }
    }

    /// Returns the arguments of [`ENV`].
    fn words<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Vec<OsString> {
        let arguments = arguments.into_iter().map(|argument| argument.as_ref().to_owned());
        [DEFAULT_SIGNALS.into(), self.binary.clone().into()].into_iter().chain(arguments).collect()
    }

    /// Starts in the background.
    #[track_caller]
    pub fn start<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Job {
        let mut command = Command::new(ENV);
        command.args(self.words(arguments)).current_dir(&self.directory).env_clear().envs(&self.variables);
        Job::start(command, self.plain(), self.talk.clone(), self.stdin.as_deref())
    }

    /// Stops a job's process (SIGSTOP) while it does not have the turn to write to the store's file;
    /// else all other writers would wait for it until it continues.
    #[track_caller]
    pub fn stops(&self, job: &Job) {
        let turn = self.server.is_none().then(|| {
            let turn =
                File::open(self.home().join("store/flowlock.db-lock")).expect("the store was written to");
            turn.lock().expect("the turn comes");
            turn
        });
        job.signal(Signal::SIGSTOP);
        until("a stopped process", PATIENCE, || job.is_stopped().then_some(()));
        drop(turn);
    }

    /// Starts on a pseudo-terminal of 80 columns and 24 lines, as its controlling terminal.
    #[track_caller]
    pub fn terminal<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Terminal {
        let command = pty_process::blocking::Command::new(ENV)
            .args(self.words(arguments))
            .current_dir(&self.directory)
            .env_clear()
            .envs(&self.variables);
        Terminal::start(command, self.plain())
    }
}
