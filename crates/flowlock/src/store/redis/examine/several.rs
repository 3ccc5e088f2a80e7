//! Servers that belong together: sentinels, and the nodes of a cluster.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use redis::Value;

use super::{Examined, Finding, counted};
use crate::store::StoreError;
use crate::store::redis::dial::Part;
use crate::store::redis::failure::{self, Failure};
use crate::store::redis::pack;
use crate::store::redis::url::{Address, Deployment};
use crate::world::later;

/// How the servers are arranged.
pub(super) fn arrangement(examined: &Examined<'_>) -> Result<Vec<Finding>, StoreError> {
    let at = examined.address().map_or_else(|| "an unknown server".to_owned(), |address| address.to_string());
    Ok(match &examined.store.client.options().deployment {
        Deployment::One(_) => vec![Finding::good("primary", at)],
        Deployment::Sentinel { sentinels, master } => {
            vec![Finding::good("primary", at), self::sentinels(examined, sentinels, master)]
        }
        Deployment::Cluster(_) => {
            let place = format!("{at} has the namespace");
            vec![Finding::good("primary", place), cluster(examined)?]
        }
    })
}

/// Checks what the sentinels say about the primary, and which of them do not answer.
fn sentinels(examined: &Examined<'_>, all: &[Address], master: &str) -> Finding {
    const WHAT: &str = "sentinels";
    let (mut answering, mut silent, mut quorum, mut known) = (0, Vec::new(), None, 0);
    for sentinel in all {
        match ask_sentinel(examined, sentinel, master) {
            Ok(told) => {
                let number = |field: &str| told.get(field).and_then(|value| value.parse::<u64>().ok());
                answering += 1;
                quorum = quorum.max(number("quorum"));
                known = known.max(number("num-other-sentinels").unwrap_or(0) + 1);
            }
            Err(failure) => silent.push(failure.message),
        }
    }
    let quorum_said = quorum.map_or_else(|| "?".to_owned(), |quorum| quorum.to_string());
    let found = format!("{answering} of {} answer, {known} know each other, quorum {quorum_said}", all.len());
    // A failover needs the quorum, and more than half of all that know each other.
    let needed = quorum.unwrap_or(1).max(known / 2 + 1);
    if silent.is_empty() {
        return if known < 3 {
            let what = "fewer than three cannot outvote a broken one";
            Finding::bad(WHAT, format!("{found}: {what}"))
        } else {
            Finding::good(WHAT, found)
        };
    }
    let reach =
        if answering < needed { format!("; {needed} are needed for a failover") } else { String::new() };
    Finding::bad(WHAT, format!("{found}{reach}: {}", silent.join("; ")))
}

/// The fields of `SENTINEL MASTER`.
fn ask_sentinel(
    examined: &Examined<'_>,
    sentinel: &Address,
    master: &str,
) -> Result<BTreeMap<String, String>, Failure> {
    const LONG_ENOUGH: Duration = Duration::from_secs(2);
    let limits = examined.question().no_later_than(later(Instant::now(), LONG_ENOUGH));
    let mut connection = examined.store.client.dialler().dial(sentinel, Part::Sentinel, &limits)?;
    let question = pack::arguments(&[b"SENTINEL", b"MASTER", master.as_bytes()]);
    let answer = connection.send(&question, &limits).and_then(|()| connection.receive(&limits));
    match answer.map_err(|trouble| failure::not_set_up(sentinel, &trouble, connection.transport()))? {
        Value::Array(arguments) => Ok(arguments
            .chunks_exact(2)
            .filter_map(|pair| match pair {
                [Value::BulkString(field), Value::BulkString(value)] => Some((
                    String::from_utf8_lossy(field).into_owned(),
                    String::from_utf8_lossy(value).into_owned(),
                )),
                _ => None,
            })
            .collect()),
        Value::ServerError(error) => Err(failure::refused(sentinel, &error)),
        _ => Err(Failure::unusable(format!("{sentinel} answered something other than a list"))),
    }
}

/// Checks what the namespace's node says about the whole cluster.
fn cluster(examined: &Examined<'_>) -> Result<Finding, StoreError> {
    const WHAT: &str = "cluster";
    let slots = examined.ask(&[b"CLUSTER", b"SLOTS"])?;
    let Some(Value::BulkString(info)) = examined.ask(&[b"CLUSTER", b"INFO"])? else {
        let what = "cannot be read (CLUSTER INFO is refused); check cluster_state by hand";
        return Ok(Finding::good(WHAT, what));
    };
    let info = String::from_utf8_lossy(&info);
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let (state, primaries) = (field("cluster_state").unwrap_or("?"), field("cluster_size").unwrap_or("?"));
    let found = format!("state {}, {primaries} primaries", failure::quoted(state));
    Ok(match (state, slots) {
        ("ok", Some(_)) => Finding::good(WHAT, found),
        ("ok", None) => Finding::bad(
            WHAT,
            format!(
                "{found}; this user may not call CLUSTER SLOTS, so only the nodes in the URL are known when one is lost"
            ),
        ),
        _ => {
            let bad = field("cluster_slots_fail").and_then(|slots| slots.parse().ok()).unwrap_or(0);
            Finding::bad(
                WHAT,
                format!(
                    "{found}, {} failing: bring its primaries back, see CLUSTER NODES",
                    counted(bad, "slot")
                ),
            )
        }
    })
}
