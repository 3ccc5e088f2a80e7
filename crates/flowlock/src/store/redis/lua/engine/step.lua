-- How a step begins and ends.

-- Begins a step of a client, if a waiting process sent it; returns why not, if it cannot begin.
function F.begin_step(client)
  F.must_be_able()
  local other_schema = F.read_meta()
  if other_schema then
    return { 'schema', other_schema, SCHEMA }
  end
  if wall < 0 or wall >= END_OF_TIME then
    return { 'clock', math.floor(wall / 1000000) }
  end
  if in_tests then
    local refused = F.check_boot()
    if refused then
      return refused
    end
  end
  if meta.is_new then
    F.may_grant() -- who takes over later is told from who was there at the beginning
  end
  if client and meta.waiting > 0 then
    F.hear(client)
  end
  if now >= meta.next_due or wall >= meta.next_expiry or now >= meta.next_forget + SLACK then
    F.sweep()
  end
  if meta.backlog == 1 then
    F.drain()
  end
end

-- Checks before the first write that each command is allowed and each key has the right type, because nothing may fail
-- after it: half a step would remain. The server has checked the user's rights to the keys themselves.
function F.must_be_able()
  for _, command in ipairs({
    'INFO', 'HGET', 'HMGET', 'HSET', 'HDEL', 'HINCRBY', 'ZADD', 'ZREM', 'ZCARD', 'ZSCORE', 'ZRANGEBYLEX',
    'ZREVRANGEBYLEX', 'ZRANGEBYSCORE',
  }) do
    if not redis.acl_check_cmd(command) then
      error({ err = "NOPERM this user has no permissions to run the '" .. string.lower(command) .. "' command" })
    end
  end
  for i = 2, #KEYS do
    call('ZCARD', KEYS[i])
  end
end

-- Ends a step with its answer: { epoch, sequence number, the clock, the answer, how often another primary took over }.
function F.end_step(answer)
  if meta.backlog == 1 then
    F.drain()
    if call('ZCARD', BACKLOG) == 0 then
      meta.backlog = 0
    end
  end
  if step.others then
    F.write_others()
  end
  meta.sequence = meta.sequence + 1
  if meta.removed or step.removed then
    call('HDEL', HASH, step.removed and 'm' or 'x')
  end
  local row = struct.pack(META, SCHEMA, meta.sequence, meta.next_due, meta.waiting, meta.backlog, meta.next_expiry,
    meta.next_forget, meta.takeovers, meta.epoch, wall)
  local rest = struct.pack(META_REST, meta.ticket, meta.token, meta.ahead, meta.queued, meta.lapsed, meta.pause_until,
    meta.replication)
  call('HSET', HASH, step.removed and 'x' or 'm', row .. (step.removed or ''), 'M', rest)
  if step.everybody or next(step.wakes) then
    F.send_wakes()
  end
  return { meta.epoch, meta.sequence, now, answer, meta.takeovers }
end

-- Returns whether older work is left over: then nothing new may be decided.
function F.has_leftover()
  return meta.backlog == 1 and F.next_look() ~= nil or step.unswept
end
