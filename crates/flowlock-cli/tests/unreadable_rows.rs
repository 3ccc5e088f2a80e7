//! Rows that no step can read: `doctor` finds each of them, and says what takes it away.

use flowlock_testkit::{Cli, RedisServer, sql};

use crate::cli_with_a_file;

/// A store with a row of every kind: a run that holds, one that waits behind it, records, in two namespaces.
fn full() -> (Cli, flowlock_testkit::Job) {
    let cli = cli_with_a_file();
    for namespace in ["default", "other"] {
        let names = ["outputs", "create", "--namespace", namespace, "a", "b", "c"];
        cli.run(names).code(0);
        cli.run([
            "start",
            "build",
            "--namespace",
            namespace,
            "--duration",
            "1h",
            "-i",
            "a",
            "--slot",
            "s:1/2",
            "-l",
            "x",
        ])
        .code(0);
    }
    let waiter = cli.start(["run", "--namespace", "other", "-l", "x", "--", "true"]);
    flowlock_testkit::until("a waiting run", flowlock_testkit::PATIENCE, || {
        cli.run(["status", "--namespace", "other"]).out().contains("queued").then_some(())
    });
    (cli, waiter)
}

#[test]
fn doctor_names_every_row_that_steps_cannot_read_and_what_removes_it() {
    let (cli, waiter) = full();
    let found = |cli: &Cli| cli.run(["doctor"]).code(0).out().to_owned();
    assert!(found(&cli).contains("rows"), "{}", found(&cli));
    waiter.signal(nix::sys::signal::Signal::SIGKILL);
    waiter.wait();
    for (statement, said) in [
        ("update run set state = 'odd' where ticket = 1", "2 of "),
        ("update run set spec = '{' where ns = 2 and ticket = 2", "run 2 of namespace other ("),
        ("update record set state = 'odd' where ns = 2 and name = 'b'", "record b of namespace other ("),
        ("update record set version = -1 where ns = 1 and name = 'b'", "record b of namespace default ("),
        ("update record set job = x'00' where ns = 1 and name = 'c'", "record c of namespace default ("),
        (
            "update hold set ticket = 'odd' where ns = 2 and place = 'lx'",
            "hold lx 0 1 odd of namespace other (",
        ),
        ("update line set ticket = 'odd' where ns = 2", "line lx 1 odd of namespace other ("),
        ("update units set units = 'odd' where ns = 1", "units ss 0 of namespace default ("),
        ("update parked set ticket = 'odd' where ns = 2", "parked lx odd of namespace other ("),
        ("insert into guard values (1, 'a', 'odd')", "guard a odd of namespace default ("),
        ("insert into backlog values (1, 7, 'odd')", "backlog 7 odd of namespace default ("),
        ("update client set client = x'0102' where ns = 2", "client 0102 of namespace other ("),
        ("update of_client set client = x'0102' where ns = 2", "of_client 0102 "),
        ("update namespace set sequence = -1 where ns = 2", "namespace of namespace other ("),
        ("update epoch set epoch = 'odd' where ns = 2", "epoch of namespace other ("),
    ] {
        let (altered, waiter) = full();
        waiter.signal(nix::sys::signal::Signal::SIGKILL);
        waiter.wait();
        sql(altered.store(), statement);
        let doctor = altered.run(["doctor"]);
        // The other one if the runs of its namespace cannot be listed either.
        assert!([1, 74].contains(&doctor.status().code().unwrap()), "{statement}: {doctor:?}");
        let told = format!("{}{}", doctor.out(), doctor.err());
        assert!(told.contains(said) && told.contains("cannot be read"), "{statement}: {told}");
        let removes = told.contains("`flowlock outputs rm NAME` removes such a record");
        assert_eq!(removes, statement.starts_with("update record"), "{statement}: {told}");
    }
}

#[test]
fn a_record_whose_row_cannot_be_read_is_removed_by_hand() {
    let cli = cli_with_a_file();
    for statement in [
        "update record set note = printf('%5000s', 'x')",
        "update record set made_from = '{'",
        "update record set version = -1",
    ] {
        cli.run(["outputs", "create", "sales", "other"]).code(0);
        sql(cli.store(), &format!("{statement} where name = 'sales'"));
        for words in
            [&["outputs"][..], &["outputs", "create", "sales"], &["run", "-i", "sales", "--", "true"]]
        {
            cli.run(words).code(74).stdout("");
        }
        let doctor = cli.run(["doctor"]);
        let told = format!("{}{}", doctor.code(1).out(), doctor.err());
        assert!(told.contains("record sales of namespace default ("), "{told}");
        cli.run(["outputs", "rm", "sales", "other"]).code(0).stderr("");
        cli.run(["doctor"]).code(0);
        cli.run(["outputs"]).code(0).stdout("");
        cli.run(["outputs", "rm", "sales"]).code(0).stderr_has("there was no record to remove");
    }
}

#[test]
fn many_rows_that_cannot_be_read_are_counted_and_the_first_named() {
    let cli = cli_with_a_file();
    let names: Vec<_> = (0..600).map(|number| format!("n{number:03}")).collect();
    let words = ["outputs", "create"].into_iter().chain(names.iter().map(String::as_str));
    cli.run(words).code(0);
    // The last of the first piece, the first of the next, and more.
    sql(cli.store(), "update record set note = printf('%5000s', 'x') where name >= 'n499' and name < 'n512'");
    let doctor = cli.run(["doctor"]);
    let told = format!("{}{}", doctor.code(1).out(), doctor.err());
    assert!(
        told.contains("13 of ") && told.contains("record n499 ") && told.contains("record n508 "),
        "{told}"
    );
    assert!(!told.contains("n509") && told.contains("; and 3 more"), "{told}");
}

#[test]
fn a_servers_records_that_cannot_be_read_are_named_and_removed_by_hand() {
    let server = RedisServer::start();
    let cli = cli_with_a_file().with("FLOWLOCK_STORE", server.url());
    for row in ["L", "", "Zgarbled garbled garbled garbled\0\0", "Lgarbled garbled garbled garbled"] {
        cli.run(["outputs", "create", "sales", "other"]).code(0);
        server.command(&["HSET", "fl:{default}:h", "osales", row]);
        cli.run(["outputs"]).code(74).stdout("");
        let doctor = cli.run(["doctor"]);
        let told = format!("{}{}", doctor.code(1).out(), doctor.err());
        assert!(
            told.contains("1 of 2 cannot be read, and commands that need them fail: sales;"),
            "{row:?}: {told}"
        );
        cli.run(["outputs", "rm", "sales"]).code(0).stderr("");
        assert!(cli.run(["outputs"]).code(0).out().contains("other"));
        let again = cli.run(["doctor"]);
        assert!(!again.out().contains("cannot be read, and commands"), "{row:?}: {again:?}");
    }
}

/// Makes a record of each kind of store unreadable.
fn damaged_in_turn(mut test: impl FnMut(&Cli, &dyn Fn(&str))) {
    let cli = cli_with_a_file();
    let too_long = "update record set note = printf('%5000s', 'x')";
    test(&cli, &|name| sql(cli.store(), &format!("{too_long} where name = '{name}'")));
    let server = RedisServer::start();
    let cli = cli.clone().with("FLOWLOCK_STORE", server.url());
    for row in ["L", "Lgarbled garbled garbled garbled"] {
        test(&cli, &|name| drop(server.command(&["HSET", "fl:{default}:h", &format!("o{name}"), row])));
    }
}

#[test]
fn a_record_that_cannot_be_read_and_whose_time_is_up_stops_nobody() {
    damaged_in_turn(|cli, damage| {
        cli.run(["outputs", "create", "sales", "--output-duration", "1s"]).code(0);
        damage("sales");
        flowlock_testkit::until("the end of its time", flowlock_testkit::PATIENCE, || {
            cli.run(["run", "-o", "other", "--", "true"]).code(0);
            (cli.run(["outputs", "sales"]).status().code() == Some(0)).then_some(())
        });
        assert!(!cli.run(["outputs"]).code(0).out().contains("sales"));
        cli.run(["run", "--wait", "0", "-o", "sales", "--", "true"]).code(0);
        assert!(cli.run(["outputs"]).code(0).out().contains("sales"));
    });
}

#[test]
fn a_run_ends_although_the_record_of_its_output_cannot_be_read() {
    damaged_in_turn(|cli, damage| {
        cli.run(["outputs", "create", "sales"]).code(0);
        let start = ["start", "build", "--duration", "1h", "-o", "sales"];
        let started = cli.run(start).code(0).out().trim().to_owned();
        damage("sales");
        cli.run(["outputs", "rm", "sales"]).code(75).stderr_has("sales is being written by build");
        cli.run(["fail", &started]).code(0);
        cli.run(start).code(0);
        cli.run(["outputs", "rm", "sales", "--break"]).code(0).stderr("");
        cli.run(["outputs"]).code(0);
        cli.run(["run", "--wait", "0", "-o", "sales", "--", "true"]).code(0);
        cli.run(["outputs", "rm", "sales"]).code(0).stderr("");
    });
}
