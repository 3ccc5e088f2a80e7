//! How a store's URL is shown to people.

use crate::named_file::PROJECT;

/// The schemes that may be shown. Any other text before the first colon may be a password.
const SCHEMES: [&str; 11] = [
    "sqlite",
    "memory",
    "redis",
    "rediss",
    "valkey",
    "valkeys",
    "postgres",
    "postgresql",
    "mysql",
    "http",
    "https",
];
/// Shown in place of a text that cannot be understood.
const NOTHING: &str = "…";

/// Returns a store's URL without its password, and without the mark of a project's file. A well-formed
/// URL is otherwise shown whole. Of any other only scheme and host are shown, or the scheme alone if the
/// host is unclear: with a `/`, `?` or `@` too many, a part of the password may be where something else
/// belongs.
///
/// ```
/// use flowlock::store::without_password;
///
/// assert_eq!(without_password("redis://me:secret@host/1"), "redis://me:***@host/1");
/// assert_eq!(without_password("redis://secret@host"), "redis://***@host"); // no user without a password
/// assert_eq!(without_password("redis://me:12/secret@host"), "redis:…");
/// ```
pub fn without_password(url: &str) -> String {
    if url == "memory:" || is_a_file(url) {
        return url.replacen(PROJECT, "/", 1);
    }
    if let Some(shown) = well_formed(url) {
        return shown;
    }
    let Some((scheme, rest)) = url.split_once(':').filter(|(scheme, _)| is_known(scheme)) else {
        return NOTHING.to_owned();
    };
    let hosts = rest.strip_prefix("//").filter(|_| !scheme.to_ascii_lowercase().ends_with("+unix"));
    match hosts.and_then(host) {
        Some(host) => format!("{scheme}://***@{host}"),
        None => format!("{scheme}:{NOTHING}"),
    }
}

/// Returns whether a store's URL contains a password. Everybody who can see the arguments of a process
/// would see it.
///
/// ```
/// use flowlock::store::has_password;
///
/// assert!(has_password("redis://me:secret@host/1"));
/// assert!(!has_password("redis://me@host/1?password_file=/etc/flowlock/password"));
/// ```
pub fn has_password(url: &str) -> bool {
    #[cfg(feature = "redis")]
    return super::redis::url::has_password(url);
    #[cfg(not(feature = "redis"))]
    return without_password(url) != url;
}

/// Returns a text that was written in the wrong place, as it may be shown: if it is a store's URL, it
/// loses its password.
///
/// ```
/// use flowlock::store::misplaced;
///
/// assert_eq!(misplaced("redis://me:secret@host/1"), "redis://me:***@host/1");
/// assert_eq!(misplaced("sales.clean"), "sales.clean");
/// ```
pub fn misplaced(text: &str) -> String {
    if text.contains("://") && text.contains('@') { without_password(text) } else { text.to_owned() }
}

/// A path has no password, unless one URL was put into another.
fn is_a_file(url: &str) -> bool {
    url.strip_prefix("sqlite:").is_some_and(|path| !path.contains("://"))
}

#[cfg(feature = "redis")]
fn well_formed(url: &str) -> Option<String> {
    super::redis::url::shown(url)
}

#[cfg(not(feature = "redis"))]
fn well_formed(_: &str) -> Option<String> {
    None
}

fn is_known(scheme: &str) -> bool {
    let lower = scheme.to_ascii_lowercase();
    let base = ["+unix", "+sentinel", "+cluster"].iter().find_map(|kind| lower.strip_suffix(kind));
    SCHEMES.contains(&base.unwrap_or(&lower))
}

/// Returns host and port after the last `@`, if nothing before it can be the end of the password.
fn host(rest: &str) -> Option<&str> {
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (_, host) = authority.rsplit_once('@').filter(|_| !after.contains('@'))?;
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    (is_name && is_port).then_some(host)
}
