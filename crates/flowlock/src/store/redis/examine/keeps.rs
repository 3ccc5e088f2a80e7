//! Whether the server keeps its data: when memory is full, when it ends, when it is replaced.

use super::{Examined, Finding, counted};
use crate::store::StoreError;
use crate::store::redis::url::Durability;

/// A replica that was silent for longer than this many seconds has a problem; the server drops it after
/// `repl-timeout`, 60 s.
const SILENT_S: u64 = 10;

pub(super) fn eviction(examined: &Examined<'_>) -> Finding {
    match examined.field("maxmemory_policy") {
        "" => Finding::good(
            "eviction",
            "INFO does not show it; check by hand that maxmemory-policy is noeviction or one of volatile-…",
        ),
        "noeviction" => Finding::good("eviction", "noeviction"),
        policy if policy.starts_with("volatile-") => Finding::good(
            "eviction",
            format!("{policy}: keys that expire can vanish; flowlock's never expire, so they stay"),
        ),
        policy => Finding::bad(
            "eviction",
            format!(
                "{policy}: when memory is full any key can vanish, with a namespace's runs or records in it; CONFIG SET maxmemory-policy noeviction"
            ),
        ),
    }
}

pub(super) fn persistence(examined: &Examined<'_>) -> Result<Finding, StoreError> {
    const WHAT: &str = "persistence";
    let failed: Vec<_> = ["aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status"]
        .into_iter()
        .filter(|field| !matches!(examined.field(field), "ok" | ""))
        .collect();
    if !failed.is_empty() {
        let found = format!(
            "the last attempt to save failed ({}); see the server's log and its disk",
            failed.join(", ")
        );
        return Ok(Finding::bad(WHAT, found));
    }
    if examined.field("aof_enabled") == "1" {
        let synced = examined.setting("appendfsync")?;
        return Ok(Finding::good(WHAT, append_only(synced.as_deref())));
    }
    Ok(Finding::bad(WHAT, match examined.setting("save")?.as_deref() {
        Some("") => {
            "none: records do not survive a restart; CONFIG SET appendonly yes".to_owned()
        }
        Some(points) => format!(
            "snapshots only (save {points}): a crash loses the records written since the last one; CONFIG SET appendonly yes"
        ),
        None => "no append-only file, and this user may not read whether snapshots are made (CONFIG GET, which shows passwords too): records may not survive a restart; turn on the append-only file".to_owned(),
    }))
}

fn append_only(synced: Option<&str>) -> String {
    match synced {
        Some("always") => "append-only file, synced before each answer".to_owned(),
        Some("everysec") => "append-only file, synced every second: a power failure loses the last second's steps".to_owned(),
        Some(_) => "append-only file, synced when the kernel decides: a power failure loses what was not on disk yet".to_owned(),
        None => "append-only file, but this user may not read how often it is synced (CONFIG GET, which shows passwords too): check appendfsync by hand".to_owned(),
    }
}

pub(super) fn replicas(examined: &Examined<'_>) -> Finding {
    const WHAT: &str = "replicas";
    let wanted = match examined.store.client.options().durability {
        Durability::Replicas { count, .. } => u64::from(count),
        Durability::None => 0,
    };
    let told: Vec<_> = (0..).map_while(|number| examined.info.get(&format!("slave{number}"))).collect();
    let there = examined.number("master_repl_offset").unwrap_or(0);
    let states: Vec<_> = told.iter().map(|line| Replica::read(line, there)).collect();
    let good = states.iter().filter(|replica| replica.is_good).count() as u64;
    if states.is_empty() && wanted == 0 {
        return Finding::good(WHAT, "none: no other server can take over");
    }
    let list: Vec<_> = states.iter().map(|replica| replica.told.as_str()).collect();
    let list = if list.is_empty() { String::new() } else { format!(": {}", list.join("; ")) };
    let found = format!("{}{list}", counted(states.len() as u64, "replica"));
    if good < wanted {
        return Finding::bad(
            WHAT,
            format!("{found}; the URL's durability needs {wanted} in sync: until then grants are given back"),
        );
    }
    if good < states.len() as u64 {
        return Finding::bad(WHAT, format!("{found}; see the log of the one that is not in sync"));
    }
    Finding::good(WHAT, found)
}

struct Replica {
    is_good: bool,
    told: String,
}

impl Replica {
    /// Parses `ip=…,port=…,state=…,offset=…,lag=…`.
    fn read(line: &str, there: u64) -> Self {
        let word = |name: &str| {
            line.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).unwrap_or("?")
        };
        let number = |name: &str| word(name).parse::<u64>().ok();
        let behind = number("offset").map(|offset| there.saturating_sub(offset));
        let (state, lag) = (word("state"), number("lag"));
        let told = format!(
            "{}:{} {state}, {} bytes behind, last heard {} s ago",
            word("ip"),
            word("port"),
            behind.map_or_else(|| "?".to_owned(), |bytes| bytes.to_string()),
            lag.map_or_else(|| "?".to_owned(), |seconds| seconds.to_string()),
        );
        Self { is_good: state == "online" && lag.is_none_or(|lag| lag <= SILENT_S), told }
    }
}

pub(super) fn least_replicas(examined: &Examined<'_>) -> Result<Finding, StoreError> {
    const WHAT: &str = "min-replicas";
    let (least, lag) =
        (examined.setting("min-replicas-to-write")?, examined.setting("min-replicas-max-lag")?);
    let there = examined.number("connected_slaves").unwrap_or(0);
    let Some(least) = least.as_deref().and_then(|text| text.parse::<u64>().ok()) else {
        // INFO counts the replicas in sync only if some are required, and does not say how many are.
        return Ok(match examined.number("min_slaves_good_slaves") {
            None => none_wanted(there),
            Some(0) => {
                Finding::bad(WHAT, "set, and no replica is in sync: every step is refused until one is")
            }
            Some(good) => Finding::good(WHAT, format!("set, and {} in step", counted(good, "replica"))),
        });
    };
    Ok(match (least, there) {
        (0, there) => none_wanted(there),
        _ if examined.number("min_slaves_good_slaves").is_some_and(|good| good < least) => Finding::bad(
            WHAT,
            format!("{least} wanted and fewer are in sync: every step is refused until they are back"),
        ),
        _ => Finding::good(WHAT, format!("{least}, heard within {} s", lag.as_deref().unwrap_or("?"))),
    })
}

fn none_wanted(there: u64) -> Finding {
    let found = match there {
        0 => "0, and there is no replica",
        _ => {
            "0: a primary that is cut off from its replicas continues, and a failover undoes its steps; consider CONFIG SET min-replicas-to-write 1"
        }
    };
    Finding::good("min-replicas", found)
}
