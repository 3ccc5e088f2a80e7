//! What users type, changed at random: dates in names, durations, slots, times. It is understood or
//! refused with a message; nothing panics.
//!
//! The library's fuzz tests say how to run them for longer.

use clap::builder::TypedValueParser as _;
use flowlock_testkit::Bent;
use jiff::Timestamp;

use crate::args::values;
use crate::dates::Dates;
use crate::environment;
use crate::request;

const TEMPLATES: [&str; 8] = [
    "sales.{date}",
    "{date-1d:YYYYMMDD}.{hour-1h}",
    "{date-7d..date-1d}",
    "{month-1m:YYYY/MM}",
    "a{{b}}c",
    "{hour+3h:YYYY-MM-DD HH}",
    "{date-1y}",
    "{date-3w..date+1d:DD}",
];
const MARKS: [&str; 20] = [
    "{", "}", "{{", "}}", "date", "hour", "month", "-", "+", "..", ":", "1d", "9y", "YYYY", "MM", "DD", "HH",
    " ", "\u{202e}", "é",
];

#[test]
fn a_name_with_dates_is_filled_in_or_refused() {
    let now: Timestamp = "2026-11-24T02:15:30Z".parse().unwrap();
    let dates = Dates::new(now, None, None).unwrap();
    bolero::check!().with_generator(Bent::new(TEMPLATES, MARKS)).for_each(|input: &Vec<u8>| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        match dates.fill(text) {
            Ok(names) => {
                assert!(!names.is_empty(), "{text:?} stands for nothing");
                if !text.contains(['{', '}']) {
                    assert_eq!(names, [text], "a name without braces was touched");
                }
            }
            Err(problem) => assert!(!problem.0.is_empty(), "{text:?} is refused without a word"),
        }
    });
}

#[test]
fn a_list_of_names_of_any_shape_is_taken_or_refused() {
    let now: Timestamp = "2026-11-24T02:15:30Z".parse().unwrap();
    let dates = Dates::new(now, None, None).unwrap();
    let lists = ["# all\n sales \n\nmy data\t\r\n", "\u{feff}a.{date-1d}\n\u{a0}b\u{3000}\n", "a#b\n  #c\n"];
    let marks =
        [" ", "\n", "\r\n", "\t", "#", "{date}", "{", "\u{a0}", "\u{feff}", "\u{200b}", "é", "\u{301}"];
    bolero::check!().with_generator(Bent::new(lists, marks)).for_each(|input: &Vec<u8>| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        match request::names_in(text, &dates) {
            Ok(names) => {
                assert!(!names.is_empty(), "{text:?} names nothing");
                for name in names {
                    assert_eq!(flowlock::Name::parse(&name).unwrap().as_str(), name.trim(), "{text:?}");
                }
            }
            Err(problem) => assert!(!problem.is_empty(), "{text:?} is refused without a word"),
        }
    });
}

#[test]
fn a_day_and_a_zone_of_any_shape_are_understood_or_refused() {
    let now: Timestamp = "2026-11-24T02:15:30Z".parse().unwrap();
    let days = ["2026-11-22", "20261122", "2026-W47-7", "1900-01-01", "9999-12-31"];
    let zones = ["UTC", "local", "Europe/Berlin", "+01:00", "Africa/Cairo"];
    let both = (Bent::new(days, MARKS), Bent::new(zones, ["/", "+", "-", ":", "00"]));
    bolero::check!().with_generator(both).for_each(|(day, zone): &(Vec<u8>, Vec<u8>)| {
        let (Ok(day), Ok(zone)) = (std::str::from_utf8(day), std::str::from_utf8(zone)) else { return };
        if let Ok(dates) = Dates::new(now, Some(day), Some(zone)) {
            for template in TEMPLATES {
                let _ = dates.fill(template);
            }
        }
    });
}

#[test]
fn durations_waits_and_slots_of_any_shape_are_understood_within_their_limits_or_refused() {
    let durations = ["90", "90s", "15m", "1h30m", "7d", "forever", "2 hours 3 min", "1w"];
    let slots = ["gpu:4", "gpu:2/4", "a:b:1/1", "x:10000"];
    let units = ["s", "m", "h", "d", "w", "y", " ", ".", "-", "+", ":", "/", "ago"];
    let both = (Bent::new(durations, units), Bent::new(slots, units));
    bolero::check!().with_generator(both).for_each(|(duration, slot): &(Vec<u8>, Vec<u8>)| {
        if let Ok(text) = std::str::from_utf8(duration) {
            if let Ok(lease) = values::lease(text) {
                assert!((1..=7 * 86_400).contains(&lease.as_secs()), "{text:?} is a lease of {lease:?}");
            }
            let _ = (values::grace(text), values::runtime(text), values::age(text), values::wait(text));
        }
        if let Ok(text) = std::str::from_utf8(slot)
            && let Ok(slot) = values::slots().parse_ref(&clap::Command::new("test"), None, text.as_ref())
        {
            assert!(
                slot.units >= 1 && slot.units <= slot.capacity,
                "{text:?}: {} of {}",
                slot.units,
                slot.capacity
            );
        }
    });
}

#[test]
fn a_note_of_any_bytes_is_taken_as_it_is_or_refused() {
    let notes = ["s3://bucket/1\n", "zwei Zeilen\r\nhier\n", "é日本", "\n\n"];
    bolero::check!().with_generator(Bent::new(notes, ["\u{0}", "\n", "\r"])).for_each(|bytes: &Vec<u8>| {
        match environment::note_in(bytes.clone()) {
            Ok(Some(note)) => assert!(bytes.starts_with(note.as_bytes()) && !note.is_empty()),
            Ok(None) => assert!(bytes.iter().all(|byte| b"\r\n".contains(byte))),
            Err(failure) => assert!(std::str::from_utf8(bytes).is_err(), "{}", failure.message),
        }
    });
}
