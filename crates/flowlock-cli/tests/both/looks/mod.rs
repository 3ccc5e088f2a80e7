//! `status`, `why`, `outputs` and `check`.

mod records;
mod status;
mod why;

use std::time::Duration;

use flowlock_testkit::Job;
use serde_json::Value;

use super::{cli, place, place_in};

const PATIENCE: Duration = Duration::from_secs(20);

fn held(cli: &flowlock_testkit::Cli, line: &[&str]) -> Job {
    let job = cli.start(["run"].iter().chain(line).chain(&["--", "sh", "-c", "echo held; sleep 60"]));
    job.says("held");
    job
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}
