-- The fast path of a heartbeat: it does not ask why runs wait, all runs on this page wait and were not silent, and
-- nothing is due or left over. It writes exactly what the engine below would write. Anything else is left to the
-- engine, before anything is written.

if ordinary and OP == 'heartbeat' and ARGV[6] == '0' then
  local call, client = redis.call, ARGV[4]
  local meta, mine = call('HGET', HASH, 'm'), 'k' .. client
  local schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch
  if meta then
    schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch = struct.unpack(META, meta)
  end
  local free = schema == SCHEMA and backlog == 0 and now < next_due and wall < next_expiry and now < next_forget + SLACK
  local from, upto = '[' .. mine .. ARGV[5], '(' .. mine .. '\255'
  local tickets = free and call('ZRANGEBYLEX', INDEX, from, upto, 'LIMIT', 0, HEARD + 1) or {}
  for i = 1, #tickets do
    tickets[i] = string.sub(tickets[i], 1 + #mine)
  end
  local next_page = tickets[HEARD + 1]
  tickets[HEARD + 1] = nil
  local heard = tickets[1] and call('HMGET', HASH, unpack(tickets)) or {}
  for i = 1, #tickets do
    local row = heard[i] or '-'
    local letter = string.byte(row)
    free = free and (letter == QUEUED_ROW_CODE or letter == AWAITING_ROW_CODE)
    if free then
      heard[i] = string.sub(row, 1, string.find(row, '\0', 2, true))
    end
  end
  -- Nothing may fail after the first write.
  local may = redis.acl_check_cmd
  if free and heard[1] and may('HSET') and may('ZADD') then
    local silent_at = now + SILENCE
    call('ZADD', CLIENTS, silent_at, client)
    call('HSET', HASH, 'm', struct.pack(META, SCHEMA, sequence + 1, math.min(next_due, silent_at), waiting, 0,
      next_expiry, next_forget, takeovers, epoch, wall))
    return struct.pack(BRIEF, epoch, sequence + 1, now, takeovers, 'w') .. (next_page or FIRST) .. table.concat(heard)
  end
end
