//! `flowlock trust`: which projects' files may set everything.

use std::path::PathBuf;

use clap::Args;
use flowlock::config::{Setting, Surroundings, Trust, TrustState};
use flowlock::store::without_password;
use serde::Serialize;

use crate::args::Global;
use crate::exit::{self, Failure};
use crate::json;
use crate::terminal::{self, Screen, Table, shown};

/// Trusts a project's file.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TrustArgs {
    /// The project's flowlock.toml, or its directory [default: the file that counts here]
    #[arg(value_name = "FILE", conflicts_with = "list")]
    pub(crate) file: Option<PathBuf>,
    /// Stop trusting it
    #[arg(long, conflicts_with = "list")]
    pub(crate) remove: bool,
    /// List the trusted files, and which of them have changed since
    #[arg(long)]
    pub(crate) list: bool,
    /// Print the list as JSON
    #[arg(long, requires = "list", help_heading = "Reporting")]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  flowlock trust                      the flowlock.toml of this directory, or the nearest above it
  flowlock trust /srv/etl --remove

By itself a project's flowlock.toml may set a namespace, the time zone of names and a sqlite:
store below its own directory. Once trusted, all its settings apply until its content changes. Read
it first: its author decides which server is used and which files are read for it.";

#[derive(Serialize)]
struct Report {
    version: u32,
    trusted: Vec<TrustedJson>,
}

#[derive(Serialize)]
struct TrustedJson {
    path: String,
    state: &'static str,
}

/// Trusts a file, stops trusting it, or lists all. Does not read settings, because they may be the
/// problem.
pub(crate) fn trust(global: &Global, args: &TrustArgs) -> Result<u8, Failure> {
    let surroundings = Surroundings::of_this_process();
    let Some(trust) = Trust::of(&surroundings)? else {
        let message = "there is no home directory to save that in; set HOME or XDG_STATE_HOME";
        return Err(Failure::new(exit::CONFIG, "configuration", message));
    };
    if args.list {
        return list(&trust, args.json);
    }
    let file = match &args.file {
        Some(file) => trust.file(file)?,
        None => nearest(&surroundings)?,
    };
    let path = shown(&file.display().to_string());
    let said = if args.remove {
        let what = if trust.remove(&file)? { "is not trusted any more" } else { "was not trusted" };
        format!("{path} {what}")
    } else {
        let set = trust.add(&file)?;
        let settings = set.iter().map(|(key, setting)| match *key {
            "store" => format!("store {}", without_password(&setting.value)),
            key => format!("{key} {}", setting.value),
        });
        let settings = shown(&settings.collect::<Vec<_>>().join(", "));
        format!("{path} is trusted until it changes; it sets {settings}{}", files(&set))
    };
    if !global.quiet {
        terminal::say(&said);
    }
    Ok(exit::OK)
}

/// Returns the files that are trusted with it although their content is not remembered.
fn files(set: &[(&'static str, Setting)]) -> String {
    let files = set.iter().flat_map(|(_, setting)| setting.files());
    let files: Vec<_> =
        files.map(|(what, path)| format!("{what} {}", shown(&path.display().to_string()))).collect();
    if files.is_empty() {
        return String::new();
    }
    format!("; the content of these files is trusted with it, even when it changes: {}", files.join(", "))
}

fn nearest(surroundings: &Surroundings) -> Result<PathBuf, Failure> {
    Trust::nearest(&surroundings.directory)?
        .ok_or_else(|| Failure::usage("there is no flowlock.toml in this directory or above it; name one"))
}

fn list(trust: &Trust, json: bool) -> Result<u8, Failure> {
    let trusted: Vec<TrustedJson> = trust
        .list()?
        .into_iter()
        .map(|trusted| TrustedJson {
            path: trusted.path.display().to_string(),
            state: match trusted.state {
                TrustState::Unchanged => "trusted",
                TrustState::Changed => "changed",
                TrustState::Gone => "gone",
            },
        })
        .collect();
    if json {
        terminal::print_json(&Report { version: json::VERSION, trusted })?;
        return Ok(exit::OK);
    }
    let mut table = Table::new(&["STATE", "FILE"]);
    for trusted in &trusted {
        table.row(&[trusted.state, &trusted.path]);
    }
    terminal::print(&table.text(Screen::detect()))?;
    Ok(exit::OK)
}
