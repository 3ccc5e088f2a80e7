//! Ports that nobody uses.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// Below the range from which the kernel takes the near end of outgoing connections: there, a client that calls a
/// server which is down could be given the server's own port, and be connected to itself.
const FIRST: u64 = 10_000;
const COUNT: u64 = 20_000;

/// A loopback port that was free a moment ago and was never handed out in this process before.
///
/// Another process may take it first: whoever binds it tries again.
pub(super) fn free() -> u16 {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().expect("no draw panics");
    let given = given.get_or_insert_default();
    loop {
        let port = (FIRST + RandomState::new().build_hasher().finish() % COUNT) as u16;
        if !given.contains(&port) && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            given.insert(port);
            return port;
        }
    }
}
