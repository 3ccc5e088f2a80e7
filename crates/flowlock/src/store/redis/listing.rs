//! Lists the namespaces of a server, or of every primary of a cluster.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;

use super::RedisStore;
use super::failure::{self, Failure};
use super::keys;
use super::primary::Primary;
use crate::name::Namespace;
use crate::store::{Limits, StoreError, StoreErrorKind};
use crate::world::later;

/// How many keys the server looks at for one page: a third of a millisecond, whatever else it has.
const PAGE: u32 = 1_000;
/// How many times the patience for one page all pages of all servers may take: enough for some hundred
/// million keys.
const MOST_TIME: u32 = 10;
/// The most bytes of names that are kept; as for runs and records.
const MOST_BYTES: usize = 128 << 20;

/// Returns all namespaces that have a row, including removed ones; no other program's keys look like it.
/// Never asks the server for all keys at once (`KEYS`), which would block all clients.
pub(super) fn namespaces(store: &RedisStore, callers: &Limits) -> Result<Vec<Namespace>, StoreError> {
    let most = store.patience * MOST_TIME;
    let end = later(Instant::now(), most);
    let limits = || Limits { until: later(Instant::now(), store.patience).min(end), ..callers.clone() };
    let mut found = Found::default();
    for primary in store.client.primaries(&limits())? {
        let mut cursor = b"0".to_vec();
        loop {
            let next = page(store, &primary, &cursor, &limits(), &mut found);
            let is_over = Instant::now() >= end;
            // The time may end between two pages, or while one is awaited.
            if is_over && next.as_ref().map_or_else(StoreError::is_transient, |next| next != b"0") {
                return Err(has_no_end(&primary, most));
            }
            cursor = next?;
            if cursor == b"0" {
                break;
            }
            callers.check()?;
        }
    }
    Ok(found.names.into_iter().collect())
}

fn has_no_end(primary: &Primary, time: Duration) -> StoreError {
    let message = format!(
        "{} did not list all its keys within {} s; set a larger store_timeout to give it more time",
        primary.address(),
        time.as_secs()
    );
    StoreError::new(StoreErrorKind::Unreachable, message)
}

/// What was listed so far.
#[derive(Default)]
struct Found {
    names: BTreeSet<Namespace>,
    bytes: usize,
}

impl Found {
    fn add(&mut self, namespace: Namespace) -> Result<(), StoreError> {
        let bytes = size_of_val(&namespace) + namespace.as_str().len();
        if self.names.insert(namespace) {
            self.bytes += bytes;
        }
        if self.bytes > MOST_BYTES {
            let mebibytes = MOST_BYTES >> 20;
            return Err(StoreError::damaged(format!(
                "it lists more namespaces than fit into {mebibytes} MiB"
            )));
        }
        Ok(())
    }
}

/// Reads one page of a server's keys; returns where the next one begins.
fn page(
    store: &RedisStore,
    primary: &Arc<Primary>,
    cursor: &[u8],
    limits: &Limits,
    found: &mut Found,
) -> Result<Vec<u8>, StoreError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(keys::EVERY_ROW).arg("COUNT").arg(PAGE);
    let answer = match store.client.command_at(primary, &scan, limits)? {
        Value::ServerError(error) if error.code() == "NOPERM" => return Err(may_not_list(primary)),
        Value::ServerError(error) => return Err(failure::refused(primary.address(), &error).into()),
        answer => answer,
    };
    let strange = || StoreError::damaged("the server's answer to SCAN is not a page of keys");
    let Value::Array(parts) = answer else { return Err(strange()) };
    let [Value::BulkString(next), Value::Array(names)] = parts.as_slice() else { return Err(strange()) };
    for name in names {
        if let Value::BulkString(key) = name
            && let Some(namespace) = keys::namespace_of(key)
        {
            found.add(namespace)?;
        }
    }
    Ok(next.clone())
}

fn may_not_list(primary: &Primary) -> StoreError {
    let message = format!(
        "{} does not let this user list keys (SCAN), which flowlock needs to find the namespaces; allow it with ACL SETUSER <user> +scan, or name the namespace",
        primary.address()
    );
    Failure::unusable(message).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_invents_ever_new_namespaces_fills_no_memory() {
        let mut found = Found::default();
        let long = "x".repeat(400);
        let added = (0..MOST_BYTES / 400)
            .try_for_each(|number| found.add(Namespace::parse(&format!("{long}{number}")).unwrap()));
        assert!(added.unwrap_err().to_string().contains("more namespaces than fit into 128 MiB"));
        // A cursor may return the same ones again; they do not count twice.
        let mut found = Found::default();
        (0..1_000).try_for_each(|_| found.add(Namespace::default())).unwrap();
        assert_eq!((found.names.len(), found.bytes < 1_000), (1, true));
    }
}
