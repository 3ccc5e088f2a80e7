//! How much room there is, and how much a namespace takes.

use super::{Examined, Finding, counted, size};
use crate::store::StoreError;

/// More records than this in one namespace are reported.
const MOST_RECORDS: i64 = 1_000_000;
/// More than this percentage is too full.
const FULL: u64 = 90;

pub(super) fn memory(examined: &Examined<'_>) -> Finding {
    const WHAT: &str = "memory";
    let used = examined.number("used_memory").unwrap_or(0);
    match examined.number("maxmemory") {
        None | Some(0) => Finding::good(WHAT, format!("{} used, no limit set", size(used))),
        Some(most) => {
            let found = format!("{} of {} used", size(used), size(most));
            if used.saturating_mul(100) > most.saturating_mul(FULL) {
                let what = "when it is full nothing new is granted; raise maxmemory or remove what others keep there";
                Finding::bad(WHAT, format!("{found}: {what}"))
            } else {
                Finding::good(WHAT, found)
            }
        }
    }
}

pub(super) fn clients(examined: &Examined<'_>) -> Finding {
    const WHAT: &str = "clients";
    let (Some(there), Some(most)) = (examined.number("connected_clients"), examined.number("maxclients"))
    else {
        return Finding::good(WHAT, "INFO does not show it; check by hand that maxclients leaves room");
    };
    let found = format!("{there} of {most} connections used");
    if there.saturating_mul(100) > most.saturating_mul(FULL) {
        Finding::bad(WHAT, format!("{found}: a process of flowlock takes two or three; raise maxclients"))
    } else {
        Finding::good(WHAT, found)
    }
}

/// Says how much the namespace has, and how much memory that takes.
pub(super) fn namespace(examined: &Examined<'_>) -> Result<Finding, StoreError> {
    const WHAT: &str = "namespace";
    let [row, index, names, ..] = examined.keys.all.as_slice() else {
        return Ok(Finding::good(WHAT, "has no keys"));
    };
    let Some(all_records) = examined.count(&[b"ZCARD", names])? else {
        let found = "cannot be counted (ZCARD is refused); check ZCARD of its key that ends with :n by hand";
        return Ok(Finding::good(WHAT, found));
    };
    let of_index = |from: &[u8], to: &[u8]| examined.count(&[b"ZLEXCOUNT", index, from, to]);
    let (living, waiting) = (of_index(b"[r", b"(s")?, of_index(b"[k", b"(l")?);
    let said = |number: Option<i64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    let found = format!(
        "{} runs alive, {} of them waiting, {all_records} records, {}",
        said(living),
        said(waiting),
        bytes(examined, row)?,
    );
    Ok(if all_records > MOST_RECORDS {
        let what =
            "listings and dumps get slow; spread the names over several namespaces, or let outputs expire";
        Finding::bad(WHAT, format!("{found}: more than {}; {what}", counted(MOST_RECORDS as u64, "record")))
    } else {
        Finding::good(WHAT, found)
    })
}

/// Returns how much all keys take; the server estimates big ones from a few of their members.
fn bytes(examined: &Examined<'_>, row: &[u8]) -> Result<String, StoreError> {
    let mut sum = 0;
    for key in &examined.keys.all {
        match examined.ask(&[b"MEMORY", b"USAGE", key])? {
            Some(redis::Value::Int(bytes)) => sum = u64::saturating_add(sum, bytes.unsigned_abs()),
            Some(_) => {}
            None => {
                let keys = String::from_utf8_lossy(row);
                let keys = keys.trim_end_matches(|letter| letter != ':');
                return Ok(format!(
                    "its size cannot be read (MEMORY USAGE is refused); check the keys {keys}* by hand"
                ));
            }
        }
    }
    Ok(format!("about {}", size(sum)))
}
