//! What a server's refusals and a connection's errors mean to a user.

#[cfg(test)]
mod tests;

use std::io;

use redis::ServerError;

use super::local;
use super::patience::is_interruption;
use super::url::Address;
use crate::store::{StoreError, StoreErrorKind};

/// The longest part of a server's own words in a message, in characters.
const LONGEST_QUOTE: usize = 200;

/// Why a connection cannot be used any more.
#[derive(Debug)]
pub(super) enum Trouble {
    Io(io::Error),
    /// The server closed it.
    Closed,
    /// The answer is not in Redis's protocol; has the beginning of the first answer on the connection.
    NotRedis(Vec<u8>),
    /// The answer is larger than any to that question can be.
    TooLarge,
}

/// What a connection's bytes are sent over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    Tls,
}

/// An error of a store that can be returned to several callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) kind: StoreErrorKind,
    pub(super) message: String,
    /// Whether no connection was made, so that nothing was asked.
    is_a_connections: bool,
}

impl Failure {
    pub(super) fn new(kind: StoreErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), is_a_connections: false }
    }

    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Unreachable, message)
    }

    pub(super) fn unusable(message: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Unusable, message)
    }

    /// Marks that no connection was made, so that nothing was asked.
    #[must_use]
    pub(super) fn of_a_connection(self) -> Self {
        Self { is_a_connections: true, ..self }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let error = Self::new(failure.kind, failure.message);
        if failure.is_a_connections { error.of_a_connection() } else { error }
    }
}

/// Translates a server's error reply, by what the caller can do about it.
pub(super) fn refused(at: &Address, error: &ServerError) -> Failure {
    refused_in("", at, error)
}

/// The same for an error reply to a password. Its words are not repeated: they may contain the password
/// in some form.
pub(super) fn refused_password(at: &Address, error: &ServerError) -> Failure {
    explained("", at, error, &quoted(error.code()))
}

/// The same for a question about the namespace with this encoding; empty if it was about none.
pub(super) fn refused_in(tag: &str, at: &Address, error: &ServerError) -> Failure {
    let said = quoted(&format!("{} {}", error.code(), error.details().unwrap_or("")));
    explained(tag, at, error, &said)
}

/// `said` is the part of the server's words that is repeated.
fn explained(tag: &str, at: &Address, error: &ServerError, said: &str) -> Failure {
    let details = error.details().unwrap_or("");
    let passing = |why: &str| Failure::unreachable(format!("{at} {why}; nothing was changed ({said})"));
    let unusable = |why: &str| Failure::unusable(format!("{at} {why} ({said})"));
    let full =
        |why: &str| Failure::new(StoreErrorKind::Full, format!("{at} {why}; nothing was changed ({said})"));
    match error.code() {
        "LOADING" => passing("is loading its data and answers when that is done"),
        "BUSY" => {
            passing("is busy with a slow script of another program; end it with SCRIPT KILL if it stays so")
        }
        "MASTERDOWN" => passing("is a replica that has lost its primary; this ends with the failover"),
        "READONLY" => passing("is a replica now and takes no writes; looking for the primary"),
        "NOREPLICAS" => passing("has fewer replicas than min-replicas-to-write wants; bring them back"),
        "MOVED" | "ASK" | "TRYAGAIN" => {
            passing("is handing the namespace's slot to another node; this ends by itself")
        }
        "CLUSTERDOWN" => {
            passing("says that the cluster is down; see CLUSTER INFO and bring its primaries back")
        }
        "OOM" => full("has no memory left; raise maxmemory or remove what others keep there"),
        "MISCONF" => {
            full("cannot save to its disk and therefore takes no writes; make room there, see its log")
        }
        "WRONGPASS" => {
            unusable("refuses the user or the password; check both, and the password file if one is used")
        }
        "NOAUTH" => unusable("wants a password; write redis://USER:PASSWORD@… or add password_file=PATH"),
        "NOPERM" => forbidden(tag, at, details, said),
        "DENIED" => unusable(
            "takes connections from its own machine only; set a password there, or protected-mode no",
        ),
        "WRONGTYPE" => damaged(at, said),
        _ => refused_plainly(tag, at, details, said),
    }
}

/// Translates the errors that have no code of their own.
fn refused_plainly(tag: &str, at: &Address, details: &str, said: &str) -> Failure {
    let has = |text: &str| details.contains(text);
    if has("max number of clients") {
        Failure::unreachable(format!(
            "{at} has as many clients as maxclients allows; nothing was changed ({said})"
        ))
    } else if has("Script killed by user") {
        Failure::unreachable(format!(
            "{at}: somebody ended the script with SCRIPT KILL; nothing was changed ({said})"
        ))
    } else if has("ACL failure in script") || has("user executing the script can't") {
        forbidden(tag, at, details, said)
    } else if has("without any password configured") || has("no password is set") {
        Failure::unusable(format!(
            "{at} has no password set for its default user; leave the password out, or set one there ({said})"
        ))
    } else if has("DB index is out of range") || has("SELECT is not allowed") {
        Failure::unusable(format!(
            "{at} does not have that database; choose another after the last '/' ({said})"
        ))
    } else if has("unknown command") {
        Failure::unusable(format!(
            "{at} does not know a command that flowlock needs; use Redis 7.0 or Valkey 7.2 or newer, with no command renamed ({said})"
        ))
    } else if has("user_script") || has("script") {
        damaged(at, said)
    } else {
        Failure::unusable(format!("{at} refused: {said}; see its log and `flowlock doctor`"))
    }
}

fn damaged(at: &Address, said: &str) -> Failure {
    let message = format!(
        "the store at {at} contradicts itself: {said}; another program may have written to flowlock's keys; see `flowlock doctor`"
    );
    Failure::new(StoreErrorKind::Damaged, message)
}

/// Says what the server's access list does not allow.
fn forbidden(tag: &str, at: &Address, details: &str, said: &str) -> Failure {
    let command = details.split('\'').nth(1).filter(|_| details.contains("run the '"));
    // What this namespace needs, and no other.
    let own = if tag.is_empty() { "fl:*".to_owned() } else { format!("fl:{{{tag}}}:*") };
    let missing = match command {
        Some(command) => {
            format!("may not run {}; allow it with ACL SETUSER <user> +{}", quoted(command), quoted(command))
        }
        None if details.contains("channel") => {
            format!("may not use flowlock's channels; allow them with ACL SETUSER <user> &{own}")
        }
        None if details.contains("key") => {
            format!("may not use flowlock's keys; allow them with ACL SETUSER <user> ~{own}")
        }
        None => "may not run a command that flowlock needs; see the access list in docs/redis.md".into(),
    };
    Failure::unusable(format!("the user at {at} {missing} ({said})"))
}

/// The error if others were served first until the wait ended: nothing was sent.
pub(super) fn not_served(at: &Address, over: &io::Error) -> Failure {
    if is_interruption(over) {
        return Failure::unreachable(over.to_string());
    }
    Failure::unreachable(format!(
        "{at} did not answer the calls ahead of this one in time; nothing was sent for it"
    ))
}

/// The error if a connection could not be made: nothing was sent.
pub(super) fn not_reached(at: &Address, error: &io::Error) -> Failure {
    if is_interruption(error) {
        return Failure::unreachable(error.to_string());
    }
    if local::is_refusal(error) {
        return Failure::unusable(error.to_string());
    }
    let why = match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "it did not answer in time".to_owned(),
        io::ErrorKind::PermissionDenied => {
            return Failure::unusable(format!(
                "cannot connect to {at}: {error}; check the owner and mode of the socket"
            ));
        }
        _ => quoted(&error.to_string()),
    };
    Failure::unreachable(format!(
        "cannot connect to {at}: {why}; check that the server runs and the address is right"
    ))
}

/// The error for a command that was sent, at least in part, and has no answer.
pub(super) fn unanswered(at: &Address, trouble: &Trouble) -> Failure {
    let why = match trouble {
        Trouble::Io(error) if is_interruption(error) => {
            let message =
                format!("{error}; whether the step took effect is unknown until the store is asked again");
            return Failure::new(StoreErrorKind::Unknown, message);
        }
        Trouble::Io(error) if is_timeout(error) => "did not answer in time".to_owned(),
        Trouble::Io(error) => format!("broke the connection ({})", quoted(&error.to_string())),
        Trouble::Closed => "closed the connection".to_owned(),
        Trouble::NotRedis(_) => "answered something that is not Redis".to_owned(),
        Trouble::TooLarge => "answered more than the step can need".to_owned(),
    };
    let message = format!(
        "{at} {why} after the step was sent; whether it took effect is unknown until the store is asked again"
    );
    Failure::new(StoreErrorKind::Unknown, message)
}

/// The error for a connection that failed while it was set up: nothing was asked yet.
pub(super) fn not_set_up(at: &Address, trouble: &Trouble, over: Transport) -> Failure {
    match trouble {
        Trouble::NotRedis(first) => not_redis(at, first),
        Trouble::TooLarge => Failure::unusable(format!(
            "{at} answers a short question with more than any Redis does; give the address of a Redis or Valkey server"
        )),
        Trouble::Io(error) => match tls_error(error) {
            Some(error) => tls_refused(at, error),
            None if is_timeout(error) && !is_interruption(error) => Failure::unreachable(format!(
                "{at} takes connections but did not answer in time; check whether it is stopped or overloaded"
            )),
            None => not_reached(at, error),
        },
        Trouble::Closed if over == Transport::Tls => Failure::unreachable(format!(
            "{at} closed the connection before it was set up; check whether this is its TLS port, and whether it wants a client certificate (cert= and key=)"
        )),
        Trouble::Closed => Failure::unreachable(format!(
            "{at} closed the connection before it was set up; if it speaks TLS, use rediss://"
        )),
    }
}

fn not_redis(at: &Address, first: &[u8]) -> Failure {
    let looks = if first.starts_with(b"HTTP/") {
        "this looks like an HTTP server; give the address of a Redis or Valkey server"
    } else if first.starts_with(&[0x15, 0x03]) {
        "this looks like a TLS port; use rediss://"
    } else {
        "it does not speak Redis's protocol; give the address of a Redis or Valkey server"
    };
    Failure::unusable(format!("{at}: {looks}"))
}

pub(super) fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

fn tls_refused(at: &Address, error: &rustls::Error) -> Failure {
    use rustls::{AlertDescription as Alert, CertificateError};
    let what = match error {
        rustls::Error::InvalidMessage(_) => {
            "it does not use TLS; use redis://, or the server's TLS port".to_owned()
        }
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "its certificate is not signed by an authority that this machine trusts; name the authority with ca=PATH"
            .to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "its certificate is for another name; use a name from the certificate".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "its certificate has expired; renew it".to_owned(),
        rustls::Error::AlertReceived(Alert::CertificateRequired | Alert::HandshakeFailure) => {
            "it wants a client certificate; add cert=PATH and key=PATH".to_owned()
        }
        rustls::Error::AlertReceived(
            Alert::UnknownCA | Alert::BadCertificate | Alert::DecryptError | Alert::CertificateExpired,
        ) => "it refuses our client certificate; check cert=, and the authority that the server trusts"
            .to_owned(),
        _ => "TLS failed; check ca=, cert= and key=".to_owned(),
    };
    Failure::unusable(format!("{at}: {what} ({})", quoted(&error.to_string())))
}

pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Returns a server's own words, safe to show: without the passwords that it was sent, which it may
/// repeat.
pub(super) fn quoted(text: &str) -> String {
    let text = crate::text::escape(&super::url::strike_out(text.trim()));
    match text.char_indices().nth(LONGEST_QUOTE) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
