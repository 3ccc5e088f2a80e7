//! Which of several sources wins.

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    System,
    User,
    Project,
    Variable,
    Flag,
}

const LAYERS: [Layer; 5] = [Layer::System, Layer::User, Layer::Project, Layer::Variable, Layer::Flag];

/// Returns a value of this setting that no other layer has.
fn value(key: &str, layer: Layer) -> String {
    let number = layer as u32 + 1;
    match key {
        "store" => format!("sqlite:/of/{layer:?}"),
        "namespace" => format!("{layer:?}"),
        "tz" => format!("Etc/GMT+{number}"),
        _ => format!("{number}m"),
    }
}

fn set(house: House, key: &'static str, layer: Layer) -> House {
    let value = value(key, layer);
    let line = format!("{key} = '{value}'\n");
    match layer {
        Layer::System => house.file(SYSTEM, &line),
        Layer::User => house.file(USER, &line),
        Layer::Project => {
            let house = house.file(PROJECT, &line);
            house.trust().add(&house.at(PROJECT)).unwrap();
            house
        }
        Layer::Variable => house.variable(&variable_of(key), &value),
        Layer::Flag => house.flag(key, &value),
    }
}

#[test]
fn the_nearer_of_every_two_wins_for_every_setting() {
    for key in KEYS {
        for far in LAYERS {
            for near in LAYERS.into_iter().filter(|near| *near > far) {
                let house = set(set(House::new(), key, far), key, near);
                // A project cannot change what the machine's file sets.
                let fixed = far == Layer::System && near == Layer::Project;
                let wins = if fixed && matches!(key, "store" | "namespace") { far } else { near };
                let got = house.read().get(key).unwrap().clone();
                assert_eq!(got.value, value(key, wins), "{key}: {far:?} and {near:?}");
                let source = match wins {
                    Layer::Flag => Source::Flag(key),
                    Layer::Variable => Source::Variable(variable_of(key)),
                    Layer::Project => Source::File { path: house.at(PROJECT), line: 1 },
                    Layer::User => Source::File { path: house.at(USER), line: 1 },
                    Layer::System => Source::File { path: house.at(SYSTEM), line: 1 },
                };
                assert_eq!(got.source, source, "{key}: {far:?} and {near:?}");
            }
        }
    }
}

#[test]
fn an_empty_variable_sets_nothing() {
    for key in KEYS {
        let house = set(House::new(), key, Layer::User).variable(&variable_of(key), "");
        assert_eq!(house.read().get(key).unwrap().value, value(key, Layer::User), "{key}");
    }
    let house = House::new().variable("XDG_CONFIG_HOME", "").variable("XDG_STATE_HOME", "");
    assert_eq!(house.store(), House::new().store());
    assert_eq!(house.file(USER, "store = 'memory:'").store(), "memory:");
}

#[test]
fn every_setting_has_its_default_where_nobody_sets_it() {
    let config = House::new().read();
    assert!(KEYS.iter().all(|key| config.get(key).is_none()));
    assert_eq!(config.namespace().unwrap().as_str(), "default");
}

#[test]
fn what_the_machine_fixes_no_project_moves_even_if_the_users_file_sets_it_too() {
    for key in ["store", "namespace"] {
        let house = set(set(set(House::new(), key, Layer::System), key, Layer::User), key, Layer::Project);
        let config = house.read();
        assert_eq!(config.get(key).unwrap().value, value(key, Layer::User));
        let said: Vec<String> = config.warnings.iter().map(|said| house.plain(said)).collect();
        let fixed = format!("/{PROJECT}:1: {key} is not used, because /{SYSTEM}:1 fixes it");
        assert_eq!(said, [fixed]);
    }
    // An equal value is not worth a message.
    let house = House::new().file(SYSTEM, "namespace = 'prod'").file(PROJECT, "namespace = 'prod'");
    assert_eq!(house.read().warnings, Vec::<String>::new());
    let house = House::new().file(PROJECT, "store = 'sqlite:jobs.db'");
    let same = format!("store = 'sqlite:{}'", house.at("home/project/jobs.db").display());
    assert_eq!(house.file(SYSTEM, &same).read().warnings, Vec::<String>::new());
}

#[test]
fn relative_paths_count_from_the_file_they_stand_in() {
    let house = House::new().file(PROJECT, "store = 'sqlite:jobs.db'");
    assert_eq!(house.store(), "sqlite:/home/project/./jobs.db");
    let house = House::new().file(USER, "store = 'sqlite:jobs.db'");
    assert_eq!(house.store(), "sqlite:/home/.config/flowlock/jobs.db");
    let url = "rediss://h?password_file=pass%20word&ca=/etc/ca.pem&cert=c&key=k&db=1";
    let house = House::new().file(SYSTEM, &format!("store = '{url}'"));
    assert_eq!(
        house.store(),
        "rediss://h?password_file=/etc/flowlock/pass%20word&ca=/etc/ca.pem&cert=/etc/flowlock/c&key=/etc/flowlock/k&db=1"
    );
    // A flag is relative to the directory where it is typed.
    assert_eq!(House::new().flag("store", "sqlite:jobs.db").store(), "sqlite:/home/project/deep/jobs.db");
}

#[test]
fn the_default_store_is_the_prepared_shared_one_or_the_users_own() {
    let house = House::new();
    assert_eq!(house.store(), "sqlite:/home/.local/state/flowlock/flowlock.db");
    fs::create_dir_all(house.at("var/lib/flowlock")).unwrap();
    assert_eq!(house.store(), "sqlite:/var/lib/flowlock/flowlock.db");
}

#[test]
fn the_default_stores_directory_is_not_made_by_way_of_somebody_elses_link() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let house = House::new().file("var/lib/other", "");
    fs::create_dir_all(house.at("home/.local")).unwrap();
    std::os::unix::fs::symlink(house.at("var/lib"), house.at("home/.local/state")).unwrap();
    std::os::unix::fs::lchown(house.at("home/.local/state"), Some(12_345), None).unwrap();
    let said = house.read().open(Flowlock::builder()).unwrap_err().to_string();
    assert!(said.contains("home/.local/state belongs to user 12345"), "{said}");
    assert!(!house.at("var/lib/flowlock").exists());
}

/// Whether a directory of this mode can be that of a user's own store.
#[test]
fn a_stores_directory_in_which_others_can_put_another_store_is_refused() {
    let house = House::new();
    let directory = house.at("home/state");
    fs::create_dir_all(&directory).unwrap();
    let is_fine = |me: u32, bits: u32| {
        mode(&directory, bits);
        places::make_private(&directory, me).is_ok()
    };
    let me = nix::unistd::geteuid().as_raw();
    assert!(is_fine(me, 0o700) && is_fine(me, 0o755) && is_fine(me, 0o1777));
    assert!(!is_fine(me, 0o777) && !is_fine(me, 0o702));
    if !give_away(&directory) {
        return;
    }
    assert!(is_fine(12_345, 0o700) && !is_fine(12_345, 0o777));
    assert!(!is_fine(me, 0o700) && !is_fine(12_346, 0o700));
    // Root's is everybody's.
    std::os::unix::fs::lchown(&directory, Some(0), None).unwrap();
    assert!(is_fine(12_345, 0o700));
}

#[test]
fn without_a_home_there_is_no_store_and_no_guess() {
    let mut house = House::new();
    house.surroundings.home = None;
    let said = house.read().store().unwrap_err().to_string();
    assert!(said.contains("has no home directory for the store"), "{said}");
}

#[test]
fn the_lease_and_the_time_limits_that_are_set_are_those_of_the_library() {
    let house = House::new().variable("FLOWLOCK_STORE", "memory:").variable("FLOWLOCK_DURATION", "5m");
    let house = house.variable("FLOWLOCK_STORE_TIMEOUT", "7s").variable("FLOWLOCK_COMMIT_WAIT", "8");
    let house = house.variable("FLOWLOCK_KEEP_LAPSED", "9s");
    let flowlock = house.read().open(Flowlock::builder()).unwrap();
    let connection = &flowlock.connection;
    let times = [
        connection.default_lease(),
        connection.store_timeout,
        connection.commit_wait,
        connection.keep_lapsed,
    ];
    assert_eq!(times.map(|time| time.as_secs()), [300, 7, 8, 9]);
}
