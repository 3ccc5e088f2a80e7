//! What `SQLite`'s files look like, as far as flowlock looks into them itself.

/// The page size that flowlock gives every store.
pub(super) const PAGE: usize = 4_096;
/// The size of a journal's header.
pub(super) const JOURNAL_HEADER: usize = 32;
/// The size of the header before each page in a journal.
pub(super) const FRAME_HEADER: usize = 24;
/// The first bytes of a write-ahead journal, by the byte order in which its checksums read words: the
/// smallest byte first, or last (`WAL_MAGIC` in `SQLite`'s `wal.c`).
pub(super) const JOURNAL_MAGICS: [u32; 2] = [0x377f_0682, 0x377f_0683];
/// The byte of the journal's index that a process locks while it has the store open (`UNIX_SHM_DMS` in
/// `SQLite`'s `os_unix.c`). A process that finds it free rebuilds the index.
pub(super) const IN_USE: u64 = 128;
