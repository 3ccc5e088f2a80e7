-- The fast path of a request: all its inputs exist, no run is in its way or has lapsed at any of its names, and
-- nothing is due or left over. Other names do not matter. It grants exactly as the engine below would grant. Anything
-- else is left to the engine, before anything is written.
--
-- ARGV, after those of acquire.lua: how many names are shared, how many exclusive, how many inputs (empty, if the
-- request itself needs the engine), the job, the lease, the longest run time or empty; then the fields of the hash:
-- n<nonce><id>, i<id>, h<place> of the shared names and then of the exclusive ones, o<name> of the inputs.

local shared = ordinary and tonumber(ARGV[12])
if shared then
  local call, argv = redis.call, ARGV
  local exclusive, inputs = tonumber(argv[13]), tonumber(argv[14])
  local names = shared + exclusive
  local found = call('HMGET', HASH, 'm', 'M', unpack(argv, 18, 19 + names + inputs))
  local schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch, last_ticket,
    last_token, ahead, queued, lapsed, pause_until, replication
  if found[1] and found[2] then
    schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch =
      struct.unpack(META, found[1])
    last_ticket, last_token, ahead, queued, lapsed, pause_until, replication = struct.unpack(META_REST, found[2])
  end
  local latest, free = tonumber(argv[11]), schema == SCHEMA and not found[3] and not found[4]
  free = free and backlog == 0 and now < next_due and wall < next_expiry
    and now < next_forget + SLACK and latest >= now and latest <= now + LATEST_AHEAD
  -- A plain search: a pattern would be tried at every byte of the text.
  free = free and (PAUSE == 0 or now >= pause_until)
    and string.find(call('INFO', 'replication'), '_replid:' .. replication, 1, true)
  for i = 5, 4 + names do
    local holders = found[i]
    free = free and (not holders or i < 5 + shared and string.byte(holders) == SHARED_CODE)
  end
  -- Here and below, nils allocate room at once: a table that grows is copied at every power of two.
  local parts, told = { argv[14], nil, nil, nil, nil, nil, nil }, { '', nil, nil, nil, nil, nil, nil, nil, nil, nil }
  for i = 1, free and inputs or 0 do
    local raw = found[4 + names + i]
    local state, version, _, due
    if raw then
      state, version, _, due = struct.unpack(RECORD_HEAD, raw)
    end
    free = free and state == 'L' and (due < 0 or due > wall)
    if free then
      local name = string.sub(argv[19 + names + i], 2)
      parts[2 * i], parts[2 * i + 1] = name, string.format('%.0f', version)
      told[3 * i - 1], told[3 * i], told[3 * i + 1] = name, version, raw
    end
  end
  -- Nothing may fail after the first write.
  local may = redis.acl_check_cmd
  -- A process that waits for something elsewhere must be noted as heard, which the engine does.
  local mine = 'k' .. argv[7]
  free = free and (waiting == 0 or not call('ZRANGEBYLEX', INDEX, '[' .. mine, '(' .. mine .. '\255', 'LIMIT', 0, 1)[1])
  if free and may('HSET') and may('ZADD') and call('ZCARD', INDEX) then
    local token, lease, most = math.max(last_token + 1, wall + ahead), tonumber(argv[16]), tonumber(argv[17])
    local ticket = string.format(TICKET_FORMAT, last_ticket + 1)
    local deadline = now + math.min(lease, most or lease)
    local run = 'H' .. argv[4] .. '\0' .. argv[5] .. '\0' .. argv[7] .. '\0' .. argv[8] .. '\0' .. argv[9] .. '\0'
      .. cmsgpack.pack({ ticket = ticket, job = argv[15] })
    local attempt = struct.pack(RUN_HEAD, ticket, 'R', token, deadline, lease, most or -1, now, wall, 0)
    local row = struct.pack(META, SCHEMA, sequence + 1, math.min(next_due, deadline), waiting, 0, next_expiry,
      next_forget, takeovers, epoch, wall)
    local rest = struct.pack(META_REST, last_ticket + 1, token, ahead, queued, lapsed, pause_until, replication)
    local fields = {
      'm', row, 'M', rest, ticket, run, 's' .. ticket, argv[6], argv[18], attempt, argv[19], ticket,
      inputs > 0 and 'v' .. ticket or nil, inputs > 0 and table.concat(parts, '\0') .. '\0' or nil,
    }
    local index, n = { '0', 'r' .. ticket, nil, nil, nil, nil, nil, nil }, #fields
    for i = 1, names do
      local field, holders = argv[19 + i], ticket
      if i <= shared then
        holders = found[4 + i] and 's' .. string.sub(found[4 + i], 2) + 1 or 's1'
        index[2 * i + 1], index[2 * i + 2] = '0', field .. '\0' .. ticket .. 's'
      end
      fields[n + 1], fields[n + 2], n = field, holders, n + 2
    end
    call('ZADD', DEADLINES, deadline, ticket)
    call('ZADD', INDEX, unpack(index))
    call('HSET', HASH, unpack(fields))
    told[1] = struct.pack(BRIEF_RUNNING, epoch, sequence + 1, now, takeovers, 'r', token, deadline - now)
    return told[2] and told or told[1]
  end
end
