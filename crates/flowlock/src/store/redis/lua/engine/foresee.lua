-- What time alone will change, and who is told of it.

-- Returns when the first of these runs stops being in the way, or an input of the run itself expires, so that it
-- leaves the queue: if nothing happens before. For holders the rest of the row is not needed.
function F.first_end(run, tickets)
  local first, attempts = run.in_line and F.first_expiry(run) or FAR, {}
  F.each_of(tickets, function(ticket, row)
    if byte(row or F.damaged('run ' .. ticket .. ' is named but has no row')) == HOLDER_ROW_CODE then
      local id, nonce = string.match(row, '^(%Z*)%z(%Z*)', 2)
      attempts[#attempts + 1] = 'n' .. nonce .. id
    else
      local other = F.must_find(ticket)
      first = math.min(first, other.deadline or F.end_of_reserving(other, run))
    end
  end)
  F.each_of(attempts, function(_, attempt)
    local _, _, _, deadline = struct.unpack(RUN_HEAD, attempt)
    first = math.min(first, deadline)
  end)
  return first
end

-- Returns when a queued run stops reserving, for a run behind it. Its process is expected at each heartbeat, so its
-- silence matters only once it is overdue. A process sees by itself what happens to its own runs.
function F.end_of_reserving(run, behind)
  if not F.spend('foreseen', #F.spec_of(run).claims) then
    return FAR
  elseif run.place_end then
    -- No process looks when its inputs expire.
    return math.min(run.place_end, F.first_expiry(run))
  elseif behind.in_line and run.client == behind.client then
    return FAR
  end
  local heard = F.heard(run.client)
  return math.min(run.wait_end or FAR, heard and heard + HEARTBEAT <= now and heard + SILENCE or FAR)
end

-- Returns when the first input of a run expires.
function F.first_expiry(run)
  local first, inputs = FAR, F.spec_of(run).inputs
  F.prefetch_records(inputs)
  for _, name in ipairs(inputs) do
    local record = F.record(name)
    if record and record.state == 'L' and record.due and record.due > wall then
      first = math.min(first, now + math.ceil((record.due - wall) / 1000))
    end
  end
  return first
end

-- Tells the oldest waiter of each name to ask again, because a holder ends sooner than the waiters were told.
function F.tell_of_nearer_end(holder)
  for _, claim in ipairs(meta.queued > 0 and F.spec_of(holder).claims or {}) do
    local oldest = F.first_of(F.line_in_the_way(claim))
    if oldest then
      F.wake(F.must_find(sub(oldest, 1, TICKET)))
    end
  end
end

-- Tells the first run that is queued to read a name to ask until when it is live, because a record that expires was
-- written.
function F.tell_a_reader(name)
  local record = meta.queued > 0 and F.record(name)
  for _, text in ipairs(record and record.due and F.range('qd' .. name .. '\0', FIRST, nil, BLOCKERS + 1) or {}) do
    local stake = F.stake_of(text)
    local run = F.must_find(stake.ticket)
    -- No process asks for a held place.
    if stake.mode == 's' and not run.place_end then
      return F.wake(run)
    end
  end
end
