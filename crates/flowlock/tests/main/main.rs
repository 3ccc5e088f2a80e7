//! The library's promises, tried from outside.

mod between;
mod files;
mod histories;
mod holders;
mod unreachable;
mod went_back;

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
