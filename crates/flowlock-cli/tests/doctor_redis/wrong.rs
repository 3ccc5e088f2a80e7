//! Addresses that are wrong, each with what to use instead.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use flowlock_testkit::{Cluster, Persistence, RedisServer, Sentinels};

use super::{Report, cli_at};

#[test]
fn tls_is_told_and_hints_lead_from_one_port_to_the_other() {
    let server = RedisServer::setup().persistence(Persistence::AofAlways).tls().start();
    let report = Report::of(&cli_at(server.tls_url()));
    report.only_bad(&[]).code(0).good("TLS", "on, trusting the authority in ca=, with a client certificate");
    let ca = server.certificates().ca.display().to_string();
    let port = server.port();
    opens(&format!("rediss://127.0.0.1:{port}/?ca={ca}"), 78, "it does not use TLS; use redis://");
    let port = server.tls_port();
    opens(&format!("redis://127.0.0.1:{port}"), 78, "this is a TLS port; use rediss://");
    opens(
        &format!("rediss://127.0.0.1:{port}/?ca={ca}"),
        78,
        "it wants a client certificate; add cert=PATH and key=PATH",
    );
    opens(&format!("rediss://127.0.0.1:{port}"), 78, "name the authority with ca=PATH");
}

#[test]
fn what_is_no_such_server_is_said_with_what_to_use() {
    let gone = RedisServer::start();
    let port = gone.port();
    drop(gone);
    opens(
        &format!("redis://127.0.0.1:{port}"),
        69,
        &format!(
            "cannot connect to 127.0.0.1:{port}: Connection refused (os error 111); check that the server runs"
        ),
    );
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", web.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in web.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 1_000]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    opens(&url, 78, "this looks like an HTTP server; give the address of a Redis or Valkey server");
    let locked = RedisServer::setup().password("right").start();
    let at = format!("127.0.0.1:{}", locked.port());
    opens(
        &format!("redis://{at}"),
        78,
        "wants a password; write redis://USER:PASSWORD@… or add password_file=PATH",
    );
    opens(&format!("redis://:wrong@{at}"), 78, "refuses the user or the password; check both");
    let replica = RedisServer::setup().replica_of(&locked).start();
    // The replica itself has no password.
    let primary = format!("is a replica; its primary is {at}: give that address, or use redis+sentinel://");
    opens(&format!("redis://127.0.0.1:{}", replica.port()), 78, &primary);
    opens(
        &format!("redis+cluster://127.0.0.1:{}", replica.port()),
        78,
        "is not a node of a cluster; use redis://",
    );
}

#[test]
fn a_sentinel_and_a_node_of_a_cluster_are_not_taken_for_plain_servers() {
    let watched = Sentinels::start();
    let sentinel = watched.sentinels()[0].port();
    opens(
        &format!("redis://127.0.0.1:{sentinel}"),
        78,
        "is a Sentinel; use redis+sentinel://HOST,HOST/MASTER",
    );
    opens(
        &format!("redis+sentinel://127.0.0.1:{sentinel}/another"),
        78,
        "does not watch such a primary; see SENTINEL MASTERS for the names it knows",
    );
    let plain = watched.primary().port();
    opens(
        &format!("redis+sentinel://127.0.0.1:{plain}/mymaster"),
        78,
        "is not a Sentinel; use redis://, or give the addresses of the sentinels",
    );
    let cluster = Cluster::start();
    let node = cluster.nodes()[0].port();
    opens(&format!("redis://127.0.0.1:{node}"), 78, "is a node of a cluster; use redis+cluster://HOST,HOST");
}

/// Asserts what `doctor` and `run` say of a store that does not open.
#[track_caller]
fn opens(url: &str, code: i32, says: &str) {
    let cli = cli_at(url);
    Report::of(&cli).code(code).bad("opens", says);
    cli.run(["run", "-l", "x", "--", "echo", "ran"]).code(code).stdout("").stderr_has(says);
}
