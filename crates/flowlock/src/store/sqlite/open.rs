//! Opening the file: what it must be, where it may lie, and how it comes into being.

use std::fs::{self, File, Metadata};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statfs::{self, FsType};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::failure::{at_path, translate};
use super::turn::Turnstile;
use crate::store::{StoreError, StoreErrorKind, directory_of};

/// "flow": marks the file as ours.
pub(super) const APPLICATION_ID: i32 = 0x666c_6f77;
/// The schema this release writes. It is the first, so there is no older one to read.
pub(super) const SCHEMA: i32 = 1;
/// The first `SQLite` without the WAL-reset corruption (sqlite.org/wal.html#walresetbug).
const OLDEST_SQLITE: i32 = 3_051_003;
/// WAL pages after which a commit moves them into the file: small, because the first process to open the
/// store reads the whole WAL.
const CHECKPOINT_PAGES: u32 = 256;
/// The WAL is cut back to this many bytes once it was larger: a reader that hangs lets it grow.
const LARGEST_WAL: u32 = 4 << 20;
/// How long `SQLite` itself waits for a lock. Writers queue before it; this is for recovery and checkpoints.
const BUSY: Duration = Duration::from_secs(5);

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

/// The file as it was when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
}

impl Identity {
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        // Only stat: opening and closing the file here would drop SQLite's own locks on it.
        let meta = fs::metadata(path).map_err(|error| at_path("look at the store", path, error))?;
        Ok(Self { device: meta.dev(), inode: meta.ino() })
    }
}

/// Opens the store at `path`, and makes it first if nothing is there.
/// `patience` is how long it may take until somebody else has made it.
pub(super) fn open(path: &Path, patience: Duration) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < OLDEST_SQLITE {
        return Err(unusable(format!("SQLite {} can corrupt stores; 3.51.3 is needed", rusqlite::version())));
    }
    refuse_network(path)?;
    match fs::metadata(path) {
        Ok(meta) => check_file(path, &meta)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => create(path, patience)?,
        Err(error) => return Err(at_path("look at the store", path, error)),
    }
    let sql = connect(path)?;
    check_content(path, &sql)?;
    Ok(sql)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let sql = Connection::open_with_flags(path, flags).map_err(translate)?;
    sql.busy_timeout(BUSY).map_err(translate)?;
    sql.set_prepared_statement_cache_capacity(128);
    // A checkpoint on close would make every short command pay for two fsyncs.
    sql.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(translate)?;
    Ok(sql)
}

fn refuse_network(path: &Path) -> Result<(), StoreError> {
    let directory = directory_of(path);
    let found = statfs::statfs(directory)
        .map_err(|error| at_path("use the directory of the store", directory, std::io::Error::from(error)))?;
    let FsType(magic) = found.filesystem_type();
    #[allow(clippy::unnecessary_cast)] // its width differs between architectures
    let magic = (magic as i64) & 0xffff_ffff;
    match NETWORK.iter().find(|(number, _)| *number == magic) {
        None => Ok(()),
        Some((_, kind)) => Err(unusable(format!(
            "{} lies on a network file system ({kind}), where locks do not reach other hosts; use a local disk, or a server for many hosts",
            shown(path)
        ))),
    }
}

fn check_file(path: &Path, meta: &Metadata) -> Result<(), StoreError> {
    if meta.is_dir() {
        return Err(unusable(format!(
            "{} is a directory; name a file in it, e.g. {}/flowlock.db",
            shown(path),
            shown(path)
        )));
    }
    if !meta.is_file() {
        return Err(unusable(format!("{} is not a regular file", shown(path))));
    }
    if meta.len() == 0 {
        return Err(unusable(format!(
            "{} is empty, so it is not a flowlock store; remove it if a new store is wanted there",
            shown(path)
        )));
    }
    if meta.nlink() > 1 {
        return Err(unusable(format!(
            "{} has {} hard links; two names for one store do not share their journal: keep one",
            shown(path),
            meta.nlink()
        )));
    }
    Ok(())
}

fn check_content(path: &Path, sql: &Connection) -> Result<(), StoreError> {
    let pragma = |name: &str| sql.query_row(&format!("pragma {name}"), [], |row| row.get::<_, i32>(0));
    let application = pragma("application_id").map_err(|error| match error.sqlite_error_code() {
        Some(rusqlite::ffi::ErrorCode::NotADatabase) => {
            unusable(format!("{} is not a flowlock store: it is not an SQLite file", shown(path)))
                .caused_by(error)
        }
        _ => translate(error),
    })?;
    if application != APPLICATION_ID {
        return Err(unusable(format!(
            "{} belongs to another program (application id {application:#x}); name another file",
            shown(path)
        )));
    }
    let schema = pragma("user_version").map_err(translate)?;
    if schema != SCHEMA {
        return Err(unusable(format!(
            "{} has schema {schema}; this flowlock reads and writes schema {SCHEMA}: use the flowlock that made it",
            shown(path)
        )));
    }
    Ok(())
}

/// Makes the store beside its place and moves it there whole, so that no process ever sees half of one. One
/// process at a time: what a dead one left is cleared away, above all the journal of a store that was removed
/// without it, which `SQLite` would write into the new one.
fn create(path: &Path, patience: Duration) -> Result<(), StoreError> {
    let directory = directory_of(path);
    let meta = fs::metadata(directory)
        .map_err(|error| at_path("use the directory of the store", directory, error))?;
    let mode = file_mode(&meta);
    let mut turnstile = Turnstile::open(with_suffix(path, "-lock"), mode, patience)?;
    let _turn = turnstile.enter(patience)?;
    if fs::metadata(path).is_ok() {
        return Ok(());
    }
    let draft = with_suffix(path, ".new");
    clear(path, &["-journal", "-wal", "-shm"])?;
    clear(&draft, &["", "-journal", "-wal", "-shm"])?;
    let published = write_draft(&draft, mode).and_then(|()| publish(&draft, path));
    clear(&draft, &["", "-journal", "-wal", "-shm"]).and(published)
}

fn clear(path: &Path, suffixes: &[&str]) -> Result<(), StoreError> {
    for suffix in suffixes {
        let left = with_suffix(path, suffix);
        match fs::remove_file(&left) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(at_path("clear away", &left, error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn write_draft(draft: &Path, mode: u32) -> Result<(), StoreError> {
    let file = File::create_new(draft).map_err(|error| at_path("create the store as", draft, error))?;
    file.set_permissions(fs::Permissions::from_mode(mode))
        .map_err(|error| at_path("set the mode of", draft, error))?;
    drop(file);
    let sql = Connection::open(draft).map_err(translate)?;
    sql.execute_batch("pragma journal_mode = delete; pragma synchronous = full; begin;")
        .map_err(translate)?;
    sql.execute_batch(include_str!("schema.sql")).map_err(translate)?;
    sql.pragma_update(None, "application_id", APPLICATION_ID).map_err(translate)?;
    sql.pragma_update(None, "user_version", SCHEMA).map_err(translate)?;
    sql.execute_batch("commit;").map_err(translate)?;
    sql.pragma_update(None, "journal_mode", "wal").map_err(translate)?;
    sql.close().map_err(|(_, error)| translate(error))
}

/// Moves the draft to its place; somebody else may have been faster, then theirs counts.
fn publish(draft: &Path, path: &Path) -> Result<(), StoreError> {
    use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
    match renameat2(AT_FDCWD, draft, AT_FDCWD, path, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) | Err(nix::errno::Errno::EEXIST) => {}
        Err(error) => return Err(at_path("create the store", path, error.into())),
    }
    let directory = directory_of(path);
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| at_path("sync the directory", directory, error))
}

/// Prepares a connection for steps.
pub(super) fn tune(sql: &Connection) -> Result<(), StoreError> {
    sql.pragma_update(None, "synchronous", "normal").map_err(translate)?;
    sql.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES).map_err(translate)?;
    sql.pragma_update(None, "journal_size_limit", LARGEST_WAL).map_err(translate)
}

/// Group-writable in a group-writable directory, as `doctor --init-shared` makes it; else the user's alone.
fn file_mode(directory: &Metadata) -> u32 {
    if directory.mode() & 0o020 != 0 && directory.mode() & 0o2000 != 0 { 0o660 } else { 0o600 }
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn shown(path: &Path) -> String {
    crate::text::escape(&path.display().to_string())
}

fn unusable(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Unusable, message)
}
