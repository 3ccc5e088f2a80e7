//! `SQLite`'s file layer, without the features that could be abused to make it use other files.
//!
//! It is `SQLite`'s own layer for Unix, with these changes:
//!
//! * **A path stays as it is.** `SQLite` first replaces every link in it by its target, also
//!   `/proc/self/fd/N`, which is not a path but the open directory of the store. It would then use the
//!   path again, and so whatever directory was put there since. `SQLite` itself refuses a link as the
//!   last name.
//! * **There is no rollback journal.** A store never has one; one that appears would be played into the
//!   store.
//! * **It sleeps no longer than its caller waits** (`sleep.rs`).
//! * **Nothing changes its owner.** As root, `SQLite` gives the files beside a store to the store's
//!   owner, whatever they are by the time it opens them. flowlock creates those files, with their owner
//!   and mode.
//! * **Opening never waits**, neither for the other end of a FIFO nor for a process that has a lease on
//!   the file.
//! * **An opened file is judged** before it is used (`judged.rs`).
//! * **The index of the journal is bounded** (`index.rs`).
//! * **A failed read is only a failed read**, and an index that cannot grow means a full disk only if
//!   the system says so.
//! * **A page that would cost too much is not looked into** (`page.rs`).
//! * **Reading a long journal ends when its caller stops waiting** (`journal.rs`).
//!
//! Changing owners, opening and judging are calls that all of `SQLite` shares: for files of other users
//! of `SQLite` in this process they do what they did before.
#![allow(unsafe_code, reason = "the file layer of SQLite is a table of C functions")]

mod index;
mod journal;
mod judged;
mod page;
mod replaced;

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::libc;
use rusqlite::ffi;

pub(super) use self::judged::{forget, judge_by, take_anothers};
pub(super) use self::page::{KnownSchema, set_schema};
use super::failure::unusable;
use super::held_path::HELD;
use super::sleep;
use crate::store::StoreError;

const NAME: &CStr = c"flowlock";
/// `SQLite`'s own for Unix, with locks as in its default.
const UNIX: &CStr = c"unix";

type Open = unsafe extern "C" fn(
    *mut ffi::sqlite3_vfs,
    ffi::sqlite3_filename,
    *mut ffi::sqlite3_file,
    c_int,
    *mut c_int,
) -> c_int;
type Access = unsafe extern "C" fn(*mut ffi::sqlite3_vfs, *const c_char, c_int, *mut c_int) -> c_int;

/// The functions of `SQLite`'s own layer that this layer calls.
struct Own {
    open: Open,
    access: Access,
}

static OWN: OnceLock<Option<Own>> = OnceLock::new();

thread_local! {
    /// The descriptor that `SQLite` opened last on this thread, if it is for a file of a store.
    static OPENED: Cell<c_int> = const { Cell::new(-1) };
    /// Whether a file of a store could not be opened on this thread because of a lease of another
    /// process.
    static LEASED: Cell<bool> = const { Cell::new(false) };
    /// Why a file of a store could not be opened on this thread, if this process or the system has too
    /// many open files.
    static TOO_MANY: Cell<Option<Errno>> = const { Cell::new(None) };
}

/// Returns whether, since the last call, a file could not be opened because a process has a lease on it.
/// `SQLite` opens it for reading only then.
pub(super) fn take_leased() -> bool {
    LEASED.take()
}

/// Returns why a file could not be opened since the last call, if there are too many open files.
pub(super) fn take_too_many_files() -> Option<Errno> {
    TOO_MANY.take()
}

/// Turns the code of a disk error (`EIO`) into that of a plain read error. `SQLite` takes some of them
/// for damage of the file: a caller would give up although another attempt may work, or move away a
/// store that is intact.
fn plain_read(code: c_int) -> c_int {
    if code == ffi::SQLITE_IOERR_CORRUPTFS { ffi::SQLITE_IOERR_READ } else { code }
}

/// Returns the code of a read into `out`, which `SQLite` only looks into if that is harmless.
///
/// # Safety
/// If `code` is that of success, `amount` bytes were written to `out`.
unsafe fn judged_read(code: c_int, out: *const c_void, amount: c_int) -> c_int {
    let code = plain_read(code);
    if code != ffi::SQLITE_OK {
        return code;
    }
    // SAFETY: by the caller's contract.
    let read = unsafe { std::slice::from_raw_parts(out.cast::<u8>(), usize::try_from(amount).unwrap_or(0)) };
    page::judged(code, read)
}

/// Returns the name of the layer; the first call in a process registers it with `SQLite`.
pub(super) fn name() -> Result<&'static CStr, StoreError> {
    if OWN.get_or_init(register).is_some() {
        Ok(NAME)
    } else {
        Err(unusable("SQLite has no file layer for Unix that flowlock knows how to use".into()))
    }
}

fn register() -> Option<Own> {
    // SAFETY: the names are C strings that live for ever. The layer that is found is valid as long as
    // SQLite is, and is only read; the copy is never freed, as SQLite requires. The new functions have
    // the types of those they replace, and SQLite's own accept any table that has its `pAppData`.
    unsafe {
        if ffi::sqlite3_initialize() != ffi::SQLITE_OK {
            return None;
        }
        let unix = ffi::sqlite3_vfs_find(UNIX.as_ptr());
        let mut ours = *unix.as_ref()?;
        let own = Own { open: ours.xOpen?, access: ours.xAccess? };
        ours.pNext = std::ptr::null_mut();
        ours.zName = NAME.as_ptr();
        ours.xFullPathname = Some(as_it_is);
        ours.xSleep = Some(sleep::sleep);
        ours.xOpen = Some(open_no_journal);
        ours.xAccess = Some(find_no_journal);
        let replace = ours.xSetSystemCall?;
        let calls: [(&CStr, unsafe extern "C" fn()); 3] = [
            (c"open", std::mem::transmute::<SystemOpen, unsafe extern "C" fn()>(open_at_once)),
            (c"fchown", std::mem::transmute::<SystemGive, unsafe extern "C" fn()>(give_nothing)),
            (c"fchmod", std::mem::transmute::<SystemMode, unsafe extern "C" fn()>(change_no_mode)),
        ];
        for (name, call) in calls {
            if replace(unix, name.as_ptr(), Some(call)) != ffi::SQLITE_OK {
                return None;
            }
        }
        let registered = ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 0) == ffi::SQLITE_OK;
        registered.then_some(own)
    }
}

type SystemOpen = unsafe extern "C" fn(*const c_char, c_int, c_int) -> c_int;
type SystemGive = unsafe extern "C" fn(c_int, libc::uid_t, libc::gid_t) -> c_int;
type SystemMode = unsafe extern "C" fn(c_int, libc::mode_t) -> c_int;

/// Copies the path; returns an error if it does not fit.
unsafe extern "C" fn as_it_is(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite passes a C string.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| path.len() <= room) {
        // SAFETY: `out` is SQLite's own memory, and there is room for this many bytes.
        unsafe { std::ptr::copy_nonoverlapping(path.as_ptr().cast(), out, path.len()) };
        ffi::SQLITE_OK
    } else {
        ffi::SQLITE_CANTOPEN
    }
}

unsafe extern "C" fn open_no_journal(
    layer: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    opened: *mut c_int,
) -> c_int {
    let Some(Some(own)) = OWN.get().filter(|_| flags & ffi::SQLITE_OPEN_MAIN_JOURNAL == 0) else {
        // SAFETY: SQLite passes memory for a file; without methods it need not be closed.
        unsafe { (*file).pMethods = std::ptr::null() };
        return ffi::SQLITE_CANTOPEN;
    };
    // SAFETY: the arguments from SQLite are passed on to its own function.
    let code = unsafe { (own.open)(layer, name, file, flags, opened) };
    let has_our_limits = match flags {
        _ if code != ffi::SQLITE_OK => return code,
        // SAFETY: it is open.
        flags if flags & ffi::SQLITE_OPEN_MAIN_DB != 0 => unsafe { index::bound(file) },
        // SAFETY: the same.
        flags if flags & ffi::SQLITE_OPEN_WAL != 0 => unsafe { journal::watch(file) },
        _ => true,
    };
    if has_our_limits { code } else { close(file) }
}

/// Closes a file that cannot be used.
fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite's own layer has opened it; without methods it will not be closed again.
    unsafe {
        if let Some(close) = (*file).pMethods.as_ref().and_then(|methods| methods.xClose) {
            close(file);
        }
        (*file).pMethods = std::ptr::null();
    }
    ffi::SQLITE_CANTOPEN
}

unsafe extern "C" fn find_no_journal(
    layer: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    flags: c_int,
    found: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a C string.
    let is_a_journal = unsafe { CStr::from_ptr(path) }.to_bytes().ends_with(b"-journal");
    let Some(Some(own)) = OWN.get().filter(|_| !is_a_journal) else {
        // SAFETY: the place for the answer is SQLite's own.
        unsafe { *found = 0 };
        return ffi::SQLITE_OK;
    };
    // SAFETY: the arguments from SQLite are passed on to its own function.
    unsafe { (own.access)(layer, path, flags, found) }
}

unsafe extern "C" fn open_at_once(path: *const c_char, flags: c_int, mode: c_int) -> c_int {
    // SAFETY: SQLite passes a C string.
    let name = unsafe { CStr::from_ptr(path) };
    let is_ours = name.to_bytes().starts_with(HELD.as_bytes());
    let judge = is_ours.then(|| judged::of(name.to_bytes())).flatten();
    let flags = if is_ours { flags | libc::O_NONBLOCK } else { flags };
    let descriptor = match judge {
        Some(judge) => judge.open(name, flags, mode),
        // SAFETY: called as SQLite would have called it.
        None => unsafe { libc::open(path, flags, mode) },
    };
    // SQLite reads `errno` next: nothing here may change it.
    match Errno::last() {
        _ if !is_ours || descriptor >= 0 => {}
        Errno::EWOULDBLOCK => LEASED.set(true),
        errno @ (Errno::EMFILE | Errno::ENFILE) => TOO_MANY.set(Some(errno)),
        _ => {}
    }
    OPENED.set(if is_ours { descriptor } else { -1 });
    descriptor
}

/// Ignores that `SQLite` gives away a file that it has just opened for a store.
unsafe extern "C" fn give_nothing(descriptor: c_int, user: libc::uid_t, group: libc::gid_t) -> c_int {
    if OPENED.get() == descriptor {
        return 0;
    }
    // SAFETY: called as SQLite would have called it.
    unsafe { libc::fchown(descriptor, user, group) }
}

unsafe extern "C" fn change_no_mode(descriptor: c_int, mode: libc::mode_t) -> c_int {
    if OPENED.get() == descriptor {
        return 0;
    }
    // SAFETY: called as SQLite would have called it.
    unsafe { libc::fchmod(descriptor, mode) }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};

    use rusqlite::{Connection, OpenFlags};

    use super::super::held_path::{HeldPath, Missing};
    use super::*;

    /// Opens a store as flowlock does, but without checks of what is beside it, and unjudged: no other
    /// test uses its name.
    pub(super) fn read(store: &HeldPath) -> Connection {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
        let open = Connection::open_with_flags_and_vfs(store.inside(), flags, name().unwrap()).unwrap();
        open.query_row("select count(*) from t", [], |row| row.get::<_, i64>(0)).unwrap();
        open.execute("insert into t values (2)", []).unwrap();
        open
    }

    pub(super) fn made(path: &std::path::Path) -> HeldPath {
        let open = Connection::open(path).unwrap();
        open.execute_batch("pragma journal_mode = wal; create table t (a)").unwrap();
        drop(open);
        HeldPath::find(path, Missing::Refused).unwrap()
    }

    #[test]
    fn a_file_of_roots_beside_the_store_of_another_stays_roots_whoever_put_it_there() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let store = made(&directory.path().join("unjudged.db"));
        chown(store.path(), Some(12_345), Some(12_345)).unwrap();
        fs::set_permissions(store.path(), fs::Permissions::from_mode(0o666)).unwrap();
        for suffix in ["-wal", "-shm"] {
            let file = store.beside(suffix);
            fs::write(file.path(), "").unwrap();
            fs::set_permissions(file.path(), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let _open = read(&store);
        for suffix in ["-wal", "-shm"] {
            let file = store.beside(suffix);
            let meta = fs::metadata(file.path()).unwrap_or_else(|error| panic!("{suffix}: {error}"));
            assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o600), "{suffix}");
        }
    }

    #[test]
    fn a_journal_that_appears_is_neither_played_nor_removed() {
        let directory = tempfile::tempdir().unwrap();
        let store = made(&directory.path().join("unjudged.db"));
        let journal = store.beside("-journal");
        fs::write(journal.path(), "what another left, or put there").unwrap();
        drop(read(&store));
        assert_eq!(fs::read_to_string(journal.path()).unwrap(), "what another left, or put there");
    }

    /// Other users of `SQLite` in the process see no change.
    #[test]
    fn files_that_are_no_stores_get_the_owner_and_mode_that_sqlite_gives_them() {
        name().unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("other.db");
        let open = || Connection::open(&path).unwrap();
        open().execute_batch("pragma journal_mode = wal; create table t (a)").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o662)).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(&path, Some(12_345), Some(12_345)).unwrap();
        }
        let other = open();
        other.execute_batch("insert into t values (1)").unwrap();
        let [file, journal] =
            ["other.db", "other.db-wal"].map(|name| fs::metadata(directory.path().join(name)).unwrap());
        assert_eq!((journal.uid(), journal.gid(), journal.mode()), (file.uid(), file.gid(), file.mode()));
        other.execute_batch("pragma journal_mode = delete; begin; insert into t values (2)").unwrap();
        assert!(directory.path().join("other.db-journal").exists());
    }
}
