//! A store that is prepared for a group (`doctor --init-shared`).

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use flowlock_testkit::{Call, Fault};
use nix::errno::Errno;

use crate::{Told as _, cli_with_a_file as cli};

/// Alone: `--init-shared` makes a directory; who may use a server is said there.
#[test]
fn a_shared_store_is_prepared_for_a_group_and_then_used() {
    let cli = cli();
    let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
    let gid = nix::unistd::getgid();
    let group = nix::unistd::Group::from_gid(gid).unwrap().unwrap().name;
    cli.run(["doctor", "--init-shared"]).code(64).stderr_has("--group <G>");
    cli.run(["doctor", "--init-shared", "--group", "no-such-group"])
        .code(64)
        .stderr_has("there is no group no-such-group");
    cli.run(["doctor", "--init-shared", "--group", &group])
        .code(0)
        .stdout_has("sqlite:~/var/lib/flowlock/flowlock.db");
    let mode = |path: &str| fs::metadata(cli.home().join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("var/lib/flowlock"), 0o3770);
    let files = ["", "-live", "-lock", "-wal", "-shm"];
    assert_eq!(files.map(|suffix| mode(&format!("var/lib/flowlock/flowlock.db{suffix}"))), [0o660; 5]);
    assert_eq!(mode("var/lib/flowlock/flowlock.db-wake"), 0o3770);
    assert_eq!(mode("var/lib/flowlock/flowlock.db-journal"), 0o640);
    let again = ["doctor", "--init-shared", "--group", &group];
    cli.run(again).code(0).stdout_has("sqlite:~/var/lib/flowlock/flowlock.db");
    cli.run(["run", "-o", "a", "--", "sh", "-c", "echo $FLOWLOCK_STORE"])
        .code(0)
        .stdout("sqlite:~/var/lib/flowlock/flowlock.db\n");
}

/// Alone: the same.
#[test]
fn only_the_shared_store_is_prepared_and_it_is_what_is_examined() {
    let cli = cli();
    let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
    let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
    let prepare = ["doctor", "--init-shared", "--group", &group];
    let other = ["--store", "sqlite:other.db"];
    cli.run(prepare.iter().chain(&other))
        .code(64)
        .stdout("")
        .stderr_has("in /var/lib/flowlock; leave out --store");
    assert!(!cli.home().join("var").exists() && !cli.home().join("other.db").exists());
    let elsewhere = cli.home().join("elsewhere.db");
    let set = cli.with("FLOWLOCK_STORE", format!("sqlite:{}", elsewhere.display()));
    set.run(prepare).code(0).stdout_has("sqlite:~/var/lib/flowlock/flowlock.db").stderr_has(
        "$FLOWLOCK_STORE sets another store, sqlite:~/elsewhere.db, which your commands go on using",
    );
    assert!(!elsewhere.exists());
}

/// Alone: the same.
#[test]
fn what_another_user_made_is_not_taken_into_a_shared_store() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("not root, so no file can be given to another user: skipped");
        return;
    }
    for suffix in ["", "-live", "-lock", "-wal", "-shm", "-journal"] {
        let cli = cli();
        let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
        let directory = cli.home().join("var/lib/flowlock");
        fs::create_dir_all(&directory).unwrap();
        let file = directory.join(format!("flowlock.db{suffix}"));
        fs::write(&file, "").unwrap();
        std::os::unix::fs::chown(&file, Some(12_345), None).unwrap();
        let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
        let said = format!("~/var/lib/flowlock/flowlock.db{suffix} belongs to user 12345");
        cli.run(["doctor", "--init-shared", "--group", &group]).code(78).stderr_has(&said);
        let meta = fs::metadata(&file).unwrap();
        assert_eq!((meta.uid(), meta.permissions().mode() & 0o020), (12_345, 0), "{suffix}");
    }
}

/// Alone: the same. Whoever may write the directory moves a file of root's into it, out of one of their own.
#[test]
fn a_private_file_in_the_place_of_one_of_a_shared_store_is_not_given_to_the_group() {
    let secret = "a secret of the administrator's";
    for suffix in ["", "-live", "-lock", "-wal", "-shm", "-journal", "-wake"] {
        let cli = cli();
        let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
        let directory = cli.home().join("var/lib/flowlock");
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
        let planted = directory.join(format!("flowlock.db{suffix}"));
        let secrets = if suffix == "-wake" {
            fs::create_dir(&planted).unwrap();
            planted.join("file")
        } else {
            planted.clone()
        };
        fs::write(&secrets, secret).unwrap();
        fs::set_permissions(
            &planted,
            fs::Permissions::from_mode(if suffix == "-wake" { 0o700 } else { 0o600 }),
        )
        .unwrap();
        let before = fs::metadata(&planted).unwrap();
        let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
        let prepare = ["doctor", "--init-shared", "--group", &group];
        let said = format!("~/var/lib/flowlock/flowlock.db{suffix} ");
        cli.run(prepare).code(78).stderr_has(&said);
        let after = fs::metadata(&planted).unwrap();
        assert_eq!((after.gid(), after.mode()), (before.gid(), before.mode()), "{suffix}");
        assert_eq!(fs::read_to_string(&secrets).unwrap(), secret);
        // The directory is as it was, and the next try succeeds.
        assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o7777, 0o2770, "{suffix}");
        fs::rename(&planted, cli.home().join("moved")).unwrap();
        cli.run(prepare).code(0);
    }
}

/// Alone: the same.
#[test]
fn a_shared_store_that_was_half_made_is_made_by_the_next_try() {
    let cli = cli();
    let cli = cli.clone().with("FLOWLOCK_SYSTEM_ROOT", cli.home()).without("FLOWLOCK_STORE");
    let group = nix::unistd::Group::from_gid(nix::unistd::getgid()).unwrap().unwrap().name;
    let prepare = ["doctor", "--init-shared", "--group", &group];
    let directory = cli.home().join("var/lib/flowlock");
    // Where it was not there before, nothing is left that would be everybody's default store.
    let full = Fault::below(cli.home()).calls(&[Call::Write]).refuse_from(1, Errno::ENOSPC).inject();
    cli.clone().with_faults(&full).run(prepare).code(78).stderr_has("no space left");
    assert!(!directory.exists());
    // What an earlier try left, given to the group already.
    fs::create_dir_all(&directory).unwrap();
    for suffix in ["-lock", "-live", "-wal", "-shm"] {
        let file = directory.join(format!("flowlock.db{suffix}"));
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o660)).unwrap();
    }
    cli.run(prepare).code(0);
    cli.run(["run", "-o", "a", "--", "true"]).code(0);
}
