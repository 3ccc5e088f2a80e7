//! Files beside an embedded store that somebody else put there, and stores reached through links.

mod cleared;
mod links;
mod liveness;
mod owners;
mod planted;
mod sockets;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use flowlock::store::Store as _;
use flowlock::store::sqlite::SqliteStore;
use flowlock::{ClientId, Error, Flowlock, Namespace};
use nix::sys::stat::{Mode, SFlag, mknod};
use tempfile::TempDir;

const PATIENT: Duration = Duration::from_secs(2);
/// A user who owns nothing.
const STRANGER: u32 = 54_321;
/// What lies beside a store.
const BESIDE: [&str; 6] = ["-live", "-lock", "-wal", "-shm", "-journal", "-wake"];

/// What somebody puts in the place of one of flowlock's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    Link,
    LinkToNothing,
    Fifo,
    Socket,
    Directory,
    Device,
    HardLink,
    OfAStranger,
    WritableByAll,
}

use Planted::{Device, Directory, Fifo, HardLink, Link, LinkToNothing, OfAStranger, Socket, WritableByAll};

const KINDS: [Planted; 9] =
    [Link, LinkToNothing, Fifo, Socket, Directory, Device, HardLink, OfAStranger, WritableByAll];

/// A directory with a place for a store, and one with what must not be touched.
struct Place {
    root: TempDir,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["store", "victim"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        fs::write(root.path().join("victim/file"), "short").unwrap();
        Self { root }
    }

    fn path(&self) -> PathBuf {
        self.root.path().join("store/flowlock.db")
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        self.root.path().join(format!("store/flowlock.db{suffix}"))
    }

    fn victim(&self, name: &str) -> PathBuf {
        self.root.path().join("victim").join(name)
    }

    fn open(&self) -> Result<SqliteStore, flowlock::store::StoreError> {
        SqliteStore::open(&self.path(), PATIENT)
    }

    /// Puts something in a file's place; false if only root could.
    fn plant(&self, planted: Planted, suffix: &str) -> bool {
        let (at, root) = (self.beside(suffix), nix::unistd::geteuid().is_root());
        let _ = fs::remove_file(&at).or_else(|_| fs::remove_dir(&at));
        match planted {
            Link if suffix == "-wake" => symlink(self.victim(""), &at).unwrap(),
            Link => symlink(self.victim("file"), &at).unwrap(),
            LinkToNothing => symlink(self.victim("nothing"), &at).unwrap(),
            Fifo => nix::unistd::mkfifo(&at, Mode::S_IRWXU).unwrap(),
            Socket => drop(UnixDatagram::bind(&at).unwrap()),
            Directory if suffix == "-wake" => return false,
            Directory => fs::create_dir(&at).unwrap(),
            Device if root => mknod(&at, SFlag::S_IFCHR, Mode::S_IRWXU, nix::libc::makedev(1, 5)).unwrap(),
            HardLink => fs::hard_link(self.victim("file"), &at).unwrap(),
            OfAStranger if root => {
                ordinary(&at, suffix, 0o600);
                chown(&at, Some(STRANGER), None).unwrap();
            }
            WritableByAll => ordinary(&at, suffix, 0o666),
            Device | OfAStranger => return false,
        }
        true
    }

    /// What must not be touched was not.
    #[track_caller]
    fn is_unharmed(&self) {
        assert_eq!(fs::read_to_string(self.victim("file")).unwrap(), "short");
        assert_eq!(fs::read_dir(self.victim("")).unwrap().count(), 1);
    }
}

/// What flowlock would make there, but for its mode.
fn ordinary(at: &Path, suffix: &str, mode: u32) {
    let done = if suffix == "-wake" { fs::create_dir(at) } else { fs::write(at, "") };
    done.unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
}

/// Everything that opens files beside the store.
fn use_everything(place: &Place) -> Result<(), flowlock::store::StoreError> {
    let store = place.open()?;
    drop(store.new_liveness_lock()?);
    drop(store.inbox(&Namespace::default(), ClientId(1))?);
    let flowlock = Flowlock::builder().with_store(Arc::new(store));
    match flowlock.job("job").output("a").acquire().and_then(flowlock::Grant::commit) {
        Err(Error::Store(error)) => Err(error),
        Err(error) => panic!("{error}"),
        Ok(_) => Ok(()),
    }
}

/// A rollback journal as SQLite writes them (sqlite.org/fileformat.html, section 3): no pages to restore, and the name
/// of the journal over several databases, which is deleted once it is found to be used up.
fn journal_that_deletes(store: &Path, victim: &Path) -> Vec<u8> {
    const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
    const LOCKED_BYTE: u32 = 0x4000_0000;
    let (page, name) = (4096, victim.to_str().unwrap().as_bytes());
    let pages = u32::try_from(fs::metadata(store).unwrap().len()).unwrap() / page;
    let sum: u32 = name.iter().copied().map(u32::from).sum();
    let numbers =
        |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>();
    let mut journal = [&MAGIC[..], &numbers(&[0, 1, pages, 512, page])].concat();
    journal.resize(512, 0);
    let length = u32::try_from(name.len()).unwrap();
    [&journal[..], &numbers(&[LOCKED_BYTE / page + 1]), name, &numbers(&[length, sum]), &MAGIC].concat()
}
