//! What several commands take: global flags, claims and dates, and how values are written.
#![allow(clippy::doc_markdown, reason = "these comments are the help texts, shown without markup")]

mod request;
pub(crate) mod values;

use clap::Args;

pub(crate) use request::{ClaimFlags, DateFlags, IfWritten, OnFail, OnTrouble, RequestFlags};

/// Flags that every command takes.
#[derive(Clone, Default, Args)]
pub(crate) struct Global {
    /// Where runs and records are kept, as in sqlite:/srv/flow.db [default: from FLOWLOCK_STORE or configuration]
    #[arg(long, global = true, value_name = "URL", value_parser = values::text(), help_heading = "Store")]
    pub(crate) store: Option<String>,
    /// A separate set of names, such as prod [default: from FLOWLOCK_NAMESPACE or configuration, else default]
    #[arg(long, global = true, value_name = "NS", value_parser = values::text(), help_heading = "Store")]
    pub(crate) namespace: Option<String>,
    /// Print only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Reporting")]
    pub(crate) quiet: bool,
    /// Print more: log lines while waiting; twice, the library's log
    #[arg(short, long, global = true, action = clap::ArgAction::Count, help_heading = "Reporting")]
    pub(crate) verbose: u8,
}

impl std::fmt::Debug for Global {
    /// Without the store: its URL may have a password in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Global").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}
