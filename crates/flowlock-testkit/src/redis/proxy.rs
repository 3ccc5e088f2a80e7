//! A bad connection between a client and a server.

mod plan;
mod pump;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use super::{RedisServer, port};
use plan::{Plan, Spoil};

pub use plan::{Direction, Then};

/// Passes bytes between clients and a server, until told to be less kind. Connections that stand feel every change.
///
/// ```no_run
/// # use flowlock_testkit::{Proxy, RedisServer, Then};
/// let server = RedisServer::start();
/// let line = Proxy::to(&server);
/// line.drop_next_reply(Then::Reset); // the server has done it, but the client gets no reply
/// ```
#[derive(Debug)]
pub struct Proxy {
    url: String,
    port: u16,
    plan: Arc<Plan>,
}

impl Proxy {
    /// Creates a connection to the TCP port of a server.
    #[track_caller]
    pub fn to(server: &RedisServer) -> Self {
        let mut proxy = Self::to_port(server.port());
        proxy.url = server.url_through(proxy.port);
        proxy
    }

    /// Creates a connection to any loopback port, such as one for TLS.
    #[track_caller]
    pub fn to_port(server: u16) -> Self {
        let listener = loop {
            if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port::free())) {
                break listener;
            }
        };
        let port = listener.local_addr().expect("a bound port").port();
        let plan = Arc::new(Plan::default());
        let of_the_listener = plan.clone();
        std::thread::spawn(move || listen(&listener, server, &of_the_listener));
        Proxy { url: format!("redis://127.0.0.1:{port}/0?failover_pause=0s"), port, plan }
    }

    /// Returns the store's URL through this connection.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns the connection's own port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Passes everything on again, first what was held back.
    pub fn pass(&self) {
        self.plan.change(|wishes| *wishes = plan::Wishes::default());
    }

    /// Holds back, silently, what goes in this direction, as a network does that loses packets. What was
    /// held back arrives after [`pass`](Self::pass), as retransmitted packets do.
    pub fn black_hole(&self, direction: Direction) {
        self.plan.change(|wishes| wishes.toward(direction).held = true);
    }

    /// Lets every piece that goes in this direction arrive this much later.
    pub fn delay(&self, direction: Direction, by: std::time::Duration) {
        self.plan.change(|wishes| wishes.toward(direction).delay = by);
    }

    /// Passes this many bytes in this direction and then resets the connection; once.
    pub fn cut_after(&self, direction: Direction, bytes: usize) {
        self.plan.change(|wishes| wishes.toward(direction).cut = Some(bytes));
    }

    /// Lets the next request through and swallows its reply.
    pub fn drop_next_reply(&self, then: Then) {
        self.drop_reply_to("", then);
    }

    /// Lets the next request through that contains `part`, and swallows its reply.
    pub fn drop_reply_to(&self, part: &str, then: Then) {
        self.spoil_reply_to(part, Spoil::Swallow(then));
    }

    /// Lets the next request through that contains `part`, and passes its reply twice, as a broken relay
    /// does.
    pub fn double_reply_to(&self, part: &str) {
        self.spoil_reply_to(part, Spoil::Double);
    }

    fn spoil_reply_to(&self, part: &str, spoil: Spoil) {
        self.plan.change(|wishes| wishes.trap = Some(plan::Trap { part: part.into(), spoil }));
    }

    /// Returns how many replies were swallowed. A test that expects one must assert that it happened.
    pub fn dropped_replies(&self) -> u64 {
        self.plan.dropped()
    }

    /// Resets every open connection; new ones are accepted.
    pub fn reset(&self) {
        self.plan.reset_all();
    }

    /// Resets every open connection, and every new one at once.
    pub fn refuse(&self) {
        self.plan.change(|wishes| wishes.refused = true);
        self.plan.reset_all();
    }

    /// Returns how many connections were made so far.
    pub fn connections(&self) -> u64 {
        self.plan.connections()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.plan.close();
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn listen(listener: &TcpListener, server: u16, plan: &Arc<Plan>) {
    for client in listener.incoming() {
        if plan.is_closed() {
            return;
        }
        let Ok(client) = client else { continue };
        match TcpStream::connect((Ipv4Addr::LOCALHOST, server)) {
            Ok(server) if !plan.refuses() => pump::connect(client, server, plan),
            _ => plan::reset(&client),
        }
    }
}
