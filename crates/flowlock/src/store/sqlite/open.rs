//! Opening the file: what it must be, and where it may be.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::statfs::{self, FsType};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

use super::clear::{application_id, refuse_others_journals};
use super::clock::Clock;
use super::create::create;
use super::failure::{at_path, translate, unusable};
use super::format::LONGEST_VALUE;
use super::generation::{refuse_another_journal, schema_of};
use super::held_path::{HeldPath, Missing};
use super::identity::{Counted, unless_open};
use super::lockers;
use super::schema::{APPLICATION_ID, SCHEMA, SCHEMA_TEXT};
use super::side::{Rule, SideFiles, hard_linked};
use super::vfs;
use crate::people::{is_member, is_unknown, may_be_root};
use crate::store::path_walk::Planted;
use crate::store::{Limits, StoreError};
use crate::text::{escape, excerpt};

/// The first `SQLite` without the WAL-reset corruption (sqlite.org/wal.html#walresetbug).
const OLDEST_SQLITE: i32 = 3_051_003;
/// After how many WAL pages a commit moves them into the file: few, because the first process that opens
/// the store reads the whole WAL.
const CHECKPOINT_PAGES: u32 = 256;
/// The size to which the WAL is truncated after it was larger: a reader that hangs makes it grow.
const LARGEST_WAL: u32 = 4 << 20;
/// The longest statement, and so the longest in the schema. The longest honest one has less than 4 KiB.
const LONGEST_STATEMENT: i32 = 16 << 10;
/// The maximum number of columns; the largest table has 35.
const MOST_COLUMNS: i32 = 100;
/// Network file systems by their `statfs` magic number (linux/magic.h and the file systems' own headers).
const NETWORK: [(i64, &str); 11] = [
    (0x6969, "NFS"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x517b, "SMB"),
    (0x0102_1997, "9P"),
    (0x6b41_4653, "AFS"),
    (0x5346_414f, "OpenAFS"),
    (0x7375_7245, "Coda"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
];

/// The suffixes, after the store's name, of what `SQLite` opens.
const SQLITES: [&str; 3] = ["", "-wal", "-shm"];

/// What is done about objects in the file that are not flowlock's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Objects {
    /// They are refused.
    Judged,
    /// Somebody put them there while this process had the store open. Nothing of them is executed, and
    /// what it holds can still be committed.
    Ignored,
}

/// Opens the store; creates it if nothing is there. `limits` are for waiting until another process has
/// created it. Drop the connection before the counter.
pub(super) fn open(
    store: &HeldPath,
    limits: &Limits,
    clock: &Clock,
    objects: Objects,
) -> Result<(Connection, Counted), StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(unusable(format!("SQLite {} can corrupt stores; 3.51.3 is needed", rusqlite::version())));
    }
    refuse_network(store)?;
    if let Some(Planted { path, owner, directory }) = store.planted_directory() {
        return Err(planted_there(path, *owner, directory));
    }
    let found = match store.look() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(store, limits)?;
            store.look()
        }
        found => found,
    };
    let meta = found.map_err(|error| at_path("look at the store", store.path(), error))?;
    check_file(store, &meta)?;
    refuse_foreign(store)?;
    check_surroundings(store)?;
    vfs::judge_by(store, Rule::of(&meta), Missing::Refused);
    vfs::take_leased();
    vfs::take_anothers();
    vfs::take_too_many_files();
    let counted = Counted::new(store)?;
    let opened = connect(store, clock).and_then(|sql| {
        clock.schema().set(check_content(store, &sql, objects)? as u32);
        if counted.is_at(store) { Ok(sql) } else { Err(exchanged(store)) }
    });
    let lease = || SQLITES.iter().find_map(|suffix| lockers::leased(&store.beside(suffix)));
    match vfs::take_leased().then(lease).flatten() {
        Some(busy) => Err(busy),
        None if vfs::take_anothers() => Err(exchanged(store)),
        None => Ok((opened.map_err(|error| or_too_many_files(store, error))?, counted)),
    }
}

/// `SQLite` says only that it cannot open a file; this adds the reason if there are too many open files.
fn or_too_many_files(store: &HeldPath, error: StoreError) -> StoreError {
    match vfs::take_too_many_files() {
        Some(errno) => at_path("open the store", store.path(), errno.into()),
        None => error,
    }
}

/// The error if a file was replaced while it was opened.
fn exchanged(store: &HeldPath) -> StoreError {
    let found =
        SideFiles::of(store).and_then(|side| SQLITES.iter().try_for_each(|suffix| side.check(suffix)));
    found.err().unwrap_or_else(|| {
        unusable(format!(
            "{} or a file beside it was replaced while it was opened; the new file was not touched; see who \
             may write the directory",
            store.shown()
        ))
    })
}

fn connect(store: &HeldPath, clock: &Clock) -> Result<Connection, StoreError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_NOFOLLOW;
    let mut sql =
        Connection::open_with_flags_and_vfs(store.inside(), flags, vfs::name()?).map_err(translate)?;
    clock.mind(&mut sql)?;
    // Before anything is read: a value of a gigabyte would be read into memory before it could be
    // judged.
    for (limit, most) in [
        (Limit::SQLITE_LIMIT_LENGTH, LONGEST_VALUE),
        (Limit::SQLITE_LIMIT_SQL_LENGTH, LONGEST_STATEMENT),
        (Limit::SQLITE_LIMIT_COLUMN, MOST_COLUMNS),
    ] {
        sql.set_limit(limit, most).map_err(translate)?;
    }
    // Nothing stored in the file is executed, whoever wrote it there, and no statement can reach
    // anything but rows.
    for (setting, on) in [
        (DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true),
        (DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false),
        (DbConfig::SQLITE_DBCONFIG_ENABLE_VIEW, false),
    ] {
        sql.set_db_config(setting, on).map_err(translate)?;
    }
    sql.set_prepared_statement_cache_capacity(128);
    // A checkpoint on close would make every short command pay for two fsyncs.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(translate)?;
    Ok(sql)
}

fn refuse_network(store: &HeldPath) -> Result<(), StoreError> {
    let found = statfs::statfs(&store.directory_inside())
        .map_err(|error| at_path("use the directory of the store", store.directory_path(), error.into()))?;
    let FsType(magic) = found.filesystem_type();
    #[allow(clippy::unnecessary_cast)] // its width differs between architectures
    let magic = (magic as i64) & 0xffff_ffff;
    match NETWORK.iter().find(|(number, _)| *number == magic) {
        None => Ok(()),
        Some((_, kind)) => Err(unusable(format!(
            "{} lies on a network file system ({kind}), where locks do not reach other hosts; use a local disk, or a server for many hosts",
            store.shown()
        ))),
    }
}

fn check_file(store: &HeldPath, meta: &Metadata) -> Result<(), StoreError> {
    if meta.is_dir() {
        return Err(unusable(format!(
            "{} is a directory; name a file in it, e.g. {}/flowlock.db",
            store.shown(),
            store.shown()
        )));
    }
    if !meta.is_file() {
        return Err(unusable(format!("{} is not a regular file", store.shown())));
    }
    if meta.len() == 0 {
        return Err(unusable(format!(
            "{} is empty, so it is not a flowlock store; remove it if a new store is wanted there",
            store.shown()
        )));
    }
    refuse_strangers(store, meta)?;
    if meta.nlink() > 1 {
        return Err(hard_linked(store, meta, "two names for one store do not share their journal"));
    }
    Ok(())
}

/// Refuses a store that another user put there: its owner can read, change and replace it. A store that
/// a group shares is its members' as well, and root may use every user's store. Neither holds where
/// anybody could have put it: everybody who shares any group with this user could have made such a store,
/// and on many systems all users share one.
fn refuse_strangers(store: &HeldPath, meta: &Metadata) -> Result<(), StoreError> {
    let me = nix::unistd::geteuid();
    let planted = store.is_planted(meta);
    if planted.map_err(|error| at_path("use the directory of the store", store.directory_path(), error))? {
        return Err(planted_there(store.path(), meta.uid(), store.directory_path()));
    }
    let is_shared = meta.mode() & 0o022 == 0o020 && is_member(meta.gid());
    if me.is_root() || meta.uid() == me.as_raw() || may_be_root(meta.uid()) || is_shared {
        return Ok(());
    }
    Err(unusable(format!(
        "{} belongs to user {}, neither to you nor to root, and no group of yours shares it (mode {:04o}); name another \
         store, or let `flowlock doctor --init-shared` make one for a group",
        store.shown(),
        meta.uid(),
        meta.mode() & 0o7777
    )))
}

/// The error for a store, or a directory on the way to it, that anybody may have put there.
fn planted_there(path: &Path, owner: u32, directory: &Path) -> StoreError {
    let [path, directory] = [path, directory].map(|path| escape(&path.display().to_string()));
    // Nobody can become a user whom the user namespace does not know.
    let as_that_user = if is_unknown(owner) { "" } else { ", or run flowlock as that user" };
    unusable(format!(
        "{path} belongs to user {owner}, and everybody may write {directory}, so that user may have put it there for others to \
         use; name a store in a directory that not everybody may write, let `flowlock doctor --init-shared` make one for a \
         group{as_that_user}"
    ))
}

/// Refuses a file of another program by its beginning, before anything is created beside it. Only if
/// something would be created, and not if this process has the store open, because then it has checked
/// that.
fn refuse_foreign(store: &HeldPath) -> Result<(), StoreError> {
    let is_whole = ["-wal", "-shm", "-wake"].iter().all(|suffix| store.beside(suffix).is_there());
    let beginning = || unless_open(store, || store.open_to_read().and_then(|file| application_id(&file)));
    match (!is_whole).then(beginning).flatten() {
        Some(Ok(application)) => judge_application(store, application),
        // SQLite cannot read what this user may not read, and reports that.
        Some(Err(_)) | None => Ok(()),
    }
}

fn judge_application(store: &HeldPath, application: Option<i32>) -> Result<(), StoreError> {
    match application {
        Some(APPLICATION_ID) => Ok(()),
        Some(application) => Err(unusable(format!(
            "{} belongs to another program (application id {application:#x}); name another file",
            store.shown()
        ))),
        None => Err(unusable(format!("{} is not a flowlock store: it is not an SQLite file", store.shown()))),
    }
}

/// Checks what `SQLite` and flowlock open beside the file.
fn check_surroundings(store: &HeldPath) -> Result<(), StoreError> {
    refuse_mounted_alone(store)?;
    let side = SideFiles::of(store)?;
    refuse_others_journals(store, &side)?;
    refuse_another_journal(store)?;
    side.ensure("-wal")?;
    side.ensure("-shm")?;
    side.check_directory("-wake")?;
    if side.is_the_users() && !side.place("-wake").is_there() {
        // No other user can create it.
        side.directory("-wake")?;
    }
    side.guard_journal()
}

/// Refuses a file that is mounted by itself. It is in another directory than on the other side of the
/// mount, and so are all files beside it: there would be two journals and two queues for one store.
fn refuse_mounted_alone(store: &HeldPath) -> Result<(), StoreError> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    // If the kernel cannot tell (before 5.8), the file is assumed not to be mounted by itself.
    let found = statx(CWD, store.inside(), AtFlags::SYMLINK_NOFOLLOW, StatxFlags::TYPE);
    if found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)) {
        return Err(unusable(format!(
            "{} is mounted by itself, so its journal and locks are not those of the other side of the mount; mount the directory that holds it (with docker: -v DIRECTORY:{})",
            store.shown(),
            escape(&store.directory_path().display().to_string())
        )));
    }
    Ok(())
}

/// Checks what the file is and what it holds; returns the number that changes with its schema.
fn check_content(store: &HeldPath, sql: &Connection, objects: Objects) -> Result<i32, StoreError> {
    let pragma = |name: &str| sql.query_row(&format!("pragma {name}"), [], |row| row.get::<_, i32>(0));
    let application = match pragma("application_id") {
        Ok(application) => Some(application),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ffi::ErrorCode::NotADatabase) => None,
        Err(error) => return Err(translate(error)),
    };
    judge_application(store, application)?;
    let schema = schema_of(pragma("user_version").map_err(translate)?);
    if schema != SCHEMA {
        return Err(unusable(format!(
            "{} has schema {schema}; this flowlock reads and writes schema {SCHEMA}: use the flowlock that made it",
            store.shown()
        )));
    }
    let mode: String = sql.query_row("pragma journal_mode", [], |row| row.get(0)).map_err(translate)?;
    if mode != "wal" {
        return Err(unusable(format!(
            "{} has no write-ahead journal, because another program turned it off (journal_mode {}); turn it on again with \
             sqlite3 {} 'pragma journal_mode = wal', and see who may write the file",
            store.shown(),
            excerpt(&mode),
            store.shown()
        )));
    }
    if objects == Objects::Judged {
        check_objects(store, sql)?;
    }
    pragma("schema_version").map_err(translate)
}

/// Refuses objects that another program put into the file: tables, indexes, views and triggers that this
/// schema does not have.
fn check_objects(store: &HeldPath, sql: &Connection) -> Result<(), StoreError> {
    let mut statement = sql.prepare("select type, name, sql from sqlite_schema").map_err(translate)?;
    let mut objects = statement.query([]).map_err(translate)?;
    while let Some(object) = objects.next().map_err(translate)? {
        let text = |column| object.get::<_, Option<String>>(column).map(Option::unwrap_or_default);
        let (kind, name, sql) =
            (text(0).map_err(translate)?, text(1).map_err(translate)?, text(2).map_err(translate)?);
        if !is_ours(&name, &sql) {
            return Err(unusable(format!(
                "{} holds {} {} that flowlock did not make; only flowlock may write the file: remove it with \
                 `drop`, or restore a backup, and see who may write the file",
                store.shown(),
                excerpt(&kind),
                excerpt(&name)
            )));
        }
    }
    Ok(())
}

/// Returns whether an object of the file is one of the schema, word for word. `SQLite` rewrites the
/// first words and keeps the rest; its own indexes have no text.
fn is_ours(name: &str, sql: &str) -> bool {
    const FIRST_WORDS: [&str; 3] = ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "];
    if sql.is_empty() {
        return name.starts_with("sqlite_autoindex_");
    }
    FIRST_WORDS.iter().any(|words| {
        sql.strip_prefix(words)
            .is_some_and(|rest| SCHEMA_TEXT.contains(&format!("{}{rest}", words.to_lowercase())))
    })
}

/// Prepares a connection for steps.
pub(super) fn tune(sql: &Connection) -> Result<(), StoreError> {
    sql.pragma_update(None, "synchronous", "normal").map_err(translate)?;
    sql.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(translate)?;
    sql.pragma_update(None, "journal_size_limit", LARGEST_WAL).map_err(translate)
}
