//! The scripts: put together from the files in `lua/`, one for what may take up memory, one for what must go on when
//! memory is full, one for reading.

use super::link::Script;

const WORLD: &str = include_str!("lua/world.lua");
const WORLD_OF_TESTS: &str = include_str!("lua/world_of_tests.lua");
const BOOT_OF_TESTS: &str = include_str!("lua/boot_of_tests.lua");
const SHORT_ACQUIRE: &str = include_str!("lua/short_acquire.lua");
const SHORT_COMMIT: &str = include_str!("lua/short_commit.lua");
const STATE: &str = include_str!("lua/state.lua");
const COMMON: &str = include_str!("lua/common.lua");
const HOLD: &str = include_str!("lua/hold.lua");
const LEAVE: &str = include_str!("lua/leave.lua");
const MORE: [&str; 2] = [include_str!("lua/more.lua"), include_str!("lua/line.lua")];
const EXPLAIN: &str = include_str!("lua/explain.lua");
const LAPSE: &str = include_str!("lua/lapse.lua");

/// Where a script takes its time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// The server's.
    Server,
    /// The last argument: only in tests.
    Argument,
}

/// All scripts of the store.
#[derive(Debug)]
pub(super) struct Scripts {
    /// A request for claims: refused when memory is full.
    pub(super) acquire: Script,
    /// Records made by hand: refused when memory is full.
    pub(super) create: Script,
    /// Everything else that changes something: must go on when memory is full, or nothing would ever end.
    pub(super) step: Script,
    /// Reading.
    pub(super) view: Script,
    /// Whether a namespace can be used.
    pub(super) check: Script,
}

impl Scripts {
    pub(super) fn new(clock: Clock) -> Self {
        let (acquire, step) = (include_str!("lua/acquire.lua"), include_str!("lua/step.lua"));
        Self {
            acquire: script("#!lua", clock, SHORT_ACQUIRE, [HOLD, LEAVE], acquire),
            create: script("#!lua", clock, "", [LEAVE, HOLD], step),
            step: script("#!lua flags=allow-oom", clock, SHORT_COMMIT, [LEAVE, HOLD], step),
            view: script("#!lua flags=no-writes", clock, "", [HOLD, LEAVE], include_str!("lua/view.lua")),
            check: Script::new(include_str!("lua/check.lua").to_owned()),
        }
    }
}

/// A script: the world, the short way for what is ordinary, the tables, the functions, and what it does with them. The functions of `hot` are there from
/// the start; those of `cold`, and all others, are defined stage by stage when one of them is first called.
fn script(flags: &str, clock: Clock, short: &str, [hot, cold]: [&str; 2], own: &str) -> Script {
    let (world, boot) = match clock {
        Clock::Server => (WORLD, ""),
        Clock::Argument => (WORLD_OF_TESTS, BOOT_OF_TESTS),
    };
    let parts = [
        flags,
        world,
        short,
        STATE,
        "local stage = 0\nlocal function add(stage)\nif stage == 1 then",
        "for name, definition in pairs({",
        cold,
        "}) do F[name] = definition end",
        MORE[0],
        MORE[1],
        "elseif stage == 2 then",
        EXPLAIN,
        "elseif stage == 3 then",
        LAPSE,
        "end\nend",
        "local function find(_, name)\nwhile stage < 3 do\nstage = stage + 1\nadd(stage)",
        "local found = rawget(F, name)\nif found then return found end\nend\nend",
        "F = setmetatable({",
        COMMON,
        hot,
        "}, { __index = find })",
        boot,
        own,
    ];
    // Without comment lines: the server keeps the text in memory.
    let lines = parts.into_iter().flat_map(str::lines).map(str::trim_start);
    let code = lines.filter(|line| !line.is_empty() && !line.starts_with("--"));
    Script::new(code.fold(String::new(), |text, line| text + line + "\n"))
}
