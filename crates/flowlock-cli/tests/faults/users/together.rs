//! Users who share a store wait for each other and wake each other.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::time::Instant;

use flowlock_testkit::Gate;
use nix::sys::signal::Signal;

use super::{seen_by, two_members};
use crate::{run, starts_at_once};

#[test]
fn two_users_of_a_shared_store_see_each_other_and_wait_for_each_other() {
    let Some((cli, one, two)) = two_members() else { return };
    let gate = Gate::new(cli.home().join("gate"));
    fs::set_permissions(cli.home().join("gate"), fs::Permissions::from_mode(0o666)).unwrap();
    for (first, second) in [(&one, &two), (&two, &one)] {
        let holder = first.start(&cli, &run("-o data --name holder", &format!("echo in; {}", gate.wait())));
        holder.says("in\n");
        let waiter = second.start(&cli, &run("-i data -o data --name waiter", "echo in"));
        seen_by(first, &cli, &["holder running", "waiter"]);
        seen_by(second, &cli, &["holder running", "waiter"]);
        gate.open();
        let freed = Instant::now();
        starts_at_once(&cli, &waiter, freed);
        waiter.wait().code(0);
        holder.wait().code(0);
        second.run(&cli, &["check".into(), "data".into()]).code(0);
    }
    two.run(&cli, &["doctor".into()]).code(0);
}

#[test]
fn one_user_wakes_another() {
    let Some((cli, one, two)) = two_members() else { return };
    for (first, second) in [(&one, &two), (&two, &one)] {
        // A run without a process of its own: nobody's death tells the waiter to look.
        let words = ["start", "build", "--duration", "1h", "-l", "door"].map(str::to_owned);
        let build = first.run(&cli, &words).code(0).out().trim().to_owned();
        let waiter = second.start(&cli, &run("-l door --name waiter", "echo in"));
        seen_by(second, &cli, &["waiter", "queued"]);
        let freed = Instant::now();
        first.run(&cli, &["commit".to_owned(), build]).code(0);
        // Otherwise it would notice at its next heartbeat, 5 s after the last.
        starts_at_once(&cli, &waiter, freed);
        waiter.wait().code(0);
    }
}

#[test]
fn one_users_death_frees_the_names_for_another() {
    let Some((cli, one, two)) = two_members() else { return };
    for (dying, next) in [(&one, &two), (&two, &one)] {
        let holder = dying.start(&cli, &run("-l door --name holder", "echo in; exec sleep 1000"));
        holder.says("in\n");
        let waiter = next.start(&cli, &run("-l door --name waiter", "echo in"));
        seen_by(next, &cli, &["waiter"]);
        holder.signal(Signal::SIGKILL);
        starts_at_once(&cli, &waiter, Instant::now());
        waiter.wait().code(0);
    }
}

#[test]
fn two_members_who_make_the_store_of_a_group_at_the_same_moment_both_go_on() {
    let Some((cli, one, two)) = two_members() else { return };
    for round in 0..8 {
        let directory = cli.home().join(format!("group{round}"));
        fs::create_dir(&directory).unwrap();
        chown(&directory, None, Some(one.gid)).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o2770)).unwrap();
        let cli = cli.clone().with("FLOWLOCK_STORE", format!("sqlite:{}/x.db", directory.display()));
        let started: Vec<_> =
            (0..6).map(|n| [&one, &two][n % 2].start(&cli, &run(&format!("-o name{n}"), "true"))).collect();
        for job in started {
            job.wait().code(0);
        }
    }
}
