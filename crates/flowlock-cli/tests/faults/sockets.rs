//! A server's unix socket, and other users who would like to be taken for the server.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::os::unix::net::UnixListener;
use std::path::Path;

use flowlock_testkit::{Cli, Finished, RedisServer};

use crate::users::Person;

const ALICE: u32 = 12_345;
const EVE: u32 = 23_456;
const REDIS: u32 = 34_567;

fn set(path: &Path, owner: u32, mode: u32) {
    chown(path, Some(owner), Some(owner)).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// The program with the store that listens at a socket, and alice's password.
fn at(alice: &Person, socket: &Path) -> Cli {
    let password = alice.cli.home().join("password");
    fs::write(&password, "s3cret").unwrap();
    set(&password, ALICE, 0o600);
    let url =
        format!("redis+unix://{}?password_file={}&failover_pause=0s", socket.display(), password.display());
    alice.cli.clone().with("FLOWLOCK_STORE", url)
}

fn once(person: &Person, cli: &Cli) -> Finished {
    person.run(cli, &crate::run("-l x", "echo ran"))
}

#[test]
fn a_servers_own_socket_is_used_and_one_that_a_stranger_put_there_gets_no_password() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("not tried: only root can play several users");
        return;
    }
    let (alice, server) = (Person::new(ALICE), RedisServer::setup().password("s3cret").start());
    let doctor = ["doctor".to_owned()];
    // As a system's own server has it: a directory that it alone may write.
    let system = tempfile::tempdir().unwrap();
    let (run, socket) = (system.path().join("run"), system.path().join("run/redis.sock"));
    fs::create_dir(&run).unwrap();
    fs::rename(server.socket(), &socket).unwrap();
    set(system.path(), 0, 0o755);
    set(&run, REDIS, 0o755);
    set(&socket, REDIS, 0o777);
    let good = at(&alice, &socket);
    once(&alice, &good).code(0).stdout("ran\n").stderr("");
    let seen = alice.run(&good, &doctor);
    assert!(
        seen.out().contains(&format!("of user {REDIS}; not everybody may write its directory")),
        "{seen:?}"
    );

    // A directory that everybody may write, as /tmp is.
    let everybodys = tempfile::tempdir().unwrap();
    set(everybodys.path(), 0, 0o1777);
    let planted = everybodys.path().join("redis.sock");
    let listener = UnixListener::bind(&planted).unwrap();
    set(&planted, EVE, 0o777);
    let link = everybodys.path().join("link.sock");
    symlink(&socket, &link).unwrap();
    lchown(&link, Some(EVE), Some(EVE)).unwrap();
    let directory = everybodys.path().join("run");
    fs::create_dir(&directory).unwrap();
    let inside = UnixListener::bind(directory.join("s")).unwrap();
    set(&directory.join("s"), EVE, 0o777);
    set(&directory, EVE, 0o755);
    // A link of root's, which whoever owns the directory that it was made in moved here.
    let moved = everybodys.path().join("moved.sock");
    symlink(directory.join("s"), &moved).unwrap();
    let not_followed =
        "moved.sock is a symbolic link that somebody other than you and root may have moved there".to_owned();
    let puts = format!("belongs to user {EVE}, and everybody may write {}", everybodys.path().display());
    let links = format!("is a symbolic link made by user {EVE}");
    for (path, said) in
        [(&planted, &puts), (&link, &links), (&moved, &not_followed), (&directory.join("s"), &puts)]
    {
        let cli = at(&alice, path);
        once(&alice, &cli).code(78).stdout("").stderr_has(said);
        // Root has more to lose, and is told the same.
        cli.run(crate::run("-l x", "echo ran")).code(78).stdout("").stderr_has(said);
    }
    for listener in [listener, inside] {
        listener.set_nonblocking(true).unwrap();
        assert!(listener.accept().is_err(), "nobody called");
    }

    // A volume that everybody may write: who owns it may listen there, and doctor says what may come of it.
    set(&run, REDIS, 0o1777);
    once(&alice, &good).code(0);
    let seen = alice.run(&good, &doctor);
    assert!(seen.out().contains("while the server is down anybody can take the name"), "{seen:?}");
    set(&run, 0, 0o1777);
    once(&alice, &good).code(78).stderr_has(&format!("belongs to user {REDIS}"));
    set(&run, 0, 0o755);
    once(&alice, &good).code(0);
}
