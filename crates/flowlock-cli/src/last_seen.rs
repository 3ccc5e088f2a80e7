//! How far a store had come when a command of this user last used it. It is kept in the state directory,
//! so that the next command notices if the store went back or was replaced in between.
//!
//! There is one small file for each store and namespace. It is a memory, not a lock: two commands that
//! end at the same moment may keep the older of two states, which only loses a little of the memory. No
//! error here stops a job.

use std::fs::{self, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowlock::Flowlock;
use flowlock::config::{make_private, open_private};
use flowlock::host_clock::HostClock;
use flowlock::store::{Epoch, Loss, Watermark};
use serde::{Deserialize, Serialize};
use sha1::Digest as _;

use crate::exit::StoreAddress;

/// The content of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    version: u32,
    store: String,
    namespace: String,
    /// The boot of this machine in which `newest` was seen: a power loss may take back what was not
    /// synced.
    boot: String,
    /// `None` if the namespace was empty.
    newest: Option<Watermark>,
    durable: Option<Watermark>,
    /// The store's clock, and this machine's boot clock at that time, in milliseconds.
    #[serde(default)]
    clock: Option<(i64, i64)>,
    /// Set if the store went back, until that is accepted.
    #[serde(default)]
    loss: Option<Loss>,
}

/// How far two machines' clocks may drift apart: a twentieth of a percent, as much as NTP slews, and a
/// moment.
const DRIFT: i64 = 2_000;
const MOMENT_MS: u64 = 2_000;

const VERSION: u32 = 1;
/// Larger than any file of this kind.
const LARGEST: u64 = 64 * 1024;
/// A lock alone changes nothing that could get lost, so most commands that only lock do not write the
/// file. It is written if it is older than this, or this many steps behind.
const OLD: Duration = Duration::from_mins(1);
const BEHIND: u64 = 1_000;

/// What is remembered about one namespace of one store.
#[derive(Debug)]
pub(crate) struct LastSeen {
    place: StoreAddress,
    /// `None` for a store that no other process sees, and for a user without a home directory.
    path: Option<PathBuf>,
    kept: Option<Kept>,
    /// Whether it was written long ago.
    old: bool,
    /// Whether the present state was accepted in this command.
    is_accepted: bool,
    /// The id of this boot of this machine.
    boot: String,
}

impl LastSeen {
    /// Reads what is kept below `state` about a place; nothing is kept without `state`.
    pub(crate) fn of(state: Option<&Path>, place: &StoreAddress) -> Self {
        let path = state.map(|state| file(state, place));
        let mut seen =
            Self { place: place.clone(), path, kept: None, old: true, is_accepted: false, boot: boot() };
        if let Some(path) = &seen.path {
            match read(path) {
                Ok((kept, old)) if kept.is_of(place) => (seen.kept, seen.old) = (Some(kept), old),
                Ok(_) => tracing::debug!(path = %path.display(), "is about another store"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => tracing::debug!(path = %path.display(), %error, "cannot be read"),
            }
        }
        seen
    }

    /// Returns the state that the store must at least have.
    pub(crate) fn expected(&self) -> Option<Watermark> {
        let kept = self.kept.as_ref()?;
        if kept.boot == self.boot { kept.newest } else { kept.durable }
    }

    /// Tells the store the state that it must at least have.
    pub(crate) fn tell(&self, flowlock: &Flowlock) {
        if let Some(watermark) = self.expected() {
            flowlock.store().expect(flowlock.namespace(), watermark);
        }
    }

    /// Saves what this command saw, if that is worth a write.
    pub(crate) fn keep(&mut self, flowlock: &Flowlock) {
        if !self.is_accepted && flowlock.store().loss(flowlock.namespace()).is_some() {
            // The store reported that and continued from there, so the next command may expect that
            // state.
            if let Err(error) = self.remember(flowlock, self.loss(flowlock)) {
                tracing::debug!(%error, "cannot save what the store went back to");
            }
            return;
        }
        let Some(now) = self.found(flowlock) else { return };
        if self.kept.as_ref().is_some_and(|was| !self.is_worth_a_write(was, &now)) {
            return;
        }
        let Some(path) = &self.path else { return };
        // Another command may have written meanwhile. The later state counts. If it has another epoch
        // than when this command began, somebody accepted that.
        let life = self.kept.as_ref().unwrap_or(&now).life();
        let now = match read(path) {
            Ok((other, _)) if other.life() != life => return,
            Ok((other, _)) => now.or_later(&other),
            Err(_) => now,
        };
        match write(path, &now) {
            Ok(()) => self.kept = Some(now),
            Err(error) => tracing::debug!(path = %path.display(), %error, "cannot be written"),
        }
    }

    /// Returns that the store went back, now or earlier, if that was not accepted.
    pub(crate) fn loss(&self, flowlock: &Flowlock) -> Option<Loss> {
        let earlier = self.kept.as_ref().and_then(|kept| kept.loss);
        earlier.or_else(|| flowlock.store().loss(flowlock.namespace()))
    }

    /// Accepts the present state of the store.
    pub(crate) fn accept(&mut self, flowlock: &Flowlock) -> io::Result<()> {
        self.remember(flowlock, None)?;
        self.is_accepted = true;
        Ok(())
    }

    /// Remembers the present state, even if it is older.
    fn remember(&mut self, flowlock: &Flowlock, loss: Option<Loss>) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let newest = flowlock.store().seen(flowlock.namespace());
        let kept = Kept { loss, ..self.kept(newest, None, clock(flowlock)) };
        write(path, &kept)?;
        (self.kept, self.old) = (Some(kept), false);
        Ok(())
    }

    /// Returns by how many milliseconds the store's clock was set since a command last saw it, ahead or
    /// back, if it was.
    pub(crate) fn clock_step(&self, flowlock: &Flowlock) -> Option<i64> {
        let kept = self.kept.as_ref().filter(|kept| kept.boot == self.boot)?;
        let ((store_ms, boot_ms), (store_now_ms, boot_now_ms)) = (kept.clock?, clock(flowlock)?);
        let passed_ms = boot_now_ms - boot_ms;
        let step_ms = store_now_ms - store_ms - passed_ms;
        (step_ms.unsigned_abs() > MOMENT_MS + (passed_ms / DRIFT).unsigned_abs()).then_some(step_ms)
    }

    fn kept(&self, newest: Option<Watermark>, durable: Option<Watermark>, clock: Option<(i64, i64)>) -> Kept {
        let StoreAddress { store, namespace } = self.place.clone();
        let boot = self.boot.clone();
        Kept { version: VERSION, store, namespace, boot, newest, durable, clock, loss: None }
    }

    /// Combines what the store shows now with what was known before.
    fn found(&self, flowlock: &Flowlock) -> Option<Kept> {
        let (store, namespace) = (flowlock.store(), flowlock.namespace());
        let newest = Some(store.seen(namespace)?);
        let now = self.kept(newest, store.durable(namespace), clock(flowlock));
        Some(match &self.kept {
            Some(was) => now.or_later(was),
            None => now,
        })
    }

    fn is_worth_a_write(&self, was: &Kept, now: &Kept) -> bool {
        let steps = |kept: &Kept| kept.newest.map_or(0, |newest| newest.sequence);
        now.life() != was.life()
            || now.durable != was.durable
            || now.boot != was.boot
            || steps(now) >= steps(was).saturating_add(BEHIND)
            || self.old && now.newest != was.newest
    }
}

impl Kept {
    fn is_of(&self, place: &StoreAddress) -> bool {
        (self.version, &self.store, &self.namespace) == (VERSION, &place.store, &place.namespace)
    }

    fn life(&self) -> Option<Epoch> {
        self.newest.map(|newest| newest.epoch)
    }

    /// Returns the later of two states of one epoch; of two epochs, this state. A loss is kept.
    fn or_later(self, other: &Self) -> Self {
        let loss = other.loss.or(self.loss);
        if self.life() != other.life() {
            return Self { loss, ..self };
        }
        let durable = match (other.durable, self.durable) {
            (Some(theirs), Some(ours)) => Some(theirs.or_later(ours)),
            (theirs, ours) => ours.or(theirs),
        };
        // What was seen in another boot may be lost, unless it was durable.
        let newest = match (other.newest, self.newest) {
            (Some(theirs), Some(ours)) if self.boot == other.boot => Some(theirs.or_later(ours)),
            (_, ours) => ours,
        };
        Self { newest, durable, loss, ..self }
    }
}

/// Returns the file. Its name is a digest, which fits every file system; the content has everything.
fn file(state: &Path, place: &StoreAddress) -> PathBuf {
    let digest = sha1::Sha1::digest(format!("{}\0{}", place.store, place.namespace));
    let name = digest.iter().fold(String::new(), |name, byte| name + &format!("{byte:02x}"));
    state.join("seen").join(name + ".json")
}

/// Returns the content, and whether it is old.
fn read(path: &Path) -> io::Result<(Kept, bool)> {
    open_private(directory_of(path)?, me())?;
    let file = open_itself(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || !is_ones_own(&meta) {
        return Err(io::Error::other("not a file of this user's, or others may write it"));
    }
    let age = meta.modified()?.elapsed();
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    // If the time is in the future, it is treated as old.
    Ok((serde_json::from_str(&text)?, age.map_or(true, |age| age > OLD)))
}

/// Writes it whole or not at all, without a sync: if a power loss takes it back, a store that went back
/// is noticed later or not at all. The draft has a name that cannot be guessed.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let directory = directory_of(path)?;
    let opened = make_private(directory, me())?;
    if !is_ones_own(&opened.metadata()?) {
        return Err(io::Error::other("the directory is not this user's, or others may write it"));
    }
    let mut draft = tempfile::Builder::new().prefix("draft-").tempfile_in(directory)?;
    draft.write_all(&serde_json::to_vec(kept)?)?;
    let draft = draft.into_temp_path();
    // By the C library, where tests can make it fail.
    fs::rename(&draft, path)?;
    draft.keep().map(drop).map_err(io::Error::from)
}

/// Opens a file itself: does not follow a link, and does not wait for the other end of a FIFO.
fn open_itself(path: &Path) -> io::Result<File> {
    let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK | nix::libc::O_NOCTTY;
    File::options().read(true).custom_flags(flags).open(path)
}

/// Returns whether only this user and root can have written it.
fn is_ones_own(meta: &Metadata) -> bool {
    (meta.uid() == me() || meta.uid() == 0) && meta.mode() & 0o022 == 0
}

fn me() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn directory_of(path: &Path) -> io::Result<&Path> {
    path.parent().ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// Returns the store's clock and this machine's boot clock, in milliseconds. A command in a time
/// namespace reads the same.
fn clock(flowlock: &Flowlock) -> Option<(i64, i64)> {
    let store_ms = flowlock.store().clock_ms(flowlock.namespace()).ok()?;
    Some((store_ms, HostClock::of_this_process().ok()?.boot_ms()))
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
