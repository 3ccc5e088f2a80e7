//! A command that became another user: its wrapper may not end it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::run;
use crate::users::Person;

/// A person, and a program of root's that everybody runs as root; none where that cannot be had.
fn person_with_a_privileged_program() -> Option<(Person, PathBuf)> {
    if !nix::unistd::getuid().is_root() {
        eprintln!("skipped: only root can make a program that others run as root");
        return None;
    }
    let person = Person::new(45_678);
    let program = person.cli.home().join("as-root");
    let copied = Command::new("cp").arg("/usr/bin/perl").arg(&program).status();
    if !copied.is_ok_and(|copied| copied.success()) {
        eprintln!("skipped: there is no /usr/bin/perl to copy");
        return None;
    }
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    Some((person, program))
}

/// Becomes root altogether, as `sudo` does, says so, and waits for a file.
fn as_root(program: &Path, gate: &Path) -> String {
    let program = program.display();
    let gate = gate.display();
    format!(
        r#"{program} -e '$| = 1; $< = 0; print "in\n"; select(undef, undef, undef, 0.02) until -e "{gate}"'"#
    )
}

#[test]
fn a_command_that_cannot_be_ended_is_named_and_keeps_its_names() {
    let Some((person, program)) = person_with_a_privileged_program() else { return };
    let gates = ["itself", "started", "awaited"].map(|name| person.cli.home().join(name));
    // The command itself; one that it started and that is left when the command has been ended by TERM; and by KILL.
    let scripts = [
        format!("exec {}", as_root(&program, &gates[0])),
        format!("{}; true", as_root(&program, &gates[1])),
        format!("trap '' TERM; {}; true", as_root(&program, &gates[2])),
    ];
    for (script, gate) in scripts.iter().zip(&gates) {
        let claims = "-l x --name held --duration 1s --max-runtime 1s --kill-after 200ms";
        let held = person.start(&person.cli, &run(claims, script));
        held.says("in\n");
        held.warns(" could not be ended: process ");
        // Well past its lease and all that it may run for.
        std::thread::sleep(Duration::from_millis(2_500));
        let next = run("-l x --wait 0 --name next", "echo ran");
        person.run(&person.cli, &next).code(75).stdout("");
        fs::write(gate, "").unwrap();
        let said = " of user 0 may not be signalled by user 45678 and runs on; its names are kept";
        held.wait().code(79).stderr_has(said);
        person.run(&person.cli, &next).code(0).stdout("ran\n");
    }
}
