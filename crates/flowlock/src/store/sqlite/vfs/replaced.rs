//! Functions of ours in place of some of those that `SQLite` itself works on a file with.

use std::sync::OnceLock;

use rusqlite::ffi;

/// The functions for one kind of file. `F` are those of `SQLite`'s own that ours hand on to.
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

    /// Gives a file that was just opened the functions that `made` makes of its own ones, the first time; whether that could be
    /// done.
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
                // SAFETY: `SQLite` reads the table only; this one lives for ever, too.
                unsafe { (*file).pMethods = &raw const tables.ours };
                true
            }
            _ => false,
        }
    }

    /// What ours hand on to; none before the first file.
    pub(super) fn own(&self) -> Option<&F> {
        self.0.get()?.as_ref().map(|tables| &tables.own)
    }
}
