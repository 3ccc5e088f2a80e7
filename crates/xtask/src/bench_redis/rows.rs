//! The parts of the benchmark, as rows of its table.

use std::path::Path;

use crate::per_step::{self, Kind};
use crate::server::Server;
use crate::stats::Comparison;
use crate::table::{Row, short};
use crate::{PARTS, Trouble, cycle, elsewhere, handoff, idle, queue, records, released, script, threads};

/// What the parts are measured with.
pub(crate) struct Bench<'p> {
    pub(crate) server: Server,
    /// The command line program.
    pub(crate) flowlock: &'p Path,
    /// A Python that has jobs.py.
    pub(crate) python: &'p Path,
    pub(crate) rounds: u32,
}

impl Bench<'_> {
    /// Measures one part.
    pub(crate) fn part(&self, part: &str) -> Result<Vec<Row>, Trouble> {
        match part {
            "cycle" => self.cycle(),
            "script" => self.script(),
            "steps" => self.steps(),
            "elsewhere" => self.elsewhere(),
            "handoff" => self.handoff(),
            "released" => self.released(),
            "queue" => self.queue(),
            "idle" => self.idle(),
            "records" => self.records(),
            "threads" => self.threads(),
            other => Err(format!("there is no part `{other}`, only {}", PARTS.join(", ")).into()),
        }
    }

    fn cycle(&self) -> Result<Vec<Row>, Trouble> {
        let over_tcp =
            "acquire + commit, 3 inputs, 2 outputs, against two round trips that do nothing, over TCP";
        let places = [
            (over_tcp, "1.3 ×", self.server.tcp()),
            ("the same over a unix socket", "1.5 ×", self.server.unix()),
        ];
        let row = |(what, aim, url): (&'static str, &'static str, String)| {
            let seen = cycle::against_two_round_trips(&self.server, &url, self.rounds)?;
            let (ours, bare) = seen.bytes;
            println!("bytes sent per cycle: {ours}, by the bare side {bare}");
            let (ours, bare) = seen.client;
            println!("own time on a core per cycle: {}, of the bare side {}", short(ours), short(bare));
            Ok(Row::ratio(what, seen.comparison, "2 ×", aim))
        };
        places.into_iter().map(row).collect()
    }

    fn script(&self) -> Result<Vec<Row>, Trouble> {
        let seen = script::against_jobs_py(&self.server, self.python, self.rounds)?;
        let what = "the server's time for acquire + commit, against jobs.py 0.31 with history";
        Ok(vec![Row::ratio(what, seen, "1 ×", "0.8 ×")])
    }

    /// Each kind of step by itself, whatever others do.
    fn steps(&self) -> Result<Vec<Row>, Trouble> {
        let rows = per_step::in_all_scenes(&self.server, self.rounds)?.into_iter();
        Ok(rows.map(|(kind, scenes)| step_row(kind, &scenes)).collect())
    }

    fn elsewhere(&self) -> Result<Vec<Row>, Trouble> {
        let seen = elsewhere::with_others(&self.server, self.rounds)?;
        let what = "acquire + commit with one lapsed run and one waiting run elsewhere in the namespace, against none";
        let of_server = "the server's time for it";
        Ok(vec![
            Row::ratio(what, seen.cycle, "1.3 ×", "1.1 ×"),
            Row::ratio(of_server, seen.server, "1.3 ×", "1.1 ×"),
        ])
    }

    fn handoff(&self) -> Result<Vec<Row>, Trouble> {
        let (p50, p99) = handoff::between_two_processes(&self.server.tcp())?;
        let measured = format!("p50 **{}**, p99 **{}**", short(p50), short(p99));
        let what = "hand-off between processes: release sent → the next claim answered";
        Ok(vec![Row::new(what, measured, "1 / 5 ms", "0.3 / 0.8 ms")])
    }

    fn released(&self) -> Result<Vec<Row>, Trouble> {
        let open = || flowlock::Flowlock::open(&self.server.tcp());
        Ok(released::rows(&open()?, &open()?)?.into())
    }

    fn queue(&self) -> Result<Vec<Row>, Trouble> {
        let mut times = Vec::new();
        for queued in [10, 100, 1_000, 10_000] {
            let time = queue::release(&self.server, queued)?;
            println!("{queued} in line: {}", short(time));
            times.push(time);
        }
        let ratio = |at: usize| times[at].as_secs_f64() / times[0].as_secs_f64();
        let measured = format!(
            "**{:.2} ×** ({} against {}; with 100 {:.2} ×, with 1,000 {:.2} ×)",
            ratio(3),
            short(times[3]),
            short(times[0]),
            ratio(1),
            ratio(2)
        );
        let what = "the server's time for a release with 10,000 in line for the name, against 10 in line";
        Ok(vec![Row::new(what, measured, "2 ×", "1.3 ×")])
    }

    fn idle(&self) -> Result<Vec<Row>, Trouble> {
        let one = idle::in_one_process(&self.server)?;
        let many = idle::in_a_thousand_processes(&self.server, self.flowlock)?;
        Ok(vec![
            Row::new(
                "1,000 runs waiting in one process: commands in a second",
                format!("**{one:.1}**"),
                "2",
                "",
            ),
            Row::new("1,000 runs waiting in 1,000 processes: the same", format!("**{many:.0}**"), "250", ""),
        ])
    }

    fn records(&self) -> Result<Vec<Row>, Trouble> {
        let seen = records::a_million(&self.server, self.rounds)?;
        for (letter, bytes) in &seen.keys {
            println!("key {letter}: {bytes} B per record");
        }
        Ok(vec![
            Row::new(
                "1,000,000 records: memory for each",
                format!("**{:.0} B**", seen.bytes),
                "400 B",
                "250 B",
            ),
            Row::new(
                "a page of 1,000 of them, read and taken apart",
                format!("**{}**", short(seen.page)),
                "100 ms",
                "",
            ),
            Row::ratio("an acquire among them, against one in an empty namespace", seen.acquire, "1.3 ×", ""),
        ])
    }

    fn threads(&self) -> Result<Vec<Row>, Trouble> {
        let row = |(threads, what): (usize, &'static str)| {
            let cycles = threads::cycles_per_second(&self.server, threads)?;
            Ok(Row::new(what, format!("**{cycles:.0}**"), "", ""))
        };
        let rows = [
            (1, "acquire + commit in a second, by one thread"),
            (8, "the same by 8 threads over their one connection"),
            (32, "the same by 32 threads"),
        ];
        rows.into_iter().map(row).collect()
    }
}

/// Ratios in the order of [`per_step::SCENES`], and times of the first.
fn step_row(kind: Kind, scenes: &[Comparison]) -> Row {
    let (what, must, aim) = match kind {
        Kind::Acquire => (
            "the server's time for an acquire of 3 inputs and 2 outputs against a script that does nothing: alone / one lapsed run elsewhere / one waiting / 1,000 waiting",
            "",
            "",
        ),
        Kind::Commit => ("the same for a commit that nobody waits for", "", ""),
        Kind::Refresh => ("the same for a refresh", "5 ×", "3 ×"),
        Kind::Heartbeat => ("the same for a heartbeat with nothing new", "5 ×", "3 ×"),
        Kind::Accept => ("the same for an accept", "5 ×", "3 ×"),
    };
    let ratios: Vec<String> = scenes.iter().map(|seen| format!("**{:.1}**", seen.ratio)).collect();
    let (ours, bare) = scenes.first().map_or_else(Default::default, |seen| (seen.ours, seen.bare));
    let micros = |time: std::time::Duration| time.as_secs_f64() * 1e6;
    let measured =
        format!("{} × ({:.1} µs against {:.1} µs)", ratios.join(" / "), micros(ours), micros(bare));
    Row::new(what, measured, must, aim)
}
