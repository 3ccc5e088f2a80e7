//! Opening a store at a URL.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "redis")]
use super::limits::{FIRST_PAUSE, LONGEST_PAUSE};
use super::memory::MemoryStore;
use super::{Limits, Reach, Store};
use crate::error::Error;

/// Opens the store. `timeout` is for each attempt of its steps; the limits are for this call.
pub(crate) fn open(url: &str, timeout: Duration, limits: &Limits) -> Result<Arc<dyn Store>, Error> {
    match url.split_once(':') {
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::default())),
        Some(("sqlite", path)) => open_file(url, path, timeout),
        Some((scheme, _)) if scheme.starts_with("redis") || scheme.starts_with("valkey") => {
            open_server(url, timeout, limits)
        }
        _ => Err(bad_url(url, "use sqlite:PATH, redis://HOST:PORT/DB or memory:")),
    }
}

/// Takes the store that a URL names as it is now. If an older copy was put in the place of a file, that removes the journal
/// of the newer state, which does not go with it; all that uses the store must have ended. Answers whether there was one.
///
/// # Errors
/// [`Error::Store`] if the store is in use, or its journal may not be removed.
pub fn accept_restore(url: &str, timeout: Duration) -> Result<bool, Error> {
    match url.split_once(':') {
        Some(("sqlite", path)) => accept_file(url, path, timeout),
        _ => Ok(false),
    }
}

/// Returns which processes could use the store that a URL names: its [`reach`](Store::reach) once it is
/// open.
pub fn reach_of(url: &str) -> Reach {
    match url.split_once(':') {
        Some(("memory", "")) => Reach::Process,
        Some(("sqlite", _)) => Reach::Host,
        _ => Reach::Hosts,
    }
}

#[cfg(feature = "sqlite")]
fn open_file(url: &str, path: &str, timeout: Duration) -> Result<Arc<dyn Store>, Error> {
    Ok(Arc::new(super::sqlite::SqliteStore::open(file_of(url, path)?, timeout)?))
}

#[cfg(feature = "sqlite")]
fn accept_file(url: &str, path: &str, timeout: Duration) -> Result<bool, Error> {
    Ok(super::sqlite::SqliteStore::accept_restore(file_of(url, path)?, timeout)?)
}

#[cfg(feature = "sqlite")]
fn file_of<'p>(url: &str, path: &'p str) -> Result<&'p Path, Error> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.contains("://") {
        return Err(bad_url(url, "it names no file; use sqlite:PATH"));
    }
    Ok(Path::new(path))
}

#[cfg(not(feature = "sqlite"))]
fn open_file(url: &str, _: &str, _: Duration) -> Result<Arc<dyn Store>, Error> {
    let _ = Path::new("");
    Err(bad_url(url, "this build has no embedded store (feature `sqlite`)"))
}

#[cfg(not(feature = "sqlite"))]
fn accept_file(url: &str, path: &str, timeout: Duration) -> Result<bool, Error> {
    open_file(url, path, timeout).map(|_| false)
}

/// Tries a server that is unreachable again: it may be back, or another one elected, before the time
/// ends.
#[cfg(feature = "redis")]
fn open_server(url: &str, timeout: Duration, limits: &Limits) -> Result<Arc<dyn Store>, Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match super::redis::RedisStore::open_within(url, timeout, limits) {
            Ok(store) => return Ok(Arc::new(store)),
            Err(Error::Configuration(problem)) => return Err(bad_url(url, &problem)),
            Err(error) => error,
        };
        let may_pass = matches!(&error, Error::Store(error) if error.is_transient());
        if !may_pass || limits.left() <= pause || limits.is_interrupted() {
            return Err(error);
        }
        tracing::debug!(%error, "the store cannot be opened; trying again");
        limits.sleep(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(not(feature = "redis"))]
fn open_server(url: &str, _: Duration, _: &Limits) -> Result<Arc<dyn Store>, Error> {
    Err(bad_url(url, "this build does not support Redis or Valkey (feature `redis`)"))
}

fn bad_url(url: &str, problem: &str) -> Error {
    let shown = crate::text::escape(&super::without_password(url));
    Error::Configuration(format!("store URL \"{shown}\": {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn opened(url: &str) -> Result<Arc<dyn Store>, Error> {
        open(url, TIMEOUT, &Limits::within(TIMEOUT))
    }

    #[test]
    fn a_password_in_a_url_is_never_shown() {
        let said = opened("mysql://me:secret@host/db").unwrap_err().to_string();
        assert_eq!(said, r#"store URL "mysql://***@host": use sqlite:PATH, redis://HOST:PORT/DB or memory:"#);
        // The password must not be shown even where it breaks the URL.
        for url in
            ["redis://me:s/ecr@et@host/0", "redis://:s?ecret@host", "redis+unix://:s/ecr#et@/run/redis"]
        {
            let said = opened(url).unwrap_err().to_string();
            assert!(!said.contains("ecr"), "{said}");
        }
    }

    #[test]
    fn urls_that_are_none_are_refused_with_what_to_use() {
        for url in ["", "flowlock.db", "sqlite", "memory", "memory:x", "sqlite:", "sqlite://"] {
            assert!(matches!(opened(url), Err(Error::Configuration(_))), "{url}");
        }
    }
}
