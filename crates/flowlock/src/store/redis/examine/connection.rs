//! Who can read what is sent over the network, and as which user.

use super::{Examined, Finding};
use crate::store::redis::local::{self, Found};
use crate::store::redis::url::{Address, Options};

pub(super) fn encryption(examined: &Examined<'_>) -> Finding {
    let options = examined.store.client.options();
    if let Some(files) = &options.tls {
        let whom =
            if files.authority.is_some() { "the authority in ca=" } else { "this machine's authorities" };
        let us = if files.client.is_some() { ", with a client certificate" } else { "" };
        return Finding::good("TLS", format!("on, trusting {whom}{us}"));
    }
    match examined.address() {
        Some(Address::Unix(_)) => Finding::good("TLS", "off, over a unix socket"),
        Some(address) if is_loopback(&address) => Finding::good("TLS", "off, within this machine"),
        _ if has_password(options) => Finding::bad(
            "TLS",
            "off: everybody on the network path can read the password and all names; use rediss://",
        ),
        _ => Finding::good("TLS", "off: everybody on the network path can read all names"),
    }
}

/// Checks whom the socket belongs to, and whether everybody could replace it.
pub(super) fn socket(examined: &Examined<'_>) -> Option<Finding> {
    const WHAT: &str = "socket";
    let Some(address @ Address::Unix(path)) = &examined.address() else { return None };
    Some(match local::find(path) {
        Err(error) => Finding::bad(WHAT, format!("{address}: {error}")),
        Ok(Found { owner, open_to_all: Some(directory), .. }) => Finding::bad(
            WHAT,
            format!(
                "{address}, of user {owner}; everybody may write {}: while the server is down anybody can take the name, \
                 and then no job starts; keep the socket in a directory that only the server may write",
                crate::text::escape(&directory.display().to_string())
            ),
        ),
        Ok(Found { owner, .. }) => {
            Finding::good(WHAT, format!("{address}, of user {owner}; not everybody may write its directory"))
        }
    })
}

pub(super) fn user(examined: &Examined<'_>) -> Finding {
    let options = examined.store.client.options();
    match (&options.user, has_password(options)) {
        (Some(user), _) => Finding::good("user", crate::text::escape(user)),
        (None, true) => Finding::good("user", "the default user, with a password"),
        (None, false) if examined.address().is_some_and(|address| is_loopback(&address)) => Finding::good(
            "user",
            "the default user, without a password: everybody on this machine may do everything",
        ),
        (None, false) if options.tls.as_ref().is_some_and(|files| files.client.is_some()) => {
            Finding::good("user", "the default user, with a client certificate")
        }
        (None, false) => Finding::bad(
            "user",
            "the default user, without a password: everybody who reaches the server may do everything; make a user for flowlock, see docs/redis.md",
        ),
    }
}

fn has_password(options: &Options) -> bool {
    options.password.is_some()
}

/// Returns whether it can be reached from this machine only.
fn is_loopback(address: &Address) -> bool {
    match address {
        Address::Unix(_) => true,
        Address::Tcp { host, .. } => {
            host.eq_ignore_ascii_case("localhost")
                || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_reaches_loopback_and_sockets() {
        let tcp = |host: &str| is_loopback(&Address::Tcp { host: host.into(), port: 6379 });
        assert!(tcp("localhost") && tcp("127.0.0.1") && tcp("127.8.8.8") && tcp("::1"));
        assert!(!tcp("10.0.0.1") && !tcp("redis.example.org") && !tcp("localhost.example.org") && !tcp("::"));
        assert!(is_loopback(&Address::Unix("/run/redis.sock".into())));
    }
}
