-- The short way of a request: all its inputs are there, nobody is in its way or has lapsed at any of its names, nothing is
-- due or left over. What goes on at other names does not matter.
-- What this grants, the engine below would grant in the same way; whatever is out of the ordinary is left to it, before
-- anything is written.
--
-- ARGV, behind those of acquire.lua: how many names are shared, how many exclusive, how many inputs (nothing, if the
-- request is out of the ordinary itself), the job, the lease, the longest run time or nothing; then the fields of the
-- hash: n<nonce><id>, i<id>, h<place> of the shared names and then of the exclusive ones, o<name> of the inputs.

local shared = ordinary and tonumber(ARGV[12])
if shared then
  local call, argv = redis.call, ARGV
  local exclusive, inputs = tonumber(argv[13]), tonumber(argv[14])
  local names = shared + exclusive
  local found = call('HMGET', KEYS[1], 'm', unpack(argv, 18, 19 + names + inputs))
  local schema, sequence, last_ticket, last_token, ahead, waiting, queued, lapsed, backlog, next_due, next_expiry,
    next_forget, pause_until, reign, epoch, replication
  if found[1] then
    schema, sequence, last_ticket, last_token, ahead, waiting, queued, lapsed, backlog, next_due, next_expiry, next_forget,
      pause_until, reign, epoch, replication = struct.unpack('>Bdddddddddddddc16c40', found[1])
  end
  local latest, free = tonumber(argv[11]), schema == 1 and not found[2] and not found[3]
  free = free and backlog == 0 and now < next_due and wall < next_expiry
    and now < next_forget + SLACK and latest >= now and latest <= now + LATEST_AHEAD
  free = free and (PAUSE == 0 or now >= pause_until)
    and string.match(call('INFO', 'replication'), '[a-z]+_replid:(%x+)') == replication
  for i = 4, 3 + names do
    local holders = found[i]
    free = free and (not holders or i < 4 + shared and string.byte(holders) == 115)
  end
  local parts, told = { inputs }, {}
  for i = 1, free and inputs or 0 do
    local raw = found[3 + names + i]
    local state, version, _, due = struct.unpack('>c1ddd', raw or '0123456789012345678901234')
    free = free and state == 'L' and (due < 0 or due > wall)
    local name = string.sub(argv[19 + names + i], 2)
    parts[2 * i], parts[2 * i + 1], told[i] = name, string.format('%.0f', version), { name, version, raw }
  end
  -- Nothing may fail after the first write.
  local may = redis.acl_check_cmd
  -- Who waits for something elsewhere is heard, which the engine sees to.
  local mine = 'k' .. argv[7]
  free = free and (waiting == 0 or not call('ZRANGEBYLEX', KEYS[2], '[' .. mine, '(' .. mine .. '\255', 'LIMIT', 0, 1)[1])
  if free and may('HSET') and may('ZADD') and call('ZCARD', KEYS[2]) then
    local token, lease, most = math.max(last_token + 1, wall + ahead), tonumber(argv[16]), tonumber(argv[17])
    local ticket = string.format('%016.0f', last_ticket + 1)
    local deadline = now + math.min(lease, most or lease)
    local run = {
      ticket = ticket, id = argv[4], nonce = argv[5], job = argv[15], lease = lease, max_runtime = most, client = argv[7],
      life = argv[8] ~= '' and argv[8] or nil, origin = argv[9], state = 'running', since = wall, token = token, began = now,
      deadline = deadline, due = deadline,
    }
    local row = struct.pack('>Bdddddddddddddc16c40', 1, sequence + 1, last_ticket + 1, token,
      ahead, waiting, queued, lapsed, 0, math.min(next_due, deadline), next_expiry, next_forget, pause_until, reign, epoch, replication)
    local fields = {
      'm', row, ticket, struct.pack('>c1dd', 'R', token, deadline) .. cmsgpack.pack(run), 's' .. ticket, argv[6], argv[18], ticket, argv[19], ticket,
      inputs > 0 and 'v' .. ticket or nil, inputs > 0 and table.concat(parts, '\0') .. '\0' or nil,
    }
    local index, n = { 0, 'r' .. ticket }, #fields
    for i = 1, names do
      local field, holders = argv[19 + i], ticket
      if i <= shared then
        holders = 's' .. (found[3 + i] and string.sub(found[3 + i], 2) or 0) + 1
        index[2 * i + 1], index[2 * i + 2] = 0, field .. '\0' .. ticket .. 's'
      end
      fields[n + 1], fields[n + 2], n = field, holders, n + 2
    end
    call('ZADD', KEYS[5], deadline, ticket)
    call('ZADD', KEYS[2], unpack(index))
    call('HSET', KEYS[1], unpack(fields))
    return { epoch, sequence + 1, now, { 'running', token, deadline - now, told }, reign }
  end
end
