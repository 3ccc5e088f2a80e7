//! Configuration of any form is read or refused, and a project's file never leads out of the project.

use flowlock_testkit::Bent;

use super::*;

const SECRET: &str = "s3cr3tPW";
const FILES: [&str; 9] = [
    "store = 'sqlite:.cache/jobs.db'\nnamespace = 'etl'\ntz = 'Europe/Berlin'\n",
    "store = \"redis://user:s3cr3tPW@host:6379/2?failover_pause=5s\"\n",
    "store = 'redis://h?password_file=/etc/shadow'",
    "store = 'sqlite:../../elsewhere.db'",
    "store = 'sqlite:/var/lib/flowlock/flowlock.db'",
    "trusted_projects = ['/']\n",
    "duration = 90\nkeep_lapsed = '2d'\nstore_timeout = '2s'\ncommit_wait = '10m'\n",
    "namespace = 'prod' # a comment\n[store]\na = 1\n",
    "allow_project_store = true\nstore = 'memory:'",
];
const MARKS: [&str; 20] = [
    "store",
    " = ",
    "'",
    "\"",
    "'''",
    "\n",
    "[",
    "]",
    "sqlite:",
    "redis://",
    "../",
    "/",
    "?",
    "@",
    "\u{1b}",
    "\u{202e}",
    "#",
    "{",
    ".",
    "sqlite:link/",
];

#[test]
fn a_projects_file_of_any_shape_leads_to_no_store_outside_of_the_project() {
    let house = House::new();
    std::os::unix::fs::symlink("/", house.at("home/project/link")).unwrap();
    bolero::check!().with_generator(Bent::new(FILES, MARKS)).for_each(|text: &Vec<u8>| {
        house.write(PROJECT, "");
        fs::write(house.at(PROJECT), text).unwrap();
        match Config::read(&house.surroundings).and_then(|config| config.store()) {
            Ok(store) => {
                let place = house.plain(&store.value);
                let inside = place
                    .strip_prefix("sqlite:/home/project/")
                    .is_some_and(|rest| !rest.split('/').any(|part| part == ".." || part == "link"));
                let is_default = place == "sqlite:/home/.local/state/flowlock/flowlock.db";
                assert!(inside || is_default, "{} leads to {place}", text.escape_ascii());
            }
            Err(error) => is_fit_to_show(&error),
        }
    });
}

#[test]
fn ones_own_file_of_any_shape_is_read_or_refused() {
    let house = House::new();
    bolero::check!().with_generator(Bent::new(FILES, MARKS)).for_each(|text: &Vec<u8>| {
        house.write(USER, "");
        fs::write(house.at(USER), text).unwrap();
        match Config::read(&house.surroundings) {
            Ok(config) => drop((config.store(), config.namespace())),
            Err(error) => is_fit_to_show(&error),
        }
    });
}

#[track_caller]
fn is_fit_to_show(error: &Error) {
    let said = error.to_string();
    assert_eq!(escape(&said), said);
    assert!(!said.contains(SECRET), "{said}");
}
