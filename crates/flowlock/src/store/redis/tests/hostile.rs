//! Servers that lie: endless answers, and redirections that would send a password elsewhere.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::mpsc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::server::*;
use super::tls::Papers;
use crate::store::StoreErrorKind::{Unknown, Unusable};

const PASSWORD: &str = "correct-horse";

/// Starts a listener that answers with what `answer` makes of the input, until that is empty.
fn fake(talk: impl Fn(TcpStream) + Send + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || listener.incoming().flatten().for_each(talk));
    port
}

fn converse(mut stream: impl Read + Write, answer: impl Fn(&str) -> Vec<u8>) {
    let mut heard = vec![0; 64 << 10];
    while let Ok(count @ 1..) = stream.read(&mut heard) {
        let answer = answer(&String::from_utf8_lossy(&heard[..count]));
        if stream.write_all(&answer).and_then(|()| stream.flush()).is_err() {
            return;
        }
    }
}

#[test]
fn an_endless_greeting_is_refused_and_an_endless_answer_to_a_step_too() {
    for endless in ["*1000000000\r\n:1\r\n", "$999999999999\r\nx"] {
        let port =
            fake(move |mut stream| while stream.write_all(&endless.repeat(4_000).into_bytes()).is_ok() {});
        let says = "more than any Redis does";
        assert_error(open(&format!("redis://127.0.0.1:{port}")), Unusable, says);

        let port = fake(move |stream| {
            converse(stream, move |heard| {
                if heard.contains("ROLE") {
                    greeting("redis_version:7.0.0")
                } else {
                    endless.repeat(20_000).into_bytes()
                }
            });
        });
        let client = linked(&format!("redis://127.0.0.1:{port}"));
        assert_error(count(&client, &counter(), "t", "x", &soon()), Unknown, "more than the step can need");
    }
}

#[test]
fn a_server_that_repeats_the_password_is_not_quoted_with_it() {
    let says = |info: &'static str, auth: &'static str, role: &'static str, step: &'static str| {
        let port = fake(move |stream| {
            converse(stream, move |heard| {
                if !heard.contains("ROLE") {
                    return step.as_bytes().to_vec();
                }
                let info = format!("${}\r\n{info}\r\n", info.len());
                format!("{auth}+OK\r\n{role}{info}").into_bytes()
            });
        });
        let url = format!("redis://:{PASSWORD}@127.0.0.1:{port}");
        let error = match open(&url) {
            Err(error) => error,
            Ok(client) => count(&client, &counter(), "t", "x", &soon()).unwrap_err(),
        };
        let said = format!("{error} {error:?}");
        assert!(!said.contains("horse"), "{said}");
        assert!(said.contains("127.0.0.1"), "{said}");
    };
    let (good, ok, primary) = ("redis_version:7.0.0", "+OK\r\n", "*1\r\n$6\r\nmaster\r\n");
    says(good, "-ERR unknown command 'AUTH', with args beginning with: 'correct-horse' \r\n", primary, "");
    says(good, "-WRONGPASS no: Y29ycmVjdC1ob3JzZQ== horse\r\n", primary, "");
    says("redis_version:1.0 correct-horse", ok, primary, "");
    says(good, ok, "*3\r\n$5\r\nslave\r\n$13\r\ncorrect-horse\r\n:6379\r\n", "");
    says(good, ok, primary, "-ERR correct-horse, correct-horse\r\n");
    says(good, ok, primary, "-ERR cut off: correct-h\r\n");
}

#[test]
fn a_server_without_auth_tells_nobody_the_password() {
    let server = Server::start(&["--rename-command", "AUTH", ""]);
    let error = open(&format!("redis://:{PASSWORD}@127.0.0.1:{}", server.port)).unwrap_err();
    assert!(
        error.to_string().contains("does not know a command") && !error.to_string().contains("horse"),
        "{error}"
    );
}

/// Listens without TLS, and reports the first bytes of every client.
fn eavesdropper() -> (u16, mpsc::Receiver<Vec<u8>>) {
    let (tell, told) = mpsc::channel();
    let port = fake(move |mut stream| {
        let mut heard = vec![0; 4_096];
        let count = stream.read(&mut heard).unwrap_or(0);
        heard.truncate(count);
        let _ = tell.send(heard);
    });
    (port, told)
}

/// Starts a server with a good certificate for `localhost`.
fn trusted(papers: &Papers, answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> u16 {
    let certificate = CertificateDer::from_pem_file(papers.path("server")).unwrap();
    let key = PrivateKeyDer::from_pem_file(papers.path("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap());
    fake(move |stream| {
        converse(StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream), &answer);
    })
}

/// Returns what a client says to the eavesdropper to which a trusted server redirects it.
fn said_to_eavesdropper(scheme: &str, path: &str, answer: fn(&str, u16) -> Vec<u8>) -> Vec<u8> {
    let (papers, (elsewhere, told)) = (Papers::new(), eavesdropper());
    let port = trusted(&papers, move |heard| answer(heard, elsewhere));
    let ca = papers.path("ca");
    let url = format!("{scheme}://:{PASSWORD}@localhost:{port}{path}?ca={}", ca.display());
    if let Ok(client) = open(&url) {
        count(&client, &counter(), "t", "x", &soon()).unwrap_err();
    }
    let heard = told.recv_timeout(LONG).expect("it was sent on");
    // No other client, such as a probe, revealed a password either.
    for heard in std::iter::once(&heard).chain(&told.try_iter().collect::<Vec<_>>()) {
        assert!(!String::from_utf8_lossy(heard).contains(PASSWORD), "{}", heard.escape_ascii());
    }
    heard
}

fn of_a_cluster(heard: &str, word: &str, elsewhere: u16) -> Vec<u8> {
    if heard.contains("ROLE") {
        [b"+OK\r\n".to_vec(), greeting("redis_version:7.0.0\r\nredis_mode:cluster")].concat()
    } else if heard.contains("SLOTS") {
        b"*0\r\n".to_vec()
    } else {
        format!("-{word} 1 localhost:{elsewhere}\r\n").into_bytes()
    }
}

#[test]
fn no_redirection_takes_a_password_to_a_server_without_tls() {
    let moved: fn(&str, u16) -> Vec<u8> = |heard, elsewhere| of_a_cluster(heard, "MOVED", elsewhere);
    let ask: fn(&str, u16) -> Vec<u8> = |heard, elsewhere| of_a_cluster(heard, "ASK", elsewhere);
    for answer in [moved, ask] {
        let heard = said_to_eavesdropper("rediss+cluster", "", answer);
        assert!(heard.starts_with(&[0x16, 0x03]), "a handshake: {}", heard.escape_ascii());
    }
}

#[test]
fn no_sentinel_takes_a_password_to_a_server_without_tls() {
    let heard = said_to_eavesdropper("rediss+sentinel", "/main", |heard, elsewhere| {
        if heard.contains("ROLE") {
            greeting("redis_version:7.0.0\r\nredis_mode:sentinel")
        } else {
            let port = elsewhere.to_string();
            format!("*2\r\n$9\r\nlocalhost\r\n${}\r\n{port}\r\n", port.len()).into_bytes()
        }
    });
    assert!(heard.starts_with(&[0x16, 0x03]), "a handshake: {}", heard.escape_ascii());
}

/// Asks a server for its namespaces that answers SCAN with a cursor that depends on what it hears.
fn listed_by(next: fn(&str) -> &'static str) -> crate::store::StoreError {
    let port = fake(move |stream| {
        converse(stream, move |heard| {
            if heard.contains("ROLE") {
                greeting("redis_version:7.0.0")
            } else {
                format!("*2\r\n$1\r\n{}\r\n*0\r\n", next(heard)).into_bytes()
            }
        });
    });
    // Enough for one page on a busy machine; ten times as much for all of them.
    let patience = std::time::Duration::from_secs(1);
    let store =
        crate::store::redis::RedisStore::open(&format!("redis://127.0.0.1:{port}"), patience).unwrap();
    crate::store::Store::namespaces(&store, &crate::store::Limits::within(LONG)).unwrap_err()
}

#[test]
fn a_list_of_keys_that_has_no_end_is_given_up() {
    let error = listed_by(|heard| if heard.contains("\r\n7\r\n") { "8" } else { "7" });
    assert_eq!(error.kind(), crate::store::StoreErrorKind::Unreachable);
    assert!(error.to_string().contains("did not list all its keys"), "{error}");
}

#[test]
fn a_list_of_keys_that_goes_on_where_it_was_is_refused() {
    let error = listed_by(|_| "7");
    assert_eq!(error.kind(), crate::store::StoreErrorKind::Damaged);
    assert!(error.to_string().contains("goes on where it was"), "{error}");
}
