//! Time zones: that of a name, that in `TZ`, and that of this machine.
//!
//! Nothing is looked for in the working directory, and what cannot be used is an error: if it were taken
//! for UTC, two commands would make different names of the same moment.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};

use flowlock::named_file;
use flowlock::store::misplaced;
use jiff::tz::TimeZone;

use crate::terminal::shown;

/// The file of this machine's zone.
const MACHINE: &str = "/etc/localtime";
/// The most bytes read of a zone's file; real ones have far fewer.
const LARGEST_ZONE: u64 = 1 << 20;
/// When summer time begins and ends in the European Union, as it is written in `TZ`.
const EUROPEAN_RULE: &str = "M3.5.0,M10.5.0/3";

/// Where zones are found.
#[derive(Debug, Clone)]
pub(crate) struct Zones {
    /// The zone in `TZ`.
    local: Option<OsString>,
    /// The directory in `TZDIR`, which replaces the machine's time zone database.
    directory: Option<PathBuf>,
    machine: PathBuf,
}

/// Why a name cannot be used: what is wrong in the directory in `TZDIR`, or nothing if no zone has it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unknown(pub(crate) Option<String>);

/// Returns the zone in which people are shown times: [`Zones::local`], or UTC if that cannot be used. An
/// offset stands beside each of these times.
pub(crate) fn for_people() -> TimeZone {
    Zones::of_this_process().local().unwrap_or(TimeZone::UTC)
}

impl Zones {
    /// Reads the environment.
    pub(crate) fn of_this_process() -> Self {
        let variable = |name| std::env::var_os(name);
        let directory = variable("TZDIR").filter(|set| !set.is_empty()).map(PathBuf::from);
        Self { local: variable("TZ"), directory, machine: MACHINE.into() }
    }

    /// Returns the zone in `TZ`, or that of the machine if `TZ` is not set. The error is a message.
    pub(crate) fn local(&self) -> Result<TimeZone, String> {
        let Some(set) = &self.local else { return self.of_the_machine() };
        self.written(set).map_err(|problem| {
            let set = shown(&misplaced(&set.to_string_lossy()));
            format!("TZ=\"{set}\" cannot be used: {problem}; unset TZ, or name a zone with --tz")
        })
    }

    /// Returns the zone with a name, from the directory in `TZDIR` or else from the time zone database.
    pub(crate) fn named(&self, name: &str) -> Result<TimeZone, Unknown> {
        if matches!(name, "UTC" | "Z") {
            return Ok(TimeZone::UTC);
        }
        match &self.directory {
            Some(directory) => in_directory(directory, name),
            None => TimeZone::get(name).ok().filter(|zone| !zone.is_unknown()).ok_or(Unknown(None)),
        }
    }

    /// Reads what `TZ` may be: a path, a name, or a POSIX rule. Empty is UTC, as everywhere.
    fn written(&self, set: &OsStr) -> Result<TimeZone, String> {
        let path = Path::new(OsStr::from_bytes(set.as_bytes().strip_prefix(b":").unwrap_or(set.as_bytes())));
        if path.is_absolute() {
            return in_file(path).map_err(|error| error.to_string());
        }
        let text = path.to_str().ok_or("it is not UTF-8")?;
        if text.is_empty() {
            return Ok(TimeZone::UTC);
        }
        self.named(text).or_else(|unknown| TimeZone::posix(text).map_err(|_| unknown.in_words(text)))
    }

    fn of_the_machine(&self) -> Result<TimeZone, String> {
        let zone = match in_file(&self.machine) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.that_the_machine_names(),
            read => read.map_err(|error| error.to_string()),
        };
        zone.map_err(|problem| {
            let file = self.machine.display();
            format!("{file}, the zone of this machine, cannot be used: {problem}; set TZ, or name a zone with --tz")
        })
    }

    /// Without a file, there may be a link to where one would be if the machine had a time zone database.
    fn that_the_machine_names(&self) -> Result<TimeZone, String> {
        let target = match self.machine.read_link() {
            Ok(target) => target.to_string_lossy().into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(TimeZone::UTC),
            Err(error) => return Err(error.to_string()),
        };
        let zone = target.rsplit_once("zoneinfo/").and_then(|(_, name)| self.named(name).ok());
        zone.ok_or_else(|| format!("it is a link to {}, which does not exist", shown(&target)))
    }
}

impl Unknown {
    /// Says why a text is neither a name nor a POSIX rule.
    fn in_words(self, text: &str) -> String {
        let with_rule = format!("{text},{EUROPEAN_RULE}");
        if TimeZone::posix(&with_rule).is_ok() {
            return format!(
                "it does not say when summer time begins and ends (with the rule of the European Union, it is {with_rule})"
            );
        }
        self.0.unwrap_or_else(|| {
            "it is not the name of a time zone, the absolute path of its file, or a POSIX rule".to_owned()
        })
    }
}

fn in_directory(directory: &Path, name: &str) -> Result<TimeZone, Unknown> {
    let place = shown(&directory.display().to_string());
    if !directory.is_absolute() {
        return Err(Unknown(Some(format!("TZDIR=\"{place}\" is not an absolute path"))));
    }
    if !Path::new(name).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(Unknown(None));
    }
    in_file(&directory.join(name)).map_err(|error| Unknown(Some(format!("in TZDIR=\"{place}\": {error}"))))
}

/// Does not wait for the other end of a pipe, and reads no more than a zone may have.
fn in_file(path: &Path) -> io::Result<TimeZone> {
    let bytes = named_file::read(path, LARGEST_ZONE)?;
    TimeZone::tzif("", &bytes).map_err(|_| io::Error::other("not a file of a time zone"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use jiff::Timestamp;

    use super::*;

    /// A machine without a zone of its own, and no variables.
    fn empty(home: &Path) -> Zones {
        Zones { local: None, directory: None, machine: home.join("localtime") }
    }

    /// The offset at the beginning of 2026.
    fn offset(zone: &TimeZone) -> i32 {
        let at: Timestamp = "2026-01-01T00:00Z".parse().unwrap();
        zone.to_offset(at).seconds() / 3_600
    }

    fn file_of_a_zone() -> Vec<u8> {
        // One zone without changes, seven hours after UTC: version 1, a kind of local time, its name.
        let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
        let kind = [&25_200_i32.to_be_bytes()[..], &[0, 0], b"ICT\0"].concat();
        [&b"TZif"[..], &[0; 16], &counts, &kind].concat()
    }

    #[test]
    fn the_zone_of_the_machine_is_its_file_or_utc_if_there_is_none() {
        let home = tempfile::tempdir().unwrap();
        let zones = empty(home.path());
        assert_eq!(zones.local(), Ok(TimeZone::UTC));
        fs::write(&zones.machine, file_of_a_zone()).unwrap();
        assert_eq!(zones.local().map(|zone| offset(&zone)), Ok(7));
        for damaged in [&file_of_a_zone()[..40], b"", b"no zone"] {
            fs::write(&zones.machine, damaged).unwrap();
            let said = zones.local().unwrap_err();
            assert!(
                said.contains("localtime, the zone of this machine, cannot be used: not a file of"),
                "{said}"
            );
        }
        fs::remove_file(&zones.machine).unwrap();
        fs::create_dir(&zones.machine).unwrap();
        let said = zones.local().unwrap_err();
        assert!(said.ends_with("not a regular file; set TZ, or name a zone with --tz"), "{said}");
    }

    #[test]
    fn a_machine_without_a_database_has_the_zone_that_its_link_names() {
        let home = tempfile::tempdir().unwrap();
        let zones = empty(home.path());
        let leads_to = |target: &Path| {
            let _ = fs::remove_file(&zones.machine);
            symlink(target, &zones.machine).unwrap();
            zones.local()
        };
        let none = home.path().join("usr/zoneinfo");
        assert_eq!(leads_to(&none.join("Asia/Bangkok")).map(|zone| offset(&zone)), Ok(7));
        for unknown in [none.join("Mars"), home.path().join("none")] {
            let said = leads_to(&unknown).unwrap_err();
            let why = format!("it is a link to {}, which does not exist; set TZ", unknown.display());
            assert!(said.contains(&why), "{said}");
        }
    }

    #[test]
    fn what_is_written_in_tz_is_a_path_a_name_or_a_posix_rule() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("zone");
        fs::write(&path, file_of_a_zone()).unwrap();
        let local = |set: &str| Zones { local: Some(set.into()), ..empty(home.path()) }.local();
        for (set, hours) in [
            (path.to_str().unwrap(), 7),
            ("Asia/Bangkok", 7),
            ("asia/bangkok", 7),
            ("EST5EDT", -5),
            ("CET-1CEST,M3.5.0,M10.5.0/3", 1),
            ("<+03>-3", 3),
            ("UTC", 0),
            ("UTC0", 0),
            ("", 0),
        ] {
            for set in [set, &format!(":{set}")] {
                assert_eq!(local(set).map(|zone| offset(&zone)), Ok(hours), "{set}");
            }
        }
    }

    #[test]
    fn the_directory_of_zones_has_an_absolute_path_and_only_what_is_in_it_counts() {
        let home = tempfile::tempdir().unwrap();
        let directory = home.path().join("zones");
        fs::create_dir_all(directory.join("Mars")).unwrap();
        for file in [directory.join("Mars/Base"), home.path().join("outside")] {
            fs::write(file, file_of_a_zone()).unwrap();
        }
        let zones = Zones { directory: Some(directory.clone()), ..empty(home.path()) };
        assert_eq!(zones.named("Mars/Base").map(|zone| offset(&zone)), Ok(7));
        assert_eq!(zones.named("UTC"), Ok(TimeZone::UTC));
        let outside = home.path().join("outside").display().to_string();
        for name in ["../outside", &outside, "./Mars/Base", "Mars/../Mars/Base"] {
            assert_eq!(zones.named(name), Err(Unknown(None)), "{name}");
        }
        let place = directory.display();
        for (name, problem) in
            [("Europe/Berlin", "No such file or directory (os error 2)"), ("Mars", "not a regular file")]
        {
            assert_eq!(zones.named(name), Err(Unknown(Some(format!("in TZDIR=\"{place}\": {problem}")))));
        }
        let here = Zones { directory: Some("zones".into()), ..zones };
        let problem = "TZDIR=\"zones\" is not an absolute path".to_owned();
        assert_eq!(here.named("Mars/Base"), Err(Unknown(Some(problem))));
    }
}
