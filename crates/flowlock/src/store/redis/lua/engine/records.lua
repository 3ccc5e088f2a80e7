-- Records: written by commits, expired, marked incomplete; and the evidence of attempts that failed.

-- Writes the records of all outputs of a run that commits. Returns the same as `write`.
function F.write_outputs(run, note)
  local spec = F.spec_of(run)
  return F.write(spec.outputs, run.token, spec.record_life, F.tail_of(run.id, spec.job, F.origin_of(run), note))
end

-- Writes records of the same kind and age for all names. Existing ones must be older: if one is not, nothing is
-- written, and the result says so.
function F.write(names, version, record_life, tail)
  local due = record_life and wall + record_life * 1000
  local raw = struct.pack(RECORD_HEAD, 'L', version, wall, due or -1) .. tail
  local rows, written, kept = {}, {}, {}
  F.prefetch_records(names)
  for i, name in ipairs(names) do
    local old = F.record(name)
    rows[2 * i - 1], rows[2 * i] = 'o' .. name, raw
    if not old or not F.is_written(old.state) then
      written[#written + 1] = 0
      written[#written + 1] = name
    end
    if old and old.version > version then
      return { 'contradiction', name, old.version, version }
    elseif old and old.due then
      kept[#kept + 1] = name
    end
  end
  call('HSET', HASH, unpack(rows))
  if written[1] then
    call('ZADD', WRITTEN, unpack(written))
  end
  if due then
    F.will_expire(names, due)
  elseif kept[1] then
    call('ZREM', EXPIRIES, unpack(kept))
  end
  for _, name in ipairs(names) do
    F.record_from(name, raw)
  end
end

-- Returns the part of a record after its head: who acts by hand, no failed attempt, who wrote it, what it was made
-- from, a note.
function F.tail_of(run, job, made_from, note)
  return (step.actor or '') .. '\0\0\0\0\0' .. run .. '\0' .. job .. '\0' .. made_from .. (note and '+' .. note or '-')
end

-- Returns what a record was made from: for more than MADE_FROM inputs, their number and a digest.
function F.origin_of(run)
  local text = F.made_from(run)
  local count, list = string.match(text, '^(%d+)%z(.*)$')
  return tonumber(count) <= MADE_FROM and text or '#' .. count .. '\0' .. redis.sha1hex(list) .. '\0'
end

function F.will_expire(names, due)
  local scored = {}
  for i, name in ipairs(names) do
    scored[2 * i - 1], scored[2 * i] = due, name
  end
  call('ZADD', EXPIRIES, unpack(scored))
  meta.next_expiry = math.min(meta.next_expiry, due)
end

function F.put(name, record)
  local old = F.record(name)
  local was, is = old and F.is_written(old.state), F.is_written(record.state)
  local raw = struct.pack(RECORD_HEAD, record.state, record.version, record.written, record.due or -1) .. record.tail
  call('HSET', HASH, 'o' .. name, raw)
  if is and not was then
    call('ZADD', WRITTEN, 0, name)
  elseif was and not is then
    call('ZREM', WRITTEN, name)
  end
  if record.due then
    call('ZADD', EXPIRIES, record.due, name)
    meta.next_expiry = math.min(meta.next_expiry, record.due)
  end
  F.record_from(name, raw)
end

function F.changed(record, state, due)
  local tail = sub(record.raw, RECORD_HEAD_SIZE + 1)
  return { state = state, version = record.version, written = record.written, due = due, tail = tail }
end

-- Begins a run with on_fail = incomplete: the old records of its outputs let no reader start until a commit.
function F.mark_incomplete(spec)
  F.prefetch_records(spec.outputs)
  for _, name in ipairs(spec.outputs) do
    local record = F.record(name)
    if F.state_of(record) == 'L' then
      F.put(name, F.changed(record, 'J', record.due))
      F.mark_readers(name)
    end
  end
end

-- Restores the old records of the outputs of a run that is given back before its work began.
function F.restore_records(run)
  local outputs = F.spec_of(run).outputs
  F.prefetch_records(outputs)
  for _, name in ipairs(outputs) do
    local record = F.record(name)
    if record and record.state == 'J' then
      F.put(name, F.changed(record, 'L', record.due))
      F.mark_written(name)
    end
  end
end

-- Records that a run ended without writing its outputs. A record that cannot be read stays as it is: otherwise the run
-- could not end, and every later step would fail as well.
function F.note_failure(run, outcome)
  local spec = F.spec_of(run)
  local failure = run.id .. '\0' .. spec.job .. '\0' .. outcome .. '\0' .. format('%.0f', wall) .. '\0'
  F.prefetch_records(spec.outputs)
  for _, name in ipairs(spec.outputs) do
    local record, is_unreadable = F.record_row(name)
    if record then
      local after = F.changed(record, record.state == 'J' and 'I' or record.state, record.due)
      after.tail = F.with_failure(after.tail, failure)
      F.put(name, after)
    elseif not is_unreadable then
      local tail = '\0' .. failure .. run.id .. '\0' .. spec.job .. '\0' .. '0\0-'
      F.put(name, { state = 'N', version = 0, written = 0, due = wall + EVIDENCE, tail = tail })
    end
  end
end

-- Returns the part of a record after its head, with another failed attempt.
function F.with_failure(tail, failure)
  local actor, rest = string.match(tail, '^(%Z*%z)%Z*%z%Z*%z%Z*%z%Z*%z(.*)$')
  return actor .. failure .. rest
end

-- Returns a record's current state: one whose time is over has expired, even if no sweep has handled it yet.
function F.state_of(record)
  if not record then
    return 'N'
  elseif record.due and record.due <= wall and F.is_written(record.state) then
    return 'E'
  end
  return record.state
end

function F.is_written(state)
  return state == 'L' or state == 'I' or state == 'J'
end

-- Ends a record whose time is over, if no sweep has handled it yet, so that a decision based on that stays right.
function F.end_if_expired(name)
  local record = F.record(name)
  if record and record.state ~= 'E' and F.state_of(record) == 'E' then
    F.end_record(name, 'E')
  end
end

-- Handles a record whose time is over: a written one expires, and evidence is dropped. A record that cannot be read is
-- dropped too: otherwise every later step would fail.
function F.end_due_record(name)
  local record, is_unreadable = F.record_row(name)
  if is_unreadable then
    F.drop_unreadable(name)
  elseif record and F.is_written(record.state) then
    F.end_record(name, 'E')
  else
    F.drop_record(name) -- even if there is only the entry that says that it is due
  end
end

-- Drops a record that cannot be read. Runs that are queued to read it wait for it again.
function F.drop_unreadable(name)
  F.drop_record(name)
  call('ZREM', WRITTEN, name)
  F.mark_readers(name)
end

-- Ends a record whose time is over, or that is removed by hand.
function F.end_record(name, state, actor)
  local record = F.changed(F.record(name), state, wall + EVIDENCE)
  if actor then
    record.tail = actor .. string.match(record.tail, '^%Z*(%z.*)$')
  end
  F.put(name, record)
  F.mark_readers(name)
end
