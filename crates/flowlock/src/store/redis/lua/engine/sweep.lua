-- What time changes: leases and waits end, silent clients stop reserving, records expire, outcomes are forgotten.

-- Handles the deadlines that are due; then forgets old outcomes.
function F.sweep()
  if now >= meta.next_due or wall >= meta.next_expiry then
    for _, due in ipairs(F.due()) do
      if F.runs_left('due') == 0 then
        break
      end
      F.handle(due)
    end
    step.unswept = F.runs_left('due') == 0 and #F.due() > 0
    meta.next_due = math.min(F.first_score(DEADLINES), F.first_score(CLIENTS))
    meta.next_expiry = F.first_score(EXPIRIES)
  end
  if now >= meta.next_forget + SLACK then
    local tickets = call('ZRANGEBYSCORE', DEADLINES, '-inf', now - FORGET, 'LIMIT', 0, FORGETS)
    if #tickets > 0 then
      F.forget(tickets)
    end
    local next_one = call('ZRANGEBYSCORE', DEADLINES, '-inf', '(0', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    meta.next_forget = next_one and tonumber(next_one) + FORGET or FAR
    if #tickets == FORGETS then
      -- There may be more that is due: the next step continues.
      meta.next_forget = meta.next_forget - SLACK
    end
  end
end

-- Returns everything that is due, the longest overdue first: runs before clients before records.
function F.due()
  local due = {}
  F.read_due(due, DEADLINES, now, 1)
  F.read_due(due, CLIENTS, now, 2)
  F.read_due(due, EXPIRIES, wall, 3)
  table.sort(due, function(a, b)
    if a[1] ~= b[1] then
      return a[1] < b[1]
    end
    return a[3] < b[3]
  end)
  return due
end

function F.read_due(due, key, upto, kind)
  local found = call('ZRANGEBYSCORE', key, 0, upto, 'WITHSCORES', 'LIMIT', 0, DUE + 1)
  for i = 1, #found, 2 do
    local overdue = tonumber(found[i + 1]) - (kind == 3 and wall or now)
    if kind == 3 then
      overdue = -math.floor(-overdue / 1000)
    end
    due[#due + 1] = { overdue, kind, #due, found[i] }
  end
end

-- Handles one due item, if this step still may.
function F.handle(due)
  local kind, what = due[2], due[4]
  if kind == 2 then
    return F.handle_silent_client(what)
  elseif kind == 3 then
    if F.spend('due', 0) then
      F.end_due_record(what)
    end
    return
  end
  local run = F.must_find(what)
  -- Handling one run may have ended another one that was due as well.
  local at = F.due_of(run)
  if at and at <= now and F.spend('due', #F.spec_of(run).claims) then
    F.handle_due_run(run)
  end
end

function F.handle_due_run(run)
  if not holding_states[run.state] then
    F.finish(run, 'timed_out')
  elseif run.revoked then
    F.finish(run, 'lost(broken)')
  else
    F.handle_due_holder(run)
  end
end

-- Lapses a late holder. Ends it if its process is dead, or if no run needed its names for long.
function F.handle_due_holder(run)
  if F.bury({ run.ticket }) then
    return
  elseif not run.lapsed then
    F.lapse(run)
  else
    F.finish(run, run.state == 'running' and 'lost(died)' or 'timed_out')
  end
end

-- Takes a silent client's waiting runs out of the queue, as many as this step still may.
function F.handle_silent_client(client)
  local tickets = F.range('w' .. client, FIRST, nil, F.runs_left('due') + 1)
  if not tickets[1] then
    F.spend('due', 0)
  end
  for _, ticket in ipairs(tickets) do
    local run = F.must_find(ticket)
    if run.reserves ~= client then
      F.damaged('run ' .. ticket .. ' is to leave the line with a process that is not its own')
    elseif not F.spend('due', #F.spec_of(run).claims) then
      return
    end
    F.make_absent(run)
  end
  call('ZREM', CLIENTS, client)
end
