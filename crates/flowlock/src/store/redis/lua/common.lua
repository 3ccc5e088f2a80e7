-- What every step needs.

  read_meta = function()
    local raw, removed = call('HMGET', KEYS[1], 'm', 'M'), nil
    if not raw[1] then
      raw[1], removed = F.removed_meta()
      if not raw[1] then
        meta = F.new_meta()
        return
      end
    end
    local schema, sequence, next_due, waiting, backlog, next_expiry, next_forget, reign, epoch, last_wall =
      struct.unpack(META, raw[1])
    if schema ~= SCHEMA then
      return schema
    end
    local ticket, token, ahead, queued, lapsed, pause_until, replication = struct.unpack(META_REST, raw[2])
    meta = {
      sequence = sequence, ticket = ticket, token = token, ahead = ahead, waiting = waiting, queued = queued,
      lapsed = lapsed, backlog = backlog, next_due = next_due, next_expiry = next_expiry, next_forget = next_forget,
      pause_until = pause_until, reign = reign, epoch = epoch, replication = replication, last_wall = last_wall,
      removed = removed,
    }
  end,

  -- The letter that a run's head begins with; nothing if it has none.
  letter_of = function(run)
    if run.lapsed or run.revoked or run.forget then
      return nil
    end
    return run.state == 'running' and 'R' or run.state == 'granted' and not run.on_fail and 'G' or nil
  end,

  -- A run as it stands in the hash.
  row_of = function(run)
    local letter = '-'
    if F.letter_of(run) then
      letter = 'H'
    elseif not run.absent then
      letter = run.state == 'queued' and 'Q' or run.state == 'awaiting_input' and 'A' or '-'
    end
    local id, nonce, client, life, origin = run.id, run.nonce, run.client, run.life, run.origin
    run.id, run.nonce, run.client, run.life, run.origin = nil, nil, nil, nil, nil
    local row = table.concat({ letter .. id, nonce, client, life or '', origin, pack(run) }, '\0')
    run.id, run.nonce, run.client, run.life, run.origin = id, nonce, client, life, origin
    return row
  end,

  -- The field of a run's attempt.
  attempt_of = function(run)
    return 'n' .. run.nonce .. run.id
  end,

  -- What stands there.
  ticket_and_head = function(run)
    local letter = F.letter_of(run)
    return letter and struct.pack(RUN_HEAD, run.ticket, letter, run.token, run.deadline, run.lease, run.max_runtime or -1,
      run.began or 0, run.since, 0) or run.ticket
  end,

  -- A run from its row alone: of one that holds, or did, the head says what counts.
  run_from_row = function(row)
    local id, nonce, client, life, origin, rest = string.match(row, '^(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)%z()', 2)
    local run = unpack_row(sub(row, rest))
    run.id, run.nonce, run.client, run.life, run.origin = id, nonce, client, life ~= '' and life or nil, origin
    return run
  end,

  -- A run from its row, and from what stands with its attempt if that is read already.
  run_from = function(row, attempt)
    local run = F.run_from_row(row)
    if byte(row) ~= 72 then
      return run
    end
    local _, letter, token, deadline, lease, most, began, since, forget =
      struct.unpack(RUN_HEAD, attempt or call('HGET', KEYS[1], F.attempt_of(run)))
    run.token, run.deadline, run.due, run.lease, run.max_runtime, run.since = token, deadline, deadline, lease, most >= 0 and most or nil, since
    if letter ~= 'G' then
      run.state, run.began, run.wait_end, run.place_end = 'running', began, nil, nil
    end
    if letter == 'C' then
      run.state, run.forget, run.due = 'committed', forget, nil
    end
    return run
  end,

  -- The first index member that begins so, without its beginning.
  first_of = function(prefix)
    local found = call('ZRANGEBYLEX', KEYS[2], '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
    return found and sub(found, #prefix + 1)
  end,

  -- What a run asks for, as its client packed it; with the names of inputs and outputs picked out.
  spec_from = function(text)
    local packed = unpack_row(text)
    local claims, inputs, outputs, last, keep_lapsed = {}, {}, {}, #packed, KEEP_LAPSED
    if last > 7 and type(packed[last]) == 'number' then
      last, keep_lapsed = last - 1, packed[last]
    end
    for i = 8, last do
      local claim = F.claim_from(packed[i])
      claims[i - 7] = claim
      if claim.must then
        inputs[#inputs + 1] = sub(claim.place, 2)
      end
      if claim.mode == 'x' and byte(claim.place) == 100 then
        outputs[#outputs + 1] = sub(claim.place, 2)
      end
    end
    return {
      job = packed[1], lease = packed[2], if_written = packed[3], on_fail = packed[4], parent = packed[5],
      record_life = packed[6], max_runtime = packed[7] or nil, keep_lapsed = keep_lapsed, claims = claims,
      inputs = inputs, outputs = outputs, text = text,
    }
  end,

  -- A claim as its client packed it: the mode, `!` if its record must exist or `-`, for units how many of how many and
  -- a colon, the place.
  claim_from = function(text)
    local mode = sub(text, 1, 1)
    if mode == 'u' then
      local units, capacity, place = string.match(text, '^u%-(%d+)/(%d+):(.*)$')
      return { place = place, mode = mode, units = tonumber(units), capacity = tonumber(capacity) }
    end
    return { place = sub(text, 3), mode = mode, must = byte(text, 2) == 33 }
  end,

  spec_of = function(run)
    return SPECS[run.ticket] or F.read_spec(run)
  end,

  -- What a run's outputs are made from: how many inputs, and the name and the version of each when it was granted; each
  -- text ended by NUL.
  made_from = function(run)
    local text = VERSIONS[run.ticket]
    if text == nil then
      text = F.spec_of(run).inputs[1] and call('HGET', KEYS[1], 'v' .. run.ticket) or false
      VERSIONS[run.ticket] = text
    end
    return text or '0\0'
  end,

  record_from = function(name, raw)
    local record = false
    if raw then
      local state, version, written, due = struct.unpack(HEAD, raw)
      record = { state = state, version = version, written = written, due = due >= 0 and due or nil, raw = raw }
    end
    RECORDS[name] = record
    return record
  end,

  record_of = function(name)
    local known = RECORDS[name]
    if known == nil then
      known = F.record_from(name, call('HGET', KEYS[1], 'o' .. name))
    end
    return known
  end,

  -- Reads all records that a decision needs, at once.
  prefetch_records = function(names)
    local missing
    for _, name in ipairs(names) do
      if RECORDS[name] == nil then
        missing = missing or {}
        missing[#missing + 1] = 'o' .. name
      end
    end
    if missing then
      local found = call('HMGET', KEYS[1], unpack(missing))
      for i, field in ipairs(missing) do
        F.record_from(sub(field, 2), found[i])
      end
    end
  end,

  -- Reads who holds the names, all at once.
  prefetch_holders = function(claims)
    local missing
    for _, claim in ipairs(claims) do
      if HOLDERS[claim.place] == nil and claim.mode ~= 'u' then
        missing = missing or {}
        missing[#missing + 1] = 'h' .. claim.place
      end
    end
    if missing then
      local found = call('HMGET', KEYS[1], unpack(missing))
      for i, field in ipairs(missing) do
        F.holders_from(sub(field, 2), found[i])
      end
    end
  end,

  -- Takes in who holds a place, and how many others have to do with it.
  holders_from = function(place, raw)
    local count, holders = string.match(raw or '', '^(%d+):(.*)$')
    OTHERS[place] = tonumber(count or 0)
    if count then
      raw = holders ~= '' and holders
    end
    HOLDERS[place] = raw
  end,

  -- How a place stands in the hash; false if nobody has to do with it.
  crowd_of = function(place)
    local others, holders = OTHERS[place], HOLDERS[place]
    if others > 0 then
      return format('%d:', others) .. (holders or '')
    end
    return holders
  end,

  -- How a name stands in the hash with so many more, or fewer, who share it; false if nobody is left.
  sharers = function(place, more)
    local known = HOLDERS[place]
    local count = (known and tonumber(sub(known, 2)) or 0) + more
    return count > 0 and 's' .. format('%d', count)
  end,

  is_late = function(run)
    return run.lapsed or (run.deadline ~= nil and run.deadline <= now)
  end,

  -- When something about a run falls due: its lease, its claim limit, the end of its wait; nothing once it is over.
  due_of = function(run)
    if holding_states[run.state] then
      return run.lapsed and run.given_up or run.deadline
    elseif waiting_states[run.state] then
      return F.end_of_wait(run)
    end
  end,

  -- Keeps what is due in sight. A run that is over stands there until it is forgotten.
  note_due = function(run)
    local due = F.due_of(run)
    if run.forget then
      run.due = nil
      call('ZADD', KEYS[5], run.forget - FORGET, run.ticket)
      if run.forget < meta.next_forget then
        meta.next_forget = run.forget
      end
    elseif due ~= run.due then
      run.due = due
      if due then
        call('ZADD', KEYS[5], due, run.ticket)
      else
        call('ZREM', KEYS[5], run.ticket)
      end
    end
    if due and due < meta.next_due then
      meta.next_due = due
    end
  end,

  -- Keeps in sight who leaves the line when its process is silent: a held place reserves to its end.
  note_reserving = function(run)
    local reserves = waiting_states[run.state] and not run.absent and not run.place_end and run.client or nil
    if reserves ~= run.reserves then
      if run.reserves then
        call('ZREM', KEYS[2], 'w' .. run.reserves .. run.ticket)
      end
      if reserves then
        call('ZADD', KEYS[2], 0, 'w' .. reserves .. run.ticket)
      end
      run.reserves = reserves
    end
  end,

  -- Whether anything may be granted now: not for a while after another server, or this one anew, took over, so that
  -- holders whose grants did not survive hear of it first. Asked anew by each step that would grant: a server may be back
  -- within milliseconds.
  may_grant = function()
    if step.granting == nil then
      -- A plain search: a pattern would be tried at every byte of the text.
      local said = call('INFO', 'replication')
      local _, before = string.find(said, '_replid:', 1, true)
      local replication = before and string.match(said, '^%x+', before + 1) or meta.replication
      if replication ~= meta.replication then
        F.another_primary(replication)
      end
      step.granting = PAUSE == 0 or now >= meta.pause_until
    end
    return step.granting
  end,

  -- Whether older work is left over: then nothing new may be decided.
  has_leftover = function()
    return meta.backlog == 1 and F.next_look() ~= nil or step.unswept
  end,

  -- Nothing may fail after a step's first write, or half a step would stand: whether each command is allowed, and each key
  -- of its kind, is asked before it. What the caller's rights say of the keys themselves the server has asked.
  must_be_able = function()
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
  end,

  -- Begins a step; answers why not, if it cannot.
  begin = function(client)
    F.must_be_able()
    local other_schema = F.read_meta()
    if other_schema then
      return { 'schema', other_schema, SCHEMA }
    end
    if wall < 0 or wall >= END_OF_TIME then
      return { 'clock', math.floor(wall / 1000000) }
    end
    if check_boot then
      local refused = check_boot()
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
  end,

  -- Ends a step with its answer: { epoch, sequence number, the clock, the answer, how often another
  -- primary took over }.
  finish_step = function(answer)
    if meta.backlog == 1 then
      F.drain()
      if call('ZCARD', KEYS[7]) == 0 then
        meta.backlog = 0
      end
    end
    if step.others then
      F.write_others()
    end
    meta.sequence = meta.sequence + 1
    if meta.removed or step.removed then
      call('HDEL', KEYS[1], step.removed and 'm' or 'x')
    end
    local row = struct.pack(META, SCHEMA, meta.sequence, meta.next_due, meta.waiting, meta.backlog, meta.next_expiry,
      meta.next_forget, meta.reign, meta.epoch, wall)
    call('HSET', KEYS[1], step.removed and 'x' or 'm', row .. (step.removed or ''), 'M', struct.pack(META_REST, meta.ticket, meta.token,
      meta.ahead, meta.queued, meta.lapsed, meta.pause_until, meta.replication))
    if step.everybody or next(step.wakes) then
      F.send_wakes()
    end
    return { meta.epoch, meta.sequence, now, answer, meta.reign }
  end,
