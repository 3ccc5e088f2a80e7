//! What templates stand for.

use super::*;

/// Tuesday, 24 November 2026, 02:15:30 UTC.
fn now() -> Timestamp {
    "2026-11-24T02:15:30Z".parse().unwrap()
}

fn filled(text: &str) -> Vec<String> {
    Dates::new(now(), None, None).unwrap().fill(text).unwrap()
}

fn filled_for(date: &str, zone: &str, text: &str) -> String {
    Dates::new(now(), Some(date), Some(zone)).unwrap().fill(text).unwrap().join(" ")
}

fn problem(text: &str) -> String {
    Dates::new(now(), None, None).unwrap().fill(text).unwrap_err().0
}

#[test]
fn names_without_braces_are_never_touched() {
    for name in ["a", "date", "2026-11-24", "date-1d", "a..b", "%Y", "$date", ""] {
        assert_eq!(filled(name), [name]);
    }
}

#[test]
fn words_stand_for_today_this_hour_and_this_month() {
    assert_eq!(filled("sales.{date}"), ["sales.2026-11-24"]);
    assert_eq!(filled("{hour}"), ["2026-11-24T02"]);
    assert_eq!(filled("{month}.x"), ["2026-11.x"]);
}

#[test]
fn offsets_count_hours_days_weeks_months_and_years() {
    assert_eq!(filled("{date-1d}"), ["2026-11-23"]);
    assert_eq!(filled("{date+7d}"), ["2026-12-01"]);
    assert_eq!(filled("{date-1w}"), ["2026-11-17"]);
    assert_eq!(filled("{date-3h}"), ["2026-11-23"]);
    assert_eq!(filled("{hour-3h}"), ["2026-11-23T23"]);
    assert_eq!(filled("{month-11m}"), ["2025-12"]);
    assert_eq!(filled("{month-1y}"), ["2025-11"]);
    assert_eq!(filled_for("2026-03-31", "UTC", "{month-1m} {date-1m}"), "2026-02 2026-02-28");
    assert_eq!(filled_for("2024-02-29", "UTC", "{date-1y}"), "2023-02-28");
}

#[test]
fn a_range_stands_for_several_names() {
    let week = filled("s.{date-7d..date-1d}");
    assert_eq!(week.len(), 7);
    assert_eq!((week[0].as_str(), week[6].as_str()), ("s.2026-11-17", "s.2026-11-23"));
    assert_eq!(filled("{month-2m..month:YYYYMM}"), ["202609", "202610", "202611"]);
    assert_eq!(filled("{hour-1h..hour}"), ["2026-11-24T01", "2026-11-24T02"]);
    assert_eq!(filled("{date..date}"), ["2026-11-24"]);
    assert_eq!(filled("{date-1d..date:DD}/{hour-1h..hour:HH}"), ["23/01", "23/02", "24/01", "24/02"]);
}

#[test]
fn formats_are_made_of_a_few_parts_and_punctuation() {
    assert_eq!(filled("{date-1d:YYYYMMDD}"), ["20261123"]);
    assert_eq!(filled("{date:YYYY/MM/DD}"), ["2026/11/24"]);
    assert_eq!(filled("{hour:YYMMDD-HH}"), ["261124-02"]);
    assert_eq!(filled("{hour:DD.MM.YYYY:HH}"), ["24.11.2026:02"]);
}

#[test]
fn doubled_braces_are_braces() {
    assert_eq!(filled("{{date}}"), ["{date}"]);
    assert_eq!(filled("{{{date}}}"), ["{2026-11-24}"]);
    assert_eq!(filled("}}{{"), ["}{"]);
}

#[test]
fn what_cannot_be_filled_in_is_named() {
    let known = "known are {date}, {hour} and {month}, as in {date-1d}, {date-7d..date-1d} or {date:YYYYMMDD}; {{ is a brace";
    assert_eq!(problem("a.{user}"), format!("\"a.{{user}}\": unknown {{user}}; {known}"));
    assert_eq!(problem("{}"), format!("\"{{}}\": unknown {{}}; {known}"));
    assert_eq!(problem("{Date}"), format!("\"{{Date}}\": unknown {{Date}}; {known}"));
    assert_eq!(
        problem("{date-7d..hour}"),
        "\"{date-7d..hour}\": the two ends of {date-7d..hour} differ in their word"
    );
    assert_eq!(problem("{date"), "\"{date\": a { without its }; write {{ for a brace");
    assert_eq!(problem("}{"), "\"}{\": a } without its {; write }} for a brace");
    assert_eq!(problem("{date-1d..date-7d}"), "\"{date-1d..date-7d}\": its range ends before it begins");
    assert_eq!(problem("{date-9999d..date}"), "\"{date-9999d..date}\": it stands for more than 1000 names");
    assert_eq!(
        problem("{hour-40h..hour}{hour-40h..hour}"),
        "\"{hour-40h..hour}{hour-40h..hour}\": it stands for more than 1000 names"
    );
    assert_eq!(problem("{date-9999y}"), "\"{date-9999y}\": it reaches beyond the calendar");
    assert_eq!(
        problem("{date:YYYYx}"),
        "\"{date:YYYYx}\": \"YYYYx\" is not a format; it is made of YYYY, YY, MM, DD, HH and punctuation"
    );
    assert_eq!(problem("{date:HH}"), "\"{date:HH}\": only {hour:…} has HH");
    assert_eq!(problem("{month:DD}"), "\"{month:DD}\": a month has no DD; write {date:…}");
    assert_eq!(problem("{a\u{1b}}"), format!("\"{{a\\x1b}}\": unknown {{a\\x1b}}; {known}"));
}

#[test]
fn a_thousand_names_are_not_too_many() {
    for text in ["{date-999d..date}", "{date-9d..date}{hour-99h..hour}"] {
        assert_eq!(filled(text).len(), 1_000, "{text}");
    }
    for text in ["{date-1000d..date}", "{date-9d..date}{hour-100h..hour}"] {
        assert_eq!(problem(text), format!("\"{text}\": it stands for more than 1000 names"));
    }
}

#[test]
fn a_bad_offset_is_named() {
    for bad in ["-", "-1", "-d", "-1x", "--1d", "-+1d", "-1.5d", "-1000000d", "+é", "-1d-1d"] {
        let said = problem(&format!("{{date{bad}}}"));
        assert!(
            said.contains(&format!("\"{bad}\" is not an offset; write -1 or +1 and h, d, w, m (month) or y")),
            "{said}"
        );
    }
}

#[test]
fn days_begin_at_midnight_of_the_time_zone() {
    let in_zone = |zone| Dates::new(now(), None, Some(zone)).unwrap();
    assert_eq!(in_zone("America/New_York").fill("{date} {hour}").unwrap(), ["2026-11-23 2026-11-23T21"]);
    assert_eq!(in_zone("America/New_York").day(), "2026-11-23");
    assert_eq!(in_zone("UTC").day(), "2026-11-24");
    let said = Dates::new(now(), None, Some("Mars/Base")).unwrap_err().0;
    assert_eq!(said, "unknown time zone \"Mars/Base\"; give one like Europe/Berlin, UTC or local");
}

#[test]
fn changes_of_clocks_neither_skip_nor_double_a_name() {
    // Clocks in Berlin went back from 03:00 to 02:00 on 25 October 2026, and forward on 29 March.
    let hours = |date: &str| filled_for(date, "Europe/Berlin", "{hour-3h..hour:HH}");
    assert_eq!(hours("2026-10-25T04:00"), "02 03 04");
    assert_eq!(hours("2026-03-29T04:00"), "00 01 03 04");
    assert_eq!(filled_for("2026-03-30", "Europe/Berlin", "{date-2d..date:DD}"), "28 29 30");
    assert_eq!(filled_for("2026-10-26", "Europe/Berlin", "{date-2d..date:DD}"), "24 25 26");
}

/// In Cairo clocks went from midnight to one on 24 April 2026, in Havana on 8 March; on Lord Howe back from 02:00 to 01:30
/// on 5 April.
#[test]
fn a_range_ends_with_its_last_name_whenever_clocks_change() {
    assert_eq!(filled_for("2026-04-25", "Africa/Cairo", "{date-1d..date:DD}"), "24 25");
    assert_eq!(filled_for("2026-03-10", "America/Havana", "{date-2d..date-1d:DD}"), "08 09");
    assert_eq!(filled_for("2026-04-24T01:30", "Africa/Cairo", "{hour-2h..hour:HH}"), "22 23 01");
    assert_eq!(filled_for("2026-04-05T04:10", "Australia/Lord_Howe", "{hour-3h..hour:HH}"), "01 02 03 04");
}

/// What docs/cli.md says of them.
#[test]
fn hours_that_come_twice_share_a_name_and_skipped_days_have_none() {
    // 02:30 in Berlin, for the first and for the second time.
    let hour = |moment: &str| filled_for(moment, "Europe/Berlin", "{hour-1h} {hour}");
    assert_eq!(hour("2026-10-25T02:30+02:00"), "2026-10-25T01 2026-10-25T02");
    assert_eq!(hour("2026-10-25T02:30+01:00"), "2026-10-25T02 2026-10-25T02");
    assert_eq!(hour("2026-03-29T03:30"), "2026-03-29T01 2026-03-29T03");
    // Samoa went from 29 to 31 December 2011.
    let day = |text: &str| filled_for("2011-12-31T12:00", "Pacific/Apia", text);
    assert_eq!(day("{date-2d} {date-1d} {date}"), "2011-12-29 2011-12-31 2011-12-31");
    assert_eq!(day("{date-3d..date:DD}"), "28 29 31");
}

#[test]
fn a_backfill_counts_from_its_date() {
    assert_eq!(
        filled_for("2026-11-22", "UTC", "{date} {date-1d} {hour}"),
        "2026-11-22 2026-11-21 2026-11-22T00"
    );
    assert_eq!(filled_for("2026-11-22T10:30", "UTC", "{hour}"), "2026-11-22T10");
    assert_eq!(filled_for("2026-11-22 10:30", "UTC", "{hour}"), "2026-11-22T10");
    assert_eq!(filled_for("2026-11-22T00:30+02:00", "UTC", "{hour}"), "2026-11-21T22");
    assert_eq!(filled_for("1795351200", "UTC", "{date}"), "2026-11-22");
    assert_eq!(filled_for("2026-11-22", "Asia/Tokyo", "{date}"), "2026-11-22");
}

#[test]
fn what_is_no_date_is_refused() {
    for bad in
        ["", "yesterday", "20261122", "2026-11", "2026-02-30", "22.11.2026", "99999999999999999999", "-1"]
    {
        let said = Dates::new(now(), Some(bad), None).unwrap_err().0;
        assert!(said.starts_with(&format!("\"{bad}\" is not a date; give 2026-11-22")), "{said}");
    }
}
