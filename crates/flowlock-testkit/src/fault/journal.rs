//! Computes what a disk holds after a power loss, from a journal of everything that a process asked of
//! it.
//!
//! The model is exactly what POSIX promises: bytes and lengths survive if their file was synced after
//! they were written; a new file's name survives if the file or its directory was synced; a rename, link
//! or removal survives if its directory was. A failed sync is as on Linux: its data is lost, although a
//! later sync reports success, unless it is written again. What was not synced may survive too, in any
//! combination of 512-byte sectors ([`Luck`]).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

const MAGIC: u32 = 0x464c_4a31;
const SECTOR: usize = 512;

/// What happens to changes that were never synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Luck {
    /// All of them are gone.
    None,
    /// Each survives or not, at random but reproducibly.
    Seed(u64),
}

/// Every change that processes made below a directory, in order.
#[derive(Debug, Clone)]
pub struct Journal {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// Where the entry begins in the journal file: a sync refers to what came before it by this.
    start: u64,
    path: PathBuf,
    event: Event,
}

#[derive(Debug, Clone)]
enum Event {
    Create,
    Write { offset: u64, bytes: Vec<u8> },
    Truncate { length: u64 },
    Sync { began: u64 },
    SyncFailed { began: u64 },
    Rename { to: PathBuf },
    Link { to: PathBuf },
    Unlink,
}

impl Journal {
    /// Reads a journal file; a missing file means that nothing was changed.
    pub(super) fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_default();
        let mut entries = Vec::new();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let start = (bytes.len() - rest.len()) as u64;
            entries.push(Entry::parse(&mut rest, start));
        }
        Journal { entries }
    }

    /// Returns how many changes there are: the power can fail after 0 to `len` of them.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the numbers of changes right after each sync: the moments that matter most.
    pub fn syncs(&self) -> Vec<usize> {
        let is_sync = |entry: &Entry| matches!(entry.event, Event::Sync { .. });
        (1..=self.len()).filter(|n| is_sync(&self.entries[n - 1])).collect()
    }

    /// Returns every new file, with the number of changes after which it existed: marks that a test's
    /// own commands leave.
    pub fn births(&self) -> impl Iterator<Item = (usize, &Path)> {
        let numbered = self.entries.iter().enumerate();
        numbered.filter_map(|(index, entry)| match entry.event {
            Event::Create => Some((index + 1, entry.path.as_path())),
            _ => None,
        })
    }

    /// Builds in `into` (an empty directory) what is in `below` if the power fails after `changes`
    /// changes. `below` is the canonical path of the directory for which the journal was kept, empty
    /// when the journal began.
    ///
    /// # Panics
    ///
    /// If `into` cannot be written.
    pub fn after_power_loss(&self, changes: usize, luck: Luck, below: &Path, into: &Path) {
        let mut disk = Disk::default();
        for (index, entry) in self.entries[..changes].iter().enumerate() {
            disk.apply(index, entry, &self.entries);
        }
        let mut toss = Toss::new(luck);
        for (path, file) in disk.surviving_names(&mut toss) {
            let relative =
                path.strip_prefix(below).expect("the journal only names paths below its directory");
            let target = into.join(relative);
            std::fs::create_dir_all(target.parent().expect("a file has a directory"))
                .expect("room for a directory");
            std::fs::write(&target, disk.surviving_bytes(file, &mut toss)).expect("room for a file");
        }
    }
}

impl Entry {
    fn parse(rest: &mut &[u8], start: u64) -> Self {
        let word = |rest: &mut &[u8]| u32::from_ne_bytes(take(rest, 4).try_into().expect("four bytes"));
        assert_eq!(word(rest), MAGIC, "the journal is damaged at byte {start}");
        let kind = word(rest);
        let number = u64::from_ne_bytes(take(rest, 8).try_into().expect("eight bytes"));
        let (path_len, extra_len) = (word(rest), word(rest));
        let path = path_from(take(rest, path_len as usize));
        let extra = take(rest, extra_len as usize);
        let event = match kind {
            1 => Event::Write { offset: number, bytes: extra.to_vec() },
            2 => Event::Sync { began: number },
            8 => Event::Truncate { length: number },
            16 => Event::Rename { to: path_from(extra) },
            32 => Event::Link { to: path_from(extra) },
            64 => Event::Unlink,
            256 => Event::Create,
            512 => Event::SyncFailed { began: number },
            other => panic!("the journal has an entry of unknown kind {other} at byte {start}"),
        };
        Entry { start, path, event }
    }
}

fn take<'a>(rest: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (head, tail) = rest.split_at(n);
    *rest = tail;
    head
}

fn path_from(bytes: &[u8]) -> PathBuf {
    PathBuf::from(std::str::from_utf8(bytes).expect("test paths are UTF-8"))
}

/// Files by number, since names move between them.
#[derive(Debug, Default)]
struct Disk {
    files: Vec<FileState>,
    names_now: BTreeMap<PathBuf, usize>,
    name_changes: Vec<NameChange>,
}

#[derive(Debug, Default)]
struct FileState {
    changes: Vec<(usize, Event)>,
    /// Changes with a smaller index are on disk.
    safe_before: usize,
    /// Changes that a sync failed to write: no later sync writes them.
    dropped: BTreeSet<usize>,
}

#[derive(Debug)]
struct NameChange {
    index: usize,
    path: PathBuf,
    /// The file that has the name from now on.
    file: Option<usize>,
    safe: bool,
}

impl Disk {
    fn apply(&mut self, index: usize, entry: &Entry, all: &[Entry]) {
        match &entry.event {
            Event::Create => {
                self.files.push(FileState::default());
                self.name(index, &entry.path, Some(self.files.len() - 1));
            }
            Event::Write { .. } | Event::Truncate { .. } => {
                let file = self.file(index, &entry.path);
                self.files[file].changes.push((index, entry.event.clone()));
            }
            Event::Sync { began } => self.sync(&entry.path, all.partition_point(|e| e.start < *began)),
            Event::SyncFailed { began } => {
                self.drop_unsynced(&entry.path, all.partition_point(|e| e.start < *began));
            }
            // A directory: the journal knows only files, and a missing directory is created again.
            Event::Rename { .. } if !self.names_now.contains_key(&entry.path) => {}
            Event::Rename { to } => {
                let file = self.file(index, &entry.path);
                self.name(index, to, Some(file));
                self.name(index, &entry.path, None);
            }
            Event::Link { to } => {
                let file = self.file(index, &entry.path);
                self.name(index, to, Some(file));
            }
            Event::Unlink => self.name(index, &entry.path, None),
        }
    }

    fn name(&mut self, index: usize, path: &Path, file: Option<usize>) {
        match file {
            Some(file) => self.names_now.insert(path.to_owned(), file),
            None => self.names_now.remove(path),
        };
        self.name_changes.push(NameChange { index, path: path.to_owned(), file, safe: false });
    }

    /// Returns the file with this name. Writes can reach a file whose name is gone; they go to a file
    /// that nobody will find.
    fn file(&mut self, index: usize, path: &Path) -> usize {
        if let Some(file) = self.names_now.get(path) {
            return *file;
        }
        self.files.push(FileState { safe_before: index, ..FileState::default() });
        self.files.len() - 1
    }

    fn sync(&mut self, path: &Path, before: usize) {
        let file = self.names_now.get(path).copied();
        if let Some(file) = file {
            let state = &mut self.files[file];
            state.safe_before = state.safe_before.max(before);
        }
        for change in self.name_changes.iter_mut().filter(|change| change.index < before) {
            let as_new_file = file.is_some() && change.file == file && change.path == path;
            change.safe |= as_new_file || change.path.parent() == Some(path);
        }
    }

    fn drop_unsynced(&mut self, path: &Path, before: usize) {
        let Some(file) = self.names_now.get(path) else { return };
        let state = &mut self.files[*file];
        let unsynced = state.safe_before..before;
        let changes = state.changes.iter().map(|(index, _)| *index);
        state.dropped.extend(changes.filter(|index| unsynced.contains(index)));
    }

    fn surviving_names(&self, toss: &mut Toss) -> BTreeMap<PathBuf, usize> {
        let mut names = BTreeMap::new();
        let mut fates: HashMap<usize, bool> = HashMap::new();
        for change in &self.name_changes {
            // Both halves of a rename share an index, and so one decision.
            if !change.safe && !*fates.entry(change.index).or_insert_with(|| toss.lucky()) {
                continue;
            }
            match change.file {
                Some(file) => names.insert(change.path.clone(), file),
                None => names.remove(&change.path),
            };
        }
        names
    }

    fn surviving_bytes(&self, file: usize, toss: &mut Toss) -> Vec<u8> {
        let state = &self.files[file];
        let mut content = Vec::new();
        for (index, change) in &state.changes {
            let safe = *index < state.safe_before && !state.dropped.contains(index);
            match change {
                Event::Truncate { length } if safe || toss.lucky() => content.resize(*length as usize, 0),
                Event::Write { offset, bytes } => {
                    for (at, piece) in sectors(*offset as usize, bytes) {
                        if safe || toss.lucky() {
                            content.resize(content.len().max(at + piece.len()), 0);
                            content[at..at + piece.len()].copy_from_slice(piece);
                        }
                    }
                }
                _ => {}
            }
        }
        content
    }
}

/// Splits a write where the disk may tear it.
fn sectors(offset: usize, bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let head = bytes.len().min((SECTOR - offset % SECTOR) % SECTOR);
    let (first, rest) = bytes.split_at(head);
    let rest = rest.chunks(SECTOR).enumerate().map(move |(i, piece)| (offset + head + i * SECTOR, piece));
    std::iter::once((offset, first)).filter(|(_, piece)| !piece.is_empty()).chain(rest)
}

/// A reproducible random coin (splitmix64).
#[derive(Debug)]
struct Toss {
    state: Option<u64>,
}

impl Toss {
    fn new(luck: Luck) -> Self {
        let state = match luck {
            Luck::None => None,
            Luck::Seed(seed) => Some(seed),
        };
        Toss { state }
    }

    fn lucky(&mut self) -> bool {
        let Some(state) = &mut self.state else {
            return false;
        };
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & 1 == 1
    }
}
