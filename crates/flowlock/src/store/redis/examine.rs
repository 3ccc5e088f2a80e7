//! Examines the server: whether it keeps its data, and whether this user may do what flowlock does.
//!
//! If the server does not let this user read something, the finding says what to check by hand; it does
//! not count as a problem.

mod connection;
mod keeps;
mod rows;
mod secrets;
mod server;
mod several;
mod space;

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Value;

use super::RedisStore;
use super::keys::Keys;
use super::url::Address;
use crate::name::Namespace;
use crate::store::{Finding, Limits, StoreError};

/// How long one question, or connecting, may take: an examination must not wait as long as a job may.
const PATIENCE: Duration = Duration::from_secs(5);

/// Examines the server that has the namespace, over a connection of its own, and how it is configured to
/// keep data. A refusal by the server is a finding; once it is unreachable, nothing more is asked.
pub(super) fn examine(store: &RedisStore, namespace: &Namespace, limits: &Limits) -> Vec<Finding> {
    let options = store.client.options();
    let mut findings: Vec<_> =
        options.secret_files().iter().map(|(what, path)| secrets::file(what, path)).collect();
    let own = RedisStore::connect(options.clone(), PATIENCE, None, limits);
    match own.and_then(|own| ask_server(&own, namespace, limits)) {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(Finding::away("server", &error)),
    }
    findings
}

fn ask_server(
    store: &RedisStore,
    namespace: &Namespace,
    limits: &Limits,
) -> Result<Vec<Finding>, StoreError> {
    let keys = Keys::of(namespace);
    let rights = server::rights(store, &keys, limits);
    let examined = Examined::new(store, keys, limits)?;
    let mut findings = vec![server::server(&examined)];
    findings.extend(several::arrangement(&examined)?);
    findings.extend(connection::socket(&examined));
    findings.extend([rights, server::wake_ups(&examined, namespace)?]);
    findings.extend([connection::encryption(&examined), connection::user(&examined)]);
    findings.extend([server::round_trip(&examined)?, server::clock(&examined)?]);
    findings.extend([keeps::eviction(&examined), keeps::persistence(&examined)?]);
    findings.extend([keeps::replicas(&examined), keeps::least_replicas(&examined)?]);
    findings.extend([space::memory(&examined), space::clients(&examined)]);
    findings.extend([space::namespace(&examined)?, rows::records(&examined)?]);
    Ok(findings)
}

/// A server that is being examined.
struct Examined<'s> {
    store: &'s RedisStore,
    keys: Keys,
    /// How long all of it may take.
    limits: &'s Limits,
    /// The fields of its INFO.
    info: BTreeMap<String, String>,
}

impl<'s> Examined<'s> {
    fn new(store: &'s RedisStore, keys: Keys, limits: &'s Limits) -> Result<Self, StoreError> {
        let mut examined = Self { store, keys, limits, info: BTreeMap::new() };
        // In a cluster, the node that has the namespace is found by one of its keys.
        examined.ask(&[b"ZCARD", &examined.keys.all[2]])?;
        let sections: [&[u8]; 6] =
            [b"INFO", b"server", b"clients", b"memory", b"persistence", b"replication"];
        if let Some(Value::BulkString(text)) = examined.ask(&sections)? {
            let text = String::from_utf8_lossy(&text);
            let fields = text.lines().filter_map(|line| line.split_once(':'));
            examined.info =
                fields.map(|(field, value)| (field.to_owned(), super::failure::quoted(value))).collect();
        }
        Ok(examined)
    }

    /// Returns how long one question may take.
    fn question(&self) -> Limits {
        super::attempt(self.store.patience, self.limits)
    }

    /// Asks the server that has the namespace; `None` if it refuses.
    fn ask(&self, arguments: &[&[u8]]) -> Result<Option<Value>, StoreError> {
        let mut command = redis::Cmd::new();
        for word in arguments {
            command.arg(word);
        }
        match self.store.client.command(&self.keys.tag, &command, &self.question()) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                tracing::debug!(%error, "a question was refused");
                Ok(None)
            }
        }
    }

    /// Returns a number that a command answers; `None` if the server refuses.
    fn count(&self, arguments: &[&[u8]]) -> Result<Option<i64>, StoreError> {
        Ok(match self.ask(arguments)? {
            Some(Value::Int(number)) => Some(number),
            _ => None,
        })
    }

    /// Returns one of the server's settings; `None` if the server refuses.
    fn setting(&self, name: &str) -> Result<Option<String>, StoreError> {
        let answer = self.ask(&[b"CONFIG", b"GET", name.as_bytes()])?;
        let Some(Value::Array(arguments)) = answer else { return Ok(None) };
        Ok(match arguments.get(1) {
            Some(Value::BulkString(value)) => Some(super::failure::quoted(&String::from_utf8_lossy(value))),
            _ => None,
        })
    }

    /// Returns a field of INFO; empty if INFO does not have it.
    fn field(&self, name: &str) -> &str {
        self.info.get(name).map_or("", String::as_str)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.field(name).parse().ok()
    }

    /// Returns the server that has the namespace.
    fn address(&self) -> Option<Address> {
        let topology = self.store.client.topology().ok()?;
        topology.primary(&self.keys.tag, &self.question()).ok().map(|primary| primary.address().clone())
    }
}

/// `12 KiB`, `1.5 MiB`.
fn size(bytes: u64) -> String {
    const MEBIBYTE: u64 = 1024 * 1024;
    if bytes < MEBIBYTE {
        return format!("{} KiB", bytes.div_ceil(1024));
    }
    let tenths = bytes / (MEBIBYTE / 10);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

/// `3 replicas`, `1 replica`.
fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}
