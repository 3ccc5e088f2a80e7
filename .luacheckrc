-- What the linter has to know of the scripts of the Redis store. A script is put together from files that share what the
-- first ones of them define: crates/flowlock/src/store/redis/lua/state.lua says what each is.
std = "lua51"
max_line_length = 120
-- What a row is unpacked into is named whole, whether each part is used or not.
unused_secondaries = false

globals = {
  -- The functions, and what a step has read and done.
  "F", "meta", "step", "VERSIONS", "RUNS", "SPECS", "RECORDS", "HOLDERS", "OTHERS",
}
read_globals = {
  -- The server's.
  "KEYS", "ARGV", "redis", "cmsgpack", "struct",
  -- The world of a step: world.lua, world_of_tests.lua.
  "OP", "NEW_EPOCH", "PAUSE", "wall", "now", "SLACK", "ordinary", "is_dead", "in_tests", "world",
  -- state.lua
  "holding_states", "waiting_states", "pack", "unpack_row", "byte", "sub", "format", "call",
  -- Constants, whose values are put in place of their names: script/constants.rs.
  "HASH", "INDEX", "WRITTEN", "EXPIRIES", "DEADLINES", "CLIENTS", "BACKLOG",
  "LOOKS", "CLAIMS", "DUE", "HINTS", "ENDS", "FORGETS", "BLOCKERS", "PROBES", "EXAMINED", "ANCESTORS", "EXPLAINED",
  "HEARD", "MADE_FROM", "PAGE", "MOST_RECORDS", "MOST_RUNS", "MOST_NAMES", "LONGEST_LIST",
  "HEARTBEAT", "SILENCE", "KEEP_LAPSED", "OUTCOME_MEMORY", "ABANDONED_AFTER", "LATEST_AHEAD", "LONGEST_PLACE",
  "LONGEST_RETRY", "RETRY_BY_HAND", "TOKEN_BLOCK", "END_OF_TIME", "EVIDENCE", "BOOT_TIME_SLACK", "FAR", "FORGET",
  "SCHEMA", "META", "META_REST", "RUN_HEAD", "RECORD_HEAD", "RECORD_HEAD_SIZE", "BRIEF", "BRIEF_RUNNING",
  "TICKET", "TICKET_FORMAT", "FIRST", "SHA1_HEX", "DIRTY", "HINT", "PARKED", "ALONE", "READERS", "GUARDS",
  "RECORD_CODE", "DATA_CODE", "LOCK_CODE", "SLOT_CODE", "SHARED_CODE", "EXCLUSIVE_CODE", "UNITS_CODE",
  "MUST_EXIST_CODE", "NOTE_CODE", "HOLDER_ROW_CODE", "QUEUED_ROW_CODE", "AWAITING_ROW_CODE",
}

-- What these define is used by the files behind them.
local shared = { ignore = { "211", "311" } }
files["crates/flowlock/src/store/redis/lua/world.lua"] = shared
files["crates/flowlock/src/store/redis/lua/world_of_tests.lua"] = shared
files["crates/flowlock/src/store/redis/lua/state.lua"] = shared
