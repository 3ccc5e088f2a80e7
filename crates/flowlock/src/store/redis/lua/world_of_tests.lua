-- In tests the world is the last argument: both clocks, the boot of the machine, the bounds of a step, the dead, and
-- whether the fast paths are taken.
local world = cmsgpack.unpack(ARGV[#ARGV])
local wall, now = world.wall_us, world.boot_ms
local SLACK = 0
local OP, NEW_EPOCH, PAUSE = ARGV[1], ARGV[2], tonumber(ARGV[3])
local dead = {}
for _, liveness in ipairs(world.dead) do
  dead[liveness] = true
end
local function is_dead(liveness)
  return dead[liveness] or false
end
local in_tests = true -- a restarted server keeps its data, except in tests: see engine/boot.lua
-- The fast path does not know the ceiling: if it must rise, the engine carries out the step.
local tests = redis.call('HMGET', HASH, '!boot', '!ceiling', 'M')
local ordinary = world.ways == 'short' and wall >= 0 and wall < END_OF_TIME and tests[1] == world.boot_id
  and tests[2] and tests[3]
if ordinary then
  local _, last_token, ahead = struct.unpack(META_REST, tests[3])
  ordinary = math.max(wall + ahead, last_token + 1) <= tonumber(tests[2])
end
