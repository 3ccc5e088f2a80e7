//! Files beside an embedded store that somebody else put there, and stores reached through links.

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowlock::store::sqlite::SqliteStore;
use flowlock::store::{Store as _, StoreErrorKind};
use flowlock::{Acquired, Begun, ClientId, Error, Flowlock, Namespace};
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::sys::time::TimeSpec;
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

#[test]
fn nothing_is_opened_that_is_not_ours_beside_a_store() {
    for planted in KINDS {
        for suffix in BESIDE {
            let place = Place::new();
            use_everything(&place).unwrap();
            if !place.plant(planted, suffix) {
                continue;
            }
            let begun = Instant::now();
            let said = use_everything(&place).expect_err(&format!("{planted:?} as {suffix}"));
            assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
            let shown = place.beside(suffix).display().to_string();
            assert!(said.to_string().starts_with(&shown), "{planted:?} as {suffix}: {said}");
            assert!(begun.elapsed() < PATIENT, "{planted:?} as {suffix}");
            place.is_unharmed();
        }
    }
}

#[test]
fn nothing_that_is_not_ours_is_opened_or_followed_while_a_store_is_made() {
    for planted in KINDS {
        for suffix in BESIDE {
            let place = Place::new();
            if !place.plant(planted, suffix) {
                continue;
            }
            // An empty file under a name that SQLite uses is cleared away first.
            let cleared = matches!(suffix, "-wal" | "-shm" | "-journal")
                && matches!(planted, OfAStranger | WritableByAll);
            let done = use_everything(&place);
            assert_eq!(done.is_ok(), cleared, "{planted:?} as {suffix}: {done:?}");
            assert!(cleared || place.beside(suffix).symlink_metadata().is_ok(), "{planted:?} as {suffix}");
            place.is_unharmed();
        }
    }
}

#[test]
fn only_what_sqlite_left_is_cleared_away_for_a_new_store() {
    const INDEX: usize = 32 << 10;
    let padded = |beginning: &[u8], length: usize| [beginning, &vec![0; length - beginning.len()]].concat();
    let version = 3_007_000_u32.to_ne_bytes();
    for (suffix, content, cleared) in [
        ("-wal", b"my notes".to_vec(), false),
        ("-wal", padded(&[0], INDEX + 1), false),
        ("-wal", padded(&[0x37, 0x7f, 0x06, 0x82], 32), true),
        ("-wal", padded(&[0x37, 0x7f, 0x06, 0x83], 32), true),
        ("-shm", b"my notes".to_vec(), false),
        ("-shm", padded(&version, INDEX + 1), false),
        ("-shm", padded(&[0], 4096), true),
        ("-shm", padded(&version, INDEX), true),
        ("-journal", b"my notes".to_vec(), false),
        ("-journal", journal_that_deletes(Path::new("/etc/passwd"), Path::new("nothing")), true),
    ] {
        let place = Place::new();
        // What is not refused stays too, if another file is.
        fs::write(place.beside("-journal"), "").unwrap();
        fs::write(place.beside(suffix), &content).unwrap();
        match (place.open(), cleared) {
            (Ok(_), true) => {}
            (Err(said), false) => {
                assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
                let named = format!("{} is in the way of the store", place.beside(suffix).display());
                assert!(said.to_string().starts_with(&named), "{said}");
                assert_eq!(fs::read(place.beside(suffix)).unwrap(), content);
                assert!(place.beside("-journal").exists() && !place.path().exists());
            }
            (done, _) => panic!("{suffix} of {} bytes: {done:?}", content.len()),
        }
    }
}

#[test]
fn root_makes_and_gives_away_nothing_beside_a_store_of_somebody_else() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can give a store away");
        return;
    }
    for suffix in ["-live", "-lock", "-wal", "-shm", "-wake"] {
        let place = Place::new();
        use_everything(&place).unwrap();
        let directory = place.path().parent().unwrap().to_owned();
        let all = || fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path());
        all()
            .chain([directory.clone()])
            .for_each(|path| chown(path, Some(STRANGER), Some(STRANGER)).unwrap());
        use_everything(&place).unwrap();
        let at = place.beside(suffix);
        fs::remove_file(&at).or_else(|_| fs::remove_dir(&at)).unwrap();
        let said = use_everything(&place).expect_err(suffix);
        assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
        let named = format!(
            "{} is missing, and only user {STRANGER}, who owns the store, can make it: let them run `flowlock doctor`",
            at.display()
        );
        assert_eq!(said.to_string(), named);
        assert!(all().all(|path| !path.starts_with(&at) && !path.display().to_string().contains(".new-")));
    }
}

#[test]
fn a_store_without_its_directory_for_wake_ups_gets_it_from_its_owners_next_command() {
    let place = Place::new();
    use_everything(&place).unwrap();
    fs::remove_dir(place.beside("-wake")).unwrap();
    drop(place.open().unwrap());
    assert!(place.beside("-wake").is_dir());
}

/// Copied back from a backup, say: nobody gets more rights to what is beside it.
#[test]
fn a_store_that_others_may_read_is_used_with_side_files_of_the_owners_alone() {
    let place = Place::new();
    drop(place.open().unwrap());
    let whole = fs::read(place.path()).unwrap();
    fs::remove_dir_all(place.path().parent().unwrap()).unwrap();
    fs::create_dir(place.path().parent().unwrap()).unwrap();
    fs::write(place.path(), whole).unwrap();
    fs::set_permissions(place.path(), fs::Permissions::from_mode(0o644)).unwrap();
    use_everything(&place).unwrap();
    let mode = fs::metadata(place.beside("-wake")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn a_store_that_is_no_regular_file_is_refused() {
    for planted in [Fifo, Socket, Directory, Device, HardLink] {
        let place = Place::new();
        if !place.plant(planted, "") {
            continue;
        }
        let said = place.open().expect_err(&format!("{planted:?}"));
        assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
        assert!(said.to_string().starts_with(&place.path().display().to_string()), "{said}");
        place.is_unharmed();
    }
}

#[test]
fn a_journal_that_others_left_is_not_played_into_the_store_and_deletes_nothing() {
    let place = Place::new();
    use_everything(&place).unwrap();
    fs::write(place.beside("-journal"), journal_that_deletes(&place.path(), &place.victim("file"))).unwrap();
    fs::set_permissions(place.beside("-journal"), fs::Permissions::from_mode(0o600)).unwrap();
    let said = use_everything(&place).unwrap_err();
    assert!(said.to_string().contains("flowlock.db-journal is not empty"), "{said}");
    place.is_unharmed();
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

#[test]
fn where_others_can_make_files_an_empty_journal_keeps_its_place() {
    let place = Place::new();
    use_everything(&place).unwrap();
    assert!(!place.beside("-journal").exists(), "nobody else can make one here");
    fs::set_permissions(place.path().parent().unwrap(), fs::Permissions::from_mode(0o1777)).unwrap();
    for _ in 0..2 {
        use_everything(&place).unwrap();
        let journal = fs::metadata(place.beside("-journal")).unwrap();
        assert_eq!((journal.len(), journal.permissions().mode() & 0o777), (0, 0o600));
    }
}

#[test]
fn files_that_others_put_among_the_sockets_are_left_alone() {
    let place = Place::new();
    let store = place.open().unwrap();
    drop(store.inbox(&Namespace::default(), ClientId(0)).unwrap());
    let inboxes = place.beside("-wake");
    let name = |number: u128| inboxes.join(ClientId(number).to_string());
    fs::write(name(1), "content").unwrap();
    fs::create_dir(name(2)).unwrap();
    symlink(place.victim("file"), name(3)).unwrap();
    drop(UnixDatagram::bind(inboxes.join("another.socket")).unwrap());
    for entry in fs::read_dir(&inboxes).unwrap() {
        grow_old(&entry.unwrap().path());
    }
    for client in 10..30 {
        drop(store.inbox(&Namespace::default(), ClientId(client)).unwrap());
    }
    assert_eq!(fs::read_dir(&inboxes).unwrap().count(), 4);
    assert_eq!(fs::read_to_string(name(1)).unwrap(), "content");
    place.is_unharmed();
}

fn grow_old(path: &Path) {
    let long_ago = TimeSpec::new(1, 0);
    let flags = nix::sys::stat::UtimensatFlags::NoFollowSymlink;
    nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, path, &long_ago, &long_ago, flags).unwrap();
}

#[test]
fn a_link_in_the_place_of_a_clients_socket_brings_nothing_to_another() {
    let place = Place::new();
    let other = UnixDatagram::bind(place.victim("socket")).unwrap();
    other.set_nonblocking(true).unwrap();
    let open = || Flowlock::builder().with_store(Arc::new(place.open().unwrap()));
    let (ours, theirs) = (open(), open());
    let first = ours.job("first").lock("a").acquire().unwrap();
    let Begun::Waiting(second) = theirs.job("second").lock("a").begin().unwrap() else { panic!() };
    // For a moment there is only the directory in which it is made.
    let is_socket = |entry: &fs::DirEntry| entry.file_type().unwrap().is_socket();
    let socket = flowlock_testkit::until("the inbox", PATIENT, || {
        let entries = fs::read_dir(place.beside("-wake")).ok()?.map(Result::unwrap);
        entries.into_iter().find(is_socket).map(|entry| entry.path())
    });
    fs::remove_file(&socket).unwrap();
    symlink(place.victim("socket"), &socket).unwrap();
    first.commit().unwrap();
    assert!(other.recv(&mut [0; 512]).is_err(), "a stranger's socket was written to");
    drop(second);
}

#[test]
fn nobody_is_declared_dead_because_the_liveness_file_was_replaced_by_a_copy() {
    let place = Place::new();
    let open = || Flowlock::builder().with_store(Arc::new(place.open().unwrap()));
    let (ours, theirs) = (open(), open());
    let held = ours.job("holder").lock("a").acquire().unwrap();
    fs::copy(place.beside("-live"), place.beside(".copy")).unwrap();
    fs::rename(place.beside(".copy"), place.beside("-live")).unwrap();
    for flowlock in [theirs, open()] {
        let next = flowlock.job("next").lock("a").try_acquire().unwrap();
        assert!(matches!(next, Acquired::Blocked(_)), "{next:?}");
    }
    held.commit().unwrap();
}

#[test]
fn a_store_reached_through_a_link_has_the_side_files_of_its_target() {
    let place = Place::new();
    let [link, directory] = ["link.db", "directory"].map(|name| place.root.path().join(name));
    symlink("store/flowlock.db", &link).unwrap();
    symlink(place.path().parent().unwrap(), &directory).unwrap();
    let open = |path: &Path| Flowlock::open(&format!("sqlite:{}", path.display())).unwrap();
    // Through a link that leads to nothing yet the store is made where it leads to.
    let held = open(&link).job("holder").lock("a").acquire().unwrap();
    let store = fs::canonicalize(&link).unwrap();
    assert_eq!(store, fs::canonicalize(place.path()).unwrap());
    for path in [place.path(), directory.join("flowlock.db"), directory.join("../link.db")] {
        let flowlock = open(&path);
        assert_eq!(flowlock.store().url(), format!("sqlite:{}", store.display()));
        let next = flowlock.job("next").lock("a").try_acquire().unwrap();
        assert!(matches!(next, Acquired::Blocked(_)), "{next:?}");
    }
    held.commit().unwrap();
    let mut beside: Vec<_> =
        fs::read_dir(place.root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    beside.sort();
    assert_eq!(beside, ["directory", "link.db", "store", "victim"]);
}

#[test]
fn a_link_that_somebody_else_made_is_not_followed_to_a_store() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can make a link of another user");
        return;
    }
    let place = Place::new();
    drop(place.open().unwrap());
    for (link, target, file) in [
        ("link.db", "store/flowlock.db", "link.db"),
        ("new.db", "victim/new.db", "new.db"),
        ("directory", "store", "directory/flowlock.db"),
    ] {
        let link = place.root.path().join(link);
        symlink(target, &link).unwrap();
        lchown(&link, Some(STRANGER), None).unwrap();
        let said = SqliteStore::open(&place.root.path().join(file), PATIENT).unwrap_err();
        assert_eq!(said.kind(), StoreErrorKind::Unusable);
        let named = format!(
            "{} is a symbolic link made by user {STRANGER}, who is neither you nor root, so it is not followed; if you mean its target {target}, name that",
            link.display()
        );
        assert_eq!(said.to_string(), named);
    }
    place.is_unharmed();
}

#[test]
fn links_that_lead_in_a_circle_are_no_store() {
    let place = Place::new();
    symlink("flowlock.db", place.path()).unwrap();
    let said = place.open().unwrap_err();
    assert!(said.to_string().contains("Too many levels of symbolic links"), "{said}");
}

#[test]
fn what_flowlock_makes_beside_a_store_is_the_users_alone() {
    let place = Place::new();
    use_everything(&place).unwrap();
    let mode = |suffix: &str| fs::metadata(place.beside(suffix)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(["", "-live", "-lock", "-wal", "-shm"].map(mode), [0o600; 5]);
    assert_eq!(mode("-wake"), 0o700);
}

#[test]
fn leftovers_are_found_and_the_next_maker_clears_them_away() {
    let place = Place::new();
    let left: Vec<_> = ["", "-journal"]
        .map(|of| place.beside(&format!(".new-0123456789abcdef{of}")))
        .into_iter()
        .chain([place.beside("-live.new-0123456789abcdef")])
        .collect();
    let others = [place.beside(".new-prod"), place.beside(".new")];
    left.iter().chain(&others).for_each(|path| fs::write(path, "").unwrap());
    let mut found = SqliteStore::leftovers(&place.path());
    found.sort();
    let mut expected = left.clone();
    expected.sort();
    assert_eq!(found, expected);
    drop(place.open().unwrap());
    assert!(left.iter().all(|path| !path.exists()) && others.iter().all(|path| path.exists()));
}

/// A project that was cloned may name its store, and so which names these are.
#[test]
fn a_file_of_the_users_that_has_the_name_of_a_side_file_is_left_alone_and_named() {
    for is_there in [false, true] {
        for (suffix, text) in [
            ("-live", "v1.2\n"),
            ("-live", "a list of those who live\n"),
            ("-wal", "precious notes"),
            ("-shm", "precious notes"),
            ("-journal", "precious notes"),
        ] {
            let place = Place::new();
            if is_there {
                use_everything(&place).unwrap();
            }
            fs::write(place.beside(suffix), text).unwrap();
            fs::set_permissions(place.beside(suffix), fs::Permissions::from_mode(0o600)).unwrap();
            let said = place.open().unwrap_err();
            assert_eq!(said.kind(), StoreErrorKind::Unusable, "{said}");
            assert!(said.to_string().contains(&format!("flowlock.db{suffix}")), "{said}");
            assert_eq!(fs::read_to_string(place.beside(suffix)).unwrap(), text, "{suffix}");
        }
    }
}

#[test]
fn a_file_of_the_users_that_is_called_like_a_draft_is_no_leftover() {
    let place = Place::new();
    let theirs = [".new-2026112619020000", ".new-2026112619020000-wal", "-live.new-2026112619020000"]
        .map(|name| place.beside(name));
    for path in &theirs {
        fs::write(path, "a dump of the day").unwrap();
    }
    let full = place.beside("-wake.new-2026112619020000");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("file"), "").unwrap();
    assert!(SqliteStore::leftovers(&place.path()).iter().all(|path| *path == full));
    drop(place.open().unwrap());
    assert!(theirs.iter().all(|path| fs::read_to_string(path).unwrap() == "a dump of the day"));
    assert!(full.join("file").exists());
}

/// Whoever may write the file may cut it off, and must not be able to stop everybody by that.
#[test]
fn a_liveness_file_that_was_cut_off_gets_a_new_number_and_nobody_is_declared_dead() {
    for is_of_a_project in [false, true] {
        let place = Place::new();
        let path = if is_of_a_project { place.root.path().join("./store/flowlock.db") } else { place.path() };
        let open = || Flowlock::builder().with_store(Arc::new(SqliteStore::open(&path, PATIENT).unwrap()));
        let first = open();
        let held = first.job("holder").lock("a").acquire().unwrap();
        for length in (0..8).rev() {
            fs::File::options().write(true).open(place.beside("-live")).unwrap().set_len(length).unwrap();
            let next = open().job("next").lock("a").try_acquire().unwrap();
            assert!(matches!(next, Acquired::Blocked(_)), "{next:?}");
            assert_eq!(fs::metadata(place.beside("-live")).unwrap().len(), 8);
        }
        held.commit().unwrap();
        open().job("next").lock("a").acquire().unwrap().commit().unwrap();
    }
}

/// Where a group shares the store its members may write any content; only a project names files that are not the store's.
#[test]
fn no_content_of_a_side_file_stops_those_who_share_a_store() {
    for (suffix, content) in
        [("-live", "abc"), ("-live", "abcdefghijkl"), ("-shm", "garbage"), ("-wal", "garbage")]
    {
        let place = Place::new();
        fs::set_permissions(place.path().parent().unwrap(), fs::Permissions::from_mode(0o2770)).unwrap();
        use_everything(&place).unwrap();
        assert_eq!(fs::metadata(place.path()).unwrap().permissions().mode() & 0o777, 0o660);
        fs::write(place.beside(suffix), content).unwrap();
        let of_a_project = place.root.path().join("./store/flowlock.db");
        let said = SqliteStore::open(&of_a_project, PATIENT).unwrap_err();
        assert!(said.to_string().contains(&format!("flowlock.db{suffix}")), "{said}");
        assert_eq!(fs::read_to_string(place.beside(suffix)).unwrap(), content);
        use_everything(&place).expect(suffix);
    }
}

#[test]
fn a_store_that_a_project_names_is_reached_through_no_link_and_says_so_to_others() {
    let place = Place::new();
    let root = place.root.path().canonicalize().unwrap();
    let marked = |below: &str| PathBuf::from(format!("{}/./{below}", root.display()));
    let url = SqliteStore::open(&marked("store/flowlock.db"), PATIENT).unwrap().url();
    assert_eq!(url, format!("sqlite:{}/./store/flowlock.db", root.display()));
    assert!(Flowlock::open(&url).is_ok());
    symlink("store", root.join("way")).unwrap();
    symlink("store/flowlock.db", root.join("link.db")).unwrap();
    for (path, link) in [("way/flowlock.db", "way"), ("link.db", "link.db")] {
        let said = SqliteStore::open(&marked(path), PATIENT).unwrap_err();
        assert_eq!(said.kind(), StoreErrorKind::Unusable);
        let named = format!("{} is a symbolic link to store", root.join(link).display());
        assert!(said.to_string().starts_with(&named), "{said}");
        SqliteStore::open(&root.join(path), PATIENT).unwrap();
    }
    let said = SqliteStore::open(&marked("victim/../store/flowlock.db"), PATIENT).unwrap_err();
    assert!(said.to_string().contains("has \"..\" in it"), "{said}");
}
