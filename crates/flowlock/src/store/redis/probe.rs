//! Finds out which protocol a server uses that does not answer, so that the error can say which URL is
//! right.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::failure::{self, Failure, Transport, Trouble};
use super::socket::Socket;
use super::tls;
use super::url::Address;
use crate::store::Limits;
use crate::world::later;

/// The most time for a question that only improves an error message. A server that uses the protocol
/// answers after two round trips.
const MOST: Duration = Duration::from_millis(500);
/// The question gets this fraction of the time that is left of the attempt, so that the next attempt
/// does not suffer.
const PARTS: usize = 4;

/// Explains the failure of a connection to a server that never answered before and does not answer now.
pub(super) fn explain(at: &Address, trouble: &Trouble, over: Transport, limits: &Limits) -> Failure {
    let is_silent = match trouble {
        Trouble::NotRedis(_) | Trouble::TooLarge => false,
        Trouble::Closed => true,
        Trouble::Io(error) => failure::tls_error(error).is_none(),
    };
    let limits = limits.share(PARTS).no_later_than(later(Instant::now(), MOST));
    if is_silent && over == Transport::Tls && answers(at, b"PING\r\n", b"+-", &limits) {
        return Failure::unusable(format!(
            "{at}: it does not use TLS; use redis://, or the server's TLS port"
        ));
    }
    // A handshake, or an alert about ours.
    if is_silent
        && over == Transport::Plain
        && tls::hello(at).is_some_and(|hello| answers(at, &hello, &[0x15, 0x16], &limits))
    {
        return Failure::unusable(format!("{at}: this is a TLS port; use rediss://"));
    }
    failure::not_set_up(at, trouble, over)
}

/// Returns whether the answer to this begins with one of these bytes.
fn answers(at: &Address, question: &[u8], first: &[u8], limits: &Limits) -> bool {
    let mut answer = [0];
    Socket::connect(at, limits).is_ok_and(|mut socket| {
        socket.write_all(question).and_then(|()| socket.read_exact(&mut answer)).is_ok()
            && first.contains(&answer[0])
    })
}
