-- The world of a step: the server's clock, read once; no process is known to be dead.
local time = redis.call('TIME')
local wall = time[1] * 1000000 + time[2]                     -- microseconds since 1970
local now = math.floor(wall / 1000)                          -- what leases run on, in milliseconds
local SLACK = 1000                                           -- how long forgetting may wait
local OP, NEW_EPOCH, PAUSE = ARGV[1], ARGV[2], tonumber(ARGV[3])
local ordinary = wall < END_OF_TIME -- else the step is refused
local is_dead    -- processes on other hosts cannot be probed: only leases show who lives
local in_tests = false
