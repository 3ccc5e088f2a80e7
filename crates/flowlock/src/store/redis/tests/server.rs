//! Throw-away servers.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redis::Value;

use crate::name::RunId;
use crate::store::redis::client::{Client, Evaluated};
use crate::store::redis::inbox::RedisInbox;
use crate::store::redis::script::{Call, Script};
use crate::store::redis::url::Options;
use crate::store::{Inbox as _, Limits, Missed, StoreError, StoreErrorKind};

pub(in crate::store::redis) use crate::store::redis::resp::SHORT;

/// How long a test waits for what must happen.
pub(in crate::store::redis) const LONG: Duration = Duration::from_secs(20);
/// The patience of the clients under test.
pub(in crate::store::redis) const PATIENCE: Duration = Duration::from_secs(2);

/// A server of this test, ended with it.
#[derive(Debug)]
pub(in crate::store::redis) struct Server {
    pub(in crate::store::redis) directory: tempfile::TempDir,
    pub(in crate::store::redis) port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl Server {
    pub(in crate::store::redis) fn start(arguments: &[&str]) -> Self {
        Self::start_on(free_port(), arguments)
    }

    pub(in crate::store::redis) fn start_on(port: u16, arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut server = Self { directory, port, arguments, child: None };
        server.run();
        server
    }

    /// Starts it; again if it was killed.
    pub(in crate::store::redis) fn run(&mut self) {
        let child = Command::new(flowlock_testkit::redis_program())
            .args(&self.arguments)
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--dir"])
            .arg(self.directory.path())
            .arg("--unixsocket")
            .arg(self.socket())
            .args(["--save", "", "--enable-debug-command", "yes", "--daemonize", "no", "--logfile", "log"])
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.child = Some(child);
        eventually("the server answers", || self.answers());
    }

    fn answers(&self) -> bool {
        UnixStream::connect(self.socket()).is_ok_and(|mut stream| {
            let mut answer = [0; 1];
            stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut answer).is_ok()
        })
    }

    pub(in crate::store::redis) fn socket(&self) -> PathBuf {
        self.directory.path().join("s")
    }

    pub(in crate::store::redis) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(in crate::store::redis) fn socket_url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            kill(Pid::from_raw(child.id() as i32), signal).unwrap();
        }
    }

    pub(in crate::store::redis) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(in crate::store::redis) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    pub(in crate::store::redis) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends a command as an administrator would.
    pub(in crate::store::redis) fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").arg("-s").arg(self.socket()).args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns a primary's answer to a new client, with this INFO.
pub(in crate::store::redis) fn greeting(info: &str) -> Vec<u8> {
    format!("+OK\r\n*1\r\n$6\r\nmaster\r\n${}\r\n{info}\r\n", info.len()).into_bytes()
}

pub(in crate::store::redis) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

pub(in crate::store::redis) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < until, "not within {LONG:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(in crate::store::redis) fn open(url: &str) -> Result<Client, StoreError> {
    Client::open(Options::parse(url).unwrap(), PATIENCE, &soon())
}

pub(in crate::store::redis) fn linked(url: &str) -> Arc<Client> {
    Arc::new(open(url).unwrap_or_else(|error| panic!("{url}: {error}")))
}

pub(in crate::store::redis) fn soon() -> Limits {
    Limits::within(PATIENCE)
}

/// Returns a script that increments the key of a tag, and returns its argument.
pub(in crate::store::redis) fn counter() -> Script {
    Script::new("return {redis.call('INCR', KEYS[1]), ARGV[1]}".into())
}

/// Runs the counter of `tag`.
pub(in crate::store::redis) fn count(
    client: &Client,
    script: &Script,
    tag: &str,
    word: &str,
    limits: &Limits,
) -> Result<Evaluated, StoreError> {
    let (keys, args) = ([format!("{{{tag}}}:n").into_bytes()], [word.as_bytes().to_vec()]);
    client.eval(&Call { tag, script, keys: &keys, args: &args, most: SHORT, replicas: None }, limits)
}

/// Returns what the counter should have answered.
pub(in crate::store::redis) fn counted(number: i64, word: &str) -> Value {
    Value::Array(vec![Value::Int(number), Value::BulkString(word.as_bytes().to_vec())])
}

#[track_caller]
pub(in crate::store::redis) fn assert_error<T: std::fmt::Debug>(
    result: Result<T, StoreError>,
    kind: StoreErrorKind,
    says: &str,
) {
    let error = result.unwrap_err();
    assert!(error.kind() == kind && error.to_string().contains(says), "{:?}: {error}", error.kind());
}

/// Listens for the namespace `t`.
pub(in crate::store::redis) fn listen(
    client: &Client,
    channels: [String; 2],
) -> Result<RedisInbox, StoreError> {
    RedisInbox::open(client.topology()?, client.patience(), "t", channels)
}

/// Returns the runs in the inbox's next news. A connection that was made again reports first that
/// something may have been missed.
pub(in crate::store::redis) fn next_runs(inbox: &mut RedisInbox) -> Vec<RunId> {
    loop {
        let news = inbox.wait(LONG);
        if !news.runs.is_empty() || news.missed == Missed::Nothing {
            return news.runs;
        }
    }
}
