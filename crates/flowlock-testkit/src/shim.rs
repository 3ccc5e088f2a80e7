//! Builds a library to preload, once per version of its source.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A small C library that is preloaded into a real process.
#[derive(Debug)]
pub(crate) struct Shim {
    name: &'static str,
    source: &'static str,
    built: OnceLock<PathBuf>,
}

/// Injects faults: see [`Fault`](crate::Fault).
pub(crate) static FAULT: Shim = Shim::new("fault", include_str!("../shim/fault.c"));

/// Shows another time of day: see [`Clock`](crate::Clock).
pub(crate) static CLOCK: Shim = Shim::new("clock", include_str!("../shim/clock.c"));

impl Shim {
    const fn new(name: &'static str, source: &'static str) -> Self {
        Shim { name, source, built: OnceLock::new() }
    }

    /// Returns the library's path. Builds it next to the test binaries first if it is not there.
    pub(crate) fn library(&self) -> &Path {
        self.built.get_or_init(|| {
            let mut hasher = DefaultHasher::new();
            self.source.hash(&mut hasher);
            let test = std::env::current_exe().expect("a test knows where it lies");
            let library = test.with_file_name(format!("flowlock-{}-{:016x}.so", self.name, hasher.finish()));
            if !library.exists() {
                self.build(&library);
            }
            library
        })
    }

    /// Compiles to a file name of this process's own and then renames it, so that two test binaries can build at
    /// once.
    fn build(&self, library: &Path) {
        let own = library.with_extension(format!("{}.so", std::process::id()));
        let source = own.with_extension("c");
        std::fs::write(&source, self.source).expect("a place for the source of the library");
        let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
        let output = Command::new(&compiler)
            .args(["-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-o"])
            .args([&own, &source])
            .output()
            .unwrap_or_else(|error| {
                panic!(
                    "these tests need a C compiler ($CC, or cc on the path): {} cannot run: {error}",
                    compiler.display()
                )
            });
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "shim/{}.c: {said}", self.name);
        std::fs::rename(&own, library).expect("the built library moves into place");
        std::fs::remove_file(&source).expect("the source copy can go");
    }
}
