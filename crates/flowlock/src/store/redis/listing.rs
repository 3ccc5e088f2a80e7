//! Which namespaces a server, or every primary of a cluster, has.

use std::collections::BTreeSet;
use std::sync::Arc;

use redis::Value;

use super::RedisStore;
use super::failure::{self, Failure};
use super::keys;
use super::topology::Primary;
use crate::name::Namespace;
use crate::store::{Limits, StoreError};

/// How many keys the server looks at for one page: a third of a millisecond, whatever else it keeps.
const PAGE: u32 = 1_000;
/// The most pages of one server: ten thousand million keys. A server that goes on longer does not tell the truth.
const MOST_PAGES: u32 = 10_000_000;

/// All namespaces that have a row, also those that were removed: nobody else's keys look like it. The server is never
/// asked for all keys at once (`KEYS`), which would stop everybody.
pub(super) fn namespaces(store: &RedisStore) -> Result<Vec<Namespace>, StoreError> {
    let limits = || Limits::within(store.patience);
    let mut found = BTreeSet::new();
    for primary in store.link.primaries(&limits())? {
        let mut cursor = b"0".to_vec();
        for _ in 0..MOST_PAGES {
            cursor = page(store, &primary, &cursor, &limits(), &mut found)?;
            if cursor == b"0" {
                break;
            }
        }
        if cursor != b"0" {
            return Err(StoreError::damaged("the server's list of keys has no end"));
        }
    }
    Ok(found.into_iter().collect())
}

/// One page of a server's keys; answers where the next one begins.
fn page(
    store: &RedisStore,
    primary: &Arc<Primary>,
    cursor: &[u8],
    limits: &Limits,
    found: &mut BTreeSet<Namespace>,
) -> Result<Vec<u8>, StoreError> {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(keys::EVERY_ROW).arg("COUNT").arg(PAGE);
    let answer = match store.link.command_at(primary, &scan, limits)? {
        Value::ServerError(error) if error.code() == "NOPERM" => return Err(may_not_list(primary)),
        Value::ServerError(error) => return Err(failure::refused(primary.address(), &error).into()),
        answer => answer,
    };
    let strange = || StoreError::damaged("the server's answer to SCAN is not a page of keys");
    let Value::Array(parts) = answer else { return Err(strange()) };
    let [Value::BulkString(next), Value::Array(names)] = parts.as_slice() else { return Err(strange()) };
    found.extend(names.iter().filter_map(|name| match name {
        Value::BulkString(key) => keys::namespace_of(key),
        _ => None,
    }));
    Ok(next.clone())
}

fn may_not_list(primary: &Primary) -> StoreError {
    let message = format!(
        "{} does not let this user list keys (SCAN), which shows what namespaces there are; allow it with ACL SETUSER <user> +scan, or name the namespace",
        primary.address()
    );
    Failure::unusable(message).into()
}
