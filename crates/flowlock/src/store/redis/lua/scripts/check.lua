#!lua flags=allow-oom
-- Each process runs this once before it uses a namespace: it checks whether every key has the right type and every
-- command is allowed, so that no step ends in the middle. It leaves nothing behind. Returns { the clock in
-- milliseconds, what is wrong, which key or command }; without the last two if nothing is wrong.

local function refused(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    return string.find(answer.err, 'WRONGTYPE') and 'kind' or 'command'
  end
end

local reads = {
  { 'HMGET', KEYS[1], 'm' }, { 'ZSCORE', KEYS[2], '!' }, { 'ZSCORE', KEYS[3], '!' }, { 'ZSCORE', KEYS[4], '!' },
  { 'ZSCORE', KEYS[5], '!' }, { 'ZSCORE', KEYS[6], '!' }, { 'ZSCORE', KEYS[7], '!' },
}
for i, read in ipairs(reads) do
  local why = refused(unpack(read))
  if why then
    return { 0, why, why == 'kind' and KEYS[i] or read[1] }
  end
end

local time = redis.pcall('TIME')
if time.err then
  return { 0, 'command', 'TIME' }
end
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local others = {
  { 'INFO', 'replication' }, { 'HGET', KEYS[1], 'm' }, { 'HDEL', KEYS[1], '!' }, { 'HSET', KEYS[1], '!', '0' },
  { 'HINCRBY', KEYS[1], '!', 1 }, { 'HDEL', KEYS[1], '!' }, { 'ZADD', KEYS[2], 'XX', 0, '!' }, { 'ZREM', KEYS[2], '!' },
  { 'ZCARD', KEYS[7] }, { 'ZRANGEBYLEX', KEYS[2], '[!', '(!', 'LIMIT', 0, 1 },
  { 'ZREVRANGEBYLEX', KEYS[2], '(!', '[!', 'LIMIT', 0, 1 }, { 'ZRANGEBYSCORE', KEYS[5], 1, 0 },
  { 'SPUBLISH', string.sub(KEYS[1], 1, -2) .. 'i:check', '' },
}
for _, other in ipairs(others) do
  if refused(unpack(other)) then
    redis.pcall('HDEL', KEYS[1], '!') -- what HSET left, should a later one have been refused
    return { 0, 'command', other[1] }
  end
end
return { now }
