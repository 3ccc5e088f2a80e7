//! The library's log, on standard error.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::panic::PanicHookInfo;
use std::sync::Once;

use tracing::level_filters::LevelFilter;

use crate::args::Global;
use crate::{outlet, terminal};

static BEGUN: Once = Once::new();
static LEVEL: std::sync::OnceLock<LevelFilter> = std::sync::OnceLock::new();

/// Sets how much is logged: errors with `--quiet`, else warnings; with `-vv` everything up to debug.
pub(crate) fn set_level(global: &Global) {
    let level = match (global.quiet, global.verbose) {
        (true, _) => LevelFilter::ERROR,
        (false, 0 | 1) => LevelFilter::WARN,
        (false, _) => LevelFilter::DEBUG,
    };
    let _ = LEVEL.set(level);
}

/// Begins to log, only once a command has started: what would be logged before is in its answer.
pub(crate) fn begin() {
    BEGUN.call_once(|| {
        let level = LEVEL.get().copied().unwrap_or(LevelFilter::WARN);
        // The store's notices are printed as messages; once is enough.
        let filter = format!("{level},{}=off", flowlock::store::NOTICES);
        let _ = tracing_subscriber::fmt()
            .with_env_filter(tracing_subscriber::EnvFilter::new(filter))
            .with_writer(|| outlet::Log)
            .with_target(false)
            .with_ansi(false)
            .try_init();
    });
}

/// Prints what the standard library would print for a panic, but does not wait for a reader.
pub(crate) fn panicked(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    terminal::add(&format!("thread '{}' {panic}", thread.name().unwrap_or("<unnamed>")));
    let trace = Backtrace::capture();
    match trace.status() {
        BacktraceStatus::Captured => terminal::add(&trace.to_string()),
        _ => terminal::add("note: run with `RUST_BACKTRACE=1` to see where it came from"),
    }
}
