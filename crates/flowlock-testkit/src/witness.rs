//! An independent witness: workers write into a separate file when they begin and end, and the file is
//! judged afterwards. It relies only on the operating system's promise that appends do not mix.
//!
//! A worker's first line is written when it is already inside, its last one while it is still inside. So
//! two stays that overlap in the file really overlapped: the witness never reports wrongly. It can only
//! miss the few microseconds between starting and writing.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};

/// How a worker may share the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Alone.
    Exclusive,
    /// Together with other shared ones.
    Shared,
    /// Together with others in units, while all of them fit into the smallest stated capacity.
    Units {
        /// How many it takes.
        taken: u32,
        /// The capacity that it assumes.
        capacity: u32,
    },
}

/// One worker's time inside. Times are seconds of the boot clock, with a precision of 10 ms in shell
/// workers; the order in the file counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Stay {
    /// The worker's label.
    pub who: String,
    /// Its process id.
    pub pid: u32,
    /// How it was inside.
    pub mode: Mode,
    /// When it wrote its first line.
    pub entered: f64,
    /// When it wrote its last line; `None` if it never did.
    pub left: Option<f64>,
}

/// Workers that were inside together and must not have been.
#[derive(Debug, Clone, PartialEq)]
pub struct Overlap {
    /// The workers inside.
    pub inside: Vec<Stay>,
    /// The worker that came in.
    pub intruder: Stay,
}

/// The witness of one place.
#[derive(Debug, Clone)]
pub struct Witness {
    log: PathBuf,
}

impl Witness {
    /// Writes to `log`, which need not exist; its path must not contain quotes.
    pub fn new(log: impl Into<PathBuf>) -> Self {
        Witness { log: log.into() }
    }

    /// Returns a command (`sh -c …`) that enters, does `work` (a shell command) and leaves, with the
    /// exit code of the work. It needs only a POSIX shell and starts no process of its own.
    pub fn worker(&self, who: &str, mode: Mode, work: &str) -> Vec<String> {
        let log = self.log.display();
        let script = format!(
            "say() {{ read -r now rest </proc/uptime; echo \"$* $now\" >>'{log}'; }}; \
             say enter $$ {who} {mode}; trap 'say leave $$; exit 143' TERM INT HUP; \
             {work}; code=$?; say leave $$; exit $code"
        );
        vec!["sh".into(), "-c".into(), script]
    }

    /// Enters from this process; dropping the guard leaves.
    ///
    /// # Panics
    ///
    /// If the file cannot be written.
    pub fn enter(&self, who: &str, mode: Mode) -> Inside<'_> {
        let key = Self::thread_key();
        self.append(&format!("enter {key} {who} {mode} {}\n", now()));
        Inside { witness: self, key }
    }

    /// Notes that all workers labelled `who` are about to be killed and need not write a last line. Call
    /// it before killing.
    pub fn doomed(&self, who: &str) {
        self.append(&format!("doomed {who} {}\n", now()));
    }

    /// Returns every stay, in order of entering.
    pub fn stays(&self) -> Vec<Stay> {
        self.judge().0
    }

    /// Returns every forbidden overlap.
    pub fn overlaps(&self) -> Vec<Overlap> {
        self.judge().1
    }

    /// Asserts that there was no forbidden overlap, and that at least `stays` stays were seen, so that
    /// an empty file is not a success.
    ///
    /// # Panics
    ///
    /// If not.
    #[track_caller]
    pub fn saw_no_overlap(&self, stays: usize) {
        let (seen, overlaps) = self.judge();
        assert!(overlaps.is_empty(), "{} wrong meetings, the first: {:#?}", overlaps.len(), overlaps[0]);
        assert!(seen.len() >= stays, "the witness saw {} stays, expected at least {stays}", seen.len());
    }

    /// Returns how often each worker was inside.
    pub fn stays_by_worker(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for stay in self.stays() {
            *counts.entry(stay.who).or_default() += 1;
        }
        counts
    }

    fn thread_key() -> u32 {
        u32::try_from(nix::unistd::gettid().as_raw()).expect("thread ids are positive")
    }

    fn append(&self, line: &str) {
        let mut log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .expect("the witness file opens");
        log.write_all(line.as_bytes()).expect("the witness can write");
    }

    fn judge(&self) -> (Vec<Stay>, Vec<Overlap>) {
        let text = read(&self.log);
        let mut stays: Vec<Stay> = Vec::new();
        let mut inside: Vec<usize> = Vec::new();
        let mut overlaps = Vec::new();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["enter", pid, who, mode, time] => {
                    let stay = Stay {
                        who: who.into(),
                        pid: number(pid),
                        mode: Mode::parse(mode),
                        entered: seconds(time),
                        left: None,
                    };
                    let others: Vec<Stay> = inside.iter().map(|at| stays[*at].clone()).collect();
                    if !stay.mode.fits(others.iter().map(|other| other.mode)) {
                        overlaps.push(Overlap { inside: others, intruder: stay.clone() });
                    }
                    inside.push(stays.len());
                    stays.push(stay);
                }
                ["leave", pid, time] => inside.retain(|at| {
                    let leaves = stays[*at].pid == number::<u32>(pid);
                    if leaves {
                        stays[*at].left = Some(seconds(time));
                    }
                    !leaves
                }),
                ["doomed", who, _] => inside.retain(|at| stays[*at].who != who),
                _ => panic!("the witness cannot read {line:?}"),
            }
        }
        (stays, overlaps)
    }
}

/// Being inside, from this process.
#[derive(Debug)]
#[must_use = "dropping it leaves"]
pub struct Inside<'w> {
    witness: &'w Witness,
    key: u32,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.witness.append(&format!("leave {} {}\n", self.key, now()));
    }
}

impl Mode {
    fn fits(self, others: impl Iterator<Item = Mode> + Clone) -> bool {
        let alike = |other| match (self, other) {
            (Mode::Shared, Mode::Shared) | (Mode::Units { .. }, Mode::Units { .. }) => true,
            (Mode::Exclusive | Mode::Shared | Mode::Units { .. }, _) => false,
        };
        let (units, capacity) =
            others.clone().chain([self]).fold((0, u32::MAX), |(units, least), mode| match mode {
                Mode::Units { taken, capacity } => (units + taken, least.min(capacity)),
                Mode::Exclusive | Mode::Shared => (units, least),
            });
        others.into_iter().all(alike) && units <= capacity
    }

    fn parse(text: &str) -> Self {
        match text {
            "exclusive" => Mode::Exclusive,
            "shared" => Mode::Shared,
            units => {
                let (taken, capacity) = units.split_once('/').expect("units are written 1/4");
                Mode::Units { taken: number(taken), capacity: number(capacity) }
            }
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mode::Exclusive => write!(f, "exclusive"),
            Mode::Shared => write!(f, "shared"),
            Mode::Units { taken, capacity } => write!(f, "{taken}/{capacity}"),
        }
    }
}

fn read(log: &Path) -> String {
    std::fs::read_to_string(log).unwrap_or_default()
}

fn now() -> String {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("the boot clock runs");
    format!("{}.{:09}", time.tv_sec(), time.tv_nsec())
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().ok().unwrap_or_else(|| panic!("the witness expected a number, not {text:?}"))
}

fn seconds(text: &str) -> f64 {
    number(text)
}
