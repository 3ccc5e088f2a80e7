//! `flowlock config show`: the settings in force, and where each comes from.

use clap::{Args, Subcommand};
use flowlock::config::{KEYS, Source};
use flowlock::store::without_password;
use serde::Serialize;

use crate::args::Global;
use crate::context::Settings;
use crate::exit::{self, Failure};
use crate::json;
use crate::terminal::{self, Screen, Table};

/// Shows settings.
#[derive(Debug, Args)]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    command: Subcommands,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Print the settings in force
    Show {
        /// Show where each comes from
        #[arg(long)]
        origin: bool,
        /// Print JSON
        #[arg(long, help_heading = "Reporting")]
        json: bool,
    },
}

#[derive(Serialize)]
struct ConfigJson {
    version: u32,
    settings: Vec<SettingJson>,
}

#[derive(Serialize)]
struct SettingJson {
    name: &'static str,
    value: String,
    origin: String,
}

/// Shows all settings; no secret is among them.
pub(crate) fn config(global: &Global, args: &ConfigArgs) -> Result<u8, Failure> {
    let Subcommands::Show { origin, json } = &args.command;
    let settings = Settings::read(global)?;
    let shown = KEYS.iter().map(|key| setting(&settings, key)).collect::<Result<Vec<_>, _>>()?;
    if *json {
        terminal::print_json(&ConfigJson { version: json::VERSION, settings: shown })?;
        return Ok(exit::OK);
    }
    let mut table = Table::new(if *origin { &["SETTING", "VALUE", "ORIGIN"] } else { &["SETTING", "VALUE"] });
    for setting in &shown {
        let cells = [setting.name, &setting.value, &setting.origin];
        table.row(&cells[..if *origin { 3 } else { 2 }]);
    }
    terminal::print(&table.text(Screen::detect()))?;
    Ok(exit::OK)
}

fn setting(settings: &Settings, name: &'static str) -> Result<SettingJson, Failure> {
    let (value, source) = match (name, settings.config().get(name)) {
        ("store", _) => {
            let store = settings.config().store()?;
            (without_password(&store.value), store.source)
        }
        (_, Some(setting)) => (setting.value.clone(), setting.source.clone()),
        (_, None) => (default(name).to_owned(), Source::Default),
    };
    Ok(SettingJson { name, value, origin: source.to_string() })
}

fn default(name: &str) -> &'static str {
    match name {
        "namespace" => "default",
        "duration" => "60s, on a server 3m",
        "keep_lapsed" => "1d",
        "tz" => "UTC",
        "store_timeout" | "commit_wait" => "30s",
        _ => "",
    }
}
