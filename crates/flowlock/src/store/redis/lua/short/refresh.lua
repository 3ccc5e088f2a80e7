-- The fast path of a refresh: all the runs hold their names under standing leases, none reaches its longest run time,
-- and nothing is due or left over. It writes exactly what the engine below would write. Anything else is left to the
-- engine, before anything is written.

if ordinary and OP == 'refresh' then
  local call, argv, fields = redis.call, ARGV, { 'm' }
  local last, free = 1 + argv[4] / 2, true
  for i = 2, last do
    local id, nonce = argv[2 * i + 1], argv[2 * i + 2]
    free = free and nonce ~= ''
    fields[i] = 'n' .. nonce .. id
  end
  local found = free and last > 1 and call('HMGET', HASH, unpack(fields))
  local schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch
  if found and found[1] then
    schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch =
      struct.unpack(META, found[1])
  end
  free = schema == SCHEMA and backlog == 0 and now < next_due and wall < next_expiry and now < next_forget + SLACK
  local due, changed, leases = {}, { 'm', '' }, ''
  for i = 2, free and last or 1 do
    local attempt = found[i]
    local ticket, letter, token, deadline, lease, most, began, since
    if attempt and #attempt > 16 then
      ticket, letter, token, deadline, lease, most, began, since = struct.unpack(RUN_HEAD, attempt)
    end
    free = free and letter == 'R' and deadline > now and (most < 0 or began + most >= now + lease)
    if free then
      local ends = now + lease
      next_due = math.min(next_due, ends)
      due[2 * i - 3], due[2 * i - 2] = ends, ticket
      changed[2 * i - 1] = fields[i]
      changed[2 * i] = struct.pack(RUN_HEAD, ticket, 'R', token, ends, lease, most, began, since, 0)
      leases = leases .. struct.pack('>d', lease)
    end
  end
  -- Nothing may fail after the first write.
  local may = redis.acl_check_cmd
  if free and may('HSET') and may('ZADD') then
    changed[2] = struct.pack(META, SCHEMA, sequence + 1, next_due, waiting, 0, next_expiry, next_forget, takeovers,
      epoch, wall)
    call('ZADD', DEADLINES, unpack(due))
    call('HSET', HASH, unpack(changed))
    return struct.pack(BRIEF, epoch, sequence + 1, now, takeovers, 'h') .. leases
  end
end
