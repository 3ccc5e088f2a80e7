//! The two threads of a connection.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::plan::{Connection, Direction, Fate, Plan, Then};

/// How much of the requests is kept: enough to find a word that arrived in two pieces.
const REMEMBERED: usize = 256;

/// Forwards between a client and the server until one of them, or the plan, ends the connection.
pub(super) fn connect(client: TcpStream, server: TcpStream, plan: &Arc<Plan>) {
    for socket in [&client, &server] {
        let _ = socket.set_nodelay(true);
    }
    let connection = plan.welcome(client, server);
    for way in [Direction::Requests, Direction::Replies] {
        let (connection, plan) = (connection.clone(), plan.clone());
        std::thread::spawn(move || pump(&connection, way, &plan));
    }
}

fn pump(on: &Connection, way: Direction, plan: &Plan) {
    let (mut from, mut to) = match way {
        Direction::Requests => (&on.client, &on.server),
        Direction::Replies => (&on.server, &on.client),
    };
    let mut chunk = [0; 16 * 1024];
    let mut recent = Vec::new();
    let mut mute = false;
    while let Ok(n @ 1..) = from.read(&mut chunk) {
        let piece = &chunk[..n];
        recent.drain(..recent.len().saturating_sub(REMEMBERED));
        recent.extend_from_slice(piece);
        let fate = if mute { Fate::Swallow(Then::Hang) } else { plan.fate(way, on, piece, &recent) };
        let passed = match fate {
            Fate::Pass => to.write_all(piece).is_ok(),
            Fate::Double => to.write_all(&piece.repeat(2)).is_ok(),
            Fate::Cut(left) => {
                let _ = to.write_all(&piece[..left]);
                on.reset();
                false
            }
            Fate::Swallow(Then::Hang) => {
                mute = true;
                true
            }
            Fate::Swallow(Then::Reset) => {
                on.reset();
                false
            }
        };
        if !passed {
            break;
        }
    }
    // An orderly end is forwarded. If the plan ended the connection, dropping the sockets in both threads resets it.
    if !on.is_reset() {
        let _ = from.shutdown(Shutdown::Read);
        let _ = to.shutdown(Shutdown::Write);
    }
}
