//! Free ports.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Mutex;

/// The ports handed out lie below the range from which the kernel takes the local port of outgoing connections.
/// Within that range, a client that connects to a server which is down could get the server's own port as its local
/// port, and be connected to itself.
const FIRST: u64 = 10_000;
const COUNT: u64 = 20_000;

/// Returns a loopback port that was free a moment ago and that this process has not handed out before.
///
/// Another process may take the port first: if binding it fails, try again with another.
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
