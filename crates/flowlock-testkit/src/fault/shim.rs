//! Building the preloaded library, once per version of its source.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const SOURCE: &str = include_str!("../../shim/fault.c");

/// The library's path, after building it beside the test binaries if it is not there.
pub(super) fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let mut hasher = DefaultHasher::new();
        SOURCE.hash(&mut hasher);
        let test = std::env::current_exe().expect("a test knows where it lies");
        let library = test.with_file_name(format!("flowlock-fault-{:016x}.so", hasher.finish()));
        if !library.exists() {
            build(&library);
        }
        library
    })
}

/// Compiles to a name of this process and renames, so that two test binaries may build at once.
fn build(library: &Path) {
    let own = library.with_extension(format!("{}.so", std::process::id()));
    let source = own.with_extension("c");
    std::fs::write(&source, SOURCE).expect("a place for the source of the fault library");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let output = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-o"])
        .args([&own, &source])
        .output()
        .unwrap_or_else(|error| {
            panic!(
                "the fault tests need a C compiler ($CC, or cc on the path): {} cannot run: {error}",
                compiler.display()
            )
        });
    assert!(output.status.success(), "shim/fault.c: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::rename(&own, library).expect("the built library moves into place");
    std::fs::remove_file(&source).expect("the source copy can go");
}
