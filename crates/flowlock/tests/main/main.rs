//! The library's promises, tried from outside.

mod altered;
mod files;
mod histories;
mod layouts;
mod servers;
mod servers_scale;
mod side_files;
mod still;
mod went_back;

#[path = "every/mod.rs"]
mod embedded;
#[expect(clippy::duplicate_mod, reason = "one list of tests for every store")]
#[path = "every/mod.rs"]
mod memory;
#[expect(clippy::duplicate_mod, reason = "the same")]
#[path = "every/mod.rs"]
mod redis;

/// What kind of store a test is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backing {
    /// Memory of this process.
    Memory,
    /// A file.
    Embedded,
    /// A namespace of its own on a server.
    Redis,
}

impl Backing {
    /// The one that a module above is named after.
    const fn named(module: &str) -> Self {
        match module.as_bytes() {
            b"main::memory" => Backing::Memory,
            b"main::embedded" => Backing::Embedded,
            b"main::redis" => Backing::Redis,
            _ => panic!("this module is named after no store"),
        }
    }
}

/// The memory store keeps the contract.
mod memory_store {
    use flowlock_testkit::Subject;
    flowlock_testkit::conformance!(Subject::memory);
}

/// The embedded store keeps the contract.
mod embedded_store {
    use flowlock_testkit::Subject;
    flowlock_testkit::conformance!(Subject::sqlite);
}

/// The Redis store keeps the contract.
mod redis_store {
    use flowlock_testkit::Subject;
    flowlock_testkit::conformance!(Subject::redis);
}
