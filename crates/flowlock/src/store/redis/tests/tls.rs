use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use super::server::*;
use crate::store::StoreErrorKind::Unusable;

/// An authority, with certificates that it issued for a server and a client, as files.
pub(super) struct Papers {
    directory: tempfile::TempDir,
}

impl Papers {
    pub(super) fn new() -> Self {
        let papers = Self { directory: tempfile::tempdir().unwrap() };
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::write(papers.path("ca"), authority.pem()).unwrap();
        for (name, names) in [("server", vec!["localhost".to_owned()]), ("client", vec!["client".to_owned()])]
        {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(names).unwrap();
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, &authority).unwrap();
            std::fs::write(papers.path(name), certificate.pem()).unwrap();
            std::fs::write(papers.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        papers
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn server(&self, port: u16, clients: &str) -> Server {
        let port = port.to_string();
        let path = |name| self.path(name).display().to_string();
        let (ca, certificate, key) = (path("ca"), path("server"), path("server.key"));
        let arguments = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let more = ["--tls-ca-cert-file", &ca, "--tls-auth-clients", clients];
        Server::start(&[&arguments[..], &more].concat())
    }
}

fn url(host: &str, port: u16, files: &[(&str, &Path)]) -> String {
    let query: Vec<_> = files.iter().map(|(name, path)| format!("{name}={}", path.display())).collect();
    format!("rediss://{host}:{port}?{}", query.join("&"))
}

#[test]
fn a_server_with_its_own_authority_is_trusted_when_that_is_named() {
    let (papers, port) = (Papers::new(), free_port());
    let server = papers.server(port, "no");
    let ca = papers.path("ca");
    let client = linked(&url("localhost", port, &[("ca", &ca)]));
    let script = counter();
    let dials = (1..20).map(|number| {
        let evaluated = count(&client, &script, "t", "x", &soon()).unwrap();
        assert_eq!(evaluated.reply, counted(number, "x"));
        evaluated.from.dials
    });
    let dials: Vec<_> = dials.collect();
    assert!(
        dials.iter().all(|dial| *dial == dials[0]),
        "what TLS itself says is no reason to call anew: {dials:?}"
    );
    let mut inbox = listen(&client, ["fl:{t}:i:0".into(), "fl:{t}:i:all".into()]).unwrap();
    server.cli(&["SPUBLISH", "fl:{t}:i:0", "job.1"]);
    assert_eq!(next_runs(&mut inbox)[0].as_str(), "job.1");

    let other = Papers::new();
    let untrusted = open(&url("localhost", port, &[("ca", &other.path("ca"))]));
    assert_error(untrusted, Unusable, "name the authority with ca=PATH");
    assert_error(
        open(&url("127.0.0.1", port, &[("ca", &ca)])),
        Unusable,
        "its certificate is for another name",
    );
    assert_error(
        open(&url("localhost", port, &[("ca", &papers.path("server.key"))])),
        Unusable,
        "contains no PEM certificate",
    );
    assert_error(open(&url("localhost", server.port, &[("ca", &ca)])), Unusable, "it does not use TLS");
    assert_error(open(&format!("redis://localhost:{port}")), Unusable, "this is a TLS port; use rediss://");
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_one() {
    let (papers, port) = (Papers::new(), free_port());
    let _server = papers.server(port, "yes");
    let (ca, certificate, key) = (papers.path("ca"), papers.path("client"), papers.path("client.key"));
    let full = url("localhost", port, &[("ca", &ca), ("cert", &certificate), ("key", &key)]);
    assert_eq!(count(&linked(&full), &counter(), "t", "x", &soon()).unwrap().reply, counted(1, "x"));
    assert_error(open(&url("localhost", port, &[("ca", &ca)])), Unusable, "it wants a client certificate");
    let other = Papers::new();
    let foreign = [("ca", &*ca), ("cert", &other.path("client")), ("key", &other.path("client.key"))];
    assert_error(open(&url("localhost", port, &foreign)), Unusable, "it refuses our client certificate");
    let mixed = [("ca", &*ca), ("cert", &*certificate), ("key", &other.path("client.key"))];
    assert_error(open(&url("localhost", port, &mixed)), Unusable, "cannot be used together");
}
