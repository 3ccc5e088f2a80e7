//! Commands on a run that was started with `start`.

use std::time::Duration;

use clap::Args;

use super::values;

/// A run, by its id.
#[derive(Debug, Args)]
pub(crate) struct OneRun {
    /// The run id that `flowlock start` printed
    #[arg(value_name = "RUN", value_parser = values::text())]
    pub(crate) run: String,
    /// Print the outcome as JSON
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}

/// Ends a run well.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  flowlock commit \"$RUN\" --note /data/package.17.tar")]
pub(crate) struct Commit {
    /// The run id that `flowlock start` printed
    #[arg(value_name = "RUN", value_parser = values::text())]
    pub(crate) run: String,
    /// A note for readers of the outputs, such as the path
    #[arg(long, value_name = "TEXT", value_parser = values::text())]
    pub(crate) note: Option<String>,
    /// Print the outcome as JSON
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}

/// Renews a run until this command is ended.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  flowlock keep \"$RUN\" & keeper=$!; ./long-step.sh; kill $keeper\n\nExits 79 when the run is lost, 0 when it is ended by INT, TERM or HUP or when the run ended."
)]
pub(crate) struct Keep {
    /// The run id that `flowlock start` printed
    #[arg(value_name = "RUN", value_parser = values::text())]
    pub(crate) run: String,
    /// How often to renew [default: a third of the lease]
    #[arg(long, value_name = "D", value_parser = values::lease)]
    pub(crate) every: Option<Duration>,
}

/// Asks whether a run still holds its names.
#[derive(Debug, Args)]
#[command(
    after_help = "Example, just before results become visible:\n  flowlock verify && mv report.tmp report\n\nExits 0 if the run holds its names, 79 if it does not."
)]
pub(crate) struct Verify {
    /// The run id [default: $FLOWLOCK_RUN_ID]
    #[arg(value_name = "RUN", env = "FLOWLOCK_RUN_ID", hide_env_values = true, value_parser = values::text())]
    pub(crate) run: String,
    /// Print the outcome as JSON
    #[arg(long, help_heading = "Talk")]
    pub(crate) json: bool,
}
