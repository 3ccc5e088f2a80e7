//! `cargo xtask demo`: a small pipeline on real weather data, its stages started side by side and in the wrong order.
//!
//! Every scene checks what it shows: a demo that only looks right ends with a failure.

mod stage;

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::paint::{self, DIM};
use crate::repo::Profile;
use crate::steps::{self, Failure};
use stage::{Stage, Theatre};

/// What `cargo xtask demo` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Use the quickly built program instead of the one users get
    #[arg(long)]
    dev: bool,
}

/// Builds flowlock and plays.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let profile = if args.dev { Profile::Dev } else { Profile::Release };
    steps::run(&mut profile.build_cli())?;
    play(&profile.folder())
}

/// Plays with the `flowlock` of the folder `bin`, in a temporary store.
pub(crate) fn play(bin: &Path) -> Result<(), Failure> {
    let demo = Demo::new(bin)?;
    let waiting = demo.wrong_order()?;
    let fetching = demo.sources_and_a_refusal()?;
    let survivors = demo.crash(waiting)?;
    demo.retry(survivors, fetching)?;
    demo.report()
}

struct Demo {
    theatre: Theatre,
    folder: TempDir,
}

impl Demo {
    fn new(bin: &Path) -> Result<Self, Failure> {
        let folder = tempfile::Builder::new().prefix("flowlock-demo-").tempdir()?;
        fs::create_dir(folder.path().join("work"))?;
        let theatre = Theatre::new(bin, folder.path());
        anstream::println!(
            "\nSix jobs turn NOAA's daily weather of two stations into a report. Each is started by `flowlock run`, which\n\
             is told what the job reads (-i) and what it writes (-o), and nothing else: no order, no schedule, no server.\n\
             {DIM}FLOWLOCK_STORE=sqlite:{}/flowlock.db{DIM:#}",
            folder.path().display()
        );
        Ok(Self { theatre, folder })
    }

    /// Four stages that read what nobody has written yet.
    fn wrong_order(&self) -> Result<Vec<Stage>, Failure> {
        paint::heading("1. The last stages first: nothing they read exists yet, so they wait");
        let waiting = vec![
            self.theatre.start(
                "report",
                &["-i", "weather.monthly", "-o", "weather.report"],
                &["report.sh"],
            )?,
            self.theatre.start(
                "aggregate",
                &["-i", "weather.clean.seattle", "-i", "weather.clean.new-york", "-o", "weather.monthly"],
                &["aggregate.sh", "seattle", "new-york"],
            )?,
            self.clean("seattle")?,
            self.clean("new-york")?,
        ];
        stage::until("four runs wait", || Ok(self.theatre.waiting()? == waiting.len()))?;
        self.theatre.show(&["status"], 0)?;
        Ok(waiting)
    }

    /// The two sources, and a second try at one of them while it is being written.
    fn sources_and_a_refusal(&self) -> Result<Vec<Stage>, Failure> {
        paint::heading(
            "2. Now the sources. A second download of the same station is refused, with the reason",
        );
        let fetching = vec![self.fetch("seattle")?, self.fetch("new-york")?];
        stage::until("the download of Seattle is being written", || {
            Ok(self.draft("raw-seattle.csv").is_some())
        })?;
        self.theatre.show(&["run", "--wait", "0", "-o", "weather.raw.seattle", "--", "demo/fetch.sh"], 75)?;
        Ok(fetching)
    }

    /// Kills `clean.new-york` in the middle of writing; what is left are the other waiting stages.
    fn crash(&self, mut waiting: Vec<Stage>) -> Result<Vec<Stage>, Failure> {
        stage::until("New York is being cleaned", || Ok(self.draft("clean-new-york.csv").is_some()))?;
        self.theatre.show(&["why", "job:aggregate"], 0)?;
        paint::heading(
            "3. A crash: kill -9 in the middle of writing. Nothing counts as written, who needs it waits on",
        );
        let victim = waiting.pop().ok_or_else(|| Failure::new("nobody to kill"))?;
        victim.kill()?;
        if self.work().join("clean-new-york.csv").exists() {
            return Err(Failure::new("the killed stage had already finished; the crash showed nothing"));
        }
        self.theatre.show(&["check", "weather.clean.new-york"], 1)?;
        Ok(waiting)
    }

    /// Starts the killed stage again; everything behind it follows by itself.
    fn retry(&self, survivors: Vec<Stage>, fetching: Vec<Stage>) -> Result<(), Failure> {
        paint::heading("4. Its retry, a plain second start. Everything behind it goes on by itself");
        let retried = self.clean("new-york")?;
        for stage in survivors.into_iter().chain(fetching).chain([retried]) {
            stage.succeeds()?;
        }
        Ok(())
    }

    fn report(&self) -> Result<(), Failure> {
        paint::heading("5. What is there now");
        self.theatre.show(&["status"], 0)?;
        self.theatre.show(&["outputs"], 0)?;
        self.theatre.show(&["why", "name:weather.report"], 0)?;
        self.theatre.show(
            &[
                "run",
                "--if-written",
                "fail",
                "-i",
                "weather.monthly",
                "-o",
                "weather.report",
                "--",
                "demo/report.sh",
            ],
            73,
        )?;
        paint::heading("The report");
        anstream::println!("{}", fs::read_to_string(self.work().join("report.md"))?);
        Ok(())
    }

    fn fetch(&self, station: &str) -> Result<Stage, Failure> {
        let output = format!("weather.raw.{station}");
        self.theatre.start(
            &format!("fetch.{station}"),
            &["-o", &output],
            &["fetch.sh", station, "201507", "201512"],
        )
    }

    fn clean(&self, station: &str) -> Result<Stage, Failure> {
        let (input, output) = (format!("weather.raw.{station}"), format!("weather.clean.{station}"));
        self.theatre.start(
            &format!("clean.{station}"),
            &["-i", &input, "-o", &output],
            &["clean.sh", station],
        )
    }

    /// The half-written file behind a final name, while there is one.
    fn draft(&self, name: &str) -> Option<PathBuf> {
        let prefix = format!("{name}.");
        let entries = fs::read_dir(self.work()).ok()?;
        entries
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with(&prefix))
            .map(|entry| entry.path())
    }

    fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }
}
