-- What a step reads and writes of runs and records.

function F.record(name)
  local known = RECORDS[name]
  if known == nil then
    known = F.record_from(name, call('HGET', HASH, 'o' .. name))
  end
  if known and not known.version then
    F.damaged('a record is cut off')
  end
  return known
end

-- Returns the record of a name, for a caller that goes on without it if its row cannot be read: then returns false and
-- true. In a whole row, at least the fields for who acted by hand and for the failed attempt follow the head.
function F.record_row(name)
  F.prefetch_records({ name })
  local record = RECORDS[name]
  local is_whole = record and record.version and string.find(record.state, '^[LIJERN]')
    and string.find(record.raw, '^%Z*%z%Z*%z%Z*%z%Z*%z%Z*%z', RECORD_HEAD_SIZE + 1)
  return is_whole and record or false, record and not is_whole
end

function F.record_from(name, raw)
  local record = raw and { raw = raw }
  if raw and #raw >= RECORD_HEAD_SIZE then
    local state, version, written, due = struct.unpack(RECORD_HEAD, raw)
    record = { state = state, version = version, written = written, due = due >= 0 and due or nil, raw = raw }
  end
  RECORDS[name] = record
  return record
end

-- Reads all records that a decision needs, at once.
function F.prefetch_records(names)
  local missing
  for _, name in ipairs(names) do
    if RECORDS[name] == nil then
      missing = missing or {}
      missing[#missing + 1] = 'o' .. name
    end
  end
  if missing then
    local found = call('HMGET', HASH, unpack(missing))
    for i, field in ipairs(missing) do
      F.record_from(sub(field, 2), found[i])
    end
  end
end

function F.drop_record(name)
  call('HDEL', HASH, 'o' .. name)
  call('ZREM', EXPIRIES, name)
  RECORDS[name] = false
end

-- Returns a token larger than any before it: at least the clock, plus what tokens are ahead of it since it went back.
function F.next_token()
  meta.token = math.max(meta.token + 1, wall + meta.ahead)
  if in_tests then
    F.raise_ceiling(meta.token)
  end
  return meta.token
end

function F.save(run)
  F.note_due(run)
  F.note_reserving(run)
  call('HSET', HASH, run.ticket, F.row_of(run), F.attempt_of(run), F.ticket_and_head(run))
end

-- Updates the next due time. A run that has ended stays listed until it is forgotten.
function F.note_due(run)
  local due = F.due_of(run)
  if run.forget then
    run.due = nil
    call('ZADD', DEADLINES, run.forget - FORGET, run.ticket)
    if run.forget < meta.next_forget then
      meta.next_forget = run.forget
    end
  elseif due ~= run.due then
    run.due = due
    if due then
      call('ZADD', DEADLINES, due, run.ticket)
    else
      call('ZREM', DEADLINES, run.ticket)
    end
  end
  if due and due < meta.next_due then
    meta.next_due = due
  end
end

-- Lists the runs that leave the queue when their process is silent; a held place is kept until its end.
function F.note_reserving(run)
  local reserves = waiting_states[run.state] and not run.absent and not run.place_end and run.client or nil
  if reserves ~= run.reserves then
    if run.reserves then
      call('ZREM', INDEX, 'w' .. run.reserves .. run.ticket)
    end
    if reserves then
      call('ZADD', INDEX, 0, 'w' .. reserves .. run.ticket)
    end
    run.reserves = reserves
  end
end

function F.enter(run, state)
  run.state, run.since = state, wall
end

function F.must_find(ticket)
  return F.run_of(ticket) or F.damaged('run ' .. ticket .. ' is named but has no row')
end

function F.damaged(what)
  error({ err = 'FLOWLOCK damaged: ' .. what })
end
