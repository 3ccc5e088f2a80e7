//! URLs and namespaces of stores.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Certificates, RedisServer};

/// The end of every URL: a pause after a failover would only make the tests slow.
pub(super) const NO_PAUSE: &str = "failover_pause=0s";

impl RedisServer {
    /// The store's URL over TCP, with the password if there is one and without a pause after a failover.
    pub fn url(&self) -> String {
        self.url_through(self.port)
    }

    /// The same URL with these parameters instead of `failover_pause=0s`.
    pub fn url_with(&self, parameters: &str) -> String {
        self.url().replace(NO_PAUSE, parameters)
    }

    /// The same URL with the port of something that forwards everything to this server.
    pub(super) fn url_through(&self, port: u16) -> String {
        format!("redis://{}127.0.0.1:{port}/0?{NO_PAUSE}", self.password())
    }

    /// The store's URL for one of the users of [`user`](super::RedisSetup::user).
    pub fn url_as(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}/0?{NO_PAUSE}", self.port)
    }

    /// The store's URL over the unix socket.
    pub fn unix_url(&self) -> String {
        format!("redis+unix://{}{}?db=0&{NO_PAUSE}", self.password(), self.socket().display())
    }

    /// The store's URL over TLS, with the authority and the client's certificate and key.
    ///
    /// # Panics
    ///
    /// If the server was not set up with [`tls`](super::RedisSetup::tls).
    pub fn tls_url(&self) -> String {
        let Certificates { ca, client, client_key, .. } = self.certificates();
        format!(
            "rediss://{}127.0.0.1:{}/0?{NO_PAUSE}&ca={}&cert={}&key={}",
            self.password(),
            self.tls_port(),
            ca.display(),
            client.display(),
            client_key.display()
        )
    }

    fn password(&self) -> String {
        self.setup.default_password().map_or_else(String::new, |password| format!(":{password}@"))
    }
}

/// A namespace that no other test uses, on any server.
pub fn fresh_namespace() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    format!("test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// The access rule that `docs/redis.md` shows, without the user's name: it permits everything that flowlock ever
/// needs.
/// The password is `secret`.
///
/// # Panics
///
/// If the page does not contain exactly one rule.
pub fn documented_rule() -> String {
    let page = include_str!("../../../../docs/redis.md");
    let mut rules = page.lines().filter_map(|line| line.strip_prefix("ACL SETUSER flowlock "));
    let rule = rules.next().expect("docs/redis.md has the access rule").replace("PASSWORD", "secret");
    assert_eq!(rules.next(), None, "one rule");
    rule
}
