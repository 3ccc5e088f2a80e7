//! Judges what `SQLite` opened as a file of a store, by its descriptor, before anything is read or
//! written.
//!
//! flowlock first looks at these files by their names, and says what is wrong with one. `SQLite` then
//! opens them by name again, and the directory's owner may have replaced one in between: the opened file
//! counts. `SQLite` creates no file beside a store: it would replace one that was looked at.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_int};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::Mutex;

use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::libc;
use nix::sys::stat::Mode;

use super::super::held_path::{HeldPath, Missing, way_to};
use super::super::side::Rule;
use crate::sync::lock;

/// `SQLite`'s suffixes for its files beside a store.
const SUFFIXES: [&[u8]; 2] = [b"-wal", b"-shm"];

#[derive(Debug, Clone, Copy)]
pub(super) struct Judge {
    rule: Rule,
    missing: Missing,
}

/// What the files of each store must be, by the path to it. There are at most as many paths as
/// descriptors.
static STORES: Mutex<BTreeMap<Vec<u8>, Judge>> = Mutex::new(BTreeMap::new());

thread_local! {
    /// Whether something else was opened on this thread in place of a file of a store.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// Sets what `SQLite` may open as this store and beside it from now on, and whether it creates what is
/// missing there.
pub(in crate::store::sqlite) fn judge_by(store: &HeldPath, rule: Rule, missing: Missing) {
    lock(&STORES).insert(store.inside().as_os_str().as_bytes().to_vec(), Judge { rule, missing });
}

/// Forgets a draft, whose name is not used again.
pub(in crate::store::sqlite) fn forget(draft: &HeldPath) {
    lock(&STORES).remove(draft.inside().as_os_str().as_bytes());
}

/// Returns whether, since the last call, something was opened that is not a file of the store.
pub(in crate::store::sqlite) fn take_anothers() -> bool {
    REFUSED.take()
}

/// Returns the judge of the file with this path; `None` if it belongs to no registered store.
pub(super) fn of(path: &[u8]) -> Option<Judge> {
    let stores = lock(&STORES);
    let store = SUFFIXES.iter().find_map(|suffix| stores.get(path.strip_suffix(*suffix)?));
    store.or_else(|| stores.get(path)).copied()
}

impl Judge {
    /// Opens what is there if it is what it must be, and creates what is missing if that is allowed;
    /// else returns -1 with `errno`.
    ///
    /// It is judged before it can be read or written. Something else may be a file of another store that
    /// is open here, and closing it would drop this process's locks on it, unless it was opened with
    /// `O_PATH`.
    pub(super) fn open(self, path: &CStr, flags: c_int, mode: c_int) -> c_int {
        let judged = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        match fcntl::open(path, judged, Mode::empty()).map(File::from) {
            Ok(found) if found.metadata().is_ok_and(|meta| self.rule.admits(&meta)) => {
                reopen(&found, flags, mode)
            }
            Ok(_) => {
                REFUSED.set(true);
                // SQLite tries to open for reading what it may not write, but not a directory.
                failed(Errno::EISDIR)
            }
            Err(Errno::ENOENT) if self.missing == Missing::Made => {
                // If something appeared there meanwhile, it is not opened.
                let flags = if flags & libc::O_CREAT == 0 { flags } else { flags | libc::O_EXCL };
                // SAFETY: called as SQLite would have called it.
                unsafe { libc::open(path.as_ptr(), flags, mode) }
            }
            Err(error) => failed(error),
        }
    }
}

/// Opens what was found, whatever has its name by now.
fn reopen(found: &File, flags: c_int, mode: c_int) -> c_int {
    let Ok(way) = CString::new(way_to(found).into_os_string().into_vec()) else {
        return failed(Errno::EINVAL);
    };
    let flags = flags & !(libc::O_NOFOLLOW | libc::O_CREAT | libc::O_EXCL);
    // SAFETY: called as SQLite would have called it.
    let opened = unsafe { libc::open(way.as_ptr(), flags, mode) };
    if opened < 0 { failed(Errno::last()) } else { opened }
}

/// The result of `open` if it failed.
fn failed(error: Errno) -> c_int {
    error.set();
    -1
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown};
    use std::path::{Path, PathBuf};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    use rusqlite::Connection;

    use super::super::super::clock::Clock;
    use super::super::super::open::{Objects, open};
    use super::*;
    use crate::store::{Limits, StoreError};

    /// Opens the store and writes into it, as a step would.
    fn written(path: &Path) -> Result<(), StoreError> {
        let limits = Limits::within(Duration::from_secs(5));
        let clock = Clock::default();
        let _timed = clock.start(&limits);
        let (sql, _counted) =
            open(&HeldPath::find(path, Missing::Refused)?, &limits, &clock, Objects::Judged)?;
        sql.execute_batch("begin immediate; pragma application_id = 0x666c6f77; commit")
            .map_err(super::super::super::failure::translate)
    }

    fn made() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.db");
        written(&path).unwrap();
        (directory, path)
    }

    fn beside(path: &Path, suffix: &str) -> PathBuf {
        PathBuf::from(format!("{}{suffix}", path.display()))
    }

    /// Opens what is there when `SQLite` opens it, whatever was there when it was looked at.
    fn opened(path: &Path, missing: Missing) -> Result<Connection, rusqlite::Error> {
        let store = HeldPath::find(path, Missing::Refused).unwrap();
        judge_by(&store, Rule::of(&store.look().unwrap()), missing);
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let sql = Connection::open_with_flags_and_vfs(store.inside(), flags, super::super::name().unwrap())?;
        sql.execute_batch("begin immediate; pragma application_id = 0x666c6f77; commit")?;
        Ok(sql)
    }

    #[test]
    fn what_is_no_file_of_the_store_is_not_written_whenever_it_came_there() {
        for suffix in ["-wal", "-shm"] {
            let (directory, path) = made();
            let (file, other) = (beside(&path, suffix), directory.path().join("other"));
            fs::remove_file(&file).unwrap();
            fs::write(&other, "another's").unwrap();
            let refused = |why: &str| {
                take_anothers();
                assert!(opened(&path, Missing::Refused).is_err() && take_anothers(), "{suffix} {why}");
                assert_eq!(fs::read_to_string(&file).unwrap(), "another's", "{suffix} {why}");
            };
            fs::hard_link(&other, &file).unwrap();
            refused("with two names");
            fs::remove_file(&other).unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o622)).unwrap();
            refused("that everybody writes");
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
            if nix::unistd::geteuid().is_root() {
                chown(&file, Some(12_345), None).unwrap();
                refused("of another user");
            }
        }
    }

    /// The owner of the directory of one store gives a file of another store a second name there.
    #[test]
    fn a_file_of_another_store_that_is_open_here_keeps_its_locks_when_it_is_refused() {
        use super::super::super::lockers::{Kind, locks_on};
        let ((_theirs, path), (_ours, other)) = (made(), made());
        let limits = Limits::within(Duration::from_secs(5));
        let clock = Clock::default();
        let (sql, _counted) =
            open(&HeldPath::find(&other, Missing::Refused).unwrap(), &limits, &clock, Objects::Judged)
                .unwrap();
        let is_locked = || {
            let locks = locks_on(&beside(&other, "-shm"), Kind::Bytes, &limits);
            locks.iter().any(|lock| lock.keeper.pid() == Some(std::process::id()))
        };
        assert!(is_locked());
        for suffix in ["-wal", "-shm", "-lock"] {
            let file = beside(&path, suffix);
            fs::remove_file(&file).unwrap();
            fs::hard_link(beside(&other, "-shm"), &file).unwrap();
            take_anothers();
            assert!(
                suffix == "-lock" || opened(&path, Missing::Refused).is_err() && take_anothers(),
                "{suffix}"
            );
            assert!(is_locked(), "{suffix} was opened by SQLite");
            let store = super::super::super::SqliteStore::open(&path, Duration::from_secs(5));
            assert!(store.unwrap_err().to_string().contains("hard links"), "{suffix}");
            assert!(is_locked(), "{suffix}");
            fs::remove_file(&file).unwrap();
            fs::write(&file, "").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        }
        drop(sql);
        assert!(!is_locked());
    }

    #[test]
    fn sqlite_makes_no_file_beside_a_store() {
        let (_directory, path) = made();
        fs::remove_file(beside(&path, "-wal")).unwrap();
        assert!(opened(&path, Missing::Refused).is_err());
        assert!(!beside(&path, "-wal").exists());
        drop(opened(&path, Missing::Made).unwrap());
        assert!(beside(&path, "-wal").exists());
    }

    /// The owner of the directory is as fast as possible.
    #[test]
    fn a_file_that_is_exchanged_with_the_journal_all_the_time_is_never_written() {
        let (directory, path) = made();
        let [other, elsewhere] = ["other", "elsewhere"].map(|name| directory.path().join(name));
        // A valid beginning of a journal: its content does not show that it is not one.
        let content = 0x377f_0682_u32.to_be_bytes();
        fs::write(&other, content).unwrap();
        fs::hard_link(&other, &elsewhere).unwrap();
        let over = AtomicBool::new(false);
        let journal = beside(&path, "-wal");
        let done = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let _ = renameat2(AT_FDCWD, &journal, AT_FDCWD, &other, RenameFlags::RENAME_EXCHANGE);
                }
            });
            let done = (0..300).filter(|_| written(&path).is_ok()).count();
            over.store(true, Ordering::Relaxed);
            done
        });
        assert_eq!(fs::read(&elsewhere).unwrap(), content);
        assert!(done > 0, "none got as far as that");
    }
}
