//! Makes a connection: authenticates, and checks that the server is what the URL says.

use std::collections::HashSet;
use std::sync::Mutex;

use redis::Value;

use super::connection::Connection;
use super::failure::{self, Failure, Transport, Trouble, quoted};
use super::pack;
use super::probe;
use super::url::{Address, Options, Password};
use crate::store::Limits;
use crate::sync::lock;

/// How many servers are remembered as having answered.
const MOST_GREETED: usize = 1_000;

/// What the server at an address must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The one primary that the URL names.
    Alone,
    /// The same after it was in use: if it is a replica now, that may be temporary.
    Again,
    /// The primary that the sentinels name.
    Elected,
    /// A node of a cluster; it tells itself which namespaces it has.
    Node,
    /// A sentinel.
    Sentinel,
}

/// Makes the connections of a store, and remembers which servers have answered before.
#[derive(Debug)]
pub(super) struct Dialler {
    options: Options,
    greeted: Mutex<HashSet<Address>>,
}

impl Dialler {
    pub(super) fn new(options: Options) -> Self {
        Self { options, greeted: Mutex::default() }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    /// Connects to a server and checks what it is.
    pub(super) fn dial(&self, address: &Address, part: Part, limits: &Limits) -> Result<Connection, Failure> {
        let known = if lock(&self.greeted).contains(address) { Known::Before } else { Known::Not };
        let part = if (part, known) == (Part::Alone, Known::Before) { Part::Again } else { part };
        let connection =
            dial(&self.options, address, part, known, limits).map_err(Failure::of_a_connection)?;
        let mut greeted = lock(&self.greeted);
        if greeted.len() >= MOST_GREETED {
            greeted.clear();
        }
        greeted.insert(address.clone());
        drop(greeted);
        Ok(connection)
    }
}

/// Whether a server has answered before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Before,
    Not,
}

fn dial(
    options: &Options,
    address: &Address,
    part: Part,
    known: Known,
    limits: &Limits,
) -> Result<Connection, Failure> {
    let hello = Hello::new(options, part)?;
    let mut connection = Connection::connect(address, options.tls.as_ref(), limits)?;
    let answers = hello.exchange(&mut connection, address, known, limits)?;
    // The kind of server explains the other errors, so it is checked first if it is known.
    if let Value::BulkString(info) = &answers.info {
        check_kind(address, part, &String::from_utf8_lossy(info))?;
    }
    if let Some(Value::ServerError(error)) = &answers.auth {
        return Err(failure::refused_password(address, error));
    }
    let ok = |value: Value| match value {
        Value::ServerError(error) => Err(failure::refused(address, &error)),
        value => Ok(value),
    };
    if part == Part::Sentinel {
        // A user who may ask a sentinel for the primary need not be allowed anything else.
        return Ok(connection);
    }
    answers.select.map(ok).transpose()?;
    check_role(address, part, &ok(answers.role)?)?;
    ok(answers.info)?;
    Ok(connection)
}

/// Everything that is sent to a server before it is used, at once.
struct Hello {
    commands: Vec<u8>,
    has_auth: bool,
    has_select: bool,
}

struct Answers {
    auth: Option<Value>,
    select: Option<Value>,
    role: Value,
    info: Value,
}

impl Hello {
    fn new(options: &Options, part: Part) -> Result<Self, Failure> {
        let (user, password) = match part {
            Part::Sentinel => (&options.sentinel_user, &options.sentinel_password),
            _ => (&options.user, &options.password),
        };
        let has_select = options.db != 0 && part != Part::Sentinel;
        let mut commands = match password {
            Some(password) => auth(user.as_deref(), password)?,
            None => Vec::new(),
        };
        commands.extend(pack::arguments(&[b"CLIENT", b"SETNAME", b"flowlock"]));
        if has_select {
            commands.extend(pack::arguments(&[b"SELECT", options.db.to_string().as_bytes()]));
        }
        commands.extend(pack::arguments(&[b"ROLE"]));
        commands.extend(pack::arguments(&[b"INFO", b"server"]));
        Ok(Self { commands, has_auth: password.is_some(), has_select })
    }

    fn exchange(
        &self,
        connection: &mut Connection,
        at: &Address,
        known: Known,
        limits: &Limits,
    ) -> Result<Answers, Failure> {
        let count = 3 + usize::from(self.has_auth) + usize::from(self.has_select);
        let mut answers = Vec::with_capacity(count);
        // A server without TLS waits for more when it gets a handshake: this must be noticed in time.
        let may_be_deaf = connection.transport() == Transport::Tls && known == Known::Not;
        let patience = if may_be_deaf { limits.share(2) } else { limits.clone() };
        if let Err(trouble) = self.converse(connection, &mut answers, count, &patience) {
            return Err(match (answers.first(), known) {
                // A server that refuses all clients says why before it hangs up.
                (Some(Value::ServerError(error)), _) if self.has_auth => failure::refused_password(at, error),
                (Some(Value::ServerError(error)), _) => failure::refused(at, error),
                (None, Known::Not) => probe::explain(at, &trouble, connection.transport(), limits),
                _ => failure::not_set_up(at, &trouble, connection.transport()),
            });
        }
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or(Value::Nil);
        let auth = self.has_auth.then(&mut next);
        let _named = next(); // a user who may not give the connection a name does without
        let select = self.has_select.then(&mut next);
        Ok(Answers { auth, select, role: next(), info: next() })
    }

    fn converse(
        &self,
        connection: &mut Connection,
        answers: &mut Vec<Value>,
        count: usize,
        limits: &Limits,
    ) -> Result<(), Trouble> {
        connection.send(&self.commands, limits)?;
        while answers.len() < count {
            answers.push(connection.receive(limits)?);
        }
        Ok(())
    }
}

fn auth(user: Option<&str>, password: &Password) -> Result<Vec<u8>, Failure> {
    let secret = password.read().map_err(Failure::unusable)?;
    let secret = secret.reveal().as_bytes();
    Ok(match user {
        Some(user) => pack::arguments(&[b"AUTH", user.as_bytes(), secret]),
        None => pack::arguments(&[b"AUTH", secret]),
    })
}

/// Checks kind and version, from INFO.
fn check_kind(at: &Address, part: Part, info: &str) -> Result<(), Failure> {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let wrong = |what: &str| Err(Failure::unusable(format!("{at} {what}")));
    // Valkey uses its own name for this field.
    match (part, field("redis_mode").or_else(|| field("server_mode")).unwrap_or("standalone")) {
        (Part::Sentinel, "sentinel") => return Ok(()),
        (Part::Sentinel, _) => {
            return wrong("is not a Sentinel; use redis://, or give the addresses of the sentinels");
        }
        (_, "sentinel") => return wrong("is a Sentinel; use redis+sentinel://HOST,HOST/MASTER"),
        (Part::Alone | Part::Again | Part::Elected, "cluster") => {
            return wrong("is a node of a cluster; use redis+cluster://HOST,HOST");
        }
        (Part::Node, "standalone") => return wrong("is not a node of a cluster; use redis://"),
        _ => {}
    }
    let (server, version, oldest) = match field("valkey_version") {
        Some(version) => ("Valkey", version, (7, 2)),
        None => ("Redis", field("redis_version").unwrap_or(""), (7, 0)),
    };
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    let (major, minor) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if (major, minor) < oldest {
        let version = quoted(version);
        return wrong(&format!("is {server} {version}; flowlock needs Redis 7.0 or Valkey 7.2, or newer"));
    }
    Ok(())
}

fn check_role(at: &Address, part: Part, role: &Value) -> Result<(), Failure> {
    let Value::Array(fields) = role else {
        return Err(Failure::unusable(format!("{at} does not say what its role is; is it Redis or Valkey?")));
    };
    let word = |index: usize| match fields.get(index) {
        Some(Value::BulkString(word)) => String::from_utf8_lossy(word),
        _ => "".into(),
    };
    match (part, word(0).as_ref()) {
        (Part::Node | Part::Sentinel, _) | (_, "master") => Ok(()),
        (Part::Again, _) => Err(Failure::unreachable(format!(
            "{at} is a replica now and takes no writes; make it the primary again, or use redis+sentinel:// to follow the primary"
        ))),
        (Part::Elected, _) => Err(Failure::unreachable(format!(
            "{at} is not the primary any more, or not yet; asking the sentinels again"
        ))),
        (Part::Alone, _) => {
            let primary = match fields.get(2) {
                Some(Value::Int(number)) => format!("{}:{number}", quoted(&word(1))),
                _ => "elsewhere".into(),
            };
            Err(Failure::unusable(format!(
                "{at} is a replica; its primary is {primary}: give that address, or use redis+sentinel:// to follow it"
            )))
        }
    }
}
