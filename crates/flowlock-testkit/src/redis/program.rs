//! Chooses the server program that the tests run.

use std::ffi::OsStr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// The environment variable that names another server program, such as `valkey-server`.
const VARIABLE: &str = "FLOWLOCK_REDIS_SERVER";

const SERVER: &str = "redis-server";

/// Debian's name for the same program: it behaves according to the name under which it is called. It can be installed
/// without the package that also starts a service.
const CHECKER: &str = "redis-check-rdb";

/// The program that `$FLOWLOCK_REDIS_SERVER` names, or else the Redis on the path.
pub fn redis_program() -> PathBuf {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    FOUND.get_or_init(find).clone()
}

fn find() -> PathBuf {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return named.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    match (on_path(&path, SERVER), on_path(&path, CHECKER)) {
        (Some(server), _) => server,
        (None, Some(checker)) => called_server(&checker),
        (None, None) => panic!("these tests need redis-server on the path, or ${VARIABLE}"),
    }
}

fn on_path(path: &OsStr, program: &str) -> Option<PathBuf> {
    std::env::split_paths(path).map(|directory| directory.join(program)).find(|program| program.is_file())
}

/// Creates, next to the test binaries, a link with the server's name to `redis-check-rdb`.
fn called_server(checker: &Path) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it lies");
    let link = test.with_file_name(SERVER);
    if let Err(error) = symlink(checker, &link) {
        assert!(link.is_file(), "{}: {error}", link.display());
    }
    link
}
