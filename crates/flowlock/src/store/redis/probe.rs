//! What a server speaks that does not answer what it is asked: the error can then say which URL is right.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use super::failure::{self, Failure, Transport, Trouble};
use super::socket::Socket;
use super::tls;
use super::url::Address;
use crate::store::Limits;
use crate::world::later;

/// The most time for a question that only betters an error message. A server that speaks what it is asked in answers
/// after two round trips.
const MOST: Duration = Duration::from_millis(500);
/// Of what is left of the attempt the question gets one of so many parts: the next attempt must not suffer from it.
const PARTS: usize = 4;

/// The failure of a connection that was made to a server that never answered before, and that does not answer now.
pub(super) fn explain(at: &Address, trouble: &Trouble, over: Transport, limits: &Limits) -> Failure {
    let is_silent = match trouble {
        Trouble::NotRedis(_) | Trouble::TooLarge => false,
        Trouble::Closed => true,
        Trouble::Io(error) => failure::tls_error(error).is_none(),
    };
    let limits = limits.share(PARTS).no_later_than(later(Instant::now(), MOST));
    if is_silent && over == Transport::Tls && answers(at, b"PING\r\n", b"+-", &limits) {
        return Failure::unusable(format!(
            "{at}: it does not speak TLS there; use redis://, or the server's TLS port"
        ));
    }
    // A handshake, or an alert about ours.
    if is_silent
        && over == Transport::Plain
        && tls::hello(at).is_some_and(|hello| answers(at, &hello, &[0x15, 0x16], &limits))
    {
        return Failure::unusable(format!("{at}: this is a port for TLS; use rediss://"));
    }
    failure::not_set_up(at, trouble, over)
}

/// Whether the answer to this begins with one of these bytes.
fn answers(at: &Address, question: &[u8], first: &[u8], limits: &Limits) -> bool {
    let mut answer = [0];
    Socket::connect(at, limits).is_ok_and(|mut socket| {
        socket.write_all(question).and_then(|()| socket.read_exact(&mut answer)).is_ok()
            && first.contains(&answer[0])
    })
}
