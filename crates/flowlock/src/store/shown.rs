//! A store's URL as people may see it.

use crate::named_file::PROJECT;

/// The schemes that may be repeated: what stands before the first colon may be a password, if it is none of these.
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
/// What is shown in place of a text of which nothing can be told.
const NOTHING: &str = "…";

/// A store's URL without its password, and without what marks a file as a project's. One that is well-formed is shown whole but for that; of any other, scheme and
/// host, or the scheme alone where it cannot be told what is the host: a `/`, `?` or `@` too many, and a part of the
/// password stands where something else belongs.
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

/// Whether a store's URL has a password in it: in an argument, all can see it who see the arguments of a process.
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

/// What somebody wrote where something else belongs, as it may be shown: a store's URL among that loses its password.
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

/// A path has no password, unless somebody put one URL into another.
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

/// Host and port after the last `@`, if nothing before it can have been meant as the end of the password.
fn host(rest: &str) -> Option<&str> {
    let (authority, after) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (_, host) = authority.rsplit_once('@').filter(|_| !after.contains('@'))?;
    let (name, port) = host.split_once(':').unwrap_or((host, "0"));
    let is_name =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    let is_port = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    (is_name && is_port).then_some(host)
}
