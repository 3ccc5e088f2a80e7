-- The fast path of an accept: the run was handed its claims in time, the process that asked for them accepts them, and
-- nothing is due or left over. It writes exactly what the engine below would write. Anything else is left to the
-- engine, before anything is written.
--
-- ARGV, as in step.lua: run id, nonce, client, liveness, origin

if ordinary and OP == 'accept' then
  local call, argv = redis.call, ARGV
  local field, client, may = 'n' .. argv[5] .. argv[4], argv[6], redis.acl_check_cmd
  local found = call('HMGET', HASH, 'm', field)
  local attempt = found[1] and found[2]
  local schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch
  local ticket, letter, token, deadline, lease, most
  if attempt and #attempt > 16 then
    schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch =
      struct.unpack(META, found[1])
    ticket, letter, token, deadline, lease, most = struct.unpack(RUN_HEAD, attempt)
  end
  local ends = letter and now + (most < 0 and lease or math.min(lease, most))
  -- Waiting runs must be told if it ends sooner than they know.
  local free = ends and (ends >= deadline or waiting == 1) and letter == 'G' and deadline > now
  free = free and schema == SCHEMA and backlog == 0 and now < next_due and wall < next_expiry
    and now < next_forget + SLACK
  local whole = free and call('HMGET', HASH, ticket, 'v' .. ticket)
  local who = 'H' .. argv[4] .. '\0' .. argv[5] .. '\0' .. client .. '\0' .. argv[7] .. '\0' .. argv[8] .. '\0'
  -- Nothing may fail after the first write.
  if whole and whole[1] and string.find(whole[1], who, 1, true) == 1 and may('HSET') and may('ZADD') and may('ZREM')
    and call('ZCARD', CLIENTS) then
    local told, names, versions, n = { '' }, {}, {}, 1
    if whole[2] then
      for name, version in string.gmatch(string.sub(whole[2], string.find(whole[2], '%z') + 1), '(%Z+)%z(%Z+)%z') do
        names[#names + 1], versions[#versions + 1] = 'o' .. name, tonumber(version)
      end
    end
    local records = names[1] and call('HMGET', HASH, unpack(names))
    for i = 1, #names do
      if records[i] then
        told[n + 1], told[n + 2], told[n + 3], n = string.sub(names[i], 2), versions[i], records[i], n + 3
      end
    end
    local mine, silent_at = 'k' .. client, now + SILENCE
    local both = call('ZRANGEBYLEX', INDEX, '[' .. mine, '(' .. mine .. '\255', 'LIMIT', 0, 2)
    call('ZADD', DEADLINES, ends, ticket)
    if both[2] then
      call('ZADD', CLIENTS, silent_at, client)
    else
      call('ZREM', CLIENTS, client)
    end
    call('ZREM', INDEX, mine .. ticket)
    call('HSET', HASH, 'm',
      struct.pack(META, SCHEMA, sequence + 1, math.min(next_due, silent_at, ends), waiting - 1, 0, next_expiry,
        next_forget, takeovers, epoch, wall),
      field, struct.pack(RUN_HEAD, ticket, 'R', token, ends, lease, most, now, wall, 0))
    told[1] = struct.pack(BRIEF_RUNNING, epoch, sequence + 1, now, takeovers, 'r', token, ends - now)
    return told[2] and told or told[1]
  end
end
