-- The fast path of a commit: the run holds all its names under a standing lease, no run waits for any of them or has
-- lapsed at one, and nothing is due or left over. Other names do not matter. It writes exactly what the engine below
-- would write. Anything else is left to the engine, before anything is written.

if ordinary and OP == 'commit' and ARGV[5] ~= '' then
  local call, argv = redis.call, ARGV
  local field = 'n' .. argv[5] .. argv[4]
  local found = call('HMGET', HASH, 'm', field)
  local attempt, free, schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch =
    found[2], found[1] and found[2] and #found[2] > 16
  if free then
    schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, takeovers, epoch =
      struct.unpack(META, found[1])
    free = schema == SCHEMA and backlog == 0 and now < next_due and wall < next_expiry
      and now < next_forget + SLACK
  end
  local ticket, letter, token, deadline, lease, most, began
  if free then
    ticket, letter, token, deadline, lease, most, began = struct.unpack(RUN_HEAD, attempt)
  end
  local whole = letter == 'R' and deadline > now and call('HMGET', HASH, 's' .. ticket, 'v' .. ticket)
  local spec = whole and whole[1] and cmsgpack.unpack(whole[1])
  if spec and not spec[6] then
    -- What to read: the records of the outputs, then the number of shared holders of each shared name. Here and below,
    -- nils allocate room at once: a table that grows is copied at every power of two.
    local fields, gone = { nil, nil, nil, nil, nil, nil, nil, nil }, { nil, nil, nil, nil, nil, nil, nil, nil }
    local index, inputs, outputs = { 'r' .. ticket, nil, nil, nil }, 0, 0
    local last_claim = type(spec[#spec]) == 'number' and #spec - 1 or #spec
    for i = 8, last_claim do
      local claim = spec[i]
      local mode, space = string.byte(claim, 1), string.byte(claim, 3)
      if mode == EXCLUSIVE_CODE then
        gone[#gone + 1] = 'h' .. string.sub(claim, 3)
        if space == DATA_CODE then
          outputs = outputs + 1
          fields[outputs] = 'o' .. string.sub(claim, 4)
        end
      end
      free = free and mode ~= UNITS_CODE
      if string.byte(claim, 2) == MUST_EXIST_CODE then
        inputs = inputs + 1
      end
    end
    local last = outputs
    for i = 8, last_claim do
      if string.byte(spec[i], 1) == SHARED_CODE then
        local holders = 'h' .. string.sub(spec[i], 3)
        last = last + 1
        fields[last], index[#index + 1] = holders, holders .. '\0' .. ticket .. 's'
      end
    end
    for i = 1, #gone do
      fields[last + i] = gone[i]
    end
    local old, written = fields[1] and call('HMGET', HASH, unpack(fields)) or {}, {}
    for i = outputs + 1, #fields do
      free = free and (old[i] == ticket or i <= last and old[i] and string.byte(old[i]) == SHARED_CODE)
    end
    for i = 1, outputs do
      if old[i] then
        local state, version, _, due = struct.unpack(RECORD_HEAD, old[i])
        free = free and (state == 'L' or state == 'I' or state == 'J') and version <= token and due < 0
      else
        written[#written + 1] = '0'
        written[#written + 1] = string.sub(fields[i], 2)
      end
    end
    -- Nothing may fail after the first write.
    local may = redis.acl_check_cmd
    free = free and may('HSET') and may('HDEL') and may('ZADD') and may('ZREM') and call('ZCARD', INDEX)
      and (not written[1] or call('ZCARD', WRITTEN))
    if free and inputs <= MADE_FROM then
      local forget = now + OUTCOME_MEMORY
      local record = outputs > 0 and struct.pack(RECORD_HEAD, 'L', token, wall, -1) .. '\0\0\0\0\0' .. argv[4] .. '\0'
        .. spec[1] .. '\0' .. (whole[2] or '0\0') .. argv[6]
      local row = struct.pack(META, SCHEMA, sequence + 1, next_due, waiting, 0, next_expiry,
        math.min(next_forget, forget), takeovers, epoch, wall)
      local run = struct.pack(RUN_HEAD, ticket, 'C', token, deadline, lease, most, began, wall, forget)
      local changed, n = { 'm', row, field, run, nil, nil, nil, nil, nil, nil, nil, nil }, 4
      for i = 1, last do
        local left = i > outputs and string.sub(old[i], 2) - 1
        if left == 0 then
          gone[#gone + 1] = fields[i]
        else
          changed[n + 1], changed[n + 2], n = fields[i], left and 's' .. left or record, n + 2
        end
      end
      call('ZADD', DEADLINES, forget - FORGET, ticket)
      call('HSET', HASH, unpack(changed))
      if gone[1] then
        call('HDEL', HASH, unpack(gone))
      end
      if written[1] then
        call('ZADD', WRITTEN, unpack(written))
      end
      call('ZREM', INDEX, unpack(index))
      return struct.pack(BRIEF, epoch, sequence + 1, now, takeovers, 'c')
    end
  end
end
