//! What a project's file may set by itself, and what the rest needs.

use super::*;

#[test]
fn by_itself_a_project_sets_a_namespace_a_zone_and_a_file_below_it() {
    let text = "namespace = 'n'\ntz = 'Europe/Berlin'\nstore = 'sqlite:.cache/jobs.db'";
    let house = House::new().file(PROJECT, text);
    let config = house.read();
    assert_eq!(
        (config.get("namespace").unwrap().value.as_str(), house.store()),
        ("n", "sqlite:/home/project/./.cache/jobs.db".into())
    );
    assert_eq!(config.get("tz").unwrap().value, "Europe/Berlin");
    assert_eq!(config.warnings, Vec::<String>::new());
}

#[test]
fn a_server_of_an_untrusted_project_is_never_asked_and_no_other_store_in_its_place() {
    for store in [
        "redis://there.example",
        "redis://there.example?password_file=/home/you/.ssh/id_ed25519",
        "rediss://h?ca=ca.pem",
        "redis+unix:///run/redis.sock",
        "memory:",
        "sqlite:../jobs.db",
        "sqlite:.cache/../../jobs.db",
        "sqlite:/home/jobs.db",
        "sqlite:/home/project",
        "sqlite:.",
        "sqlite:sub/",
        "nonsense",
    ] {
        let house = House::new();
        let store = store.replace("/home/", &format!("{}/", house.at("home").display()));
        let house = house.file(PROJECT, &format!("namespace = 'n'\nstore = '{store}'"));
        assert_eq!(
            house.refusal(),
            "/home/project/flowlock.toml:2: this store is not used, because the file is not trusted: an \
             untrusted project's file may only name a sqlite: file below its own directory, reached without \
             symbolic links; to trust it, read it and run: flowlock trust /home/project/flowlock.toml",
            "{store}"
        );
        // A setting with precedence decides, and the file has no effect.
        assert_eq!(house.variable("FLOWLOCK_STORE", "memory:").store(), "memory:");
    }
}

#[test]
fn a_file_that_a_link_leads_to_is_not_below_the_project() {
    use std::os::unix::fs::symlink;
    for link in ["cache", "cache/jobs.db", "cache/jobs.db-wake", "cache/jobs.db-live", "cache/jobs.db-wal"] {
        let house = House::new().file(PROJECT, "store = 'sqlite:cache/jobs.db'");
        fs::create_dir_all(house.at("home/victim")).unwrap();
        if link.contains('/') {
            fs::create_dir(house.at("home/project/cache")).unwrap();
        }
        symlink(house.at("home/victim"), house.at("home/project").join(link)).unwrap();
        assert!(house.refusal().contains("reached without symbolic links"), "{link}");
    }
    // Any other name may be a link.
    let house = House::new().file(PROJECT, "store = 'sqlite:cache/jobs.db'");
    fs::create_dir(house.at("home/project/cache")).unwrap();
    symlink("/", house.at("home/project/cache/else")).unwrap();
    assert_eq!(house.store(), "sqlite:/home/project/./cache/jobs.db");
    // Also if the absolute path is written, as long as the file is not trusted.
    let whole = house.at("home/project/cache/jobs.db");
    house.write(PROJECT, &format!("store = 'sqlite:{}'", whole.display()));
    assert_eq!(house.store(), "sqlite:/home/project/./cache/jobs.db");
    house.trust().add(&house.at(PROJECT)).unwrap();
    assert_eq!(house.store(), "sqlite:/home/project/cache/jobs.db");
}

#[test]
fn a_trusted_relative_store_is_led_nowhere_else_by_a_later_link() {
    let absolute =
        |house: &House| format!("store = 'sqlite:{}'", house.at("home/project/data/x.db").display());
    for list in [None, Some(USER)] {
        let house = House::new().file(PROJECT, "store = 'sqlite:data/x.db'");
        let house = match list {
            Some(list) => house.file(list, "trusted_projects = ['../..']"),
            None => house,
        };
        if list.is_none() {
            house.trust().add(&house.at(PROJECT)).unwrap();
        }
        assert_eq!(house.store(), "sqlite:/home/project/./data/x.db");
        std::os::unix::fs::symlink("/etc", house.at("home/project/data")).unwrap();
        let why = "/home/project/flowlock.toml:1: this store is not used, because /home/project/data is a symbolic \
                   link to /etc: even in a trusted project's file, a relative path must lie below the project and \
                   lead through no symbolic link, because the next pull could point a link anywhere; write the \
                   absolute path of the store";
        assert_eq!(house.refusal(), why);
        assert_eq!(house.plain(&house.trust().add(&house.at(PROJECT)).unwrap_err().to_string()), why);
        // An absolute path is used as written.
        house.write(PROJECT, &absolute(&house));
        house.trust().add(&house.at(PROJECT)).unwrap();
        assert_eq!(house.store(), "sqlite:/home/project/data/x.db");
    }
    for outside in ["../x.db", "data/../../x.db", ".", "data/"] {
        let house = House::new().file(PROJECT, &format!("store = 'sqlite:{outside}'"));
        let said = house.trust().add(&house.at(PROJECT)).unwrap_err().to_string();
        assert!(said.contains("is not a file below"), "{outside}: {said}");
    }
}

#[test]
fn what_a_project_names_relatively_is_marked_and_stays_below_it() {
    for name in ["password_file", "sentinel_password_file", "ca", "cert", "key"] {
        let house = House::new().file(PROJECT, &format!("store = 'redis://h?x=/abs&{name}=deep/a%20b'"));
        let set = house.trust().add(&house.at(PROJECT)).unwrap();
        assert_eq!(set[0].1.files(), [(name, house.at("home/project/deep/a b"))]);
        assert_eq!(house.store(), format!("redis://h?x=/abs&{name}=/home/project/./deep/a%20b"));
        house.write(PROJECT, &format!("store = 'redis://h?{name}=deep/../../pw'"));
        let said = house.trust().add(&house.at(PROJECT)).unwrap_err().to_string();
        assert!(
            said.contains(&format!("store: {name}: a relative path in a project's file must stay below")),
            "{said}"
        );
        // In the user's own file nothing changes, and an absolute path is used as written.
        let own = House::new().file(USER, &format!("store = 'redis://h?{name}=../pw'"));
        assert_eq!(own.store(), format!("redis://h?{name}=/home/.config/flowlock/../pw"));
        house.write(PROJECT, &format!("store = 'redis://h?{name}=/etc/../pw'"));
        house.trust().add(&house.at(PROJECT)).unwrap();
        assert_eq!(house.store(), format!("redis://h?{name}=/etc/../pw"));
    }
}

#[test]
fn what_is_no_place_is_left_out_with_one_sentence() {
    let house = House::new().file(PROJECT, "duration = '5m'\nstore_timeout = 3\ntz = 'UTC'");
    let config = house.read();
    assert_eq!((config.get("duration"), config.get("store_timeout")), (None, None));
    let said: Vec<String> = config.warnings.iter().map(|said| house.plain(said)).collect();
    assert_eq!(
        said,
        [
            "/home/project/flowlock.toml: duration, store_timeout are not used, because the file is not trusted; \
          to trust it, read it and run: flowlock trust /home/project/flowlock.toml"
        ]
    );
}
