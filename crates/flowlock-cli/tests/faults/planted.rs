//! What somebody put where others will look for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

use flowlock_testkit::{Cli, Finished};

use crate::run;
use crate::users::{Person, two_members};

/// A directory like `/tmp`, or another that everybody may write.
fn everybodys(cli: &Cli, mode: u32) -> std::path::PathBuf {
    let directory = cli.home().join("everybodys");
    fs::create_dir(&directory).unwrap();
    fs::set_permissions(&directory, Permissions::from_mode(mode)).unwrap();
    directory
}

fn with_store(cli: &Cli, path: &Path) -> Cli {
    cli.clone().with("FLOWLOCK_STORE", format!("sqlite:{}", path.display()))
}

/// Runs the program in a user namespace that knows nobody but the person, who is its root.
#[track_caller]
fn run_as_namespaces_root(person: &Person, cli: &Cli, words: &[String]) -> Finished {
    let binary = person.binary.display().to_string();
    let words: Vec<_> = ["-Ur".to_owned(), binary].into_iter().chain(words.iter().cloned()).collect();
    cli.clone().with_program("setpriv").run(person.line("unshare", &words))
}

fn has_user_namespaces() -> bool {
    let is_there =
        Command::new("unshare").args(["-Ur", "true"]).status().is_ok_and(|status| status.success());
    if !is_there {
        eprintln!("no user namespaces here: skipped");
    }
    is_there
}

#[test]
fn a_store_that_a_member_of_some_group_put_into_a_directory_of_everybody_is_not_used() {
    let Some((cli, eve, alice)) = two_members() else {
        eprintln!("skipped: only root can play two users");
        return;
    };
    for mode in [0o1777, 0o777] {
        let directory = everybodys(&cli, mode);
        let hers = with_store(&cli, &directory.join("s.db"));
        eve.run(&hers, &run("-o x", "true")).code(0);
        // To all who are in the group with her.
        eve.shell(
            &cli,
            "cd ~/everybodys && chmod 660 s.db* && chmod 640 s.db-journal && chmod 3770 s.db-wake",
        )
        .code(0);
        // One in a directory of her own there, which she shares in the same way.
        let inner = with_store(&cli, &directory.join("inner/s.db"));
        eve.shell(&cli, "mkdir -m 2770 ~/everybodys/inner").code(0);
        eve.run(&inner, &run("-o x", "true")).code(0);
        for (store, what) in [(hers, "s.db"), (inner, "inner")] {
            let said = format!(
                "flowlock: ~/everybodys/{what} belongs to user 12345, and everybody may write ~/everybodys, so that user may \
                 have put it there for others to use; name a store in a directory that not everybody may write, let `flowlock doctor \
                 --init-shared` make one for a group, or run flowlock as that user"
            );
            alice.run(&store, &run("-o y", "echo taken")).code(78).stdout("").stderr_has(&said);
            store.run(run("-o y", "echo taken")).code(78).stdout("").stderr_has(&said);
            eve.run(&store, &run("-o y", "echo mine")).code(0).stdout("mine\n");
        }
        fs::remove_dir_all(&directory).unwrap();
    }
}

#[test]
fn in_a_user_namespace_what_lies_in_a_directory_of_everybody_is_not_taken_for_roots() {
    let Some((cli, eve, alice)) = two_members() else {
        eprintln!("skipped: only root can play two users");
        return;
    };
    if !has_user_namespaces() {
        return;
    }
    let directory = everybodys(&cli, 0o1777);
    let store = with_store(&cli, &directory.join("s.db"));
    eve.run(&store, &run("-o x", "true")).code(0);
    eve.shell(&cli, "cd ~/everybodys && chmod 666 s.db* && chmod 1777 s.db-wake").code(0);
    // The test's own place lies in /tmp: there only what is one's own is not anybody's.
    chown(cli.home(), Some(alice.uid), None).unwrap();
    let ended = run_as_namespaces_root(&alice, &store, &run("-o y", "echo taken"));
    ended.code(78).stdout("").stderr_has("s.db belongs to user 65534, and everybody may write ~/everybodys");
    // Nor a directory there, with settings or for the user's own store, nor one with a link in it.
    eve.shell(
        &cli,
        "cd ~/everybodys && mkdir -m 777 eve eve/flowlock && echo \"namespace = 'trap'\" > eve/flowlock/config.toml && \
         ln -s ../s.db eve/link",
    )
    .code(0);
    let settings = cli.clone().with("XDG_CONFIG_HOME", directory.join("eve"));
    eve.shell(&cli, "chmod 755 ~/everybodys/eve ~/everybodys/eve/flowlock").code(0);
    let ended = run_as_namespaces_root(&alice, &settings, &["config", "show"].map(str::to_owned));
    ended.code(78).stdout("").stderr_has("whom this user namespace does not know, and lies in ~/everybodys");
    let link = with_store(&cli, &directory.join("eve/link"));
    let ended = run_as_namespaces_root(&alice, &link, &run("-o y", "echo taken"));
    ended
        .code(78)
        .stdout("")
        .stderr_has("is a symbolic link that somebody other than you and root may have moved there");
    let state = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home().join("none"));
    let state = state.with("XDG_STATE_HOME", directory.join("eve"));
    let ended = run_as_namespaces_root(&alice, &state, &run("-o y", "echo taken"));
    ended.code(78).stdout("").stderr_has("eve belongs to user 65534, and everybody may write ~/everybodys");
    // What lies where only root makes files is root's, also where nobody knows root.
    let shared = run_as_namespaces_root(&alice, &cli, &run("-o y", "echo shared"));
    shared.code(0).stdout("shared\n");
}

#[test]
fn a_second_name_of_a_shared_store_is_told_with_how_to_find_it() {
    let Some((cli, one, two)) = two_members() else {
        eprintln!("skipped: only root can play two users");
        return;
    };
    let directory = cli.home().join("machine/var/lib/flowlock");
    for suffix in ["", "-wal", "-lock"] {
        let other = directory.join("other");
        fs::hard_link(directory.join(format!("flowlock.db{suffix}")), &other).unwrap();
        let ended = two.run(&cli, &run("-o x", "echo ran"));
        let found = format!(
            "its owner (user 0) or root can find the other names with `find ~/machine/var/lib/flowlock -xdev -samefile \
             ~/machine/var/lib/flowlock/flowlock.db{suffix}`"
        );
        ended
            .code(78)
            .stdout("")
            .stderr_has(&format!("flowlock.db{suffix} has 2 hard links"))
            .stderr_has(&found);
        fs::remove_file(&other).unwrap();
        one.run(&cli, &run("-o x", "true")).code(0);
    }
}
