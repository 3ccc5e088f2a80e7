//! Places in which all files are trusted, and what somebody else can have moved to a place.

use std::os::unix::fs::symlink;

use super::*;

const SERVER: &str = "store = 'redis://there.example'\n";
const STRANGER: u32 = 12_345;

fn listing(house: House, entry: &str) -> House {
    let list = format!("trusted_projects = [\"{}\"]", house.at(entry).display());
    house.file(USER, &list)
}

/// Whoever owns the directory that an entry lies in makes it a link to a clone of the user's own.
#[test]
fn an_entry_that_others_can_make_a_link_trusts_nothing() {
    let house = listing(House::new().file(PROJECT, SERVER).file("etl/x", ""), "etl/project");
    symlink(house.at("home/project"), house.at("etl/project")).unwrap();
    assert_eq!(house.store(), "redis://there.example");
    let said = |house: &House, why: &str| {
        let said = house.refusal();
        let expected = format!(
            "/{PROJECT}:1: this store is not used, because the file is not trusted (trusted_projects names \
             /etl/project, but {why}): an untrusted "
        );
        assert!(said.starts_with(&expected), "{said}");
    };
    mode(&house.at("etl"), 0o777);
    let mended = "(mode 0777; fix it with chmod go-w)";
    said(&house, &format!("the directory /etl can be written by everybody {mended}"));
    // Whose the link is does not say who moved it there.
    mode(&house.at("etl"), 0o1777);
    said(&house, "the link /etl/project lies in a directory that can be written by everybody");
    mode(&house.at("etl"), 0o755);
    assert_eq!(house.store(), "redis://there.example");
    if give_away(&house.at("etl/project")) {
        said(&house, "the link /etl/project belongs to user 12345, neither you nor root");
        std::os::unix::fs::lchown(house.at("etl/project"), Some(0), None).unwrap();
        give_away(&house.at("etl"));
        said(&house, "the directory /etl belongs to user 12345, neither you nor root");
    }
}

/// What somebody else moves there is the user's own, as all that they cloned is.
#[test]
fn a_place_where_others_can_put_a_file_trusts_none() {
    for directory in ["home/project/deep", "home/project"] {
        for (bits, who) in [(0o1777, "everybody"), (0o1775, "group 12345")] {
            let house = listing(House::new().file("home/project/deep/flowlock.toml", SERVER), "home/project");
            assert_eq!(house.store(), "redis://there.example");
            if bits == 0o1775 && !give_to_a_group(&house.at(directory)) {
                continue;
            }
            mode(&house.at(directory), bits);
            let said = house.refusal();
            let why = format!(
                "the file is not trusted (trusted_projects names /home/project, but the directory /{directory} can be \
                 written by {who} (mode {bits:04o}), so it may have been moved there): an untrusted"
            );
            assert!(said.contains(&why), "{said}");
            // By its content it is trusted wherever it lies.
            house.trust().add(&house.at("home/project/deep")).unwrap();
            assert_eq!(house.store(), "redis://there.example");
        }
    }
    // What is above the place, or beside it, has no part in it.
    let house = listing(House::new().file(PROJECT, SERVER), "home/project");
    for directory in ["home", "home/project/deep"] {
        mode(&house.at(directory), 0o1777);
    }
    assert_eq!(house.store(), "redis://there.example");
    // One entry that is weak takes nothing from another one.
    let list = format!("trusted_projects = ['{0}', '{0}/project']", house.at("home").display());
    let house = house.file(SYSTEM, &list);
    mode(&house.at("home"), 0o1777);
    assert_eq!(house.store(), "redis://there.example");
}

fn give_to_a_group(path: &Path) -> bool {
    let can = nix::unistd::getuid().is_root();
    if can {
        std::os::unix::fs::chown(path, None, Some(STRANGER)).unwrap();
    } else {
        eprintln!("not root, so no directory can be given to a group: this part is skipped");
    }
    can
}

#[test]
fn ones_own_file_is_not_taken_from_where_others_can_have_moved_it() {
    for file in [USER, SYSTEM] {
        let house = House::new().file(file, "namespace = 'trap'");
        let directory = house.at(file).parent().unwrap().to_owned();
        mode(&directory, 0o1777);
        let shown = house.plain(&directory.display().to_string());
        assert_eq!(
            house.refusal(),
            format!(
                "/{file} is not used: the directory {shown} can be written by everybody (mode 1777), so it may have \
                 been moved there"
            )
        );
    }
    // What is remembered as trusted is a file like that.
    let house = House::new().file(PROJECT, SERVER);
    house.trust().add(&house.at(PROJECT)).unwrap();
    mode(&house.at("home/.local/state/flowlock/trusted"), 0o1777);
    let said = house.refusal();
    assert!(
        said.contains("is not accepted as trust: the directory /home/.local/state/flowlock/trusted"),
        "{said}"
    );
}

#[test]
fn a_file_that_somebody_elses_link_leads_to_is_trusted_only_by_its_own_path() {
    let house = House::new().file(PROJECT, SERVER).file("open/x", "");
    symlink(house.at("home/project"), house.at("open/link")).unwrap();
    let add = |house: &House, path: &str| {
        let added = house.trust().add(&house.at(path));
        added.map(drop).map_err(|error| house.plain(&error.to_string()))
    };
    // One's own link, where nobody else could have moved it.
    assert_eq!(add(&house, "open/link"), Ok(()));
    assert!(house.trust().remove(&house.at("open/link/flowlock.toml")).unwrap());
    let refused = |house: &House, why: &str| {
        for path in ["open/link", "open/link/flowlock.toml"] {
            let expected = format!(
                "/{path} leads to /{PROJECT}, but the link /open/link {why}; if that file is what you mean, name it by \
                 that path"
            );
            assert_eq!(add(house, path), Err(expected.clone()));
            let removed = house.trust().remove(&house.at(path)).unwrap_err().to_string();
            assert_eq!(house.plain(&removed), expected);
        }
    };
    for bits in [0o777, 0o1777] {
        mode(&house.at("open"), bits);
        refused(&house, "lies in a directory that can be written by everybody");
    }
    mode(&house.at("open"), 0o755);
    if give_away(&house.at("open/link")) {
        refused(&house, "belongs to user 12345, neither you nor root");
    }
    assert_eq!(house.trust().list().unwrap(), []);
    assert_eq!(add(&house, "home/project"), Ok(()));
}

#[test]
fn no_file_of_a_projects_is_named_by_way_of_proc() {
    let stores = |path: &str| {
        [
            ("password_file", format!("redis://h?password_file={path}")),
            ("sentinel_password_file", format!("redis+sentinel://h/m?sentinel_password_file={path}")),
            ("ca", format!("rediss://h?key=/k&ca={}", path.replace('/', "%2f"))),
            ("its file", format!("sqlite:{path}")),
            ("its file", format!("sqlite://{path}")),
            ("its socket", format!("redis+unix://you@{path}?db=1")),
        ]
    };
    let house = House::new().file(PROJECT, "");
    symlink("/proc/self/cwd", house.at("home/here")).unwrap();
    let linked = house.at("home/here/pw").display().to_string();
    let ways = [
        "/proc/self/cwd/pw",
        "/proc/self/root/etc/passwd",
        "/proc/1/root/pw",
        "/proc/4194305/cwd/pw",
        "/etc/../proc/thread-self/cwd/pw",
        "/dev/fd/0",
        "/dev/stdin",
        &linked,
    ];
    for (what, path, store) in ways.iter().flat_map(|way| stores(way).map(|(what, store)| (what, way, store)))
    {
        house.write(PROJECT, &format!("store = '{store}'"));
        let said = format!(
            "/{PROJECT}:1: this store is not used, because {what} {} leads through /proc, where the same path means a \
             different file for each process; write the path of the file itself",
            house.plain(path)
        );
        assert_eq!(
            house.plain(&house.trust().add(&house.at(PROJECT)).unwrap_err().to_string()),
            said,
            "{store}"
        );
        let listed = listing(House::new().file(PROJECT, &format!("store = '{store}'")), "home");
        let refusal = listed.refusal();
        assert!(
            refusal.contains(&format!("because {what} ")) && refusal.contains("through /proc"),
            "{refusal}"
        );
    }
    for (_, store) in stores("/procedures/pw") {
        house.write(PROJECT, &format!("store = '{store}'"));
        house.trust().add(&house.at(PROJECT)).unwrap();
    }
}
