//! Lists the namespaces of a server, or of every primary of a cluster.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;

use super::RedisStore;
use super::failure::{self, Failure};
use super::keys;
use super::primary::Primary;
use crate::name::Namespace;
use crate::store::{Limits, ListedNamespaces, StoreError, StoreErrorKind};
use crate::world::later;

/// How many keys the server looks at for one page: a third of a millisecond, whatever else it has.
const PAGE: u32 = 1_000;
/// How many times the patience for one page all pages of all servers may take: enough for some hundred
/// million keys.
const MOST_TIME: u32 = 10;

/// Returns all namespaces that have a row, including removed ones; no other program's keys look like it.
/// Never asks the server for all keys at once (`KEYS`), which would block all clients.
pub(super) fn namespaces(store: &RedisStore, callers: &Limits) -> Result<Vec<Namespace>, StoreError> {
    let most = store.patience * MOST_TIME;
    let end = later(Instant::now(), most);
    let limits = || Limits { until: later(Instant::now(), store.patience).min(end), ..callers.clone() };
    let mut found = ListedNamespaces::default();
    for primary in store.client.primaries(&limits())? {
        let mut cursor = b"0".to_vec();
        loop {
            let next = page(store, &primary, &cursor, &limits(), &mut found);
            let is_over = Instant::now() >= end;
            // The time may end between two pages, or while one is awaited.
            if is_over && next.as_ref().map_or_else(StoreError::is_transient, |next| next != b"0") {
                return Err(has_no_end(&primary, most));
            }
            let next = next?;
            if next == b"0" {
                break;
            }
            // A server's cursor always moves on, also while its tables grow or shrink.
            if next == cursor {
                return Err(stands_still(&primary));
            }
            cursor = next;
            callers.check()?;
        }
    }
    Ok(found.into_vec())
}

fn has_no_end(primary: &Primary, time: Duration) -> StoreError {
    let message = format!(
        "{} did not list all its keys within {} s; set a larger store_timeout to give it more time",
        primary.address(),
        time.as_secs()
    );
    StoreError::new(StoreErrorKind::Unreachable, message)
}

/// Reads one page of a server's keys; returns where the next one begins.
fn page(
    store: &RedisStore,
    primary: &Arc<Primary>,
    cursor: &[u8],
    limits: &Limits,
    found: &mut ListedNamespaces,
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

fn stands_still(primary: &Primary) -> StoreError {
    StoreError::damaged(format!("the list of keys (SCAN) of {} goes on where it was", primary.address()))
}

fn may_not_list(primary: &Primary) -> StoreError {
    let message = format!(
        "{} does not let this user list keys (SCAN), which flowlock needs to find the namespaces; allow it with ACL SETUSER <user> +scan, or name the namespace",
        primary.address()
    );
    Failure::unusable(message).into()
}
