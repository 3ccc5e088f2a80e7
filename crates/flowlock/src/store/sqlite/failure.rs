//! What `SQLite`'s and the file system's errors mean to a user.

use std::ffi::c_int;
use std::path::Path;

use rusqlite::ffi::ErrorCode;

use crate::store::{StoreError, StoreErrorKind};

/// The error code of work whose caller does not wait any longer. `SQLite` itself does not use this error
/// any more.
pub(super) const BROKEN_OFF: c_int = rusqlite::ffi::SQLITE_IOERR_BLOCKED;

/// The error code of a read of a file whose schema has changed. `SQLite` uses this error for a table that
/// no store has.
pub(super) const SCHEMA_CHANGED: c_int = rusqlite::ffi::SQLITE_CORRUPT_SEQUENCE;

/// Translates an error of `SQLite`, by what the caller can do about it.
pub(super) fn translate(error: rusqlite::Error) -> StoreError {
    if error.sqlite_error().is_some_and(|error| error.extended_code == BROKEN_OFF) {
        let message = "the store's journal is too long to read in the time given, or reading it was interrupted; \
                       nothing was changed; see who may write the file, and try again";
        return StoreError::new(StoreErrorKind::Unreachable, message).out_of_time().caused_by(error);
    }
    if error.sqlite_error().is_some_and(|error| error.extended_code == SCHEMA_CHANGED) {
        let message = "another program changed the schema of the store while it was open; nothing was changed; see who may \
                       write the file, and try again";
        return StoreError::new(StoreErrorKind::Unreachable, message).caused_by(error);
    }
    let (kind, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => (
            StoreErrorKind::Full,
            "no space left for the store; nothing was changed; make room and run again",
        ),
        Some(ErrorCode::SystemIoFailure) => (
            StoreErrorKind::Full,
            "reading or writing the store failed; nothing was changed; see the system log of the disk",
        ),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            StoreErrorKind::Damaged,
            "the store is damaged: SQLite cannot read it; restore a backup, or move the file away to begin anew",
        ),
        Some(ErrorCode::TooBig) => (
            StoreErrorKind::Damaged,
            "the store holds a value that is longer than any that flowlock writes; see who may write the file, and `flowlock doctor`",
        ),
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied,
        ) => (
            StoreErrorKind::Unusable,
            "the store cannot be written: check the owner and mode of the file and its directory, and whether the file system is mounted read-only",
        ),
        Some(ErrorCode::OperationInterrupted) => {
            (StoreErrorKind::Unreachable, "the step took too long or was interrupted; nothing was changed")
        }
        Some(code) if is_locked(code) => (
            StoreErrorKind::Unreachable,
            "another program keeps the store locked; only flowlock may open the file",
        ),
        _ => (
            StoreErrorKind::Damaged,
            "the store holds something this version cannot read; see `flowlock doctor`",
        ),
    };
    // SQLite itself finds nothing wrong with a value that is no such thing.
    let is_a_rows = matches!(error.sqlite_error_code(), None | Some(ErrorCode::TooBig));
    let told = StoreError::new(kind, message).caused_by(error);
    if is_a_rows { told.of_a_row() } else { told }
}

/// Returns whether another process's lock was in the way. For some locks `SQLite` calls that a breach of
/// its protocol.
pub(super) fn is_locked(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::FileLockingProtocolFailed)
}

/// Translates an error at COMMIT. A write that failed there may or may not have reached the disk.
pub(super) fn translate_commit(error: rusqlite::Error) -> StoreError {
    if error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure) {
        let message = "writing the store failed at the last moment; whether the step took effect is unknown until the store is asked again";
        return StoreError::new(StoreErrorKind::Unknown, message).caused_by(error);
    }
    translate(error)
}

/// The error for a step that is visible, but may not survive a power loss.
pub(super) fn not_synced(path: &Path, error: std::io::Error) -> StoreError {
    let shown = crate::text::escape(&path.display().to_string());
    let message = format!(
        "cannot sync {shown} to the disk: {error}; the step took effect, but a power failure may undo it"
    );
    StoreError::new(StoreErrorKind::Unknown, message).caused_by(error)
}

/// Translates an error of the file system, at a path.
pub(super) fn at_path(doing: &str, path: &Path, error: std::io::Error) -> StoreError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => StoreErrorKind::Full,
        // Like SQLite's errors of the disk: another attempt may work.
        _ if error.raw_os_error() == Some(nix::libc::EIO) => StoreErrorKind::Full,
        _ => StoreErrorKind::Unusable,
    };
    let shown = crate::text::escape(&path.display().to_string());
    // Other files may be closed meanwhile.
    let has_too_many = matches!(error.raw_os_error(), Some(nix::libc::EMFILE | nix::libc::ENFILE));
    let told = StoreError::new(kind, format!("cannot {doing} {shown}: {error}")).caused_by(error);
    if has_too_many { told.of_a_connection() } else { told }
}

/// An error that the user must fix before the store can be used.
pub(super) fn unusable(message: String) -> StoreError {
    StoreError::new(StoreErrorKind::Unusable, message)
}
