-- Waiting: being queued, being parked at an obstacle, and whether the process is heard.

function F.enter_line(run)
  local scored = {}
  for _, member in ipairs(F.members_in_line(run)) do
    scored[#scored + 1] = 0
    scored[#scored + 1] = member
  end
  if #scored > 0 then
    call('ZADD', INDEX, unpack(scored))
  end
  F.prefetch_holders(F.spec_of(run).claims)
  for _, claim in ipairs(F.spec_of(run).claims) do
    F.note_others(claim.place, 1)
  end
  run.in_line = true
  meta.queued = meta.queued + 1
end

-- Takes a run out of the queue, if it is in it; the runs behind must be looked at.
function F.leave_line(run)
  if run.in_line then
    F.remove_from_line(run)
    for _, claim in ipairs(F.spec_of(run).claims) do
      F.mark_dirty(claim.place)
      F.tell_next_in_line(run.ticket, claim)
    end
  end
end

function F.remove_from_line(run)
  run.in_line = nil
  meta.queued = meta.queued - 1
  local members = F.members_in_line(run)
  if #members > 0 then
    call('ZREM', INDEX, unpack(members))
  end
  F.prefetch_holders(F.spec_of(run).claims)
  for _, claim in ipairs(F.spec_of(run).claims) do
    F.note_others(claim.place, -1)
  end
end

function F.members_in_line(run)
  local members = {}
  for _, claim in ipairs(F.spec_of(run).claims) do
    members[#members + 1] = 'q' .. claim.place .. '\0' .. F.member_of(run, claim)
    if claim.mode == 'x' then
      members[#members + 1] = 'e' .. claim.place .. '\0' .. run.ticket
    end
  end
  return members
end

-- Wakes the next run in the queue behind one that enters or leaves it: other runs are in its way than its process was
-- told, and it must probe those.
function F.tell_next_in_line(ahead, claim)
  local next = F.range('q' .. claim.place .. '\0', ahead .. '\255', nil, 1)[1]
  local stake = next and F.stake_of(next)
  if stake and (claim.mode == 'u' or claim.mode == 'x' or stake.mode == 'x') then
    F.wake(F.must_find(stake.ticket))
  end
end

-- Parks a waiting run at its obstacle: in the queue if all its inputs exist, else outside of it.
function F.wait_at(run, place)
  local state = byte(place) == RECORD_CODE and 'awaiting_input' or 'queued'
  if state == 'awaiting_input' then
    -- If the clock were set back and the record were live again, no step would look at the run again.
    F.end_if_expired(sub(place, 2))
    F.leave_line(run)
  elseif not run.in_line then
    F.enter_line(run)
  end
  if run.state ~= state then
    F.enter(run, state)
  end
  if run.parked ~= place then
    F.unpark(run)
    call('ZADD', INDEX, 0, 'p' .. place .. '\0' .. run.ticket)
    F.note_others(place, 1)
    run.parked = place
  end
  F.save(run)
end

function F.unpark(run)
  if run.parked then
    call('ZREM', INDEX, 'p' .. run.parked .. '\0' .. run.ticket)
    F.note_others(run.parked, -1)
    run.parked = nil
  end
end

-- Makes a run absent, whose process was silent for too long: it keeps its ticket and reserves nothing.
function F.make_absent(run)
  F.leave_line(run)
  F.unpark(run)
  run.absent, run.absent_since = true, now
  F.save(run)
end

-- Brings an absent run back to its ticket, because its process was heard again.
function F.revive(run)
  run.absent, run.absent_since = nil, nil
  F.save(run)
  F.add_hint(run.ticket, ALONE)
  F.drain()
end

-- Registers a run that may not overwrite, so that it is told when its outputs are written.
function F.add_guards(run)
  local spec = F.spec_of(run)
  if spec.if_written then
    for _, name in ipairs(spec.outputs) do
      call('ZADD', INDEX, 0, 'g' .. name .. '\0' .. run.ticket)
      F.note_others('d' .. name, 1)
    end
  end
end

function F.remove_guards(run)
  local spec = F.spec_of(run)
  if spec.if_written then
    for _, name in ipairs(spec.outputs) do
      call('ZREM', INDEX, 'g' .. name .. '\0' .. run.ticket)
      F.note_others('d' .. name, -1)
    end
  end
end

function F.add_of_client(run)
  meta.waiting = meta.waiting + 1
  call('ZADD', INDEX, 0, 'k' .. run.client .. run.ticket)
end

function F.remove_of_client(run)
  meta.waiting = meta.waiting - 1
  call('ZREM', INDEX, 'k' .. run.client .. run.ticket)
  if not F.first_of('k' .. run.client) then
    call('ZREM', CLIENTS, run.client)
  end
end

-- Notes that the process was heard. It has an entry only while it waits for something.
function F.hear(client)
  if F.first_of('k' .. client) then
    call('ZADD', CLIENTS, now + SILENCE, client)
    meta.next_due = math.min(meta.next_due, now + SILENCE)
  end
end

-- Returns when it was last heard; nothing if it was silent for too long.
function F.heard(client)
  local silent_at = call('ZSCORE', CLIENTS, client)
  return silent_at and tonumber(silent_at) - SILENCE
end
