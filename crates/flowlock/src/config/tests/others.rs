//! Files that another user owns, may write, or led here.

use std::os::unix::fs::symlink;

use super::*;
use crate::acl;

#[test]
fn a_file_that_others_may_write_is_refused_whoever_owns_it() {
    for file in [SYSTEM, USER, PROJECT] {
        for (bits, who) in [(0o646, "everybody"), (0o666, "everybody"), (0o602, "everybody")] {
            let house = House::new().file(file, "namespace = 'trap'");
            mode(&house.at(file), bits);
            let said = house.refusal();
            assert!(said.starts_with(&format!("/{file} is not used: it can be written by {who}")), "{said}");
        }
    }
}

#[test]
fn a_file_that_a_group_of_several_may_write_is_refused() {
    let house = House::new().file(PROJECT, "namespace = 'trap'");
    // A group that is not one person's.
    if nix::unistd::getuid().is_root() {
        std::os::unix::fs::chown(house.at(PROJECT), None, Some(12_345)).unwrap();
        mode(&house.at(PROJECT), 0o664);
        assert!(house.refusal().contains("it can be written by group 12345 (mode 0664"));
        mode(&house.at(PROJECT), 0o644);
        assert_eq!(house.read().get("namespace").unwrap().value, "trap");
        // Root's own group, like every person's own elsewhere, has no other member.
        std::os::unix::fs::chown(house.at(PROJECT), None, Some(0)).unwrap();
        mode(&house.at(PROJECT), 0o664);
        assert_eq!(house.read().get("namespace").unwrap().value, "trap");
    } else {
        eprintln!("not root, so no file can be given to a group: skipped");
    }
}

/// The group bits of a mode are then the most that the list allows anybody, and the group itself may
/// have no other member.
#[test]
fn a_file_or_directory_that_an_access_control_list_lets_others_write_is_refused() {
    for file in [SYSTEM, USER, PROJECT] {
        for directory in [false, true] {
            let house = House::new().file(file, "namespace = 'trap'");
            let weak = if directory { house.at(file).parent().unwrap().to_owned() } else { house.at(file) };
            mode(&weak, if directory { 0o775 } else { 0o664 });
            assert_eq!(house.read().get("namespace").unwrap().value, "trap");
            if !acl::tests::give(&weak, acl::OF_FILE, 6, (23_456, 4)) {
                return;
            }
            assert_eq!(house.read().get("namespace").unwrap().value, "trap");
            for own_group in [4, 6] {
                acl::tests::give(&weak, acl::OF_FILE, own_group, (23_456, 6));
                let said = house.refusal();
                assert!(
                    said.contains("can be written by user 23456, who is in its access control list"),
                    "{said}"
                );
            }
            // What the message recommends removes the problem.
            mode(&weak, if directory { 0o755 } else { 0o644 });
            assert_eq!(house.read().get("namespace").unwrap().value, "trap");
        }
    }
}

#[test]
fn a_group_that_is_another_users_first_one_is_not_ones_own() {
    let passwd = "root:x:0:0:root:/root:/bin/sh\nhalt:x:7:0::/sbin:/sbin/halt\n# a line of no user\n+::::::\n\
                  ann:x:1001:1001::/home/ann:/bin/sh\nbob:x:1002:1005::/home/bob:/bin/sh\nalias:x:1002:1005::/:/bin/sh\n";
    let own = |gid, name, uid| groups::is_nobody_elses_first(gid, name, uid, passwd);
    assert!(own(0, "root", 0) && own(1001, "ann", 1001) && own(1005, "bob", 1002));
    // A user of the same name in a directory service is another person.
    assert!(!own(1009, "bob", 1003) && own(1003, "bob", 1003) && !own(1005, "ann", 1002));
    // A user who is not in the file has a group of their own if it has their number.
    assert!(own(5000, "eva", 5000) && !own(5001, "eva", 5000) && !own(1001, "eva", 5000));
    let with = |line: &str| format!("{passwd}{line}\n");
    for (gid, name, uid) in [(0, "root", 0), (1001, "ann", 1001), (1005, "bob", 1002), (5000, "eva", 5000)] {
        let agent = with(&format!("agent:x:1007:{gid}::/:/bin/sh"));
        assert!(!groups::is_nobody_elses_first(gid, name, uid, &agent), "{name}");
    }
}

#[test]
fn roots_group_may_have_users_of_the_system_in_it_and_nobody_else() {
    let own = |other: u32| {
        groups::is_nobody_elses_first(0, "root", 0, &format!("root:x:0:0::/:\nx:x:{other}:0::/:"))
    };
    assert!(own(99) && !own(100));
}

#[test]
fn a_group_is_ones_own_if_it_is_the_first_one_has_ones_name_and_nobody_else_is_in_it() {
    use nix::unistd::{Gid, Group, Uid, User};
    let user = |name: &str, gid| User {
        name: name.into(),
        passwd: std::ffi::CString::default(),
        uid: Uid::from_raw(1_001),
        gid: Gid::from_raw(gid),
        gecos: std::ffi::CString::default(),
        dir: "/home/ann".into(),
        shell: "/bin/sh".into(),
    };
    let own = |(name, gid): (&str, u32), mem: &[&str]| {
        let group = Group {
            name: name.into(),
            passwd: std::ffi::CString::default(),
            gid: Gid::from_raw(gid),
            mem: mem.iter().map(|name| (*name).to_owned()).collect(),
        };
        groups::has_own(&user("ann", 7), &group)
    };
    assert!(own(("ann", 7), &[]) && own(("ann", 7), &["ann"]));
    assert!(!own(("ann", 7), &["ann", "bob"]) && !own(("ann", 7), &["bob"]));
    assert!(!own(("staff", 7), &[]) && !own(("ann", 8), &[]) && !own(("staff", 8), &["ann"]));
}

/// Whoever is root can do everything anyway.
#[test]
fn roots_files_are_taken_by_everybody() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("not root, so nothing here belongs to root: skipped");
        return;
    }
    let mut house = House::new().file(USER, "namespace = 'n'");
    house.surroundings.uid = 12_345;
    assert_eq!(house.read().get("namespace").unwrap().value, "n");
}

#[test]
fn a_file_is_read_up_to_its_limit_and_not_beyond() {
    let padded = |size: usize| format!("namespace = 'n'\n#{}", "x".repeat(size - 17));
    let house = House::new().file(USER, &padded(65_536));
    assert_eq!(house.read().get("namespace").unwrap().value, "n");
    house.write(USER, &padded(65_537));
    assert!(house.refusal().contains("is longer than 65536 bytes"));
}

/// As the kernel does.
#[test]
fn forty_links_are_followed_and_no_more() {
    let house =
        House::new().file("home/real.toml", "namespace = 'n'").file("home/.config/flowlock/other", "");
    let link = |at: usize| if at == 0 { house.at(USER) } else { house.at(&format!("home/link{at}")) };
    let linked = |count: usize| {
        for at in 0..count {
            let target = if at + 1 == count { house.at("home/real.toml") } else { link(at + 1) };
            let _ = fs::remove_file(link(at));
            std::os::unix::fs::symlink(target, link(at)).unwrap();
        }
    };
    linked(40);
    assert_eq!(house.read().get("namespace").unwrap().value, "n");
    linked(41);
    assert!(house.refusal().contains("cannot be read: "));
    fs::remove_file(link(0)).unwrap();
    std::os::unix::fs::symlink(link(0), link(0)).unwrap();
    assert!(house.refusal().contains("cannot be read: "), "a link to itself");
}

/// `groupadd -o` gives a group a number that another one has, and its members are in both.
#[test]
fn a_group_has_the_members_of_every_line_with_its_number() {
    let groups = "root:x:0:\nann:x:1001:\nbob:x:1002:bob\n+:::\n# no group\nusers:x:100:ann,bob\n";
    let own = |gid, name, more: &str| groups::has_no_other_member(gid, name, &format!("{groups}{more}"));
    assert!(own(0, "root", "") && own(1001, "ann", "") && own(1002, "bob", "alias:x:1002:\n"));
    for line in ["alias:x:1001:eva\n", "alias:x:1001:ann,eva", "a:x:1001:\nb::1001: eva \n"] {
        assert!(!own(1001, "ann", line), "{line}");
        assert!(own(1002, "bob", line), "{line}");
    }
}

/// The owner of the directory in which a link was made can move it, and its owner stays its maker.
#[test]
fn a_link_that_others_can_have_moved_there_leads_to_no_file() {
    let house = House::new().file("home/elsewhere", "namespace = 'mine'");
    let user = house.at(USER);
    std::fs::create_dir_all(user.parent().unwrap()).unwrap();
    symlink(house.at("home/elsewhere"), &user).unwrap();
    assert_eq!(house.read().get("namespace").unwrap().value, "mine");
    mode(user.parent().unwrap(), 0o1777);
    let said = house.refusal();
    assert!(said.contains("lies in a directory that can be written by everybody"), "{said}");
}

#[test]
fn a_strangers_file_is_refused_and_hides_nothing_further_up_in_silence() {
    let house = House::new().file(PROJECT, "namespace = 'mine'").file("home/project/deep/flowlock.toml", "");
    if !give_away(&house.at("home/project/deep/flowlock.toml")) {
        return;
    }
    assert_eq!(
        house.refusal(),
        "/home/project/deep/flowlock.toml is not used: it belongs to user 12345, neither you nor root; fix that, \
         or read the file and run: flowlock trust /home/project/deep/flowlock.toml"
    );
    for file in [SYSTEM, USER] {
        let house = House::new().file(file, "namespace = 'trap'");
        give_away(&house.at(file));
        assert_eq!(
            house.refusal(),
            format!("/{file} is not used: it belongs to user 12345, neither you nor root")
        );
    }
}

#[test]
fn a_directory_in_which_others_may_put_another_file_is_named() {
    for directory in ["home/project", "home"] {
        let house = House::new().file(PROJECT, "namespace = 'trap'");
        mode(&house.at(directory), 0o777);
        let said = house.refusal();
        let expected = format!("the directory /{directory} can be written by everybody (mode 0777");
        assert!(said.contains(&expected), "{said}");
        // In a sticky directory, such as /tmp, no user can remove another's files.
        mode(&house.at(directory), 0o1777);
        assert_eq!(house.read().get("namespace").unwrap().value, "trap");
    }
    let house = House::new().file(PROJECT, "namespace = 'trap'");
    if give_away(&house.at("home")) {
        assert!(house.refusal().contains("the directory /home belongs to user 12345"), "{}", house.refusal());
    }
}

#[test]
fn what_was_trusted_as_it_is_may_be_anybodys() {
    let house = House::new().file(PROJECT, "namespace = 'n'");
    mode(&house.at(PROJECT), 0o666);
    house.trust().add(&house.at(PROJECT)).unwrap();
    assert_eq!(house.read().get("namespace").unwrap().value, "n");
    fs::write(house.at(PROJECT), "namespace = 'trap'").unwrap();
    assert!(house.refusal().contains("it can be written by everybody"));
    // A list trusts a place, not a content, so it does not make up for that.
    let list = format!("trusted_projects = [\"{}\"]", house.at("home").display());
    assert!(house.file(USER, &list).refusal().contains("it can be written by everybody"));
}

#[test]
fn a_projects_file_is_no_link_and_the_users_own_only_through_ones_own() {
    let house = House::new().file("home/elsewhere.toml", "namespace = 'own'");
    symlink(house.at("home/elsewhere.toml"), house.at(PROJECT)).unwrap();
    assert!(
        house.refusal().starts_with("/home/project/flowlock.toml is a symbolic link"),
        "{}",
        house.refusal()
    );
    fs::remove_file(house.at(PROJECT)).unwrap();

    let house = house.file(USER, "");
    fs::remove_file(house.at(USER)).unwrap();
    symlink("../../elsewhere.toml", house.at(USER)).unwrap();
    let got = house.read().get("namespace").unwrap().clone();
    assert_eq!(got.source, Source::File { path: house.at("home/elsewhere.toml"), line: 1 });
    if give_away(&house.at(USER)) {
        assert_eq!(
            house.refusal(),
            format!("/{USER} is not used: the link /{USER} belongs to user 12345, neither you nor root")
        );
    }
}

#[test]
fn a_link_on_the_way_to_the_users_file_that_another_planted_is_refused() {
    let house = House::new().file("home/dot/flowlock/config.toml", "namespace = 'own'");
    symlink("dot", house.at("home/.config")).unwrap();
    assert_eq!(house.read().get("namespace").unwrap().value, "own");
    if give_away(&house.at("home/.config")) {
        assert!(house.refusal().contains("the link /home/.config belongs to user 12345"));
    }
}

#[test]
fn what_is_no_file_is_never_read_nor_passed_over() {
    let make = |house: &House, kind: &str| {
        fs::create_dir_all(house.at(USER).parent().unwrap()).unwrap();
        for file in [USER, PROJECT] {
            let path = house.at(file);
            match kind {
                "directory" => fs::create_dir(&path).unwrap(),
                "fifo" => {
                    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o644)).unwrap();
                }
                "socket" => drop(std::os::unix::net::UnixListener::bind(&path).unwrap()),
                _ => symlink("/dev/zero", &path).unwrap(),
            }
            mode_of_own(&path);
        }
    };
    for kind in ["directory", "fifo", "socket", "device"] {
        let house = House::new();
        make(&house, kind);
        let said = house.refusal();
        assert!(said.contains("config.toml ") && !said.contains("no setting"), "{kind}: {said}");
        fs::remove_dir_all(house.at("home/.config")).unwrap();
        let said = house.refusal();
        assert!(said.contains("flowlock.toml "), "{kind}: {said}");
    }
}

/// Removes others' right to write, so that only the kind of the file is wrong.
fn mode_of_own(path: &Path) {
    if !path.is_symlink() {
        mode(path, 0o755);
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    if nix::unistd::getuid().is_root() {
        eprintln!("root reads everything: skipped");
        return;
    }
    for file in [SYSTEM, USER, PROJECT] {
        let house = House::new().file(file, "namespace = 'n'");
        mode(&house.at(file), 0o200);
        assert!(house.refusal().contains("cannot be read: Permission denied"));
    }
}
