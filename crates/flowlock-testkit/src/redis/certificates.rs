//! Certificates for tests: an authority, a server's certificate and a client's, valid for the loopback address.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};

/// The paths of the PEM files in a server's directory.
#[derive(Debug, Clone)]
pub struct Certificates {
    /// The authority's certificate, which both sides trust.
    pub ca: PathBuf,
    /// The server's certificate, for `127.0.0.1` and `localhost`.
    pub server: PathBuf,
    /// The server's key.
    pub server_key: PathBuf,
    /// A client's certificate.
    pub client: PathBuf,
    /// The client's key.
    pub client_key: PathBuf,
}

impl Certificates {
    /// Creates new certificates and keys.
    pub(super) fn write_into(directory: &Path) -> Self {
        let mut authority = named("flowlock test authority", &[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        authority.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(authority, key()).expect("a signed authority");
        let write = |name: &str, text: String| {
            let path = directory.join(name);
            std::fs::write(&path, text).expect("room for a certificate");
            std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("a file of ours");
            path
        };
        let pair = |name: &str, params: CertificateParams| {
            let key = key();
            let signed = params.signed_by(&key, &authority).expect("a signed certificate");
            (write(&format!("{name}.pem"), signed.pem()), write(&format!("{name}.key"), key.serialize_pem()))
        };
        let (server, server_key) = pair("server", named("flowlock test server", &["127.0.0.1", "localhost"]));
        let (client, client_key) = pair("client", named("flowlock test client", &[]));
        Certificates { ca: write("ca.pem", authority.pem()), server, server_key, client, client_key }
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("the machine has randomness")
}

fn named(name: &str, hosts: &[&str]) -> CertificateParams {
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("plain host names");
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
