//! Help, manual pages and completions: all from one parser, so that a change is seen here.

use std::fmt::Write as _;

use flowlock_testkit::Cli;

use crate::cli_with_a_file as cli;

/// Every command that the help lists, with those within them: nobody has to remember to add one here.
fn commands(cli: &Cli) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut at = 0;
    while let Some(command) = all.get(at).cloned() {
        let help = cli.run(command.iter().map(String::as_str).chain(["--help"]));
        let listed = help.out().split("Commands:\n").nth(1).unwrap_or_default();
        let names = listed
            .lines()
            .take_while(|line| !line.is_empty())
            .filter_map(|line| line.split_whitespace().next());
        let within = names
            .filter(|name| *name != "help")
            .map(|name| [command.as_slice(), &[name.to_owned()]].concat());
        all.splice(at + 1..=at, within.collect::<Vec<_>>());
        at += 1;
    }
    all
}

#[test]
fn every_command_explains_itself() {
    let cli = cli();
    let mut all = String::new();
    for command in commands(&cli) {
        let help = cli.run(command.iter().map(String::as_str).chain(["--help"]));
        let _ = writeln!(all, "$ flowlock {}\n{}", command.join(" "), help.code(0).stderr("").out());
    }
    insta::assert_snapshot!("help", all);
}

#[test]
fn the_manual_has_a_page_for_every_command() {
    let cli = cli();
    cli.run(["man", "--dir", "pages"]).code(0);
    let mut pages: Vec<String> = std::fs::read_dir(cli.home().join("pages"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    let mut expected: Vec<String> = commands(&cli)
        .iter()
        .map(|command| format!("{}.1", [&["flowlock".to_owned()], command.as_slice()].concat().join("-")))
        .collect();
    expected.sort();
    assert_eq!(pages, expected);
    assert!(cli.run(["man", "run"]).code(0).out().contains(".TH flowlock-run 1"));
    cli.run(["man", "rnu"]).code(64).stderr("flowlock: there is no command rnu\n");
}

#[test]
fn every_shell_has_completions() {
    let cli = cli();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = cli.run(["completions", shell]);
        assert!(script.code(0).out().contains("lock-shared"), "{shell}");
    }
    cli.run(["completions", "bash"]).code(0);
}

/// Where the part of the reference begins that is made from the parser.
const MARK: &str =
    "<!-- from here on: the output of --help; renew with UPDATE_REFERENCE=1 cargo test -p flowlock-cli -->\n";

#[test]
fn the_reference_is_what_the_program_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let text = std::fs::read_to_string(path).unwrap();
    let by_hand = &text[..text.find(MARK).unwrap()];
    let cli = cli();
    let mut reference = format!("{by_hand}{MARK}");
    for command in commands(&cli) {
        let help = cli.run(command.iter().map(String::as_str).chain(["--help"]));
        let name = [&["flowlock".to_owned()], command.as_slice()].concat().join(" ");
        let _ = write!(reference, "\n### `{name}`\n\n```text\n{}```\n", help.out());
    }
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, &reference).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap();
    assert!(written == reference, "docs/cli.md is not what the program says; UPDATE_REFERENCE=1 renews it");
}
