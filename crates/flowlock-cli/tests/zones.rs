//! The zone of dates in names: used as it was written, or refused.

use std::fs;

use flowlock_testkit::{Cli, Finished};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::{Told as _, cli_with_a_file as cli};

/// A name with a date, an hour before midnight in UTC.
fn hour(cli: &Cli, zone: &str) -> Finished {
    let dated = ["run", "-l", "x", "--date", "2026-01-09T23:00Z", "--tz", zone, "--expand", "--"];
    cli.run(dated.iter().chain(&["echo", "{hour}"]))
}

fn refused(cli: &Cli, said: &str) {
    hour(cli, "local").code(64).stdout("").stderr(&format!("flowlock: {said}\n"));
}

/// The message for what is in `TZ`.
fn unusable(set: &str, problem: &str) -> String {
    format!("TZ=\"{set}\" cannot be used: {problem}; unset TZ, or name a zone with --tz")
}

const NOTHING: &str = "it is not the name of a time zone, the absolute path of its file, or a POSIX rule";

/// A file of a zone without changes, seven hours after UTC.
fn write_zone(path: impl AsRef<std::path::Path>) {
    let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
    let kind = [&25_200_i32.to_be_bytes()[..], &[0, 0], b"ICT\0"].concat();
    fs::write(path, [&b"TZif"[..], &[0; 16], &counts, &kind].concat()).unwrap();
}

#[test]
fn the_local_zone_is_what_tz_says_in_each_of_its_forms() {
    let cli = cli();
    let file = cli.home().join("zone");
    write_zone(&file);
    for (set, said) in [
        (file.to_str().unwrap(), "2026-01-10T06\n"),
        ("Europe/Berlin", "2026-01-10T00\n"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-01-10T00\n"),
        ("<-03>3", "2026-01-09T20\n"),
        ("UTC", "2026-01-09T23\n"),
        ("", "2026-01-09T23\n"),
    ] {
        for set in [set, &format!(":{set}")] {
            hour(&cli.clone().with("TZ", set), "local").code(0).stdout(said).stderr("");
        }
    }
}

#[test]
fn what_tz_says_in_no_form_is_refused_and_not_taken_for_utc() {
    let cli = cli();
    fs::write(cli.home().join("text"), "no zone").unwrap();
    fs::write(cli.home().join("empty"), "").unwrap();
    for (set, problem) in [
        ("Nonexistent/Zone", NOTHING),
        ("../etc/localtime", NOTHING),
        ("Etc/Unknown", NOTHING),
        ("/nonexistent", "No such file or directory (os error 2)"),
        ("~/text", "not a file of a time zone"),
        ("~/empty", "not a file of a time zone"),
        (
            "CET-1CEST",
            "it does not say when summer time begins and ends (with the rule of the European Union, it is CET-1CEST,M3.5.0,M10.5.0/3)",
        ),
    ] {
        for colon in ["", ":"] {
            let full = set.replace('~', cli.home().to_str().unwrap());
            refused(
                &cli.clone().with("TZ", format!("{colon}{full}")),
                &unusable(&format!("{colon}{set}"), problem),
            );
        }
    }
    refused(&cli.with("TZ", "\u{1b}[2J"), &unusable(r"\x1b[2J", NOTHING));
}

/// Somebody else chooses what is in the working directory: whoever made a clone, or anybody in `/tmp`.
#[test]
fn no_zone_is_looked_for_in_the_working_directory() {
    let cli = cli();
    let here = cli.clone().in_directory(cli.home());
    for name in ["Mars", "CET-1CEST"] {
        write_zone(cli.home().join(name));
    }
    refused(&here.clone().with("TZ", "Mars"), &unusable("Mars", NOTHING));
    refused(&here.clone().with("TZ", "./Mars"), &unusable("./Mars", NOTHING));
    hour(&here.clone().with("TZ", "CET-1CEST"), "local").code(64).stdout("");
    let listed = here.with("TZDIR", ".");
    refused(&listed.clone().with("TZ", "Mars"), &unusable("Mars", "TZDIR=\".\" is not an absolute path"));
    let said = "flowlock: unknown time zone \"Mars\" (TZDIR=\".\" is not an absolute path); give one like Europe/Berlin, UTC or local\n";
    hour(&listed, "Mars").code(64).stdout("").stderr(said);
    let there = listed.with("TZDIR", cli.home());
    hour(&there, "Mars").code(0).stdout("2026-01-10T06\n");
    hour(&there.with("TZ", "Mars"), "local").code(0).stdout("2026-01-10T06\n");
}

#[test]
fn a_time_zone_is_read_from_a_regular_file_of_at_most_1_mib() {
    let cli = cli();
    let home = cli.home();
    // It takes no place on the disk, and would take that of all memory.
    fs::File::create(home.join("Long")).unwrap().set_len(1 << 40).unwrap();
    mkfifo(&home.join("Pipe"), Mode::S_IRWXU).unwrap();
    for (file, problem) in [("Long", "longer than 1048576 bytes"), ("Pipe", "not a regular file")] {
        let path = home.join(file);
        refused(&cli.clone().with("TZ", &path), &unusable(&format!("~/{file}"), problem));
        let listed = cli.clone().with("TZDIR", &home);
        let in_the_list = format!("in TZDIR=\"~\": {problem}");
        refused(&listed.clone().with("TZ", file), &unusable(file, &in_the_list));
        hour(&listed, file).code(64).stderr_has(&format!("unknown time zone \"{file}\" ({in_the_list});"));
        // Names of the machine's zones may be written in small letters; what is in TZDIR has one spelling.
        hour(&listed, &file.to_lowercase()).code(64).stdout("");
    }
}

#[test]
fn times_are_shown_in_utc_if_the_local_zone_cannot_be_used() {
    let cli = cli().with("TZ", "Mars");
    cli.run(["outputs", "create", "a"]).code(0).stderr("");
    cli.run(["outputs"]).code(0).stderr("").stdout_has(" +00:00");
    for line in [&["status"][..], &["why", "a"], &["check", "a"], &["run", "-l", "x", "--", "true"]] {
        cli.run(line).code(0).stderr("");
    }
    // The zone of names is another one.
    hour(&cli, "Europe/Berlin").code(0).stdout("2026-01-10T00\n").stderr("");
    let said = format!("flowlock: tz from $FLOWLOCK_TZ: {}\n", unusable("Mars", NOTHING));
    cli.with("FLOWLOCK_TZ", "local").run(["run", "-l", "x.{date}", "--", "true"]).code(78).stderr(&said);
}
