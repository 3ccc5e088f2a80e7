//! Replaces some of the functions with which `SQLite` works on a file.

use std::sync::OnceLock;

use rusqlite::ffi;

/// The functions for one kind of file. `F` has `SQLite`'s own functions that ours call.
pub(super) struct Replaced<F>(OnceLock<Option<Tables<F>>>);

struct Tables<F> {
    before: &'static ffi::sqlite3_io_methods,
    own: F,
    ours: ffi::sqlite3_io_methods,
}

impl<F> Replaced<F> {
    pub(super) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// Gives a file that was just opened the functions that `made` makes of its own ones the first time;
    /// returns whether that was possible.
    ///
    /// # Safety
    /// `file` is one that `SQLite`'s own layer has opened.
    pub(super) unsafe fn replace(
        &'static self,
        file: *mut ffi::sqlite3_file,
        made: impl FnOnce(&ffi::sqlite3_io_methods) -> Option<(F, ffi::sqlite3_io_methods)>,
    ) -> bool {
        // SAFETY: an open file has a table of functions, which lives for ever.
        let Some(before) = (unsafe { (*file).pMethods.as_ref::<'static>() }) else { return false };
        let tables = self.0.get_or_init(|| made(before).map(|(own, ours)| Tables { before, own, ours }));
        match tables {
            Some(tables) if std::ptr::eq(tables.before, before) => {
                // SAFETY: `SQLite` only reads the table; this one also lives for ever.
                unsafe { (*file).pMethods = &raw const tables.ours };
                true
            }
            _ => false,
        }
    }

    /// Returns the functions that ours call; `None` before the first file.
    pub(super) fn own(&self) -> Option<&F> {
        self.0.get()?.as_ref().map(|tables| &tables.own)
    }
}
