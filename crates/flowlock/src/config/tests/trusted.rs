//! Which projects' files are trusted, and how long.

use super::*;

#[test]
fn trust_lasts_until_the_content_changes() {
    let house = House::new().file(PROJECT, SERVER);
    let set = house.trust().add(&house.at(PROJECT)).unwrap();
    assert_eq!(set.iter().map(|(key, _)| *key).collect::<Vec<_>>(), ["store"]);
    assert!(house.store().starts_with("redis://there.example?"));
    house.write(PROJECT, &format!("{SERVER}# and more\n"));
    assert!(house.refusal().contains("the file is not trusted"));
    let state =
        |house: &House| house.trust().list().unwrap().into_iter().map(|t| t.state).collect::<Vec<_>>();
    assert_eq!(state(&house), [TrustState::Changed]);
    house.write(PROJECT, SERVER);
    assert_eq!(state(&house), [TrustState::Unchanged]);
    assert!(house.store().starts_with("redis://there.example?"));
    assert!(house.trust().remove(&house.at("home/project")).unwrap());
    assert!(!house.trust().remove(&house.at("home/project")).unwrap());
    assert!(house.refusal().contains("the file is not trusted"));
}

#[test]
fn a_copy_elsewhere_is_not_trusted_and_a_newer_trust_replaces_the_older() {
    let house = House::new().file(PROJECT, SERVER).file("home/project/deep/flowlock.toml", SERVER);
    house.trust().add(&house.at(PROJECT)).unwrap();
    assert!(house.refusal().starts_with("/home/project/deep/flowlock.toml:1: this store is not used"));
    fs::remove_file(house.at("home/project/deep/flowlock.toml")).unwrap();
    house.write(PROJECT, "store = 'redis://other.example'\n");
    house.trust().add(&house.at("home/project")).unwrap();
    assert_eq!(house.store(), "redis://other.example");
    assert_eq!(house.trust().list().unwrap().len(), 1);
    // Its earlier content is not trusted any more.
    house.write(PROJECT, SERVER);
    assert!(house.refusal().contains("the file is not trusted"));
}

#[test]
fn trust_is_kept_where_only_the_user_can_write() {
    let house = House::new().file(PROJECT, SERVER);
    house.trust().add(&house.at(PROJECT)).unwrap();
    let directory = house.at("home/.local/state/flowlock/trusted");
    let bits = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let entry = fs::read_dir(&directory).unwrap().next().unwrap().unwrap().path();
    assert_eq!((bits(&directory), bits(&entry)), (0o700, 0o600));
    mode(&entry, 0o666);
    assert!(house.refusal().contains("is not accepted as trust: it can be written by everybody"));
}

#[test]
fn trust_is_kept_through_nobody_elses_link_or_directory() {
    for (link, only_if_anothers) in
        [("home/state/flowlock/trusted", false), ("home/state/flowlock", true), ("home/state", true)]
    {
        let house = House::new().file(PROJECT, SERVER).file("precious/important", "content");
        let state = house.at("home/state").display().to_string();
        let house = house.variable("XDG_STATE_HOME", &state);
        fs::create_dir_all(house.at(link).parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(house.at("precious"), house.at(link)).unwrap();
        if !give_away(&house.at(link)) && only_if_anothers {
            continue;
        }
        nothing_is_done_by_way_of(&house, "link");
    }
    let house = House::new().file(PROJECT, SERVER).file("precious/important", "content");
    let state = house.at("precious").display().to_string();
    let house = house.variable("XDG_STATE_HOME", &state);
    if give_away(&house.at("precious")) {
        nothing_is_done_by_way_of(&house, "belongs to user 12345");
    }
}

#[track_caller]
fn nothing_is_done_by_way_of(house: &House, why: &str) {
    let (trust, project) = (house.trust(), house.at(PROJECT));
    let said = [
        trust.list().map(drop).unwrap_err(),
        trust.remove(&project).map(drop).unwrap_err(),
        trust.add(&project).map(drop).unwrap_err(),
    ];
    for said in said {
        assert!(said.to_string().contains(why), "{said}");
    }
    let left: Vec<_> = fs::read_dir(house.at("precious")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(left, ["important"]);
}

#[test]
fn what_is_no_regular_file_named_by_a_digest_is_neither_read_nor_removed() {
    let house = House::new().file(PROJECT, SERVER);
    house.trust().add(&house.at(PROJECT)).unwrap();
    let kept = house.at("home/.local/state/flowlock/trusted");
    let named = |digit: &str| kept.join(digit.repeat(64));
    fs::write(kept.join("important"), house.at(PROJECT).to_str().unwrap()).unwrap();
    fs::write(named("e"), "long/".repeat(1_000)).unwrap();
    fs::create_dir(named("a")).unwrap();
    fs::write(kept.join("abc"), house.at(PROJECT).to_str().unwrap()).unwrap();
    fs::write(named("g"), house.at(PROJECT).to_str().unwrap()).unwrap();
    std::os::unix::fs::symlink(kept.join("important"), named("c")).unwrap();
    assert_eq!(house.trust().list().unwrap().len(), 1);
    // This one would be waited for without end.
    nix::unistd::mkfifo(&named("d"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(house.trust().remove(&house.at(PROJECT)).unwrap());
    assert!(house.trust().list().unwrap().is_empty());
    assert_eq!(fs::read_dir(&kept).unwrap().count(), 7);
}

#[test]
fn a_project_is_found_by_any_directory_in_it_and_forgotten_when_it_is_gone() {
    let house = House::new().file(PROJECT, SERVER);
    let (deep, project) = (house.at("home/project/deep"), house.at(PROJECT));
    assert_eq!(Trust::nearest(&deep).unwrap(), Some(project.clone()));
    assert_eq!(house.trust().file(project.parent().unwrap()).unwrap(), project);
    house.trust().add(&project).unwrap();
    fs::remove_dir_all(project.parent().unwrap()).unwrap();
    assert!(house.trust().remove(&project).unwrap());
    assert!(house.trust().list().unwrap().is_empty());
    // What cannot be looked at is not gone.
    std::os::unix::fs::symlink(house.at("home/loop"), house.at("home/loop")).unwrap();
    let said = house.trust().remove(&house.at("home/loop/flowlock.toml")).unwrap_err().to_string();
    assert!(said.contains("cannot be examined: "), "{said}");
}

/// Its path is as long as a path may be, so that of a file in it is longer.
#[test]
fn a_project_whose_file_cannot_be_looked_at_is_not_passed_over() {
    let house = House::new();
    let mut deep = house.at("home");
    while deep.as_os_str().len() + 255 < 4_090 {
        deep.push("d".repeat(200));
    }
    deep.push("d".repeat(4_089 - deep.as_os_str().len()));
    fs::create_dir_all(&deep).unwrap();
    let said = Trust::nearest(&deep).unwrap_err().to_string();
    assert!(said.contains("cannot be examined: "), "{said}");
}

/// As in a shell of another user that root began in a directory of its own.
#[test]
fn what_is_in_a_directory_that_the_user_may_not_enter_was_not_meant_for_them() {
    if !nix::unistd::getuid().is_root() {
        eprintln!("only root can become another user: skipped");
        return;
    }
    let house = House::new().file(PROJECT, SERVER).file("home/project/deep/flowlock.toml", SERVER);
    let (deep, project) = (house.at("home/project/deep"), house.at(PROJECT));
    mode(&deep, 0o700);
    // The number counts for its thread alone.
    let as_another = std::thread::spawn(move || {
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(12_345));
        Trust::nearest(&deep)
    });
    assert_eq!(as_another.join().unwrap().unwrap(), Some(project));
}

#[test]
fn no_path_with_control_characters_is_trusted() {
    let path = "home/project/a\n* * * * * root id\n#/flowlock.toml";
    let house = House::new().file(path, SERVER);
    let said = house.plain(&house.trust().add(&house.at(path)).unwrap_err().to_string());
    assert_eq!(
        said,
        "/home/project/a\\n* * * * * root id\\n#/flowlock.toml has control characters in its path, so it is not \
         trusted; rename its directory"
    );
    assert!(!house.at("home/.local").exists());
}

#[test]
fn directories_on_a_list_of_the_user_or_the_machine_are_trusted_with_all_below_them() {
    for list in [USER, SYSTEM] {
        for (entry, trusted) in [
            ("/home/project", true),
            ("/home", true),
            ("/home/project/deep", false),
            ("/home/proj", false),
            ("/no/such", false),
        ] {
            let house = House::new().file(PROJECT, SERVER);
            let entry = house.at(entry.trim_start_matches('/'));
            let house = house.file(list, &format!("trusted_projects = [\"{}\"]", entry.display()));
            assert_eq!(Config::read(&house.surroundings).is_ok(), trusted, "{list} {}", entry.display());
        }
    }
    // It is relative to the file in which it is written.
    let house = House::new().file(PROJECT, SERVER).file(USER, "trusted_projects = ['../../project']");
    assert!(house.store().starts_with("redis://there.example?"));
}

#[test]
fn a_project_cannot_put_itself_on_the_list() {
    let house = House::new().file(PROJECT, "trusted_projects = ['.']");
    assert_eq!(
        house.refusal(),
        "/home/project/flowlock.toml:1: trusted_projects may be set in the user's file or the one in /etc, not in a project's"
    );
    for bad in ["'.'", "['~/src']", "[1]", "['']", "true"] {
        let house = House::new().file(USER, &format!("trusted_projects = {bad}"));
        assert!(house.refusal().contains("trusted_projects must be a list of directories"), "{bad}");
    }
}

#[test]
fn only_a_projects_file_that_could_be_used_is_trusted() {
    let house = House::new().file(USER, "").file("home/project/broken/flowlock.toml", "stor = 1");
    let said = |path: &str| house.plain(&house.trust().add(&house.at(path)).unwrap_err().to_string());
    assert_eq!(
        said(USER),
        "/home/.config/flowlock/config.toml is not called flowlock.toml, so it is not a project's file"
    );
    assert_eq!(said("home/project"), "there is no file /home/project/flowlock.toml");
    assert!(said("home/project/broken").contains("did you mean store?"));
}
