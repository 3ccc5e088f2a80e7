//! Throw-away Redis and Valkey servers: alone, watched by sentinels, as a cluster, behind a bad line.

mod address;
mod certificates;
mod clock;
mod cluster;
mod look;
mod port;
mod process;
mod program;
mod proxy;
mod sentinels;
mod setup;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use redis::{
    Client, Connection, ConnectionAddr, ErrorKind, IntoConnectionInfo as _, RedisConnectionInfo, RedisError,
    RedisResult, Value,
};
use tempfile::TempDir;

use self::process::Process;
use crate::{PATIENCE, until};

pub use self::address::{documented_rule, fresh_namespace};
pub use self::certificates::Certificates;
pub use self::clock::Clock;
pub use self::cluster::{Cluster, Promotion};
pub use self::look::{CommandCount, SlowCommand};
pub use self::program::redis_program;
pub use self::proxy::{Direction, Proxy, Then};
pub use self::sentinels::{Sentinels, SentinelsSetup};
pub use self::setup::{Persistence, RedisSetup};

/// A server for one test, with its files in a directory of its own. Dropping it kills it and removes the
/// directory.
///
/// The kit uses its Unix socket, so a question needs no TCP connection and no further command.
///
/// ```no_run
/// # use flowlock_testkit::RedisServer;
/// let server = RedisServer::start();
/// server.command(&["SET", "key", "value"]);
/// assert_eq!(server.keys(), 1);
/// ```
pub struct RedisServer {
    setup: RedisSetup,
    port: u16,
    tls: Option<(u16, Certificates)>,
    line: Mutex<Option<Connection>>,
    // Dropped in this order: the process first.
    process: Mutex<Process>,
    directory: TempDir,
}

impl std::fmt::Debug for RedisServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisServer").field("port", &self.port).finish_non_exhaustive()
    }
}

impl RedisServer {
    /// Starts a plain server without persistence.
    #[track_caller]
    pub fn start() -> Self {
        Self::setup().start()
    }

    /// Begins to set up a server.
    pub fn setup() -> RedisSetup {
        RedisSetup::new()
    }

    /// Returns one plain server for all tests of this process that do not disturb it. It ends with the
    /// process.
    ///
    /// Give each test a namespace of its own: [`fresh_namespace`].
    #[track_caller]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<RedisServer> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Its TCP port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its TCP port for TLS.
    ///
    /// # Panics
    ///
    /// If it was not set up with [`tls`](RedisSetup::tls).
    pub fn tls_port(&self) -> u16 {
        self.tls.as_ref().expect("set up with tls()").0
    }

    /// The certificates around its TLS port.
    ///
    /// # Panics
    ///
    /// If it was not set up with [`tls`](RedisSetup::tls).
    pub fn certificates(&self) -> &Certificates {
        &self.tls.as_ref().expect("set up with tls()").1
    }

    /// Its unix socket.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join(setup::SOCKET)
    }

    /// The directory with its files: configuration, log, socket, data.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Returns its log.
    pub fn log(&self) -> String {
        process::log(self.directory())
    }

    /// Carries out a command, its name first.
    ///
    /// # Panics
    ///
    /// If it is refused or not answered.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> Value {
        self.try_command(words).unwrap_or_else(|error| panic!("{words:?}: {error}; {self:?}: {}", self.log()))
    }

    /// Carries out a command that may be refused.
    ///
    /// # Errors
    ///
    /// What the server answered, or that it did not answer; a stopped server is not waited for.
    pub fn try_command(&self, words: &[&str]) -> RedisResult<Value> {
        if self.process().is_stopped() {
            return Err((ErrorKind::Io, "the server is stopped").into());
        }
        let mut line = self.line();
        let had_line = line.is_some();
        let answer = self.ask(&mut line, words);
        match answer {
            // The connection of an earlier command may have been cut since.
            Err(error) if had_line && error.is_connection_dropped() => self.ask(&mut line, words),
            answer => answer,
        }
    }

    fn ask(&self, line: &mut Option<Connection>, words: &[&str]) -> RedisResult<Value> {
        let connection = match line {
            Some(connection) => connection,
            None => line.insert(self.connect()?),
        };
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(word);
        }
        let answer = command.query::<Value>(connection);
        if answer.as_ref().is_err_and(RedisError::is_unrecoverable_error) {
            *line = None;
        }
        answer
    }

    /// Makes a separate connection over the Unix socket, as the user who may do everything.
    ///
    /// # Errors
    ///
    /// If the server is down.
    pub fn connect(&self) -> RedisResult<Connection> {
        let mut who = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some((user, password)) = self.setup.master_key() {
            who = who.set_username(user).set_password(password);
        }
        let info = ConnectionAddr::Unix(self.socket()).into_connection_info()?.set_redis_settings(who);
        let connection = Client::open(info)?.get_connection()?;
        connection.set_read_timeout(Some(PATIENCE))?;
        connection.set_write_timeout(Some(PATIENCE))?;
        Ok(connection)
    }

    /// How long it has been up, in whole seconds.
    #[track_caller]
    pub fn uptime(&self) -> Duration {
        let info = self.command(&["INFO", "server"]);
        let info: String = redis::from_redis_value(info).expect("INFO is text");
        let seconds =
            info.lines().find_map(|line| line.strip_prefix("uptime_in_seconds:")?.trim().parse().ok());
        Duration::from_secs(seconds.expect("the server says how long it has been up"))
    }

    /// Freezes it (SIGSTOP). Its sockets stay open, and it does not answer.
    #[track_caller]
    pub fn stop(&self) {
        self.process().stop();
    }

    /// Lets it continue (SIGCONT).
    #[track_caller]
    pub fn cont(&self) {
        self.process().signal(Signal::SIGCONT);
    }

    /// Kills it (SIGKILL).
    pub fn kill(&self) {
        self.hang_up();
        self.process().kill();
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    #[track_caller]
    pub fn shutdown(&self) {
        self.hang_up();
        let mut process = self.process();
        process.signal(Signal::SIGTERM);
        process.wait();
    }

    /// Starts it again, on the same ports and with the files it left; kills it first if it still runs.
    #[track_caller]
    pub fn restart(&self) {
        self.kill();
        until("a server on its old port", PATIENCE, || {
            *self.process() = self.setup.spawn(self.directory());
            self.comes_up().then_some(())
        });
    }

    /// Waits until it answers, after loading its data.
    #[track_caller]
    pub fn wait_until_ready(&self) {
        assert!(self.comes_up(), "the server has ended: {}", self.log());
    }

    /// Cuts its replicas off and keeps them off: from now on only this server has new data.
    #[track_caller]
    pub fn cut_replication(&self) {
        self.command(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
        self.command(&["CLIENT", "KILL", "TYPE", "replica"]);
    }

    /// Lets the replicas reconnect. SYNC stays forbidden: a replica that was refused PSYNC just before
    /// tries it next, and one that reconnects by it acknowledges nothing.
    #[track_caller]
    pub fn mend_replication(&self) {
        self.command(&["ACL", "SETUSER", "default", "+psync"]);
    }

    /// Its process id.
    pub fn pid(&self) -> Pid {
        self.process().pid()
    }

    /// Returns whether it answers in the end; if not, it has ended.
    #[track_caller]
    fn comes_up(&self) -> bool {
        until("an answer of a server", PATIENCE, || {
            if self.process().has_ended() {
                return Some(false);
            }
            self.try_command(&["PING"]).is_ok().then_some(true)
        })
    }

    fn hang_up(&self) {
        *self.line() = None;
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().expect("no call on a process panics")
    }

    fn line(&self) -> MutexGuard<'_, Option<Connection>> {
        self.line.lock().expect("no command panics")
    }
}
