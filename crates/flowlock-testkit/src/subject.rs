//! A store under test, and the world it lives in.

use std::cell::{OnceCell, RefCell};
use std::fmt;
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use flowlock::store::Store;
use flowlock::store::memory::{MemoryStore, TestWorld};
use flowlock::store::redis::{RedisStore, Ways};
use flowlock::store::sqlite::SqliteStore;
use tempfile::TempDir;

use crate::RedisServer;

/// How many stores one process can have on its server.
const DATABASES: u32 = 65_536;

/// Returns the counts of a server's scripts that are wrong.
const COUNTS: &str = include_str!("subject/counts.lua");

/// Returns all rows of a server's database.
const ROWS: &str = include_str!("subject/rows.lua");

/// How long nothing is granted after another server took over, where that happens.
pub(crate) const FAILOVER_PAUSE: Duration = Duration::from_secs(3);

/// A new, empty store in a world whose time stands still until it is moved, and how to open it again.
pub struct Subject {
    name: &'static str,
    world: Arc<TestWorld>,
    open: Box<dyn Fn() -> Arc<dyn Store>>,
    forget: fn(),
    take_over: fn(),
    miscounts: Box<dyn Fn() -> Vec<String>>,
    rows: Box<dyn Fn() -> Vec<String>>,
    store: Option<Arc<dyn Store>>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Returns a first number for processes that no other subject in this test program has: a server
/// distinguishes the processes of all its databases only by their numbers.
pub(crate) fn first_client_of_its_own() -> u128 {
    static TAKEN: AtomicU32 = AtomicU32::new(1);
    u128::from(TAKEN.fetch_add(1, Ordering::Relaxed)) << 64
}

impl Subject {
    /// Creates a store of any kind. `open` opens the same store each time, with its data.
    pub fn new(
        name: &'static str,
        world: Arc<TestWorld>,
        open: impl Fn() -> Arc<dyn Store> + 'static,
    ) -> Self {
        let store = Some(open());
        Subject {
            name,
            world,
            open: Box::new(open),
            forget: || (),
            take_over: || (),
            miscounts: Box::new(Vec::new),
            rows: Box::new(Vec::new),
            store,
        }
    }

    /// Creates a memory store. It cannot be closed: reopening keeps it.
    pub fn memory(world: Arc<TestWorld>) -> Self {
        let store = Arc::new(MemoryStore::with_world(world.clone()));
        Self::new("memory", world, move || store.clone())
    }

    /// Creates an embedded store, in memory-backed files where the machine has them.
    pub fn sqlite(world: Arc<TestWorld>) -> Self {
        let shared_memory = Path::new("/dev/shm");
        let directory = if shared_memory.is_dir() { TempDir::new_in(shared_memory) } else { TempDir::new() };
        let directory = directory.expect("room for a store");
        let path = directory.path().join("flowlock.db");
        let its_world = world.clone();
        let subject = Self::new("sqlite", world, move || {
            let store = SqliteStore::open_with_world(&path, Duration::from_secs(10), its_world.clone());
            Arc::new(store.expect("the store opens"))
        });
        // The directory is removed with the subject.
        let rows = move || crate::sql::rows(directory.path().join("flowlock.db"));
        Subject { rows: Box::new(rows), ..subject }
    }

    /// Creates a Redis store, in a database of its own on a server that all subjects of this process
    /// share.
    pub fn redis(world: Arc<TestWorld>) -> Self {
        Self::redis_taking(Ways::Short, world)
    }

    /// The same with scripts that take these paths: each on a server of its own, because all databases
    /// of one share their messages.
    pub fn redis_taking(ways: Ways, world: Arc<TestWorld>) -> Self {
        fn short() -> &'static RedisServer {
            static SERVER: OnceLock<RedisServer> = OnceLock::new();
            SERVER.get_or_init(|| RedisServer::setup().line(format!("databases {DATABASES}")).start())
        }
        fn long() -> &'static RedisServer {
            static SERVER: OnceLock<RedisServer> = OnceLock::new();
            SERVER.get_or_init(|| RedisServer::setup().line(format!("databases {DATABASES}")).start())
        }
        let (server, forget): (_, fn()) = match ways {
            Ways::Short => (short(), || drop(short().command(&["SCRIPT", "FLUSH"]))),
            Ways::Long => (long(), || drop(long().command(&["SCRIPT", "FLUSH"]))),
        };
        Subject { forget, ..Self::on(server, Duration::ZERO, ways, world) }
    }

    /// Creates a Redis store on a server whose takeovers all subjects of its kind see, with a pause
    /// after each.
    pub fn redis_with_takeovers(ways: Ways, world: Arc<TestWorld>) -> Self {
        fn server() -> &'static RedisServer {
            static SERVER: OnceLock<RedisServer> = OnceLock::new();
            SERVER.get_or_init(|| {
                let setup = RedisServer::setup().line(format!("databases {DATABASES}"));
                let server = setup.line("enable-debug-command local").start();
                // The first steps in a namespace on a server that has just started would pause too.
                crate::until("a server that is up for long enough", crate::PATIENCE, || {
                    (server.uptime() > FAILOVER_PAUSE).then_some(())
                });
                server
            })
        }
        let subject = Self::on(server(), FAILOVER_PAUSE, ways, world);
        Subject {
            forget: || drop(server().command(&["SCRIPT", "FLUSH"])),
            take_over: || drop(server().command(&["DEBUG", "CHANGE-REPL-ID"])),
            ..subject
        }
    }

    /// The Redis store, in a database of its own.
    fn on(server: &'static RedisServer, pause: Duration, ways: Ways, world: Arc<TestWorld>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let database = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(database < DATABASES, "no database is left for one more store");
        let socket = server.socket();
        let url =
            format!("redis+unix://{}?db={database}&failover_pause={}s", socket.display(), pause.as_secs());
        let its_world = world.clone();
        let name = match ways {
            Ways::Short => "redis",
            Ways::Long => "redis by the long ways",
        };
        let subject = Self::new(name, world, move || {
            let store = RedisStore::open_with_world(&url, Duration::from_secs(10), its_world.clone());
            Arc::new(store.expect("the store opens").taking(ways))
        });
        let connection = OnceCell::new();
        let evaluated = Rc::new(move |script: &str| -> Vec<String> {
            let connection = connection.get_or_init(|| {
                let mut connection = server.connect().expect("the server is there");
                redis::cmd("SELECT").arg(database).exec(&mut connection).expect("the database is there");
                RefCell::new(connection)
            });
            let answer = redis::cmd("EVAL").arg(script).arg(0).query(&mut connection.borrow_mut());
            answer.expect("the script answers")
        });
        let miscounts = evaluated.clone();
        Subject {
            miscounts: Box::new(move || miscounts(COUNTS)),
            rows: Box::new(move || evaluated(ROWS)),
            ..subject
        }
    }

    /// Returns its name in messages.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The world.
    pub fn world(&self) -> &Arc<TestWorld> {
        &self.world
    }

    /// The open store.
    pub fn store(&self) -> &dyn Store {
        self.store.as_deref().expect("a subject is open between calls")
    }

    /// Makes its server forget what it need not keep: scripts. This must have no effect.
    pub fn forget(&self) {
        (self.forget)();
    }

    /// Replaces its server by another one with the same data; nothing for stores without a server.
    pub fn take_over(&self) {
        (self.take_over)();
    }

    /// Returns what the store counts separately and counts wrongly; empty for stores that count when
    /// asked.
    pub fn miscounts(&self) -> Vec<String> {
        (self.miscounts)()
    }

    /// Returns everything that the store keeps, a line for each row; empty for one that keeps nothing
    /// outside of its process. The store is closed meanwhile, and random values are masked.
    pub fn rows(&mut self) -> Vec<String> {
        self.store = None;
        let rows = (self.rows)();
        self.store = Some((self.open)());
        rows
    }

    /// Closes the store without notice, as a crash would, and opens it again.
    pub fn reopen(&mut self) {
        self.store = None;
        self.store = Some((self.open)());
    }
}
