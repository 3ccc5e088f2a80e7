//! What was measured, as a table that can be copied into a page.

use std::time::Duration;

use super::stats::Comparison;

/// The result column's numbers, beside what they must and should be.
#[derive(Debug)]
pub(crate) struct Row {
    what: &'static str,
    measured: String,
    must: &'static str,
    aim: &'static str,
}

impl Row {
    /// A row of its own wording.
    pub(crate) fn new(what: &'static str, measured: String, must: &'static str, aim: &'static str) -> Self {
        Self { what, measured, must, aim }
    }

    /// A row for a ratio.
    pub(crate) fn ratio(what: &'static str, seen: Comparison, must: &'static str, aim: &'static str) -> Self {
        let Comparison { ours, bare, ratio } = seen;
        Self::new(what, format!("**{ratio:.2} ×** ({} against {})", short(ours), short(bare)), must, aim)
    }
}

/// Prints the rows as a Markdown table.
pub(crate) fn print(rows: &[Row]) {
    println!("\n| what | measured | must | aim |\n|---|---|---|---|");
    for Row { what, measured, must, aim } in rows {
        println!("| {what} | {measured} | {must} | {aim} |");
    }
}

/// `870 µs`, `1.25 ms`, `2.1 s`.
pub(crate) fn short(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    if micros < 1000.0 {
        format!("{micros:.0} µs")
    } else if micros < 1e6 {
        format!("{:.2} ms", micros / 1e3)
    } else {
        format!("{:.1} s", micros / 1e6)
    }
}
