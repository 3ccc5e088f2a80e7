//! How a store is created.

use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};

use super::clear::{clear_journals, is_leftover};
use super::failure::{at_path, translate, unusable};
use super::generation::first_number;
use super::held_path::{DRAFT, DRAFT_DIGITS, HeldPath, Missing};
use super::schema::{APPLICATION_ID, SCHEMA_TEXT};
use super::side::SideFiles;
use super::writer_queue::WriterQueue;
use super::{sleep, vfs};
use crate::store::{Limits, StoreError};

/// The most names beside a store that are looked at for what dead processes left: whoever may write the
/// directory can make any number.
pub(super) const MOST_LEFTOVERS: usize = 1_000;

/// How long another user may take to create the store that this process also began to create.
const OTHERS_TURN: Duration = Duration::from_secs(1);

/// Creates the store beside its place and moves it there whole, so that no process ever sees half of
/// one. Only one process does this at a time. Removes first what a dead process left, above all the
/// journal of a store that was deleted without it: `SQLite` would write that into the new store.
pub(super) fn create(store: &HeldPath, limits: &Limits) -> Result<(), StoreError> {
    create_with(&SideFiles::of_new(store)?, store, limits)
}

/// The same, with the owner, the group and the mode that the files beside it have.
pub(super) fn create_with(side: &SideFiles, store: &HeldPath, limits: &Limits) -> Result<(), StoreError> {
    let Some(mut writer_queue) = writer_queue(side, store, limits.left())? else {
        return Ok(());
    };
    let _turn = writer_queue.enter(limits)?;
    if store.is_there() {
        return Ok(());
    }
    leftovers(store).iter().for_each(HeldPath::discard);
    clear_journals(store)?;
    surround(side)?;
    let draft = store.draft();
    let published = write_draft(side, &draft).and_then(|()| publish(&draft, store));
    let draft_and_its_own = ["", "-journal", "-wal", "-shm"].map(|suffix| draft.beside(suffix));
    draft_and_its_own.iter().try_for_each(HeldPath::remove).and(published)
}

/// Returns the queue of the processes that create the store; `None` if another user created it
/// meanwhile, who may begin at the same moment in a directory that both may write.
fn writer_queue(
    side: &SideFiles,
    store: &HeldPath,
    patience: Duration,
) -> Result<Option<WriterQueue>, StoreError> {
    let begun = Instant::now();
    loop {
        let error = match WriterQueue::open(side.clone()) {
            Ok(writer_queue) => return Ok(Some(writer_queue)),
            Err(_) if store.is_there() => return Ok(None),
            Err(error) => error,
        };
        let others = side.place("-lock").look();
        let others = others.is_ok_and(|meta| meta.is_file() && meta.uid() != nix::unistd::geteuid().as_raw());
        if !others || begun.elapsed() > patience.min(OTHERS_TURN) {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Creates everything beside the store, before the store, so that no other process has to.
fn surround(side: &SideFiles) -> Result<(), StoreError> {
    for suffix in ["-live", "-wal", "-shm"] {
        side.open(suffix)?;
    }
    side.directory("-wake")?;
    side.guard_journal()
}

/// Returns files of processes that died while they created the store or a file beside it; looks at no
/// more than [`MOST_LEFTOVERS`].
pub(super) fn leftovers(store: &HeldPath) -> Vec<HeldPath> {
    let length = store.path().file_name().unwrap_or_default().len();
    let drafts = store.longer_names().filter_map(|name| {
        let rest = name.as_bytes()[length..].escape_ascii().to_string();
        draft_of(&rest).map(|made_of_it| (store.beside(&rest), made_of_it.to_owned()))
    });
    let left = drafts.take(MOST_LEFTOVERS).filter(|(draft, made_of_it)| is_leftover(draft, made_of_it));
    left.map(|(draft, _)| draft).collect()
}

/// Returns what follows the draft's own name, if `rest` follows the store's name in the names of drafts,
/// or of files that `SQLite` makes beside drafts. Anything else may be a store of its own.
fn draft_of(rest: &str) -> Option<&str> {
    const OF: [&str; 7] = ["", "-journal", "-live", "-lock", "-shm", "-wake", "-wal"];
    let (of, rest) = rest.split_once(DRAFT)?;
    let (number, made_of_it) = rest.split_at_checked(DRAFT_DIGITS)?;
    let is_number = number.bytes().all(|digit| digit.is_ascii_hexdigit());
    (is_number && OF.contains(&of) && OF.contains(&made_of_it)).then_some(made_of_it)
}

fn write_draft(side: &SideFiles, draft: &HeldPath) -> Result<(), StoreError> {
    side.create(draft, side.mode()).map_err(|error| at_path("create the store as", draft.path(), error))?;
    vfs::judge_by(draft, side.rule(), Missing::Made);
    // Not long, and concerns no other process: it is done whole, or there is no store.
    let limits = sleep::set_limits(None);
    let written = fill(draft);
    sleep::set_limits(limits);
    vfs::forget(draft);
    written
}

fn fill(draft: &HeldPath) -> Result<(), StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let sql = Connection::open_with_flags_and_vfs(draft.inside(), flags, vfs::name()?).map_err(translate)?;
    sql.execute_batch("pragma journal_mode = off; pragma synchronous = full; begin;").map_err(translate)?;
    sql.execute_batch(SCHEMA_TEXT).map_err(translate)?;
    sql.pragma_update(None, "application_id", APPLICATION_ID).map_err(translate)?;
    sql.pragma_update(None, "user_version", first_number()).map_err(translate)?;
    sql.execute_batch("commit;").map_err(translate)?;
    keep_a_journal(&sql)?;
    sql.close().map_err(|(_, error)| translate(error))
}

/// Gives the file a write-ahead journal. Runs to the statement's end: an error while the file is written
/// comes after the answer, and a store without the journal could never be written.
fn keep_a_journal(sql: &Connection) -> Result<(), StoreError> {
    let mut statement = sql.prepare("pragma journal_mode = wal").map_err(translate)?;
    let modes = statement.query_map([], |row| row.get(0)).map_err(translate)?;
    let modes: Vec<String> = modes.collect::<rusqlite::Result<_>>().map_err(translate)?;
    if modes == ["wal"] {
        Ok(())
    } else {
        Err(unusable("SQLite gives the store no write-ahead journal".into()))
    }
}

/// Moves the draft to its place. If another process was faster, its store counts.
fn publish(draft: &HeldPath, store: &HeldPath) -> Result<(), StoreError> {
    match draft.rename(store) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(at_path("create the store", store.path(), error));
        }
        _ => {}
    }
    store.sync_directory().map_err(|error| at_path("sync the directory", store.directory_path(), error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_made_whole_although_its_maker_waits_no_longer() {
        let directory = tempfile::tempdir().unwrap();
        let store = HeldPath::find(&directory.path().join("s.db"), Missing::Refused).unwrap();
        let late = Limits::until(Instant::now().checked_sub(Duration::from_mins(1)).unwrap());
        let before = sleep::set_limits(Some(late));
        let made = create(&store, &Limits::within(Duration::from_secs(5)));
        sleep::set_limits(before);
        made.unwrap();
        let asked = "pragma journal_mode";
        let sql = Connection::open(store.path()).unwrap();
        assert_eq!(sql.query_row(asked, [], |row| row.get::<_, String>(0)).unwrap(), "wal");
    }

    #[test]
    fn a_journal_that_could_not_be_given_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("draft");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let sql = Connection::open_with_flags_and_vfs(&path, flags, vfs::name().unwrap()).unwrap();
        sql.execute_batch("pragma journal_mode = off; create table t (a)").unwrap();
        // From here on nothing can be written.
        let late = Limits::until(Instant::now().checked_sub(Duration::from_mins(1)).unwrap());
        let before = sleep::set_limits(Some(late));
        let kept = keep_a_journal(&sql);
        sleep::set_limits(before);
        assert!(kept.is_err());
    }

    #[test]
    fn only_names_that_flowlock_makes_are_leftovers() {
        let drafts = [".new-0123456789abcdef", ".new-0123456789abcdef-journal", "-live.new-0123456789abcdef"];
        assert!(drafts.iter().all(|rest| draft_of(rest).is_some()));
        let others = [
            "",
            "-live",
            ".new",
            ".new-prod",
            ".new-0123456789abcdefg",
            "-old.new-0123456789abcdef",
            ".new-ä123456789abcdef",
        ];
        assert!(!others.iter().any(|rest| draft_of(rest).is_some()));
    }
}
