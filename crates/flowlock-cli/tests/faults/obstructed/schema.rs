//! Somebody puts tables and triggers of their own into the file.

use flowlock_testkit::{Gate, sql};

use super::used;
use crate::run;

#[test]
fn what_somebody_else_put_into_the_file_is_refused_by_name_and_never_run() {
    let endless = "with recursive n(x) as (select 1 union all select x + 1 from n) select max(x) from n";
    for (put, named) in [
        (
            format!(
                "create trigger sneaky after update on namespace begin update namespace set name = ({endless}) where 0; end"
            ),
            "trigger sneaky",
        ),
        (format!("create view seen as {endless}"), "view seen"),
        ("create table mine (x)".to_owned(), "table mine"),
        ("create index slow on run (abs(ticket))".to_owned(), "index slow"),
    ] {
        let cli = used();
        let gate = Gate::new(cli.home().join("gate"));
        let open = cli.start(run("-o b", &format!("echo in; {}", gate.wait())));
        open.says("in\n");
        sql(cli.store(), &put);
        let refused = cli.run(run("-l x --wait 0", "echo ran"));
        refused
            .code(78)
            .stdout("")
            .stderr_has(&format!("~/store/flowlock.db holds {named} that flowlock did not make"));
        // Who had the store open before goes on: nothing of it runs.
        gate.open();
        open.wait().code(0).stderr("");
    }
}
