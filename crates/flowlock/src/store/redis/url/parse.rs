//! Parses a URL. It may contain lists of hosts, which no general URL parser reads, so this is our own.

use std::path::PathBuf;

use super::query::{Query, decoded, durability, pause};
use super::{Address, Deployment, Durability, Options, PAUSE, Password, Secret, TlsFiles};

const FORMS: &str = "use redis://HOST[:PORT][/DB], rediss://… (TLS), redis+unix:///PATH, redis+sentinel://HOST,HOST/MASTER[/DB] or redis+cluster://HOST,HOST";
const HIGHEST_DB: u32 = 65_535;

/// The part before `://`.
struct Scheme {
    kind: Kind,
    tls: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    One,
    Unix,
    Sentinel,
    Cluster,
}

/// The parts of a URL, not decoded yet.
struct Parts<'u> {
    scheme: Scheme,
    user: Option<&'u str>,
    password: Option<&'u str>,
    /// The URL up to the end of the user, and from its hosts on: all but the password.
    around: (&'u str, &'u str),
    hosts: &'u str,
    path: &'u str,
    query: Query<'u>,
}

/// Parses a URL without looking at the files that it names. The error repeats no part of it: any may be
/// a password in the wrong place.
pub(super) fn parse(url: &str) -> Result<Options, String> {
    let Parts { scheme, user, password, around, hosts, path, mut query } = take_apart(url)?;
    let (deployment, db) = deployment(&scheme, hosts, path, &mut query)?;
    let user = user.filter(|user| !user.is_empty()).map(|user| decoded("user", user)).transpose()?;
    let given = password.filter(|password| !password.is_empty());
    let given = given.map(|password| decoded("password", password)).transpose()?;
    let options = Options {
        password: password_of(given, &mut query, "password_file")?,
        sentinel_user: query.take("sentinel_user")?,
        sentinel_password: password_of(None, &mut query, "sentinel_password_file")?,
        tls: tls(&scheme, &mut query)?,
        durability: query.take("durability")?.map_or(Ok(Durability::None), |text| durability(&text))?,
        failover_pause: query.take("failover_pause")?.map_or(Ok(PAUSE), |text| pause(&text))?,
        shown: shown(around, password),
        deployment,
        db,
        user,
    };
    query.nothing_left()?;
    for (who, user, password) in [
        ("user", &options.user, &options.password),
        ("sentinel_user", &options.sentinel_user, &options.sentinel_password),
    ] {
        if user.is_some() && password.is_none() {
            return Err(format!("the {who} has no password; add {}", hint(who)));
        }
    }
    let asks_sentinels = options.sentinel_user.is_some() || options.sentinel_password.is_some();
    if asks_sentinels && scheme.kind != Kind::Sentinel {
        return Err(
            "sentinel_user and sentinel_password_file belong to redis+sentinel:// only; leave them out"
                .into(),
        );
    }
    Ok(options)
}

fn hint(who: &str) -> &'static str {
    if who == "user" { "password_file=PATH, or write user:password@" } else { "sentinel_password_file=PATH" }
}

fn shown((before, after): (&str, &str), password: Option<&str>) -> String {
    let hidden = password.map_or("", |_| ":***@");
    crate::text::escape(&format!("{before}{hidden}{after}"))
}

fn take_apart(url: &str) -> Result<Parts<'_>, String> {
    let (scheme_text, rest) = url.split_once("://").ok_or_else(|| format!("it has no \"://\"; {FORMS}"))?;
    let scheme = scheme(scheme_text)?;
    let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (userinfo, hosts) = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => (Some(userinfo), hosts),
        None => (None, authority),
    };
    let swallowed = path.contains('@') || query.is_some_and(|text| text.contains('@'));
    if swallowed || url.contains('#') {
        return Err(
            "a '/', '?' or '#' in a user, password, path or parameter must be written as %2F, %3F or %23, and an '@' that is not the one before the host as %40"
                .into(),
        );
    }
    let (user, password) =
        match userinfo.map(|text| text.split_once(':').map_or((text, None), |(u, p)| (u, Some(p)))) {
            Some((user, password)) => (Some(user), password),
            None => (None, None),
        };
    let after = &url[url.len() - query.map_or(0, |text| text.len() + 1) - path.len() - hosts.len()..];
    let before = &url[..url.len() - after.len() - password.map_or(0, |text| text.len() + 2)];
    let query = Query::split(query.unwrap_or(""))?;
    Ok(Parts { scheme, user, password, around: (before, after), hosts, path, query })
}

fn scheme(text: &str) -> Result<Scheme, String> {
    let lower = text.to_ascii_lowercase();
    let (base, kind) = lower.split_once('+').map_or((lower.as_str(), ""), |(base, kind)| (base, kind));
    let tls = match base {
        "redis" | "valkey" => false,
        "rediss" | "valkeys" => true,
        _ => return Err(format!("it begins with an unknown scheme; {FORMS}")),
    };
    let kind = match kind {
        "" => Kind::One,
        "unix" => Kind::Unix,
        "sentinel" => Kind::Sentinel,
        "cluster" => Kind::Cluster,
        _ => return Err(format!("after \"{base}+\" only unix, sentinel or cluster may follow; {FORMS}")),
    };
    if tls && kind == Kind::Unix {
        return Err("a unix socket has no TLS; use redis+unix://".into());
    }
    Ok(Scheme { kind, tls })
}

fn deployment(
    scheme: &Scheme,
    hosts: &str,
    path: &str,
    query: &mut Query<'_>,
) -> Result<(Deployment, u32), String> {
    let in_query = query.take("db")?;
    let path = path.strip_prefix('/').unwrap_or(path);
    let (deployment, in_path) = match scheme.kind {
        Kind::One => match addresses(hosts, 6379)?.as_slice() {
            [address] => (Deployment::One(address.clone()), path),
            _ => return Err("it names several hosts; use redis+sentinel:// or redis+cluster://".into()),
        },
        Kind::Unix => (Deployment::One(socket(hosts, path)?), ""),
        Kind::Sentinel => {
            let (master, db) = path.split_once('/').unwrap_or((path, ""));
            let master = decoded("master name", master)?;
            if master.is_empty() {
                return Err("the master name is missing; write redis+sentinel://HOST,HOST/MASTER".into());
            }
            (Deployment::Sentinel { sentinels: addresses(hosts, 26379)?, master }, db)
        }
        Kind::Cluster => (Deployment::Cluster(addresses(hosts, 6379)?), path),
    };
    let db = match (in_path, in_query.as_deref()) {
        ("", None) => 0,
        ("", Some(text)) | (text, None) => database(text)?,
        _ => return Err("the database is given twice, in the path and as db=; leave one out".into()),
    };
    if scheme.kind == Kind::Cluster && db != 0 {
        return Err("a cluster has only database 0; use namespaces to keep things apart".into());
    }
    Ok((deployment, db))
}

fn database(text: &str) -> Result<u32, String> {
    let number = text.parse().ok().filter(|db| *db <= HIGHEST_DB);
    number.ok_or_else(|| format!("the database is not a number from 0 to {HIGHEST_DB}"))
}

fn socket(hosts: &str, path: &str) -> Result<Address, String> {
    if !hosts.is_empty() || path.is_empty() {
        return Err("the socket's path is missing; write redis+unix:///PATH, with three slashes".into());
    }
    Ok(Address::Unix(PathBuf::from(format!("/{}", decoded("path", path)?))))
}

fn addresses(hosts: &str, default_port: u16) -> Result<Vec<Address>, String> {
    hosts.split(',').map(|host| address(host, default_port)).collect()
}

fn address(text: &str, default_port: u16) -> Result<Address, String> {
    let (host, port) = split_port(text)?;
    if host.is_empty() {
        return Err("a host is empty; write HOST or HOST:PORT, with commas between several".into());
    }
    let port = match port.map(str::parse) {
        None => default_port,
        Some(Ok(port)) if port != 0 => port,
        Some(_) => return Err(bad_port()),
    };
    Ok(Address::Tcp { host: decoded("host", host)?, port })
}

fn bad_port() -> String {
    "a port is not a number from 1 to 65535".into()
}

/// Splits host and port; an IPv6 address is in brackets. The errors do not repeat the text, which may be
/// a password in the wrong place.
fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or("an IPv6 address has no closing bracket")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| "the text in brackets is not an IPv6 address")?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if after.is_empty() => Ok((host, None)),
            None => Err("only :PORT may follow an IPv6 address in brackets".into()),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => {
            Err("an IPv6 address must be in brackets: [::1]:6379".into())
        }
        Some((_, port)) if port.parse::<u16>().is_ok_and(|port| port != 0) => {
            let at = text.len() - port.len();
            Ok((&text[..at - 1], Some(port)))
        }
        Some(_) => Err(bad_port()),
        None => Ok((text, None)),
    }
}

fn password_of(
    given: Option<String>,
    query: &mut Query<'_>,
    parameter: &'static str,
) -> Result<Option<Password>, String> {
    match (given, query.take(parameter)?) {
        (Some(_), Some(_)) => Err(format!("there is a password and a {parameter}; leave the password out")),
        (Some(given), None) => Ok(Some(Password::Given(Secret::new(given)))),
        (None, Some(path)) => Ok(Some(Password::File { parameter, path: path.into() })),
        (None, None) => Ok(None),
    }
}

fn tls(scheme: &Scheme, query: &mut Query<'_>) -> Result<Option<TlsFiles>, String> {
    let mut file =
        |what: &str| -> Result<Option<PathBuf>, String> { Ok(query.take(what)?.map(PathBuf::from)) };
    let (authority, certificate, key) = (file("ca")?, file("cert")?, file("key")?);
    if !scheme.tls {
        return match authority.or(certificate).or(key) {
            Some(_) => {
                Err("ca, cert and key need TLS; use rediss:// (or rediss+sentinel://, rediss+cluster://)"
                    .into())
            }
            None => Ok(None),
        };
    }
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        (Some(_), None) => {
            return Err("cert is given without key; add key=PATH, the key of that certificate".into());
        }
        (None, Some(_)) => {
            return Err("key is given without cert; add cert=PATH, the certificate of that key".into());
        }
    };
    Ok(Some(TlsFiles { authority, client }))
}
