//! Random histories: everything that can happen to a store, played on several stores at once.
//!
//! At every step all stores must give the same answer and hold the same runs and records, and a second
//! opinion (`oracle.rs`) must find every promise kept. Once the faults stop, everything must end.

mod book;
mod check;
mod op;
mod play;
mod request;
mod tally;
mod wakes;

use std::cell::Cell;

use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

pub use op::{Arrival, Fate, Names, Op, Script, Takeovers, Use, Wish, scripts};
pub use play::play;

/// Says which promise was broken.
pub type Verdict = Result<(), String>;

/// Fails the verdict unless the condition holds.
macro_rules! promise {
    ($holds:expr, $($words:tt)+) => {
        if !$holds {
            return Err(format!($($words)+));
        }
    };
}
use promise;

/// A set of this many histories without any lapse, hand-over or loss is badly drawn.
const ENOUGH_TO_SEE_EVERYTHING: u32 = 150;

/// How long a failing history is made smaller.
const LONGEST_SHRINKING_MS: u32 = 60_000;

/// Returns on how many threads histories are played. With takeovers there is one thread, because all
/// subjects see them.
fn threads(takeovers: Takeovers) -> u32 {
    match takeovers {
        Takeovers::Never => 2,
        Takeovers::Happen => 1,
    }
}

/// Plays random histories of up to `longest` events, and panics with the smallest one that breaks a
/// promise.
///
/// `FLOWLOCK_HISTORIES` sets how many are played instead of `cases`, `FLOWLOCK_SEED` (a number) which
/// ones; without it they differ each time, and the drawn seed is printed.
pub fn histories_keep_their_promises(cases: u32, longest: usize, takeovers: Takeovers) {
    let number = |variable: &str| std::env::var(variable).ok().and_then(|text| text.parse::<u64>().ok());
    let cases = number("FLOWLOCK_HISTORIES").map_or(cases, |n| n as u32);
    let fresh = || std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_nanos() as u64;
    let seed = number("FLOWLOCK_SEED").unwrap_or_else(fresh);
    eprintln!("FLOWLOCK_SEED={seed}");
    std::thread::scope(|scope| {
        let count = threads(takeovers);
        let parts = (0..count).map(|part| {
            let cases = (cases + part) / count;
            scope.spawn(move || play_all(cases, longest, takeovers, seed, part))
        });
        for part in parts.collect::<Vec<_>>() {
            if let Err(panic) = part.join() {
                std::panic::resume_unwind(panic);
            }
        }
    });
    if takeovers == Takeovers::Never && cases >= ENOUGH_TO_SEE_EVERYTHING {
        tally::must_have_seen_everything();
    }
}

/// Plays a part of the histories, on one thread.
fn play_all(cases: u32, longest: usize, takeovers: Takeovers, seed: u64, part: u32) {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 4_000,
        max_shrink_time: LONGEST_SHRINKING_MS,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..12].copy_from_slice(&part.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let (played, failed) = (Cell::new(0_u32), Cell::new(false));
    let result = runner.run(&scripts(longest, takeovers), |script| {
        // Those played after the first failure are smaller forms of it.
        played.set(played.get() + u32::from(!failed.get()));
        play(&script, takeovers).map_err(|it| {
            failed.set(true);
            TestCaseError::fail(it.verdict)
        })
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(_, script)) => {
            let failed = play(&script, takeovers).expect_err("the smallest history fails again");
            panic!(
                "{}\nin history {} of part {part}; the smallest form of it, with {} processes, {:?}, written {:05b}\n{}",
                failed.verdict,
                played.get(),
                script.clients,
                script.bounds,
                script.written,
                failed.trace
            );
        }
        Err(TestError::Abort(reason)) => panic!("the histories could not be drawn: {reason}"),
    }
}
