//! What the user of the server may do, and who can read the password.

use flowlock_testkit::{Persistence, RedisServer, documented_rule};

use super::{Report, cli_at};
use crate::{Told as _, cli_with_a_file};

#[test]
fn the_documented_access_rule_is_enough_and_no_word_of_it_is_idle() {
    // What only doctor asks, what only other arrangements need, and a name that nobody needs.
    const NOT_FOR_STEPS: [&str; 11] = [
        "+scan",
        "+zcount",
        "+zrevrangebyscore",
        "+zlexcount",
        "+memory|usage",
        "+cluster|info",
        "+cluster|slots",
        "+asking",
        "+select",
        "+wait",
        "+client|setname",
    ];
    let rule = documented_rule();
    let server = RedisServer::setup().persistence(Persistence::AofAlways).start();
    let set_without = |words: &[&str]| {
        let kept = rule.split_whitespace().filter(|word| !words.contains(word));
        server.command(&["ACL", "SETUSER", "flowlock"].into_iter().chain(kept).collect::<Vec<_>>());
    };
    let cli = cli_at(server.url_as("flowlock", "secret"));
    set_without(&[]);
    let report = Report::of(&cli);
    report.only_bad(&[]).code(0).good("user", "flowlock");
    report.good("namespace", "about ").good("min-replicas", "0, and there is no replica");
    report.good(
        "persistence",
        "this user may not read how often it is synced (CONFIG GET, which shows passwords too)",
    );
    assert!(!rule.contains("config"), "whoever may ask for settings may ask for passwords: {rule}");
    let commands: Vec<&str> = rule.split_whitespace().filter(|word| word.starts_with('+')).collect();
    assert!(commands.len() > 20, "{commands:?}");
    for command in commands.iter().filter(|command| !NOT_FOR_STEPS.contains(command)) {
        set_without(&[command]);
        let ended = cli.run(["doctor"]);
        let named = ended.out().to_lowercase().contains(&format!(" {}", &command[1..]));
        assert!(matches!(ended.status().code(), Some(1 | 78)) && named, "without {command}: {ended:#?}");
    }
    set_without(&["+memory|usage", "+zlexcount"]);
    let report = Report::of(&cli);
    report
        .only_bad(&[])
        .code(0)
        .good("namespace", "? runs alive")
        .good("namespace", "MEMORY USAGE is refused");
    set_without(&["&fl:*"]);
    Report::of(&cli).code(78).bad("wake-ups", "allow them with ACL SETUSER <user> &fl:{default}:*");
    set_without(&["~fl:*"]);
    Report::of(&cli).code(78);
}

#[test]
fn whoever_may_not_list_namespaces_or_not_see_one_is_told() {
    let server = RedisServer::start();
    let set = |words: &[&str]| {
        server.command(
            &["ACL", "SETUSER", "flowlock"].into_iter().chain(words.iter().copied()).collect::<Vec<_>>(),
        );
    };
    set(&documented_rule().split_whitespace().collect::<Vec<_>>());
    let cli = cli_at(server.url_as("flowlock", "secret"));
    for namespace in ["prod", "ci"] {
        cli.run(["outputs", "create", "a", "--namespace", namespace]).code(0);
    }
    set(&["resetkeys", "~fl:{ci}:*", "resetchannels", "&fl:{ci}:*"]);
    let seen = cli.run(["namespaces", "--namespace", "ci"]);
    seen.code(0)
        .stdout_has("\nci         0 ")
        .stdout_has("\nprod       ?        ?        ?        ?         this user may not read it");
    let json = cli.run(["namespaces", "--namespace", "ci", "--json"]).code(0).json();
    assert_eq!(
        json["namespaces"][1],
        serde_json::json!({
            "namespace": "prod", "running": null, "waiting": null, "records": null, "outcomes": null, "last_used": null
        })
    );
    cli.run(["namespaces", "rm", "prod", "--yes"]).code(78).stderr_has("fl:{prod}:*");
    set(&["-scan"]);
    cli.run(["namespaces", "--namespace", "ci"])
        .code(78)
        .stdout("")
        .stderr_has("does not let this user list keys (SCAN)");
    Report::of(&cli.clone().with("FLOWLOCK_NAMESPACE", "ci")).good("namespaces", "not listed: ");
    set(&["-zrevrangebyscore"]);
    cli.run(["outputs", "rm", "a", "--namespace", "ci"]).code(0);
    cli.run(["namespaces", "rm", "ci", "--yes"]).code(78).stderr_has("zrevrangebyscore");
    cli.run(["check", "a", "--namespace", "ci"]).code(1);
}

#[test]
fn a_password_among_the_arguments_is_warned_of_by_every_command() {
    const WARNING: &str = "flowlock: the password in --store is visible to everybody who lists the processes of this machine; put it into a file and write ?password_file=PATH, or set FLOWLOCK_STORE\n";
    let server = RedisServer::setup().password("secret").start();
    let cli = cli_with_a_file().on(server);
    let url = cli.server().url();
    // The environment is the user's own.
    cli.run(["status"]).code(0).stderr("");
    for line in
        [&["run", "-l", "x", "--", "true"][..], &["status"], &["outputs", "create", "a"], &["check", "a"]]
    {
        let line: Vec<&str> = ["--store", &url].into_iter().chain(line.iter().copied()).collect();
        cli.run(&line).code(0).stderr(WARNING);
        let quiet: Vec<&str> = ["--quiet"].into_iter().chain(line).collect();
        cli.run(&quiet).code(0).stderr("");
    }
    let file = cli.home().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let port = cli.server().port();
    let hidden = format!("redis://127.0.0.1:{port}/?failover_pause=0s&password_file={}", file.display());
    cli.run(["status", "--store", &hidden]).code(0).stderr("");
    for text in [cli.run(["doctor", "--store", &url]), cli.run(["config", "show", "--store", &url])] {
        assert!(!text.out().contains("secret") && text.out().contains(":***@"), "{text:?}");
    }
    let refused = format!("redis://:wrong-secret@127.0.0.1:{port}");
    let told = cli.run(["doctor", "--store", &refused]);
    told.code(78).stdout_has("refuses the user or the password");
    assert!(!told.out().contains("wrong-secret") && !told.err().contains("wrong-secret"), "{told:?}");
}
