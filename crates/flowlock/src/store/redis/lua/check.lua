#!lua flags=allow-oom
-- Asked once by each process, before it uses a namespace: whether every key is of its kind and every command is allowed,
-- so that no step ends in the middle. Nothing is left behind. Answers { the clock in milliseconds, what is wrong, which key
-- or command }; nothing is wrong without the last two.

local function refused(command, ...)
  local answer = redis.pcall(command, ...)
  if type(answer) == 'table' and answer.err then
    return string.find(answer.err, 'WRONGTYPE') and 'kind' or 'command'
  end
end

local reads = {
  { 'GET', KEYS[1] }, { 'HGET', KEYS[2], '!' }, { 'HGET', KEYS[3], '!' }, { 'HGET', KEYS[4], '!' },
  { 'ZSCORE', KEYS[5], '!' }, { 'HGET', KEYS[6], '!' }, { 'ZSCORE', KEYS[7], '!' }, { 'ZSCORE', KEYS[8], '!' },
  { 'ZSCORE', KEYS[9], '!' }, { 'ZSCORE', KEYS[10], '!' }, { 'ZSCORE', KEYS[11], '!' },
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
local row = redis.call('GET', KEYS[1])
local others = {
  { 'INFO', 'replication' }, { 'SET', KEYS[1], row or '', row and 'NX' or 'XX' }, { 'HMGET', KEYS[2], '!' },
  { 'HSET', KEYS[2], '!', '' }, { 'HINCRBY', KEYS[4], '!', 1 }, { 'HDEL', KEYS[2], '!' }, { 'HDEL', KEYS[4], '!' },
  { 'ZADD', KEYS[5], 'XX', 0, '!' }, { 'ZREM', KEYS[5], '!' }, { 'ZCARD', KEYS[11] },
  { 'ZRANGEBYLEX', KEYS[5], '[!', '(!', 'LIMIT', 0, 1 }, { 'ZREVRANGEBYLEX', KEYS[5], '(!', '[!', 'LIMIT', 0, 1 },
  { 'ZRANGEBYSCORE', KEYS[9], 1, 0 }, { 'SPUBLISH', string.sub(KEYS[1], 1, -2) .. 'i:check', '' },
}
for _, other in ipairs(others) do
  if refused(unpack(other)) then
    return { 0, 'command', other[1] }
  end
end
return { now }
