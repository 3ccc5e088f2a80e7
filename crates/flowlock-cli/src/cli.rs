//! The parser of the command line.
#![allow(clippy::doc_markdown, reason = "these comments are the help texts, shown without markup")]

use clap::{CommandFactory as _, Parser};

use crate::args::Global;
use crate::commands::{Command, run};
use crate::exit::Failure;

/// Locks what a job reads and writes in one atomic step, and marks outputs as written only if it succeeded.
#[derive(Debug, Parser)]
#[command(name = "flowlock", version, max_term_width = 100, arg_required_else_help = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Examples:
  flowlock run -o sales.clean -- ./clean.sh         write sales.clean, alone
  flowlock run -i sales.clean -o report -- ./report read one name, write another
  flowlock run -l backup -- rsync -a src/ dst/      a plain lock, as with flock
  flowlock status                                   who runs, who waits, and why

Exit codes: the command's own, or
  64 usage                66 input missing      69 store unreachable   73 already written
  74 store full, damaged  75 busy               76 outcome unknown     78 configuration
  79 lost                 125 internal error    126 cannot execute     127 not found";

/// Prints help and versions. For anything else, prints what is wrong, without terminal escapes that a
/// mistyped value may have, and writes it to the `--json-result` of `run`. Returns the exit code.
pub(crate) fn explain(error: &clap::Error) -> u8 {
    if !error.use_stderr() {
        // If the reader has gone away, it does not need the help any more.
        let _ = error.print();
        return crate::exit::OK;
    }
    let text = without_passwords(error.render().to_string());
    let lines: Vec<_> = text.trim_end().lines().map(crate::terminal::shown).collect();
    crate::terminal::add(&lines.join("\n"));
    if let Some(path) = run::result_of_run(Cli::command(), std::env::args_os().collect()) {
        run::write_failure(&path, Failure::usage(sentence(&text)));
    }
    crate::exit::USAGE
}

/// Returns the first paragraph, which says what is wrong, as one line.
fn sentence(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(str::trim).take_while(|line| !line.is_empty()).collect();
    let line = lines.join(" ");
    line.strip_prefix("error: ").unwrap_or(&line).to_owned()
}

/// Removes passwords: the parser repeats arguments in the wrong place, and a store's URL may be among
/// them.
fn without_passwords(mut text: String) -> String {
    for argument in std::env::args_os() {
        let argument = argument.to_string_lossy();
        // Also the value of a flag, which may be one that takes no value.
        let value = argument.split_once('=').filter(|_| argument.starts_with('-')).map(|(_, value)| value);
        for url in [Some(&*argument), value].into_iter().flatten() {
            if url.contains(':') && url.contains(['@', '/']) && !url.starts_with('-') {
                text = text.replace(url, &flowlock::store::without_password(url));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn one_value_per_flag_and_flags_repeat() {
        let line =
            ["flowlock", "run", "-i", "a", "-i", "b", "-o", "c", "--slot", "g:x:2/3", "--", "cp", "-r", "x"];
        let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else { panic!("run was typed") };
        assert_eq!(run.claims.input, ["a", "b"]);
        assert_eq!(run.claims.output, ["c"]);
        assert_eq!(run.claims.slot[0].name, "g:x");
        assert_eq!(run.command, ["cp", "-r", "x"]);
    }

    #[test]
    fn a_name_may_begin_with_a_dash_after_an_equals_sign() {
        let line = ["flowlock", "run", "--output=-rf", "-i=-x", "--", "true"];
        let Command::Run(run) = Cli::try_parse_from(line).unwrap().command else { panic!("run was typed") };
        assert_eq!((run.claims.output, run.claims.input), (vec!["-rf".to_owned()], vec!["-x".to_owned()]));
    }

    #[test]
    fn stop_is_another_word_for_commit() {
        let cli = Cli::try_parse_from(["flowlock", "stop", "etl.17"]).unwrap();
        assert!(matches!(cli.command, Command::Commit(args) if args.run == "etl.17"));
    }
}
