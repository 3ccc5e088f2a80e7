//! A million records: their size, a page of them, and a request among them.

use std::time::{Duration, Instant};

use flowlock::store::{Content, View};
use flowlock::{Creation, Flowlock, Job, Namespace};

use crate::Trouble;
use crate::cycle;
use crate::server::Server;
use crate::stats::{Comparison, compare_timed, percentile};

const RECORDS: u32 = 1_000_000;
const AT_ONCE: u32 = 1_000;
const NAMESPACE: &str = "records";

/// What was seen.
#[derive(Debug)]
pub(crate) struct Seen {
    /// Bytes of the server's memory per record.
    pub(crate) bytes: f64,
    /// Where they are: keys by their letters, and bytes per record in each.
    pub(crate) keys: Vec<(String, u64)>,
    /// A page of a thousand records, asked for, sent and taken apart.
    pub(crate) page: Duration,
    /// An acquire among them against one in an empty namespace.
    pub(crate) acquire: Comparison,
}

/// Loads and measures.
pub(crate) fn a_million(server: &Server, rounds: u32) -> Result<Seen, Trouble> {
    let flowlock = open(server, NAMESPACE)?;
    let before = server.memory()?;
    for part in 0..RECORDS / AT_ONCE {
        let names: Vec<String> = (0..AT_ONCE).map(|number| name(part, number)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        flowlock.create(&names, Creation::default())?;
    }
    let bytes = (server.memory()? - before) / f64::from(RECORDS);
    let sizes = server.key_sizes(NAMESPACE).into_iter();
    let keys = sizes.map(|(letter, size)| (letter, size / u64::from(RECORDS))).collect();
    let empty = open(server, "records-empty")?;
    let (among, alone) = (cycle::job(&flowlock)?, cycle::job(&empty)?);
    let acquire = compare_timed(rounds, 300, || acquire(&among), || acquire(&alone))?;
    Ok(Seen { bytes, keys, page: page(&flowlock)?, acquire })
}

/// As long as names of daily tables are.
fn name(part: u32, number: u32) -> String {
    format!("warehouse.sales.{part:04}.part-{number:03}")
}

fn open(server: &Server, namespace: &str) -> Result<Flowlock, Trouble> {
    Ok(Flowlock::builder().namespace(Namespace::parse(namespace)?).open(&server.tcp())?)
}

fn page(flowlock: &Flowlock) -> Result<Duration, Trouble> {
    let mut times = Vec::new();
    for part in 0..50 {
        let prefix = format!("warehouse.sales.{:04}.", part * 17);
        let start = Instant::now();
        let page = flowlock.view(&View::Records { prefix, after: None, limit: AT_ONCE as usize })?;
        times.push(start.elapsed());
        match page.content {
            Content::Records(records, None) if records.len() == AT_ONCE as usize => {}
            other => return Err(format!("another page: {other:?}").into()),
        }
    }
    Ok(percentile(&mut times, 50))
}

fn acquire(job: &Job) -> Result<Duration, Trouble> {
    let start = Instant::now();
    let grant = job.acquire()?;
    let time = start.elapsed();
    grant.commit()?;
    Ok(time)
}
