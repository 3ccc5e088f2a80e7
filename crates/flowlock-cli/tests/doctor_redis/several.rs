//! Servers that belong together.

use flowlock_testkit::{Cluster, PATIENCE, Sentinels, documented_rule, fresh_namespace, until};

use super::{Report, cli_at};

#[test]
fn a_cluster_is_told_with_the_node_that_has_the_namespace() {
    let user = format!("user flowlock {}", documented_rule());
    let cluster = Cluster::start_with(&["appendonly yes", "appendfsync always", &user]);
    let cli = cli_at(cluster.url().replace("://", "://flowlock:secret@"));
    // Every namespace is somewhere: also where the node asked first has it.
    for _ in 0..4 {
        let namespace = fresh_namespace();
        let cli = cli.clone().with("FLOWLOCK_NAMESPACE", &namespace);
        let owner = cluster.owner_of(&format!("fl:{{{namespace}}}:h"));
        let report = Report::of(&cli);
        report.only_bad(&[]).code(0).good("cluster", "state ok, 3 primaries");
        report.good("primary", &format!("127.0.0.1:{} has the namespace", owner.port()));
        report.good("server", ", cluster, ").good("replicas", "1 replica: ");
    }
    // A namespace on its way to another node: the user may follow it.
    let namespace = fresh_namespace();
    let key = format!("fl:{{{namespace}}}:h");
    let from = cluster.owner_of(&key);
    let to = cluster.nodes()[..3].iter().find(|node| node.port() != from.port()).unwrap();
    let slot = cluster.slot(&key);
    cluster.begin_migration(slot, to);
    let job = cli.with("FLOWLOCK_NAMESPACE", &namespace).start(["run", "-o", "a", "--", "true"]);
    until("one who follows", PATIENCE, || (to.command_count("asking").calls > 0).then_some(()));
    cluster.finish_migration(slot, to);
    job.wait().code(0);
}

#[test]
fn sentinels_that_do_not_answer_are_named() {
    let watched = Sentinels::setup().node_line("appendonly yes").start();
    let cli = cli_at(watched.url());
    let report = Report::of(&cli);
    report.only_bad(&[]).code(0).good("sentinels", "3 of 3 answer, 3 know each other, quorum 2");
    report
        .good("primary", &format!("127.0.0.1:{}", watched.primary().port()))
        .good("replicas", "2 replicas: ");
    let silent = &watched.sentinels()[..2];
    silent[0].kill();
    let report = Report::of(&cli);
    report.only_bad(&["sentinels"]).code(1).bad("sentinels", &format!("127.0.0.1:{}", silent[0].port()));
    silent[1].kill();
    let report = Report::of(&cli);
    report.bad("sentinels", "1 of 3 answer, 3 know each other, quorum 2; 2 are needed for a failover: ");
}
