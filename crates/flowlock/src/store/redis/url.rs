//! A store's URL: which servers, how they are arranged, the user, and the durability.

mod file;
mod parse;
mod query;
mod secret;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub(super) use self::file::{clean, read as read_file};
pub(super) use self::secret::{Password, Secret, strike_out};

/// The longest pause after a failover, during which nothing new is granted.
const LONGEST_PAUSE: Duration = Duration::from_mins(10);
/// The pause after a failover by default.
const PAUSE: Duration = Duration::from_secs(10);

/// Everything that a URL says.
#[derive(Debug, Clone)]
pub(super) struct Options {
    pub(super) deployment: Deployment,
    pub(super) db: u32,
    /// The user, on the servers that hold data; `None` for the server's default user.
    pub(super) user: Option<String>,
    pub(super) password: Option<Password>,
    /// The user, on the sentinels.
    pub(super) sentinel_user: Option<String>,
    pub(super) sentinel_password: Option<Password>,
    /// `None` for plain text.
    pub(super) tls: Option<TlsFiles>,
    pub(super) durability: Durability,
    pub(super) failover_pause: Duration,
    shown: String,
}

/// How the servers are arranged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Deployment {
    /// One primary at an address that does not change.
    One(Address),
    /// Sentinels know which server is the primary of the group `master`.
    Sentinel { sentinels: Vec<Address>, master: String },
    /// Namespaces are spread over the primaries of a cluster; these are some of its nodes.
    Cluster(Vec<Address>),
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// Files for TLS, in PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// The authority to trust; `None` for the machine's own list.
    pub(super) authority: Option<PathBuf>,
    /// The client's certificate and its key.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// When a step that wrote is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durability {
    /// As soon as the primary has it.
    None,
    /// When this many replicas have it, or the time is over.
    Replicas { count: u32, within: Duration },
}

/// Returns a URL without its password, if it is well-formed.
pub(crate) fn shown(url: &str) -> Option<String> {
    Options::parse_only(url).ok().map(|options| options.shown())
}

/// Returns whether a well-formed URL has a password in it.
pub(crate) fn has_password(url: &str) -> bool {
    Options::parse_only(url).is_ok_and(|options| options.has_password_in_url())
}

impl Options {
    /// Reads a URL, and checks whether the files that it names can be read. The error says what is wrong
    /// and contains no secret.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let options = Self::parse_only(url)?;
        options.find_files()?;
        Ok(options)
    }

    /// The same, without looking at files.
    pub(super) fn parse_only(url: &str) -> Result<Self, String> {
        if crate::text::escape(url) != url {
            return Err("it has a control character, an invisible character or a blank other than the space; write it as %XX".into());
        }
        parse::parse(url)
    }

    fn find_files(&self) -> Result<(), String> {
        for password in [&self.password, &self.sentinel_password].into_iter().flatten() {
            password.read()?;
        }
        let tls = self.tls.iter().flat_map(|tls| {
            let client = tls.client.iter().flat_map(|(cert, key)| [("cert", cert), ("key", key)]);
            tls.authority.iter().map(|authority| ("ca", authority)).chain(client)
        });
        for (what, path) in tls {
            let shown = file::shown(path);
            file::open(path).map_err(|error| format!("cannot read {what} {shown}: {error}"))?;
        }
        Ok(())
    }

    /// Returns the files with a secret in them, by the parameter that names each.
    pub(super) fn secret_files(&self) -> Vec<(&'static str, PathBuf)> {
        let file = |password: &Option<Password>| match password {
            Some(Password::File { path, .. }) => Some(clean(path)),
            _ => None,
        };
        let key = self.tls.as_ref().and_then(|tls| tls.client.as_ref()).map(|(_, key)| clean(key));
        [
            ("password_file", file(&self.password)),
            ("sentinel_password_file", file(&self.sentinel_password)),
            ("key", key),
        ]
        .into_iter()
        .filter_map(|(what, path)| Some((what, path?)))
        .collect()
    }

    /// Returns the URL without any secret.
    pub(super) fn shown(&self) -> String {
        self.shown.clone()
    }

    /// Returns whether the URL itself has a password: in an argument, other users of the machine can
    /// read it.
    pub(super) fn has_password_in_url(&self) -> bool {
        matches!(self.password, Some(Password::Given(_)))
    }
}

impl Address {
    /// Returns the same host with another port: the meaning of a redirection without a host.
    pub(super) fn with_port(&self, port: u16) -> Self {
        match self {
            Self::Tcp { host, .. } => Self::Tcp { host: host.clone(), port },
            Self::Unix(_) => Self::Tcp { host: "127.0.0.1".into(), port },
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // A server may have named it.
            Self::Tcp { host, port } if host.contains(':') => {
                write!(f, "[{}]:{port}", crate::text::escape(&strike_out(host)))
            }
            Self::Tcp { host, port } => write!(f, "{}:{port}", crate::text::escape(&strike_out(host))),
            Self::Unix(path) => f.write_str(&crate::text::escape(&path.display().to_string())),
        }
    }
}
