//! Passwords in URLs, well-formed or not: no part of one is ever shown.

use super::*;
use crate::store::without_password;

/// Where a password is, or would be if the URL were right; `S` is the password.
const SHAPES: [&str; 38] = [
    "redis://u:S@h:6379/0",
    "redis://:S@h",
    "redis://S@h",
    "redis://S:@h",
    "redis://u:12/S@h",
    "redis://u:12?S@h",
    "redis://u:12#S@h",
    "redis://u:S",
    "redis://:S",
    "redis:/u:S@h",
    "redis:u:S@h",
    "redis:S@h",
    "redis:///u:S@h",
    "redis//u:S@h",
    "redis u:S@h",
    "u:S@h",
    "S@h",
    "S",
    "redis://h?password=S",
    "redis://h/0?S",
    "redis://h?S=1&S=2",
    "redis://h?auth=p@S",
    "redis://h/S",
    "redis://h:S",
    "redis://h:6379:S",
    "redis+unix://u:S@",
    "redis+unix://S/run/redis",
    "redis+sentinel://u:12/S@h/master",
    "redis+sentinel://u:S@h",
    "redis+cluster://u:S@a,,b",
    "redis+cluster://u:12/S",
    "redis+foo://u:S@h",
    "rediss+unix://u:S@/run/x",
    "redis://u:S@h/notanumber",
    "redis://u:S@h:0",
    "redis://u:S@h?colour=red",
    "mysql://u:S@h/db",
    "sqlite:redis://u:S@h",
];

const PASSWORDS: [&str; 14] = [
    "QXZJKWV",
    "QXZ/JKW",
    "QXZ?JKW",
    "QXZ#JKW",
    "QXZ@JKW",
    "QXZ:JKW",
    "QXZ%JKW",
    "QXZ%2FJKW",
    "/QXZJKW",
    "QXZ JKW",
    "QXZ&JKW",
    "QXZ=JKW",
    "@QXZ/JKW",
    "u@QXZ?JKW",
];

/// Checks that no three letters of the password in a row are in a text.
#[track_caller]
fn keeps(text: &str, url: &str) {
    for part in ["QXZ", "XZJ", "ZJK", "JKW", "KWV"] {
        assert!(!text.contains(part), "{url}\n{text}");
    }
}

/// Returns whether such a URL is a different one that is right: after an `@` in the password comes a
/// host, before a `:` a user, and from a `/` on a socket's path.
fn means_another(shape: &str, password: &str) -> bool {
    let ends_in_a_host = shape.ends_with(":S") || shape.ends_with("://S");
    (password.contains('@') && ends_in_a_host)
        || (password.contains(':') && shape.contains("//S"))
        || (password.starts_with('/') && shape.contains("unix://S"))
}

#[test]
fn no_part_of_a_password_is_shown_however_the_url_is_broken() {
    let mut tried = 0;
    let mut flag = House::new();
    let files = [USER, PROJECT].map(|file| (House::new(), file));
    let said = |house: &House| match Config::read(&house.surroundings) {
        Ok(config) => format!("{config:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    for shape in SHAPES {
        for password in PASSWORDS.into_iter().filter(|password| !means_another(shape, password)) {
            let url = shape.replace('S', password);
            keeps(&without_password(&url), &url);
            flag = flag.flag("store", &url);
            // The name of the test's own directory is random, and may be anything.
            keeps(&flag.plain(&said(&flag)), &url);
            keeps(&flag.plain(&format!("{:?}", flag.surroundings)), &url);
            for (house, file) in &files {
                house.write(file, &format!("store = \"{url}\""));
                keeps(&house.plain(&said(house)), &url);
            }
            // A URL that is right would be asked for over the network.
            if crate::store::redis::url::shown(&url).is_none() {
                let error = Flowlock::open(&url).unwrap_err();
                keeps(&format!("{error} {error:?}"), &url);
            }
            tried += 1;
        }
    }
    assert!(tried > 400, "{tried}");
}

#[test]
fn what_stands_where_a_host_belongs_is_shown_only_if_it_can_be_one() {
    for (url, shown) in [
        ("redis://u:p@host:65536", "redis://***@host:65536"),
        ("redis://u:p@ss:word", "redis:…"),
        ("redis://u:p@ss%word", "redis:…"),
        ("redis://u:p@ss,word", "redis:…"),
        ("redis://u:p@:6379", "redis:…"),
        ("redis://u:p@host:", "redis:…"),
        ("redis://u:p@ss/w@host", "redis:…"),
    ] {
        assert_eq!(without_password(url), shown, "{url}");
    }
}

#[test]
fn what_is_right_is_shown_whole_but_for_the_password() {
    for (url, shown) in [
        ("redis://u:p@h:1/2?failover_pause=0s", "redis://u:***@h:1/2?failover_pause=0s"),
        ("rediss://h?password_file=/no/such/file", "rediss://h?password_file=/no/such/file"),
        ("redis+sentinel://u:p@a,b:5/m", "redis+sentinel://u:***@a,b:5/m"),
        ("redis+unix://:p@/run/x", "redis+unix://:***@/run/x"),
        ("sqlite:/srv/a@b:c.db", "sqlite:/srv/a@b:c.db"),
        ("memory:", "memory:"),
    ] {
        assert_eq!(without_password(url), shown);
    }
}
