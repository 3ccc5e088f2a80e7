//! Reads what a server reports about itself.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use redis::{Value, from_redis_value};

use super::RedisServer;

/// How often a command was called and how much time the calls took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandCount {
    /// The calls, including those that failed.
    pub calls: u64,
    /// The time that the server spent on them.
    pub microseconds: u64,
    /// Calls that were refused before they ran, for example while the server loads its data. They are not counted in
    /// `calls`.
    pub refused: u64,
}

/// An entry of the slow log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCommand {
    /// The time that the server spent on it.
    pub microseconds: u64,
    /// The command's words. The server shortens long lists and long words.
    pub words: Vec<String>,
}

/// Commands that flowlock's scripts and the kit call. A client itself sends only one of them: INFO, when it connects.
const IN_SCRIPTS: [&str; 25] = [
    "config|get",
    "config|resetstat",
    "config|set",
    "dbsize",
    "get",
    "hdel",
    "hget",
    "hincrby",
    "hmget",
    "hset",
    "info",
    "keys",
    "set",
    "slowlog|get",
    "spublish",
    "time",
    "ttl",
    "client|list",
    "zadd",
    "zcard",
    "zrangebylex",
    "zrangebyscore",
    "zrem",
    "zrevrangebylex",
    "zscore",
];

/// A key's content, with the fields of a hash sorted: after a rehash, DUMP returns them in another order.
const SORTED: &str = "
    if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return redis.call('DUMP', KEYS[1]) end
    local all, fields = redis.call('HGETALL', KEYS[1]), {}
    for i = 1, #all, 2 do fields[#fields + 1] = #all[i] .. ':' .. all[i] .. '=' .. all[i + 1] end
    table.sort(fields)
    return table.concat(fields, '\\n')";

impl RedisServer {
    /// A field of `INFO`, such as `role`.
    ///
    /// # Panics
    ///
    /// If there is no field with this name.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        let text = self.text(&["INFO", "everything"]);
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("no {field:?} in {text}")).to_owned()
    }

    /// How many keys the server's first database has.
    #[track_caller]
    pub fn keys(&self) -> u64 {
        self.read(&["DBSIZE"])
    }

    /// The names of the keys that match a pattern, sorted.
    #[track_caller]
    pub fn key_names(&self, pattern: &str) -> Vec<String> {
        let mut names: Vec<String> = self.read(&["KEYS", pattern]);
        names.sort();
        names
    }

    /// Every key with its whole content, as the server would write it into a snapshot.
    #[track_caller]
    pub fn dump(&self) -> BTreeMap<String, Vec<u8>> {
        let dumped = |name: String| (name.clone(), self.read(&["EVAL", SORTED, "1", &name]));
        self.key_names("*").into_iter().map(dumped).collect()
    }

    /// How often the server answered with this error, such as `NOREPLICAS`, since its start or `CONFIG RESETSTAT`.
    #[track_caller]
    pub fn errors(&self, kind: &str) -> u64 {
        let text = self.text(&["INFO", "errorstats"]);
        let count = |line: &str| {
            line.strip_prefix("errorstat_")?.strip_prefix(kind)?.strip_prefix(":count=")?.parse().ok()
        };
        text.lines().find_map(count).unwrap_or(0)
    }

    /// Every command that was called since the start or `CONFIG RESETSTAT`, in lower case (`config|set`).
    #[track_caller]
    pub fn command_counts(&self) -> BTreeMap<String, CommandCount> {
        let text = self.text(&["INFO", "commandstats"]);
        let line = |line: &str| {
            let (name, numbers) = line.strip_prefix("cmdstat_")?.split_once(':')?;
            let number = |what: &str| {
                numbers.split(',').find_map(|pair| pair.strip_prefix(what)?.strip_prefix('=')?.parse().ok())
            };
            let (calls, refused) = (number("calls")?, number("rejected_calls")?);
            Some((name.to_owned(), CommandCount { calls, microseconds: number("usec")?, refused }))
        };
        text.lines().filter_map(line).collect()
    }

    /// The count of one command; zero if it was never called.
    #[track_caller]
    pub fn command_count(&self, name: &str) -> CommandCount {
        self.command_counts().get(name).copied().unwrap_or_default()
    }

    /// How many commands clients sent since the start or `CONFIG RESETSTAT`, without the kit's own commands and those
    /// that scripts called.
    #[track_caller]
    pub fn commands_sent(&self) -> u64 {
        let counts = self.command_counts().into_iter();
        counts.filter(|(name, _)| !IN_SCRIPTS.contains(&name.as_str())).map(|(_, count)| count.calls).sum()
    }

    /// The memory that a key occupies, including all its elements.
    #[track_caller]
    pub fn memory_of(&self, key: &str) -> u64 {
        self.read(&["MEMORY", "USAGE", key, "SAMPLES", "0"])
    }

    /// The processor time that the server has used. Unlike the slow log, it is not affected by other processes on the
    /// machine.
    ///
    /// # Panics
    ///
    /// If the server's process has ended.
    pub fn cpu_time(&self) -> Duration {
        let clock = clock_getcpuclockid(self.pid()).expect("it runs");
        clock.now().expect("a clock that can be read").into()
    }

    /// How many commands were processed since the start or `CONFIG RESETSTAT`, including those that the kit sent.
    #[track_caller]
    pub fn commands_processed(&self) -> u64 {
        self.info("total_commands_processed").parse().expect("a number")
    }

    /// The slow log, newest entry first. `slowlog-log-slower-than` sets what counts as slow.
    #[track_caller]
    pub fn slow_log(&self) -> Vec<SlowCommand> {
        type Entry = (u64, u64, u64, Vec<String>, String, String);
        let entries: Vec<Entry> = self.read(&["SLOWLOG", "GET", "-1"]);
        let slow = |(_, _, microseconds, words, _, _)| SlowCommand { microseconds, words };
        entries.into_iter().map(slow).collect()
    }

    /// The server's wall clock, in microseconds since 1970.
    #[track_caller]
    pub fn time_us(&self) -> i64 {
        let (seconds, microseconds): (i64, i64) = self.read(&["TIME"]);
        seconds * 1_000_000 + microseconds
    }

    #[track_caller]
    pub(super) fn text(&self, words: &[&str]) -> String {
        self.read(words)
    }

    /// Runs a command whose answer has a known type.
    #[track_caller]
    pub(super) fn read<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let answer: Value = self.command(words);
        from_redis_value(answer).unwrap_or_else(|error| panic!("the answer to {words:?}: {error}"))
    }
}
