//! On a terminal: the live line, the foreground, stopping and continuing.

use std::time::Duration;

use flowlock_testkit::{Cli, until};

use super::cli;

const PATIENCE: Duration = Duration::from_secs(20);

/// An interactive shell with job control, as a user has it.
fn shell() -> (Cli, flowlock_testkit::Terminal) {
    let shell = cli()
        .with_program("/bin/bash")
        .with("PS1", "READY> ")
        .with("PROMPT_COMMAND", "")
        .with("flowlock", env!("CARGO_BIN_EXE_flowlock"));
    let terminal = shell.terminal(["--norc", "--noprofile", "-i"]);
    terminal.shows("READY>");
    (shell, terminal)
}

#[test]
fn a_wait_shows_one_line_that_is_gone_afterwards() {
    let cli = cli();
    let holder = cli.start([
        "run",
        "--name",
        "holder",
        "-l",
        "x",
        "--",
        "sh",
        "-c",
        "echo held; while [ ! -e done ]; do sleep 0.02; done",
    ]);
    holder.says("held");
    let waiter = cli.terminal(["run", "--wait", "1m", "-l", "x", "--", "echo", "my turn"]);
    waiter.shows("waiting in the queue for ");
    waiter.shows("gives up in ");
    assert_eq!(waiter.screen().lines().count(), 1);
    std::fs::write(cli.home().join("done"), "").unwrap();
    waiter.wait().code(0).stdout("my turn");
}

#[test]
fn a_dumb_terminal_gets_no_live_line() {
    let cli = cli().with("TERM", "dumb");
    let holder = cli.start(["run", "--name", "holder", "-l", "x", "--", "sh", "-c", "echo held; sleep 60"]);
    holder.says("held");
    let waiter = cli.terminal(["run", "--wait", "1500ms", "--name", "w", "-l", "x", "--", "true"]);
    let ended = waiter.wait();
    assert!(ended.code(75).out().starts_with("flowlock: w did not start within "), "{ended:?}");
}

#[test]
fn headings_are_bold_only_where_colour_is_welcome() {
    let cli = cli();
    cli.run(["outputs", "create", "a"]).code(0);
    let raw = |cli: &Cli| {
        let terminal = cli.terminal(["outputs"]);
        terminal.shows("NAME");
        String::from_utf8(terminal.raw()).unwrap()
    };
    assert!(raw(&cli).contains("\u{1b}[1m"));
    assert!(!raw(&cli.clone().with("NO_COLOR", "1")).contains('\u{1b}'));
    assert!(!raw(&cli.with("TERM", "dumb")).contains('\u{1b}'));
}

#[test]
fn the_command_has_the_terminal_and_the_shell_gets_it_back() {
    let (_home, terminal) = shell();
    terminal.types("$flowlock run -l x -- sh -c 'read line; echo \"read: $line\"'\n");
    terminal.types("typed\n");
    terminal.shows("read: typed");
    terminal.types("echo back $((40 + 2))\n");
    terminal.shows("back 42");
}

#[test]
fn an_interrupt_from_the_keyboard_ends_the_command() {
    let (_home, terminal) = shell();
    terminal.types("$flowlock run -l x -- sh -c 'trap \"exit 130\" INT; echo begun; while :; do sleep 0.02; done'; echo code $?\n");
    terminal.shows("\nbegun");
    terminal.types("\u{3}");
    terminal.shows("code 130");
}

#[test]
fn a_command_can_be_stopped_and_brought_back() {
    let (_home, terminal) = shell();
    terminal.types("$flowlock run -l x -- sh -c 'echo begun; read line; echo \"read: $line\"'\n");
    terminal.shows("\nbegun");
    terminal.types("\u{1a}");
    terminal.shows("Stopped");
    terminal.types("echo prompt $((40 + 2))\n");
    terminal.shows("prompt 42");
    terminal.types("fg\n");
    terminal.types("typed\n");
    terminal.shows("read: typed");
}

#[test]
fn a_command_in_the_background_does_not_take_the_terminal() {
    let (home, terminal) = shell();
    terminal.types(
        "$flowlock run -l x -- sh -c 'while [ ! -e done ]; do sleep 0.02; done; echo ended $((40 + 1))' &\n",
    );
    terminal.types("echo prompt $((40 + 2))\n");
    terminal.shows("prompt 42");
    std::fs::write(home.home().join("done"), "").unwrap();
    terminal.shows("ended 41");
    terminal.types("echo still $((20 + 1))\n");
    terminal.shows("still 21");
}

#[test]
fn unlock_shows_the_holder_and_asks() {
    let cli = cli();
    let line =
        ["run", "--name", "holder", "--duration", "3s", "-l", "x", "--", "sh", "-c", "echo held; sleep 60"];
    let holder = cli.start(line);
    holder.says("held");
    let no = cli.terminal(["unlock", "x"]);
    no.shows("(job holder) holds -l x");
    no.shows("Revoke it? [y/N]");
    no.types("n\n");
    no.wait().code(1);
    let yes = cli.terminal(["unlock", "x", "--now"]);
    yes.shows("Free its names at once, even if it still writes? [y/N]");
    yes.types("y\n");
    yes.shows("the names of holder.");
    yes.wait().code(0);
    until("the holder's end", PATIENCE, || {
        cli.run(["run", "--wait", "0", "-l", "x", "--", "true"]).status().success().then_some(())
    });
    holder.wait().code(79);
}
