//! Users who share nothing, and root among the files of others.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;

use super::{Person, two_members};
use crate::{run, until_it_is};

#[test]
fn a_stranger_is_told_to_join_the_group() {
    let Some((cli, one, _)) = two_members() else { return };
    let stranger = Person { uid: 34_567, gid: 34_567, ..one };
    let ended = stranger.run(&cli, &run("-l x", "echo ran"));
    ended.code(78).stdout("").stderr(
        "flowlock: the shared store's directory ~/machine/var/lib/flowlock cannot be written by user 34567: Permission \
         denied; join its group, or name another store with --store\n",
    );
}

#[test]
fn a_store_that_a_stranger_put_there_is_not_used() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: only root can play two users");
        return;
    }
    let (eve, alice) = (Person::new(12_345), Person::new(23_456));
    let everybodys = eve.cli.home().join("everybodys");
    fs::create_dir(&everybodys).unwrap();
    fs::set_permissions(&everybodys, fs::Permissions::from_mode(0o1777)).unwrap();
    let store = format!("sqlite:{}", everybodys.join("s.db").display());
    eve.run(&eve.cli.clone().with("FLOWLOCK_STORE", &store), &run("-l x", "true")).code(0);
    eve.shell(&eve.cli, "chmod 666 ~/everybodys/*; chmod 1777 ~/everybodys/s.db-wake").code(0);
    belongs_to_root(&eve.cli.home());
    let ended = alice.run(&alice.cli.clone().with("FLOWLOCK_STORE", &store), &run("-l x", "echo ran"));
    let said = "belongs to user 12345, and everybody may write ";
    ended.code(78).stdout("").stderr_has(said);
    // Root uses every user's store, but not where anybody can have made it.
    let roots = eve.cli.clone().with("FLOWLOCK_STORE", &store);
    let ended = roots.run(run("-l x", "echo ran"));
    ended.code(78).stdout("").stderr_has(said);
    fs::set_permissions(&everybodys, fs::Permissions::from_mode(0o755)).unwrap();
    chown(&everybodys, Some(eve.uid), None).unwrap();
    // And not where anybody can have made its directory, as in /tmp.
    chown(eve.cli.home(), Some(eve.uid), None).unwrap();
    let ended = roots.run(run("-l x", "echo ran"));
    ended
        .code(78)
        .stdout("")
        .stderr_has("belongs to user 12345, and everybody may write /tmp, so that user may");
    belongs_to_root(&eve.cli.home());
    let ended = alice.run(&alice.cli.clone().with("FLOWLOCK_STORE", &store), &run("-l x", "echo ran"));
    ended.code(78).stdout("").stderr_has("belongs to user 12345, neither to you nor to root");
    eve.shell(&eve.cli, "chmod 600 ~/everybodys/s.db*; chmod 700 ~/everybodys/s.db-wake").code(0);
    roots.run(run("-l x", "echo ran")).code(0).stdout("ran\n");
    belongs_to_root(&everybodys);
    fs::set_permissions(&everybodys, fs::Permissions::from_mode(0o1777)).unwrap();

    // The user's own store is not made in a directory of another user either.
    let state = everybodys.join("state");
    let theirs = eve.cli.clone().with("XDG_STATE_HOME", &state).without("FLOWLOCK_STORE");
    eve.run(&theirs, &run("-l x", "true")).code(0);
    eve.shell(&eve.cli, "chmod -R 777 ~/everybodys/state; rm -r ~/everybodys/state/flowlock/*").code(0);
    let hers = alice.cli.clone().with("XDG_STATE_HOME", &state).without("FLOWLOCK_STORE");
    let ended = alice.run(&hers, &run("-l x", "echo ran"));
    ended.code(78).stdout("").stderr_has("state/flowlock belongs to user 12345");
}

/// Root made it, as it makes the homes of users.
fn belongs_to_root(directory: &Path) {
    chown(directory, Some(0), None).unwrap();
}

#[test]
fn in_a_user_namespace_the_machines_own_directories_are_no_strangers() {
    if !Command::new("unshare").args(["-r", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("no user namespaces here: skipped");
        return;
    }
    let person = Person::new(12_345);
    let file = person.cli.home().join("flowlock.toml");
    fs::write(&file, "namespace = 'inside'\n").unwrap();
    if nix::unistd::getuid().is_root() {
        chown(&file, Some(person.uid), Some(person.gid)).unwrap();
    }
    let words = ["-r", &person.binary.display().to_string(), "config", "show"].map(str::to_owned);
    let ended = if nix::unistd::getuid().is_root() {
        person.cli.clone().with_program("setpriv").run(person.line("unshare", &words))
    } else {
        person.cli.clone().with_program("unshare").run(words)
    };
    assert!(ended.code(0).out().contains("inside"), "{ended:?}");
}

#[test]
fn a_stranger_cannot_put_a_journal_beside_a_store_in_a_directory_of_everybody() {
    let Some((cli, one, two)) = two_members() else { return };
    let directory = cli.home().join("everybody");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o1777)).unwrap();
    let cli = cli.with("FLOWLOCK_STORE", format!("sqlite:{}/x.db", directory.display()));
    one.run(&cli, &run("-o a", "true")).code(0);
    two.shell(&cli, "cd ~/everybody && ! echo journal > x.db-journal && ! rm -f x.db-journal x.db-wal")
        .code(0);
    one.run(&cli, &run("-i a -o b", "true")).code(0);
    // Before the store is made everything can be planted: it is refused by name.
    for suffix in ["-live", "-lock", "-wal", "-shm", "-journal"] {
        let cli = cli.clone().with("FLOWLOCK_STORE", format!("sqlite:{}/y{suffix}", directory.display()));
        two.shell(&cli, &format!("echo mine > ~/everybody/y{suffix}{suffix}")).code(0);
        let ended = one.run(&cli, &run("-o a", "echo ran"));
        ended.code(78).stdout("").stderr_has(&format!("~/everybody/y{suffix}{suffix}"));
    }
}

#[test]
fn root_waits_in_the_store_of_another_without_making_anything_in_it() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: only root meets a store of another that it may use");
        return;
    }
    let person = Person::new(12_345);
    let cli = &person.cli;
    person.run(cli, &run("-o data", "true")).code(0);
    let store = cli.home().join("store");
    let wake = fs::read_dir(&store).unwrap().map(|entry| entry.unwrap().path());
    let wake = { wake }.find(|path| path.display().to_string().ends_with("-wake")).unwrap();
    fs::remove_dir_all(&wake).unwrap();
    let files = || fs::read_dir(&store).unwrap().count();
    let before = files();
    belongs_to_root(&cli.home());
    let holder = cli.start(run("-l door", "echo in; exec sleep 1000"));
    holder.says("in\n");
    let waiter = cli.start(run("-l door --name waiter", "echo ran"));
    until_it_is(cli, "waiter", "queued");
    holder.signal(Signal::SIGKILL);
    waiter.wait().code(0).stdout("ran\n");
    holder.wait();
    assert_eq!(files(), before);
    person.run(cli, &["doctor".into()]).code(0);
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&fs::metadata(&wake).unwrap()), person.uid);
}
