//! A Redis server for one page, empty and with an append-only file. It ends with the page.

use std::env;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::steps::Failure;

/// How long it may take to begin.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a reader's server is called, on paper.
const ON_PAPER: &str = "redis.example.org:6379";

#[derive(Debug)]
pub(super) struct Server {
    port: u16,
    child: Child,
    _directory: TempDir,
}

impl Server {
    pub(super) fn start() -> Result<Self, Failure> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let directory = tempfile::Builder::new().prefix("server-").tempdir()?;
        let child = program()
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
            .arg("--dir")
            .arg(directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| Failure::new(format!("cannot start a Redis server: {error}")))?;
        let mut server = Self { port, child, _directory: directory };
        server.wait()?;
        Ok(server)
    }

    /// The store's address. A server that has just begun would grant nothing for a while.
    pub(super) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/?failover_pause=0s", self.port)
    }

    /// What was printed, with a reader's server in place of this one.
    pub(super) fn on_paper(&self, text: &str) -> String {
        text.replace(&self.url(), &format!("redis://{ON_PAPER}"))
            .replace(&format!("127.0.0.1:{}", self.port), ON_PAPER)
    }

    fn wait(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            if self.child.try_wait()?.is_some() || Instant::now() > until {
                return Err(Failure::new("the Redis server for a page does not answer"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn answers(&self) -> bool {
        let mut answer = [0; 5];
        TcpStream::connect(("127.0.0.1", self.port)).is_ok_and(|mut stream| {
            stream.write_all(b"PING\r\n").and_then(|()| stream.read_exact(&mut answer)).is_ok()
                && &answer == b"+PONG"
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// As in the tests: Debian has the server under the name of its checker where the service is not installed.
fn program() -> Command {
    if let Some(named) = env::var_os("FLOWLOCK_REDIS_SERVER") {
        return Command::new(named);
    }
    let mut command = Command::new("redis-check-rdb");
    command.arg0("redis-server");
    command
}
