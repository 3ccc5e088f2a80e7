//! `flowlock man`: manual pages, from the same parser as everything else.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::exit::{self, Failure};
use crate::terminal::{self, shown};

/// Prints manual pages.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  flowlock man run | man -l -")]
pub(crate) struct ManArgs {
    /// The command whose page to print [default: flowlock itself]
    #[arg(value_name = "COMMAND")]
    pub(crate) command: Option<String>,
    /// Write all pages into this directory instead
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    pub(crate) dir: Option<PathBuf>,
}

/// Prints one page, or writes all of them into a directory.
pub(crate) fn man(mut root: clap::Command, args: &ManArgs) -> Result<u8, Failure> {
    // Gives every command its full name, such as flowlock-outputs-rm.
    root.build();
    if let Some(directory) = &args.dir {
        return write_all(root, directory);
    }
    let page = match &args.command {
        None => root,
        Some(name) => {
            let found = root.find_subcommand(name).filter(|command| !command.is_hide_set());
            found.cloned().ok_or_else(|| Failure::usage(format!("there is no command {}", shown(name))))?
        }
    };
    terminal::print(&rendered(page)?)?;
    Ok(exit::OK)
}

fn rendered(command: clap::Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    let name = command.get_display_name().unwrap_or("flowlock").to_owned();
    clap_mangen::Man::new(command.name(name)).render(&mut page)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write_all(root: clap::Command, directory: &Path) -> Result<u8, Failure> {
    let cannot = |error: std::io::Error| {
        Failure::usage(format!("cannot write pages to {}: {error}", shown(&directory.display().to_string())))
    };
    flowlock::named_file::make_directory(directory).map_err(cannot)?;
    let mut commands = vec![root];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|command| command.get_name() != "help").cloned());
        let name = command.get_display_name().unwrap_or("flowlock").to_owned();
        write(&directory.join(format!("{name}.1")), &rendered(command)?).map_err(cannot)?;
    }
    Ok(exit::OK)
}

/// Writes a page into a file. Follows no link, because a user who may write the directory chose its
/// target. Does not wait for the reader of a pipe.
fn write(path: &Path, page: &str) -> std::io::Result<()> {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err(std::io::Error::other(format!(
            "{} is not a regular file",
            shown(&path.display().to_string())
        )));
    }
    let mut file = flowlock::named_file::open_to_write(path)?;
    file.set_len(0)?;
    file.write_all(page.as_bytes())
}
