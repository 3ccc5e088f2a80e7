-- In tests the world is the last argument: both clocks, the boot of the machine, the bounds of a step, the dead.
local world = cmsgpack.unpack(ARGV[#ARGV])
local wall, now = world.wall_us, world.boot_ms
local SLACK = 0
local OP, NEW_EPOCH, PAUSE = ARGV[1], ARGV[2], tonumber(ARGV[3])
local dead = {}
for _, life in ipairs(world.dead) do
  dead[life] = true
end
local function is_dead(life)
  return dead[life] or false
end
local check_boot -- see boot_of_tests.lua
local ordinary = redis.call('HGET', KEYS[1], '!boot') == world.boot_id
