-- Runs as they are stored in the hash, and what follows from a run alone.

function F.run_of(ticket)
  local run = RUNS[ticket]
  if not run then
    local row = call('HGET', HASH, ticket)
    run = row and F.run_from(row) or nil
    RUNS[ticket] = run
  end
  return run
end

function F.whole_run(ticket, attempt)
  if RUNS[ticket] then
    return RUNS[ticket]
  end
  local all = call('HMGET', HASH, ticket, 's' .. ticket, 'v' .. ticket)
  local run = all[1] and F.run_from(all[1], attempt) or nil
  RUNS[ticket] = run
  if run and all[2] then
    SPECS[ticket] = F.spec_from(all[2])
    VERSIONS[ticket] = all[3]
  end
  return run
end

-- Returns the run of an attempt, with its specification and the versions of its inputs, in one read.
function F.by_attempt(id, nonce)
  local attempt = call('HGET', HASH, 'n' .. nonce .. id)
  return attempt and F.whole_run(sub(attempt, 1, TICKET), attempt)
end

-- Returns the latest run with an id: the living one, if there is one.
function F.latest(id)
  local ticket = call('HGET', HASH, 'i' .. id)
  return ticket and F.whole_run(ticket)
end

function F.living(id)
  local run = F.latest(id)
  return run and not run.forget and run or nil
end

-- Writes a run that has just arrived; `latest` is the latest run with its id.
function F.insert(run, latest)
  local ticket = run.ticket
  F.note_due(run)
  F.note_reserving(run)
  RUNS[ticket] = run
  if latest then
    F.join_chain(run, latest)
  end
  local fields = { ticket, F.row_of(run), 's' .. ticket, SPECS[ticket].text, F.attempt_of(run), F.ticket_and_head(run) }
  if not run.tombstone then
    fields[7], fields[8] = 'i' .. run.id, ticket
  end
  if VERSIONS[ticket] then
    fields[#fields + 1] = 'v' .. ticket
    fields[#fields + 1] = VERSIONS[ticket]
  end
  call('HSET', HASH, unpack(fields))
end

-- The runs with one id form a chain, the latest first.
function F.join_chain(run, latest)
  local before = F.run_of(latest)
  if before then
    run.previous, before.following = latest, run.ticket
    call('HSET', HASH, latest, F.row_of(before))
  end
end

function F.forget(tickets)
  local going, rows, fields = {}, call('HMGET', HASH, unpack(tickets)), {}
  for i, ticket in ipairs(tickets) do
    going[ticket] = rows[i] and F.run_from_row(rows[i])
  end
  for _, ticket in ipairs(tickets) do
    local run = going[ticket]
    if run then
      F.leave_chain(run, going, fields)
      fields[#fields + 1] = F.attempt_of(run)
    end
    fields[#fields + 1] = ticket
    fields[#fields + 1] = 's' .. ticket
    fields[#fields + 1] = 'v' .. ticket
    RUNS[ticket], SPECS[ticket] = nil, nil
  end
  call('HDEL', HASH, unpack(fields))
  call('ZREM', DEADLINES, unpack(tickets))
end

-- Repairs the chain of runs with one id around a run that is forgotten.
function F.leave_chain(run, going, gone)
  local before, after = run.previous, run.following
  while before and going[before] do
    before = going[before].previous
  end
  while after and going[after] do
    after = going[after].following
  end
  if after then
    local run_after = F.must_find(after)
    run_after.previous = before
    call('HSET', HASH, after, F.row_of(run_after))
  elseif before then
    call('HSET', HASH, 'i' .. run.id, before)
  elseif not run.tombstone then
    gone[#gone + 1] = 'i' .. run.id
  end
  if before then
    local run_before = F.must_find(before)
    run_before.following = after
    call('HSET', HASH, before, F.row_of(run_before))
  end
end

-- Returns the letter that a run's head begins with; nothing if it has no head.
function F.letter_of(run)
  if run.lapsed or run.revoked or run.forget then
    return nil
  end
  return run.state == 'running' and 'R' or run.state == 'granted' and not run.on_fail and 'G' or nil
end

-- Returns a run's row in the hash.
function F.row_of(run)
  local letter = '-'
  if F.letter_of(run) then
    letter = 'H'
  elseif not run.absent then
    letter = run.state == 'queued' and 'Q' or run.state == 'awaiting_input' and 'A' or '-'
  end
  local id, nonce, client, liveness, origin = run.id, run.nonce, run.client, run.liveness, run.origin
  run.id, run.nonce, run.client, run.liveness, run.origin = nil, nil, nil, nil, nil
  local row = table.concat({ letter .. id, nonce, client, liveness or '', origin, pack(run) }, '\0')
  run.id, run.nonce, run.client, run.liveness, run.origin = id, nonce, client, liveness, origin
  return row
end

-- Returns the field of a run's attempt.
function F.attempt_of(run)
  return 'n' .. run.nonce .. run.id
end

-- Returns the value of that field.
function F.ticket_and_head(run)
  local letter = F.letter_of(run)
  return letter and struct.pack(RUN_HEAD, run.ticket, letter, run.token, run.deadline, run.lease, run.max_runtime or -1,
    run.began or 0, run.since, 0) or run.ticket
end

-- Reads a run from its row alone. For a run that holds its claims, or did, the head counts more than this.
function F.run_from_row(row)
  local id, nonce, client, liveness, origin, rest = string.match(row, '^(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)%z(%Z*)%z()', 2)
  local run = unpack_row(sub(row, rest))
  run.id, run.nonce, run.client, run.origin = id, nonce, client, origin
  run.liveness = liveness ~= '' and liveness or nil
  return run
end

-- Reads a run from its row, and from its attempt's field if that is already read.
function F.run_from(row, attempt)
  local run = F.run_from_row(row)
  if byte(row) ~= HOLDER_ROW_CODE then
    return run
  end
  local _, letter, token, deadline, lease, most, began, since, forget =
    struct.unpack(RUN_HEAD, attempt or call('HGET', HASH, F.attempt_of(run)))
  run.token, run.deadline, run.due, run.lease, run.since = token, deadline, deadline, lease, since
  run.max_runtime = most >= 0 and most or nil
  if letter ~= 'G' then
    run.state, run.began, run.wait_end, run.place_end = 'running', began, nil, nil
  end
  if letter == 'C' then
    run.state, run.forget, run.due = 'committed', forget, nil
  end
  return run
end

function F.spec_of(run)
  return SPECS[run.ticket] or F.read_spec(run)
end

function F.read_spec(run)
  local text = call('HGET', HASH, 's' .. run.ticket)
  local spec = F.spec_from(text or F.damaged('run ' .. run.ticket .. ' has no specification'))
  SPECS[run.ticket] = spec
  return spec
end

-- Unpacks what a run asks for, as its client packed it; also lists the names of inputs and outputs.
function F.spec_from(text)
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
    if claim.mode == 'x' and byte(claim.place) == DATA_CODE then
      outputs[#outputs + 1] = sub(claim.place, 2)
    end
  end
  return {
    job = packed[1], lease = packed[2], if_written = packed[3], on_fail = packed[4], parent = packed[5],
    record_life = packed[6], max_runtime = packed[7] or nil, keep_lapsed = keep_lapsed, claims = claims,
    inputs = inputs, outputs = outputs, text = text,
  }
end

-- Reads a claim as its client packed it: the mode, `!` if its record must exist or else `-`, for units how many of how
-- many and a colon, the place.
function F.claim_from(text)
  local mode = sub(text, 1, 1)
  if mode == 'u' then
    local units, capacity, place = string.match(text, '^u%-(%d+)/(%d+):(.*)$')
    return { place = place, mode = mode, units = tonumber(units), capacity = tonumber(capacity) }
  end
  return { place = sub(text, 3), mode = mode, must = byte(text, 2) == MUST_EXIST_CODE }
end

-- Returns what a run's outputs are made from: how many inputs, and the name and the version of each when it was
-- granted; each text ends with NUL.
function F.made_from(run)
  local text = VERSIONS[run.ticket]
  if text == nil then
    text = F.spec_of(run).inputs[1] and call('HGET', HASH, 'v' .. run.ticket) or false
    VERSIONS[run.ticket] = text
  end
  return text or '0\0'
end

function F.is_late(run)
  return run.lapsed or (run.deadline ~= nil and run.deadline <= now)
end

-- Returns when something about a run is due: the end of its lease, of the time to accept its grant, of its wait;
-- nothing once it has ended.
function F.due_of(run)
  if holding_states[run.state] then
    return run.lapsed and run.given_up or run.deadline
  elseif waiting_states[run.state] then
    return F.end_of_wait(run)
  end
end

function F.end_of_wait(run)
  local abandoned = run.absent_since and run.absent_since + ABANDONED_AFTER
  -- A run with a limit is kept until then, silent or not.
  local due = math.min(run.wait_end or abandoned or FAR, run.place_end or FAR)
  return due < FAR and due or nil
end

-- Returns whether the run's wait, or its held place, has ended.
function F.is_over(run)
  return run.wait_end ~= nil and run.wait_end <= now or run.place_end ~= nil and run.place_end <= now
end
