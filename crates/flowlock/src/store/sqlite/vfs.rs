//! `SQLite` opens the path that it is given, and no other.
//!
//! Its own file layer first replaces every link in a path by where it leads to, also `/proc/self/fd/N`, which is no
//! path at all but the open directory of the store. Then it would go by the path again, and so into whatever directory
//! somebody put there since. This layer is `SQLite`'s own but for that: a path stays as it is. Links as the last name
//! of a path are refused by `SQLite` when it opens the file (`O_NOFOLLOW`).
#![allow(unsafe_code, reason = "the file layer of SQLite is a table of C functions")]

use std::ffi::{CStr, c_char, c_int};
use std::sync::OnceLock;

use rusqlite::ffi;

use super::side::unusable;
use crate::store::StoreError;

const NAME: &CStr = c"flowlock";
/// `SQLite`'s own for Unix, with locks as in its default.
const UNIX: &CStr = c"unix";

/// The name of the layer; the first call in a process makes it known to `SQLite`.
pub(super) fn name() -> Result<&'static CStr, StoreError> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    if *REGISTERED.get_or_init(register) {
        Ok(NAME)
    } else {
        Err(unusable(
            "SQLite cannot be given the directory of the store: it has no file layer \"unix\"".into(),
        ))
    }
}

fn register() -> bool {
    // SAFETY: both names are C strings that live for ever. What is found is valid for as long as SQLite is, and is only
    // read; the copy is never freed, as SQLite wants it. Nothing of it but the two fields set here differs from the
    // original, whose functions take any table with its own `pAppData`.
    unsafe {
        if ffi::sqlite3_initialize() != ffi::SQLITE_OK {
            return false;
        }
        let Some(unix) = ffi::sqlite3_vfs_find(UNIX.as_ptr()).as_ref() else { return false };
        let mut ours = *unix;
        ours.pNext = std::ptr::null_mut();
        ours.zName = NAME.as_ptr();
        ours.xFullPathname = Some(as_it_is);
        ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 0) == ffi::SQLITE_OK
    }
}

/// Copies the path; an error if it does not fit.
unsafe extern "C" fn as_it_is(
    _: *mut ffi::sqlite3_vfs,
    path: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: SQLite hands over a C string.
    let path = unsafe { CStr::from_ptr(path) }.to_bytes_with_nul();
    if usize::try_from(room).is_ok_and(|room| path.len() <= room) {
        // SAFETY: there is room for so many bytes behind `out`, which is SQLite's own memory.
        unsafe { std::ptr::copy_nonoverlapping(path.as_ptr().cast(), out, path.len()) };
        ffi::SQLITE_OK
    } else {
        ffi::SQLITE_CANTOPEN
    }
}
