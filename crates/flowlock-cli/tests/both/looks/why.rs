//! `why`.

use flowlock_testkit::until;

use super::{PATIENCE, cli, held, place};
use crate::Told as _;

#[test]
fn why_follows_the_chain_to_its_root() {
    let cli = cli();
    cli.run(["outputs", "create", "b"]).code(0);
    let _root = held(&cli, &["--name", "root", "-o", "a"]);
    let queued = |name: &str| {
        until("a queued run", PATIENCE, || {
            cli.run(["status"]).out().contains(&format!("{name}.")).then_some(())
        });
    };
    let _middle = cli.start(["run", "--name", "middle", "-o", "a", "-o", "b", "--", "true"]);
    queued("middle");
    let _last = cli.start(["run", "--name", "last", "-i", "b", "--", "true"]);
    queued("last");
    let told = cli.run(["why", "job:last"]);
    let lines: Vec<&str> = told.code(0).out().lines().collect();
    assert!(lines[0].starts_with("last.") && lines[0].contains("(-i b): queued, since "), "{told:?}");
    assert!(lines[1].starts_with("  queued for b behind middle (run middle."), "{told:?}");
    assert!(lines[2].starts_with("    middle.") && lines[2].contains("queued"), "{told:?}");
    assert!(lines[3].starts_with("      output a is being written by root (run root."), "{told:?}");
    assert_eq!(cli.run(["why", "--json"]).json()["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn why_tells_what_is_known_of_a_name() {
    let cli = cli();
    cli.run(["run", "--name", "import", "-o", "sales", "--note", "/data/s", "--", "true"]).code(0);
    cli.run(["run", "--name", "import", "-o", "sales", "--", "false"]).code(1);
    let told = cli.run(["why", "sales"]);
    told.code(0).stderr("");
    for part in [
        "sales: written at ",
        " by import.",
        "note: /data/s",
        "the last attempt to write it, import.",
        "ended failed at",
        "nobody holds it",
    ] {
        assert!(told.out().contains(part), "no {part:?} in {told:?}");
    }
    cli.run(["why", "name:salse"])
        .code(1)
        .stdout_has("salse: not written: it was never written; did you mean sales?");
    let _writer = held(&cli, &["--name", "import", "-o", "sales"]);
    cli.run(["why", "name:sales"]).stdout_has("  held by import (run import.");
    cli.run(["why", "job:none"]).code(1).stdout(&format!("no such run or job is known {}", place()));
    cli.run(["why", "--json", "run:none"]).code(1);
    cli.run(["why", "--json", "name:none"]).code(1);
    cli.run(["why", "nothing.known"]).code(1).stdout_has("nothing.known: not written");
    let waiting = cli.start(["run", "-i", "awaited", "--", "true"]);
    waiting.warns("input awaited was never written");
    let told = cli.run(["why", "name:awaited"]);
    told.code(0).stdout_has("as data, waited for by true (run true.");
    told.stdout_has("; it is in no queue: flowlock why run:true.");
    let seen = cli.run(["why", "--json", "name:awaited"]).json()["name"].clone();
    assert_eq!(seen["in_no_line"].as_array().expect("a list").len(), 1, "{seen}");
    assert_eq!((&seen["waited_for_by"], &seen["more_in_no_line"]), (&seen["in_no_line"], &false.into()));
    waiting.signal(nix::sys::signal::Signal::SIGTERM);
    waiting.wait().code(143);
    cli.run(["why"]).code(0).stdout(&format!("nothing waits {}", place()));
}
