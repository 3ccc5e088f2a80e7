//! What a server tells of itself.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::time::clock_getcpuclockid;
use redis::{Value, from_redis_value};

use super::RedisServer;

/// How often a command was called, and what that took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommandCount {
    /// Calls, the failed ones too.
    pub calls: u64,
    /// The server's time for them.
    pub microseconds: u64,
    /// Calls that were refused before they ran, as while the server loads; not among the others.
    pub refused: u64,
}

/// An entry of the slow log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowCommand {
    /// What the server needed for it.
    pub microseconds: u64,
    /// The command's words; long lists and long words are cut by the server.
    pub words: Vec<String>,
}

/// What flowlock's scripts call, and the kit. Of these a client itself sends INFO alone, when it connects.
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

/// A key's content, the fields of a hash in order: a hash that is spread anew is dumped in another one.
const SORTED: &str = "
    if redis.call('TYPE', KEYS[1]).ok ~= 'hash' then return redis.call('DUMP', KEYS[1]) end
    local all, fields = redis.call('HGETALL', KEYS[1]), {}
    for i = 1, #all, 2 do fields[#fields + 1] = #all[i] .. ':' .. all[i] .. '=' .. all[i + 1] end
    table.sort(fields)
    return table.concat(fields, '\\n')";

impl RedisServer {
    /// A field of `INFO`, as in `role`.
    ///
    /// # Panics
    ///
    /// If there is none of this name.
    #[track_caller]
    pub fn info(&self, field: &str) -> String {
        let text = self.text(&["INFO", "everything"]);
        let value = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap_or_else(|| panic!("no {field:?} in {text}")).to_owned()
    }

    /// How many keys its first database has.
    #[track_caller]
    pub fn keys(&self) -> u64 {
        self.read(&["DBSIZE"])
    }

    /// The names of the keys that match a pattern, in order.
    #[track_caller]
    pub fn key_names(&self, pattern: &str) -> Vec<String> {
        let mut names: Vec<String> = self.read(&["KEYS", pattern]);
        names.sort();
        names
    }

    /// Every key with all that is in it, as the server would write it into a snapshot.
    #[track_caller]
    pub fn dump(&self) -> BTreeMap<String, Vec<u8>> {
        let dumped = |name: String| (name.clone(), self.read(&["EVAL", SORTED, "1", &name]));
        self.key_names("*").into_iter().map(dumped).collect()
    }

    /// How often an error of this kind, as in `NOREPLICAS`, was answered since the start or `CONFIG RESETSTAT`.
    #[track_caller]
    pub fn errors(&self, kind: &str) -> u64 {
        let text = self.text(&["INFO", "errorstats"]);
        let count = |line: &str| {
            line.strip_prefix("errorstat_")?.strip_prefix(kind)?.strip_prefix(":count=")?.parse().ok()
        };
        text.lines().find_map(count).unwrap_or(0)
    }

    /// Every command that was called since the start or `CONFIG RESETSTAT`, in small letters (`config|set`).
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

    /// One command's count; never called is zero.
    #[track_caller]
    pub fn command_count(&self, name: &str) -> CommandCount {
        self.command_counts().get(name).copied().unwrap_or_default()
    }

    /// How many commands clients sent since the start or `CONFIG RESETSTAT`: not the kit, and not what scripts did.
    #[track_caller]
    pub fn commands_sent(&self) -> u64 {
        let counts = self.command_counts().into_iter();
        counts.filter(|(name, _)| !IN_SCRIPTS.contains(&name.as_str())).map(|(_, count)| count.calls).sum()
    }

    /// The memory that a key takes up, with all its elements.
    #[track_caller]
    pub fn memory_of(&self, key: &str) -> u64 {
        self.read(&["MEMORY", "USAGE", key, "SAMPLES", "0"])
    }

    /// The processor time it has taken: unlike its slow log, it says nothing of others on the same machine.
    ///
    /// # Panics
    ///
    /// If its process has ended.
    pub fn cpu_time(&self) -> Duration {
        let clock = clock_getcpuclockid(self.pid()).expect("it runs");
        clock.now().expect("a clock that can be read").into()
    }

    /// How many commands were processed since the start or `CONFIG RESETSTAT`, with those that the kit sent.
    #[track_caller]
    pub fn commands_processed(&self) -> u64 {
        self.info("total_commands_processed").parse().expect("a number")
    }

    /// The slow log, the newest first. What is slow is set with `slowlog-log-slower-than`.
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

    /// Carries out a command whose answer has a known shape.
    #[track_caller]
    pub(super) fn read<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let answer: Value = self.command(words);
        from_redis_value(answer).unwrap_or_else(|error| panic!("the answer to {words:?}: {error}"))
    }
}
