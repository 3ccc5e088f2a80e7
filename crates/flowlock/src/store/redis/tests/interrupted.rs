//! An interrupted caller stops waiting, whatever the connection is doing.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{Backlog, listen};

use super::server::*;
use crate::Flowlock;
use crate::name::Namespace;
use crate::step::Step;
use crate::store::redis::RedisStore;
use crate::store::redis::script::Call;
use crate::store::redis::socket::Socket;
use crate::store::redis::url::Address;
use crate::store::{Limits, Store as _, StoreError, StoreErrorKind, View};

/// Returns what the caller of `wait` gets if it is interrupted during a long wait; checks that it
/// returns at once.
#[track_caller]
pub(in crate::store::redis) fn interrupted<T: std::fmt::Debug, E: std::fmt::Display>(
    wait: impl FnOnce(&Limits) -> Result<T, E>,
) -> String {
    let flag = Arc::<AtomicBool>::default();
    let limits = Limits { interrupted: Some(flag.clone()), ..Limits::within(LONG) };
    let interrupter = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        flag.store(true, Ordering::Release);
        Instant::now()
    });
    let error = wait(&limits).map_err(|error| error.to_string()).unwrap_err();
    let heard = interrupter.join().unwrap().elapsed();
    assert!(heard < Duration::from_secs(1), "{heard:?}: {error}");
    error
}

/// A server that greets, and answers nothing else.
fn silent() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut heard = vec![0; 64 << 10];
                while let Ok(count @ 1..) = stream.read(&mut heard) {
                    if String::from_utf8_lossy(&heard[..count]).contains("ROLE") {
                        let _ = stream.write_all(&greeting("redis_version:7.0.0"));
                    }
                }
            });
        }
    });
    url
}

const WHY: &str = "interrupted while waiting for the store";

#[test]
fn a_connection_that_is_not_taken_ends() {
    // The listener accepts no client, and the kernel's backlog is full.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let at = listener.local_addr().unwrap();
    let _full: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&at, Duration::from_millis(100))).collect();
    let tcp = Address::Tcp { host: "127.0.0.1".into(), port: at.port() };
    assert_eq!(interrupted(|limits| Socket::connect(&tcp, limits)), WHY);

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    listen(&listener, Backlog::new(0).unwrap()).unwrap();
    let _full = std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert_eq!(interrupted(|limits| Socket::connect(&Address::Unix(path), limits)), WHY);
}

#[test]
fn a_server_that_does_not_greet_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = linked(&silent());
    let at = Address::Tcp { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
    let part = crate::store::redis::dial::Part::Node;
    let said = interrupted(|limits| client.dialler().dial(&at, part, limits).map_err(StoreError::from));
    assert_eq!(said, WHY);
}

#[test]
fn a_store_that_is_being_opened_is_not_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let said = interrupted(|limits| {
        let settings = Flowlock::builder().store_timeout(LONG);
        settings.interrupted_by(limits.interrupted.clone().unwrap()).open(&url)
    });
    assert_eq!(said, WHY);
}

#[test]
fn a_step_a_look_and_the_question_for_the_clock_end() {
    let store = RedisStore::open(&silent(), LONG).unwrap();
    let namespace = Namespace::default();
    let unknown = format!("{WHY}; whether the step took effect is unknown until the store is asked again");
    assert_eq!(interrupted(|limits| store.clock_within(&namespace, limits)), unknown);
    assert_eq!(interrupted(|limits| store.step_within(&namespace, &Step::Refresh(vec![]), limits)), unknown);
    assert_eq!(interrupted(|limits| store.view_within(&namespace, &View::Namespace, limits)), unknown);
}

#[test]
fn a_listing_of_namespaces_ends() {
    let store = Arc::new(RedisStore::open(&silent(), LONG).unwrap());
    let said = interrupted(|limits| {
        let settings = Flowlock::builder().store_timeout(LONG);
        settings.interrupted_by(limits.interrupted.clone().unwrap()).with_store(store).namespaces()
    });
    assert!(said.starts_with(WHY), "{said}");
}

/// The flag may be set before: a healthy server answers nevertheless.
#[test]
fn a_server_that_answers_at_once_answers_whoever_is_in_a_hurry() {
    let server = Server::start(&[]);
    let client = linked(&server.url());
    let limits = Limits { interrupted: Some(Arc::new(AtomicBool::new(true))), ..Limits::within(LONG) };
    let (script, keys, args) = (counter(), [b"n".to_vec()], [b"x".to_vec()]);
    let call = Call { tag: "t", script: &script, keys: &keys, args: &args, most: SHORT, replicas: None };
    assert_eq!(client.eval(&call, &limits).unwrap().reply, counted(1, "x"));
    let nobody = linked(&silent());
    let error = nobody.eval(&call, &limits).unwrap_err();
    assert!(error.kind() == StoreErrorKind::Unknown && error.to_string().starts_with(WHY), "{error}");
}
