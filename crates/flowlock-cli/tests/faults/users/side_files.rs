//! What members of a group can do to the files beside a shared store.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use flowlock_testkit::Cli;
use nix::sys::signal::Signal;

use super::{Person, seen_by, two_members};
use crate::{run, until_it_is};

/// Everything that lies in the shared store's directory, with its path relative to the home.
fn shared_files(cli: &Cli) -> Vec<String> {
    let directory = cli.home().join("machine/var/lib/flowlock");
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn members_can_neither_remove_nor_replace_nor_plant_a_file_of_the_shared_store() {
    let Some((cli, one, two)) = two_members() else { return };
    let made =
        ["", "-journal", "-live", "-lock", "-shm", "-wake", "-wal"].map(|of| format!("flowlock.db{of}"));
    assert_eq!(shared_files(&cli), made);
    one.run(&cli, &run("-o data", "true")).code(0);
    for name in &made {
        let script = format!(
            "cd ~/machine/var/lib/flowlock && touch mine && ! rm -rf {name} && ! mv {name} away && ! mv -Tf mine {name} && \
             ! ln -sfT /etc/passwd {name} && ! chmod 666 {name} && rm mine"
        );
        one.shell(&cli, &script).code(0);
    }
    assert_eq!(shared_files(&cli), made);
    two.run(&cli, &run("-i data -o more", "true")).code(0);
    cli.run(["doctor"]).code(0);
    assert_eq!(shared_files(&cli), made);
}

#[test]
fn what_a_member_puts_among_the_sockets_is_neither_removed_nor_written_to_by_root() {
    let Some((cli, one, _)) = two_members() else { return };
    let victim = cli.home().join("victim");
    fs::create_dir(&victim).unwrap();
    let name = |number: u32| format!("{number:032x}");
    fs::write(victim.join(name(1)), "content").unwrap();
    let inboxes = "~/machine/var/lib/flowlock/flowlock.db-wake";
    one.shell(&cli, &format!("! mv -T {inboxes} {inboxes}.away && ! ln -sfT ~/victim {inboxes}")).code(0);
    let planted = format!(
        "cd {inboxes} && ln -s ~/victim/{0} {0} && mkdir {1} && echo mine > {2}",
        name(1),
        name(2),
        name(3)
    );
    one.shell(&cli, &planted).code(0);
    one.shell(&cli, &format!("touch -hd 2001-01-01 {inboxes}/*")).code(0);
    // Who waits looks for sockets of the dead.
    for _ in 0..3 {
        wait_once(&cli, None);
    }
    assert_eq!(fs::read_to_string(victim.join(name(1))).unwrap(), "content");
    one.shell(&cli, &format!("test -L {inboxes}/{} && test -f {inboxes}/{}", name(1), name(3))).code(0);
}

#[test]
fn sockets_of_members_who_died_are_removed_by_themselves_and_by_root_and_hinder_nobody() {
    let Some((cli, one, two)) = two_members() else { return };
    let inboxes = cli.home().join("machine/var/lib/flowlock/flowlock.db-wake");
    for (sweeper, swept) in [(Some(&two), false), (Some(&one), true), (None, true)] {
        die_waiting(&cli, &one);
        let dead: Vec<_> = fs::read_dir(&inboxes).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!dead.is_empty());
        // Old enough to be taken for left behind.
        let grow_old = format!("touch -hd 2001-01-01 {}/*", inboxes.display());
        cli.clone().with_program("sh").run(["-c", &grow_old]).code(0);
        wait_once(&cli, sweeper);
        let left = dead.iter().any(|socket| socket.exists());
        assert_eq!(left, !swept, "swept by {:?}", sweeper.map(|person| person.uid));
    }
}

/// A process of a person, or of root, waits for another.
fn wait_once(cli: &Cli, person: Option<&Person>) {
    let start = |words: &[String]| person.map_or_else(|| cli.start(words), |person| person.start(cli, words));
    let holder = start(&run("-l door", "echo in; exec sleep 1000"));
    holder.says("in\n");
    let waiter = start(&run("-l door --name waiter", "true"));
    until_it_is(cli, "waiter", "queued");
    holder.signal(Signal::SIGKILL);
    waiter.wait().code(0);
    holder.wait();
}

/// A person's process dies while it waits, and leaves its socket behind.
fn die_waiting(cli: &Cli, person: &Person) {
    let holder = person.start(cli, &run("-l dying", "echo in; exec sleep 1000"));
    holder.says("in\n");
    let waiter = person.start(cli, &run("-l dying", "true"));
    seen_by(person, cli, &["queued"]);
    waiter.signal(Signal::SIGKILL);
    holder.signal(Signal::SIGKILL);
    waiter.wait();
    holder.wait();
}

#[test]
fn what_is_missing_beside_a_store_is_made_by_its_owner_alone() {
    let Some((cli, one, two)) = two_members() else { return };
    let directory = cli.home().join("group");
    fs::create_dir(&directory).unwrap();
    chown(&directory, None, Some(one.gid)).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
    let cli = cli.with("FLOWLOCK_STORE", format!("sqlite:{}/x.db", directory.display()));
    one.run(&cli, &run("-o a", "true")).code(0);
    two.run(&cli, &run("-i a", "true")).code(0);
    for suffix in ["-live", "-lock"] {
        fs::remove_file(directory.join(format!("x.db{suffix}"))).unwrap();
        let said = format!("~/group/x.db{suffix} is missing, and only user 12345, who owns the store, can");
        two.run(&cli, &run("-i a", "echo ran")).code(78).stdout("").stderr_has(&said);
        cli.run(run("-i a", "echo ran")).code(78).stdout("").stderr_has(&said);
        one.run(&cli, &run("-i a", "true")).code(0);
        two.run(&cli, &run("-i a", "true")).code(0);
    }
}
