//! The written records of the namespace, read as a listing reads them. Living runs are read with the runs that are shown.

use std::time::Instant;

use redis::Value;

use super::{Examined, Finding};
use crate::name::Name;
use crate::store::redis::rows::unpack_record;
use crate::store::{FirstFew, StoreError};
use crate::text::excerpt;
use crate::world::later;

/// How many records one question is about.
const PAGE: usize = 500;

#[derive(Default)]
struct Reading {
    records: usize,
    unreadable: FirstFew,
}

/// Reads every written record, page by page, for as long as any step waits.
pub(super) fn records(examined: &Examined<'_>) -> Result<Finding, StoreError> {
    const WHAT: &str = "records";
    let end = later(Instant::now(), examined.store.patience).min(examined.limits.until);
    let mut reading = Reading::default();
    let mut from = b"-".to_vec();
    loop {
        let Some(names) = names(examined, &from)? else {
            return Ok(Finding::good(
                WHAT,
                "not read (ZRANGEBYLEX is refused); list them with `flowlock outputs`",
            ));
        };
        if !names.is_empty() && !reading.read(examined, &names)? {
            return Ok(Finding::good(WHAT, "not read (HMGET is refused); list them with `flowlock outputs`"));
        }
        match names.last().filter(|_| names.len() == PAGE) {
            Some(last) => from = [b"(", last.as_slice()].concat(),
            None => return Ok(reading.told(WHAT, "all", "")),
        }
        if Instant::now() >= end {
            let more = "; there was no time for more, which a larger store_timeout gives";
            return Ok(reading.told(WHAT, "the first", more));
        }
    }
}

fn names(examined: &Examined<'_>, from: &[u8]) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
    let [_, _, written, ..] = examined.keys.all.as_slice() else { return Ok(None) };
    let most = PAGE.to_string();
    let answer = examined.ask(&[b"ZRANGEBYLEX", written, from, b"+", b"LIMIT", b"0", most.as_bytes()])?;
    let Some(Value::Array(names)) = answer else { return Ok(None) };
    let name = |name| if let Value::BulkString(name) = name { Some(name) } else { None };
    Ok(Some(names.into_iter().filter_map(name).collect()))
}

impl Reading {
    /// Answers whether the server lets this user read them.
    fn read(&mut self, examined: &Examined<'_>, names: &[Vec<u8>]) -> Result<bool, StoreError> {
        let Some(hash) = examined.keys.all.first() else { return Ok(false) };
        let fields: Vec<_> = names.iter().map(|name| [b"o", name.as_slice()].concat()).collect();
        let mut question: Vec<&[u8]> = vec![b"HMGET", hash];
        question.extend(fields.iter().map(Vec::as_slice));
        let Some(Value::Array(rows)) = examined.ask(&question)? else { return Ok(false) };
        for (name, row) in names.iter().zip(rows) {
            self.records += 1;
            let is_readable =
                match (std::str::from_utf8(name).ok().and_then(|name| Name::parse(name).ok()), row) {
                    (Some(name), Value::BulkString(row)) => unpack_record(&name, &row).is_ok(),
                    // One that was removed between the two questions.
                    (Some(_), Value::Nil) => true,
                    _ => false,
                };
            if !is_readable {
                self.unreadable.add(|| excerpt(&String::from_utf8_lossy(name)));
            }
        }
        Ok(true)
    }

    fn told(&self, what: &'static str, which: &str, rest: &str) -> Finding {
        if self.unreadable.count() == 0 {
            return Finding::good(what, format!("{which} {} read{rest}", self.records));
        }
        Finding::bad(
            what,
            format!(
                "{} of {} cannot be read, and commands that need them fail: {}; `flowlock outputs rm NAME` removes \
                 such a record; see who may write the namespace's keys{rest}",
                self.unreadable.count(),
                self.records,
                self.unreadable.list(", ", " ")
            ),
        )
    }
}
