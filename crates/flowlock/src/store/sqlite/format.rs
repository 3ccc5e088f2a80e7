//! What `SQLite`'s files look like, as far as flowlock looks into them itself.

/// The page size that flowlock gives every store.
pub(super) const PAGE: usize = 4_096;
/// The pages of an index: how one begins, the size of its header, and how many bytes of a cell come
/// before the length of its key.
pub(super) const INDEX_PAGES: [(u8, usize, usize); 2] = [(0x02, 12, 4), (0x0a, 8, 0)];
/// The longest value, row, or key of an index. The longest honest one, a run with 1,000 claims and 256
/// KiB of names, is less than a quarter of it.
pub(super) const LONGEST_VALUE: i32 = 4 << 20;
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

/// Returns whether pages of `SQLite` can have this size.
pub(super) fn is_page_size(size: usize) -> bool {
    size.is_power_of_two() && (512..=65_536).contains(&size)
}

/// Reads a number of up to four bytes as `SQLite` writes it into files.
pub(super) fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| (number << 8) | u32::from(*byte))
}
