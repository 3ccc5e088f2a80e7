//! TLS: which authorities are trusted, and the client's certificate. The files are read for every
//! connection, so that they can be renewed.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::failure::Failure;
use super::url::{Address, TlsFiles, clean, read_file};

/// Returns the client's side of a handshake with the server at `address`, not begun yet.
pub(super) fn handshake(address: &Address, files: &TlsFiles) -> Result<ClientConnection, Failure> {
    let Address::Tcp { host, .. } = address else {
        return Err(Failure::unusable(format!(
            "{address} is a unix socket, which has no TLS; use redis+unix://"
        )));
    };
    let name = ServerName::try_from(host.clone())
        .map_err(|_| Failure::unusable(format!("{address} is not a name that a certificate can have")))?;
    let failed = |error: rustls::Error| Failure::unusable(format!("cannot use TLS for {address}: {error}"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?
        .with_root_certificates(trusted(files)?);
    let config = match &files.client {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => config
            .with_client_auth_cert(certificates("cert", certificate)?, private_key(key)?)
            .map_err(|error| Failure::unusable(format!("cert and key cannot be used together: {error}")))?,
    };
    ClientConnection::new(Arc::new(config), name).map_err(failed)
}

/// Returns the first message of a handshake, to see whether a server answers it.
pub(super) fn hello(address: &Address) -> Option<Vec<u8>> {
    let Address::Tcp { host, .. } = address else {
        return None;
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut handshake =
        ClientConnection::new(Arc::new(config), ServerName::try_from(host.clone()).ok()?).ok()?;
    let mut hello = Vec::new();
    handshake.write_tls(&mut hello).ok()?;
    Some(hello)
}

/// The largest list of authorities; that of a whole distribution has 250 KB.
const LARGEST_PEM: u64 = 16 << 20;

fn trusted(files: &TlsFiles) -> Result<RootCertStore, Failure> {
    let mut store = RootCertStore::empty();
    if let Some(path) = &files.authority {
        for certificate in certificates("ca", path)? {
            store.add(certificate).map_err(|error| unreadable("ca", path, &error))?;
        }
        return Ok(store);
    }
    // Some of a machine's certificates are often too old to be read; the others are enough.
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err(Failure::unusable("this machine trusts no certificate authority; name one with ca=PATH"));
    }
    Ok(store)
}

fn certificates(what: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    let pem = pem(what, path)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(unreadable(what, path, &"it contains no PEM certificate")),
        Ok(found) => Ok(found),
        Err(error) => Err(unreadable(what, path, &error)),
    }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Failure> {
    PrivateKeyDer::from_pem_slice(&pem("key", path)?).map_err(|error| unreadable("key", path, &error))
}

fn pem(what: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    read_file(path, LARGEST_PEM).map_err(|error| unreadable(what, path, &error))
}

fn unreadable(what: &str, path: &Path, error: &dyn std::fmt::Display) -> Failure {
    let shown = crate::text::escape(&clean(path).display().to_string());
    Failure::unusable(format!(
        "cannot use {what}={shown}: {error}; it must be a PEM file that this user may read"
    ))
}
