//! Places where the store cannot be: refused in plain words, with exit code 78, and never another place instead.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use flowlock_testkit::{Cli, Fault, FileSystem, Finished};

use crate::users::Person;
use crate::{cli, records, run};

/// Every file below a directory.
fn files(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .flat_map(|entry| match entry.path() {
            path if path.is_dir() => files(&path),
            path => vec![path.display().to_string()],
        })
        .filter(|path| path.contains("flowlock.db"))
        .collect()
}

#[test]
fn a_network_file_system_is_refused_by_its_name() {
    let kinds = [
        (FileSystem::Nfs, "NFS"),
        (FileSystem::Cifs, "CIFS"),
        (FileSystem::Smb2, "SMB2"),
        (FileSystem::Plan9, "9P"),
        (FileSystem::Ceph, "Ceph"),
    ];
    for (kind, name) in kinds {
        let cli = cli();
        let network = Fault::below(cli.home()).file_system(cli.home().join("store"), kind).inject();
        let ended = cli.clone().with_faults(&network).run(run("-l x", "echo ran"));
        ended.code(78).stdout("").stderr(&format!(
            "flowlock: ~/store/flowlock.db lies on a network file system ({name}), where locks do not reach other \
             hosts; use a local disk, or a server for many hosts (store sqlite:~/store/flowlock.db, namespace default, \
             user id {})\n",
            nix::unistd::getuid()
        ));
        assert_eq!(files(&cli.home()), Vec::<String>::new());
    }
}

#[test]
fn a_second_hosts_boot_is_refused_and_the_first_host_goes_on() {
    let cli = cli();
    let other = Fault::below(cli.home()).boot("11111111-2222-3333-4444-555555555555").inject();
    cli.run(run("-o a --name first", "true")).code(0);
    let held = cli.start(run("-o b --name held", "echo in; exec sleep 1000"));
    held.says("in\n");
    let ended = cli.clone().with_faults(&other).run(run("-o b", "echo ran"));
    ended.code(78).stdout("");
    let (before, after) = ended.err().split_once(" s after this machine booted").expect("the moment");
    assert!(before.starts_with("flowlock: the store was written by another boot of a machine "), "{before}");
    assert!(
        after.starts_with(": two hosts share the file, which the embedded store does not support; give each host its own file"),
        "{after}"
    );
    cli.run(run("-o b --wait 0", "true")).code(75);
    cli.run(run("-i a -o c", "true")).code(0);
    assert_eq!(records(&cli).into_keys().collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn a_real_reboot_is_none_of_that_and_voids_every_grant() {
    let cli = cli();
    cli.run(run("-o a", "true")).code(0);
    cli.run(["start", "build", "--duration", "1d", "-o", "b"]).code(0);
    cli.run(run("-o b --wait 0", "true")).code(75);
    let rebooted = Fault::below(cli.home()).boot("11111111-2222-3333-4444-555555555555").inject();
    let uptime = fs::read_to_string("/proc/uptime").unwrap();
    let uptime: f64 = uptime.split(' ').next().unwrap().parse().unwrap();
    rebooted.shift_boot_clock(10_000 - (uptime * 1000.0) as i64);
    rebooted.shift_wall_clock(60_000);
    cli.with_faults(&rebooted).run(run("-i a -o b --wait 0", "true")).code(0);
}

/// The shared store's directory, below a root of the test's own.
fn shared(cli: &Cli) -> (Cli, std::path::PathBuf) {
    let root = cli.home().join("machine");
    let directory = root.join("var/lib/flowlock");
    fs::create_dir_all(&directory).unwrap();
    (cli.clone().without("FLOWLOCK_STORE").with("FLOWLOCK_SYSTEM_ROOT", root), directory)
}

#[test]
fn a_shared_directory_that_cannot_be_written_is_not_replaced_by_a_private_store() {
    let person = Person::new(12_345);
    let (cli, directory) = shared(&person.cli);
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    if !nix::unistd::getuid().is_root() {
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let ended = person.run(&cli, &run("-l x", "echo ran"));
    ended.code(78).stdout("").stderr(&format!(
        "flowlock: the shared store's directory ~/machine/var/lib/flowlock cannot be written by user {0}: Permission \
         denied; join its group, or name another store with --store\n",
        person.uid
    ));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(files(&cli.home()), Vec::<String>::new());
}

#[test]
fn a_read_only_directory_is_named() {
    let person = Person::new(12_345);
    let directory = person.cli.home().join("store");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o555)).unwrap();
    let ended = person.run(&person.cli, &run("-l x", "echo ran"));
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    ended.code(78).stdout("").stderr_has("Permission denied");
    assert_eq!(files(&person.cli.home()), Vec::<String>::new());
}

#[test]
fn a_store_whose_permissions_were_taken_away_is_named_and_kept() {
    let person = Person::new(12_345);
    person.run(&person.cli, &run("-o a", "true")).code(0);
    let mode = |mode| fs::set_permissions(person.cli.store(), fs::Permissions::from_mode(mode)).unwrap();
    for taken in [0o000, 0o444] {
        mode(taken);
        let ended = person.run(&person.cli, &run("-l x", "echo ran"));
        ended.code(78).stdout("").stderr_has(
            "check the owner and mode of the file and its directory, and whether the file system is mounted read-only",
        );
    }
    mode(0o600);
    person.run(&person.cli, &run("-i a -o b", "true")).code(0);
}

#[test]
fn without_a_home_there_is_no_store_and_no_guess() {
    let person = Person::new(12_345);
    let homeless = person.cli.clone().without("FLOWLOCK_STORE").without("HOME");
    let homeless = homeless.with("FLOWLOCK_SYSTEM_ROOT", person.cli.home().join("nowhere"));
    if nix::unistd::getuid().is_root() {
        person.run(&homeless, &run("-l x", "echo ran")).code(78).stdout("").stderr(
            "flowlock: user 12345 has no home directory for the store; set HOME or XDG_STATE_HOME, or name a store \
             with --store\n",
        );
    }
    let broken = homeless.with("HOME", "/dev/null");
    let ended = person.run(&broken, &run("-l x", "echo ran"));
    ended
        .code(78)
        .stdout("")
        .stderr_has("cannot create the store's directory /dev/null/.local/state/flowlock: ");
    assert_eq!(files(&person.cli.home()), Vec::<String>::new());
}

/// Runs a script in a mount namespace of its own; none where this machine does not allow it.
fn with_mounts(cli: &Cli, script: &str) -> Option<Finished> {
    let allowed = std::process::Command::new("unshare").args(["--mount", "true"]).status();
    if !allowed.is_ok_and(|status| status.success()) {
        eprintln!("skipped: this user cannot make a mount namespace");
        return None;
    }
    let words = ["--mount", "sh", "-ec", script, env!("CARGO_BIN_EXE_flowlock")];
    Some(cli.clone().with_program("unshare").run(words))
}

#[test]
fn a_store_file_that_is_mounted_by_itself_is_refused_and_a_mounted_directory_is_the_same_store() {
    let cli = cli();
    for directory in ["inside", "alone"] {
        fs::create_dir(cli.home().join(directory)).unwrap();
    }
    fs::write(cli.home().join("alone/x.db"), "").unwrap();
    let holder = cli.start(run("-l x", "echo in; exec sleep 1000"));
    holder.says("in\n");
    let mount = "mount --bind ~/store/flowlock.db ~/alone/x.db; mount --bind ~/store ~/inside; ";
    let alone = "exec \"$0\" --store sqlite:$HOME/alone/x.db run -l x -- echo ran";
    let Some(ended) = with_mounts(&cli, &format!("{mount}{alone}")) else { return };
    ended.code(78).stdout("").stderr_has(
        "~/alone/x.db is mounted by itself, so its journal and locks are not those of the other side of the mount; \
         mount the directory that holds it (with docker: -v DIRECTORY:~/alone)",
    );
    let inside = "exec \"$0\" --store sqlite:$HOME/inside/flowlock.db run -l x --wait 0 -- echo ran";
    with_mounts(&cli, &format!("{mount}{inside}")).unwrap().code(75).stdout("");
    holder.signal(nix::sys::signal::Signal::SIGKILL);
    holder.wait();
}

/// Members by their first group stand in the file of users alone.
#[test]
fn a_file_of_a_group_that_another_user_has_first_is_not_taken() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: only root can play other users");
        return;
    }
    let person = Person::new(23_456);
    let cli = person.cli.clone();
    fs::write(cli.home().join("group"), "own:x:23456:\n").unwrap();
    let project = cli.home().join("flowlock.toml");
    fs::write(&project, "namespace = 'inside'\n").unwrap();
    fs::set_permissions(&project, fs::Permissions::from_mode(0o664)).unwrap();
    std::os::unix::fs::chown(&project, Some(23_456), Some(23_456)).unwrap();
    let show = "for file in passwd group; do mount --bind ~/$file /etc/$file; done
        exec setpriv --reuid 23456 --regid 23456 --clear-groups -- ~/flowlock config show";
    let own = "root:x:0:0::/root:/bin/sh\nown:x:23456:23456::/:/bin/sh\n";
    let as_own = |others: &str| {
        fs::write(cli.home().join("passwd"), format!("{own}{others}")).unwrap();
        with_mounts(&cli, show)
    };
    let Some(ended) = as_own("") else { return };
    assert!(ended.code(0).out().contains("inside"), "{ended:?}");
    let ended = as_own("guest:x:34567:23456::/:/bin/sh\n").unwrap();
    ended.code(78).stdout("").stderr_has("it can be written by group 23456 (mode 0664");
}
