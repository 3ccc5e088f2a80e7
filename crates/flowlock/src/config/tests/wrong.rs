//! Misspelt, mistyped or relative values lead to no other store.

use super::*;

#[test]
fn an_unknown_key_is_an_error_with_file_line_and_a_guess() {
    let house = House::new().file(PROJECT, "# which store\n\nstor = 'sqlite:x'\n");
    assert_eq!(
        house.refusal(),
        "/home/project/flowlock.toml:3: there is no setting \"stor\"; did you mean store?"
    );
    let house = House::new().file(USER, "colour = 'red'");
    assert_eq!(
        house.refusal(),
        "/home/.config/flowlock/config.toml:1: there is no setting \"colour\"; the known ones are store, namespace, duration, \
         keep_lapsed, tz, store_timeout, commit_wait, trusted_projects"
    );
    for (wrong, right) in [("name_space", "namespace"), ("Store", "store"), ("storetimeout", "store_timeout")]
    {
        let house = House::new().file(SYSTEM, &format!("{wrong} = '1'"));
        assert!(house.refusal().ends_with(&format!("did you mean {right}?")), "{wrong}: {}", house.refusal());
    }
    // A table is a key too.
    let house = House::new().file(SYSTEM, "tz = 'UTC'\n[store]\nurl = 'x'");
    assert_eq!(house.refusal(), "/etc/flowlock/config.toml:2: store is a table; write store = \"…\"");
}

#[test]
fn a_value_of_the_wrong_kind_is_an_error_with_file_and_line() {
    for (line, said) in [
        ("store = 5", "store is an integer; write store = \"…\""),
        ("store = true", "store is a boolean; write store = \"…\""),
        ("namespace = ['a']", "namespace is an array; write namespace = \"…\""),
        ("duration = 1.5", "duration is a float; write duration = \"90s\", or a number of seconds"),
        ("duration = 0x10", "duration is an integer; write duration = \"90s\", or a number of seconds"),
        ("tz = 2026-11-24", "tz is a datetime; write tz = \"…\""),
    ] {
        let house = House::new().file(USER, &format!("\n{line}"));
        assert_eq!(house.refusal(), format!("/home/.config/flowlock/config.toml:2: {said}"), "{line}");
    }
    assert_eq!(House::new().file(USER, "duration = 90").read().get("duration").unwrap().value, "90");
}

#[test]
fn a_broken_file_is_named_with_its_line_and_nothing_of_its_content() {
    let house = House::new().file(USER, "tz = 'UTC'\nstore = 'redis://:s3cret@h'x\n");
    let said = house.refusal();
    assert!(said.starts_with("/home/.config/flowlock/config.toml:2: not valid TOML: "), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    let house = House::new().file(USER, &format!("# {}", "x".repeat(65 * 1024)));
    assert!(house.refusal().ends_with("config.toml is longer than 65536 bytes"));
    let house = House::new().file(USER, "");
    fs::write(house.at(USER), b"tz = '\xff'").unwrap();
    assert!(house.refusal().ends_with("config.toml is not UTF-8"));
}

#[test]
fn nonsense_in_a_setting_names_where_it_stands() {
    for (key, bad, said) in [
        ("duration", "8d", "out of range; give 1s to 7d"),
        ("keep_lapsed", "0", "out of range; give 1s to 30d"),
        ("keep_lapsed", "31d", "out of range; give 1s to 30d"),
        ("duration", "long", "not a duration; give 1s to 7d, as in 90, 90s, 15m, 1h30m or 7d"),
        ("store_timeout", "0", "out of range; give 1s to 366d"),
        (
            "commit_wait",
            "-1s",
            "a duration cannot have a sign; give 1s to 366d, as in 90, 90s, 15m, 1h30m or 7d",
        ),
    ] {
        let house = House::new().file(SYSTEM, &format!("{key} = '{bad}'"));
        assert_eq!(house.refusal(), format!("{key} \"{bad}\" from /etc/flowlock/config.toml:1: {said}"));
        let name = variable_of(key);
        let house = House::new().variable(&name, bad);
        assert_eq!(house.refusal(), format!("{key} \"{bad}\" from ${name}: {said}"));
    }
    let house = House::new().file(USER, "namespace = \"a\\u001bb\"");
    assert!(house.refusal().starts_with("/home/.config/flowlock/config.toml:1: invalid namespace"));
}

#[test]
fn the_limits_that_are_named_are_within_the_limits() {
    for key in KEYS.into_iter().filter(|key| is_duration(key)) {
        let (allowed, _) = limits_of(key).unwrap();
        for (seconds, fits) in [
            (allowed.start().as_secs(), true),
            (allowed.end().as_secs(), true),
            (allowed.start().as_secs() - 1, false),
            (allowed.end().as_secs() + 1, false),
        ] {
            let house = House::new().variable(&variable_of(key), &seconds.to_string());
            assert_eq!(Config::read(&house.surroundings).is_ok(), fits, "{key} {seconds}");
        }
    }
}

#[test]
fn a_variable_that_nothing_reads_is_an_error_with_a_guess() {
    let said = House::new().variable("FLOWLOCK_STOR", "sqlite:/x").refusal();
    assert_eq!(
        said,
        "$FLOWLOCK_STOR is set, but flowlock has no such variable; did you mean FLOWLOCK_STORE? (unset it, or give it a \
         name that does not begin with FLOWLOCK_)"
    );
    let said = House::new().variable("FLOWLOCK_PASSWORD", "x").refusal();
    assert!(said.contains("the known ones are FLOWLOCK_STORE, FLOWLOCK_NAMESPACE"), "{said}");
    House::new().variable("FLOWLOCK_STOR", "").read();
}

#[test]
fn what_a_run_gives_its_command_and_kubernetes_its_pods_is_no_misspelling() {
    for name in OF_A_RUN.into_iter().filter(|name| *name != "FLOWLOCK_SYSTEM_ROOT") {
        House::new().variable(name, "x").read();
    }
    for name in [
        "FLOWLOCK_SERVICE_HOST",
        "FLOWLOCK_SERVICE_PORT",
        "FLOWLOCK_SERVICE_PORT_REDIS",
        "FLOWLOCK_PORT",
        "FLOWLOCK_PORT_6379_TCP",
        "FLOWLOCK_REDIS_PORT_6379_TCP_ADDR",
    ] {
        House::new().variable(name, "tcp://10.0.0.1:6379").read();
    }
}

#[test]
fn a_variable_that_is_no_text_is_not_passed_over() {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt as _;

    let mut house = House::new();
    let value = OsString::from_vec(b"sqlite:/\xff".to_vec());
    house.surroundings.environment.insert("FLOWLOCK_STORE".into(), value);
    assert_eq!(house.refusal(), "$FLOWLOCK_STORE is not UTF-8; write it as UTF-8 text");
}

#[test]
fn what_depends_on_the_working_directory_alone_is_refused() {
    let relative = "a relative path, which would mean a different place in every directory; make it absolute";
    let house = House::new().variable("XDG_CONFIG_HOME", "conf");
    assert_eq!(house.refusal(), format!("XDG_CONFIG_HOME is \"conf\", {relative}"));
    let house = House::new().variable("XDG_STATE_HOME", "state");
    assert_eq!(
        house.read().store().unwrap_err().to_string(),
        format!("XDG_STATE_HOME is \"state\", {relative}")
    );
    let mut house = House::new();
    house.surroundings.home = Some("home".into());
    assert_eq!(house.refusal(), format!("HOME is \"home\", {relative}"));
    let mut house = House::new();
    house.surroundings.root = "root".into();
    assert!(
        Config::read(&house.surroundings)
            .unwrap_err()
            .to_string()
            .starts_with("FLOWLOCK_SYSTEM_ROOT is \"root\"")
    );
    for (store, said) in [
        ("sqlite:jobs.db", ""),
        ("sqlite://jobs.db", ""),
        ("redis://h?password_file=pw", "password_file: "),
        ("rediss://h?ca=ca.pem", "ca: "),
    ] {
        let house = House::new().variable("FLOWLOCK_STORE", store);
        assert_eq!(
            house.refusal(),
            format!(
                "$FLOWLOCK_STORE: {said}a relative path would mean a different file in every directory; write the absolute path"
            )
        );
    }
    let house = House::new().file(USER, "store = 'sqlite:~/jobs.db'");
    assert!(house.refusal().ends_with(
        "\"~\" cannot be expanded because the home directory is not known here; write the absolute path"
    ));
}
