//! The setup of a server: what it keeps, its users, TLS, replication.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;

use super::certificates::Certificates;
use super::clock::Clock;
use super::process::{Process, remove_after_our_death};
use super::{RedisServer, port, program};

/// What a server keeps when its process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing: it comes back empty.
    None,
    /// Everything that it acknowledged (`appendfsync always`).
    AofAlways,
    /// Everything after kill -9, and all but the last second after a power loss (`appendfsync everysec`).
    AofEverySecond,
    /// The state at the last `SAVE` or shutdown: the server can come back older than it was.
    Snapshots,
}

/// The setup of a server that is not started yet. By default it has plain TCP on a free loopback port and a unix
/// socket; the methods add to that.
#[derive(Debug, Clone)]
pub struct RedisSetup {
    program: PathBuf,
    arguments: Vec<&'static str>,
    persistence: Persistence,
    password: Option<String>,
    users: Vec<String>,
    lines: Vec<String>,
    tls: bool,
    bus: bool,
    clock: Option<Clock>,
}

/// The name of the socket in a server's directory.
pub(super) const SOCKET: &str = "socket";
const CONFIGURATION: &str = "server.conf";

/// The user name with which the kit connects when the default user is off.
const KIT: (&str, &str) = ("testkit", "testkit");

impl RedisSetup {
    pub(super) fn new() -> Self {
        RedisSetup {
            program: program::redis_program(),
            arguments: vec![CONFIGURATION],
            persistence: Persistence::None,
            password: None,
            users: Vec::new(),
            lines: Vec::new(),
            tls: false,
            bus: false,
            clock: None,
        }
    }

    /// Runs this program instead of `$FLOWLOCK_REDIS_SERVER` or `redis-server`.
    #[must_use]
    pub fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.program = program.into();
        self
    }

    /// Sets what the server keeps when its process ends.
    #[must_use]
    pub fn persistence(mut self, persistence: Persistence) -> Self {
        self.persistence = persistence;
        self
    }

    /// Sets how much memory the server may use, such as `2mb`, and what it does when that is full: `noeviction`,
    /// `allkeys-lru`, …
    #[must_use]
    pub fn max_memory(self, most: &str, policy: &str) -> Self {
        self.line(format!("maxmemory {most}")).line(format!("maxmemory-policy {policy}"))
    }

    /// Sets the default user's password.
    #[must_use]
    pub fn password(mut self, password: &str) -> Self {
        self.password = Some(password.to_owned());
        self
    }

    /// Adds a user with an access rule, such as `("flowlock", "on >secret ~fl:* &fl:* +@all")`, and turns the default
    /// user off.
    #[must_use]
    pub fn user(mut self, name: &str, rule: &str) -> Self {
        self.users.push(format!("user {name} {rule}"));
        self
    }

    /// Adds a second port that speaks TLS and requires a client certificate.
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Makes the server a replica of this one.
    #[must_use]
    pub fn replica_of(mut self, primary: &RedisServer) -> Self {
        if let Some((user, password)) = primary.setup.master_key() {
            self.lines.push(format!("masterauth {password}"));
            self.lines.extend((user != "default").then(|| format!("masteruser {user}")));
        }
        self.line(format!("replicaof 127.0.0.1 {}", primary.port()))
    }

    /// Gives the server this wall clock.
    #[must_use]
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = Some(clock.clone());
        self
    }

    /// Adds a line to the configuration.
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// Makes the server a sentinel, which holds no data.
    pub(super) fn sentinel(mut self) -> Self {
        self.arguments.push("--sentinel");
        self
    }

    /// Makes the server a node of a cluster, with a port for the other nodes.
    pub(super) fn cluster_node(mut self) -> Self {
        self.bus = true;
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Panics
    ///
    /// If the server does not start; the message contains its log.
    #[track_caller]
    pub fn start(self) -> RedisServer {
        for _ in 0..10 {
            let server = self.clone().launch();
            if server.comes_up() {
                return server;
            }
            let log = server.log();
            assert!(log.contains("Address already in use"), "{} has ended: {log}", self.program.display());
        }
        panic!("other processes take every free port before {} does", self.program.display());
    }

    fn launch(self) -> RedisServer {
        let directory = TempDir::with_prefix("server-").expect("room for a server");
        remove_after_our_death(directory.path());
        let port = port::free();
        let tls = self.tls.then(|| (port::free(), Certificates::write_into(directory.path())));
        std::fs::write(
            directory.path().join(CONFIGURATION),
            self.configuration(directory.path(), port, tls.as_ref()),
        )
        .expect("room for a configuration");
        let process = Mutex::new(self.spawn(directory.path()));
        RedisServer { setup: self, port, tls, line: Mutex::new(None), process, directory }
    }

    /// Starts the process with the files in `directory`, which the server may have rewritten since.
    pub(super) fn spawn(&self, directory: &Path) -> Process {
        Process::start(&self.program, &self.arguments, directory, |command| {
            if let Some(clock) = &self.clock {
                clock.load_into(command);
            }
        })
    }

    fn configuration(&self, directory: &Path, port: u16, tls: Option<&(u16, Certificates)>) -> String {
        let at = directory.display();
        // A replica gets its first copy at once, and a shutdown waits one second for replicas instead of ten.
        let mut text = format!(
            "port {port}\nbind 127.0.0.1\nunixsocket {at}/{SOCKET}\nunixsocketperm 700\ndir {at}\n\
             repl-diskless-sync-delay 0\nshutdown-timeout 1\n"
        );
        text += match self.persistence {
            Persistence::None => "save \"\"\nappendonly no\n",
            Persistence::AofAlways => "save \"\"\nappendonly yes\nappendfsync always\n",
            Persistence::AofEverySecond => "save \"\"\nappendonly yes\nappendfsync everysec\n",
            Persistence::Snapshots => "save 86400 1\nappendonly no\n",
        };
        if let Some((tls_port, Certificates { ca, server, server_key, .. })) = tls {
            let (ca, server, key) = (ca.display(), server.display(), server_key.display());
            let _ = write!(text, "tls-port {tls_port}\ntls-auth-clients yes\ntls-ca-cert-file {ca}\n");
            let _ = write!(text, "tls-cert-file {server}\ntls-key-file {key}\n");
        }
        if self.bus {
            let _ = writeln!(text, "cluster-port {}", port::free());
        }
        if let Some(password) = &self.password {
            let _ = writeln!(text, "requirepass {password}");
        }
        if !self.users.is_empty() {
            let (name, password) = KIT;
            let _ = write!(text, "user default off\nuser {name} on >{password} ~* &* +@all\n");
        }
        for line in self.users.iter().chain(&self.lines) {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The password that [`password`](Self::password) set, if the default user is not off.
    pub(super) fn default_password(&self) -> Option<&str> {
        self.password.as_deref().filter(|_| self.users.is_empty())
    }

    /// The name and password of the user who may do everything, unless the default user may do that without a password.
    pub(super) fn master_key(&self) -> Option<(&str, &str)> {
        if self.users.is_empty() {
            return self.password.as_deref().map(|password| ("default", password));
        }
        Some(KIT)
    }
}
