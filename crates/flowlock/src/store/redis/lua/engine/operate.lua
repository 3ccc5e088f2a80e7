-- What holders, waiting processes and operators do with existing runs.

-- Returns the run that may be operated: by its nonce, or by its id alone if it is detached.
function F.find(id, nonce)
  if nonce ~= '' then
    return F.by_attempt(id, nonce)
  end
  local run = F.latest(id)
  return run and run.detached and run or nil
end

function F.refresh(id, nonce)
  local run = F.find(id, nonce)
  if not run then
    return { 'not_found' }
  elseif run.forget then
    return { 'over', run.state }
  elseif run.revoked then
    return { 'over', 'lost(broken)' }
  elseif run.state ~= 'running' then
    return { 'not_running' }
  end
  return F.renew(run)
end

function F.renew(run)
  local late = F.is_late(run)
  if late and F.may_grant() and F.has_leftover() then
    return { 'ask_again' }
  end
  local ends = F.lease_end(run)
  -- After its longest run time there is nothing to renew, even if its lease ended before that.
  if ends < now + run.lease and (run.deadline >= ends or ends <= now) then
    return { 'max_runtime', run.deadline - now }
  end
  if run.lapsed then
    if not F.spend('returns', #F.spec_of(run).claims) then
      return { 'ask_again' }
    end
    F.set_lapsed(run, false)
  end
  run.deadline = ends
  F.save(run)
  return { 'held', ends - now, late and 1 or 0 }
end

function F.commit(id, nonce, note)
  local run = F.find(id, nonce)
  if not run then
    return { 'unknown' }
  elseif run.forget then
    return { 'ended', run.state, run.lapsed and 1 or 0 }
  elseif run.state ~= 'running' then
    return { 'unaccepted' }
  elseif run.revoked then
    -- Its work is over, so it gives up its names.
    return F.end_revoked(run)
  end
  local late = F.is_late(run)
  if late and F.may_grant() and F.has_leftover() then
    return { 'again' }
  end
  local outputs = F.spec_of(run).outputs
  local contradiction = outputs[1] and F.write_outputs(run, note)
  if contradiction then
    return contradiction
  end
  F.sign(run)
  F.finish(run, 'committed')
  if meta.waiting > 0 then
    for _, name in ipairs(outputs) do
      F.mark_written(name)
    end
  end
  return { 'ended', 'committed', late and 1 or 0 }
end

function F.fail(id, nonce)
  local run = F.find(id, nonce)
  if not run then
    return { 'unknown' }
  elseif run.forget then
    return { 'ended', run.state, run.lapsed and 1 or 0 }
  elseif not holding_states[run.state] then
    return { 'unaccepted' }
  end
  if run.revoked then
    return F.end_revoked(run)
  end
  local late = F.is_late(run)
  F.sign(run)
  F.finish(run, 'failed')
  return { 'ended', 'failed', late and 1 or 0 }
end

-- Ends an unlocked run that reports its end. The record of who unlocked it is kept, whoever reports.
function F.end_revoked(run)
  F.finish(run, 'lost(broken)')
  return { 'ended', 'lost(broken)', 0 }
end

function F.detach(id, nonce)
  local run = F.by_attempt(id, nonce)
  -- An unlocked run is not detached: it will learn of the unlock and give up its names.
  if not run or run.state ~= 'running' or run.revoked then
    return { 'not_found' }
  end
  run.detached, run.liveness = true, nil
  F.save(run)
  return { 'done' }
end

-- Records who acts on a run by hand, if somebody does.
function F.sign(run)
  run.actor = step.actor or run.actor
end

function F.unlock(id, token, how)
  local run = F.living(id)
  if not run or run.token ~= token or not holding_states[run.state] then
    return { 'not_found' }
  end
  -- Only a process that runs under a standing lease can acknowledge.
  local at_once = how == 'now' or run.state == 'granted' or F.is_late(run)
  -- A repeated unlock changes nothing: the first one counts.
  if at_once or not run.revoked then
    F.sign(run)
  end
  if at_once then
    F.finish(run, 'lost(broken)')
  else
    run.revoked = true
    F.wake(run)
    F.save(run)
  end
  return { 'done' }
end

-- Returns a page of a client's waiting and granted runs, with blockers only for those asked about.
function F.heartbeat(client, from, asked)
  local heard, tickets, explain = {}, F.range('k' .. client, from, nil, HEARD + 1), F.explained(asked)
  local next_page = tickets[HEARD + 1]
  for i = 1, math.min(#tickets, HEARD) do
    local run = F.must_find(tickets[i])
    local where
    if waiting_states[run.state] and not explain[run.ticket] then
      where = { 'still_waiting', run.state, run.absent and 0 or 1 }
    else
      where = F.standing(run)
    end
    heard[i] = { run.id, where }
  end
  return { heard, next_page or false }
end

-- Returns the runs for which the answer says why they wait: the first few of those asked about, fewer if they have many
-- claims.
function F.explained(asked)
  local explain = {}
  for i = 1, math.min(#asked, EXPLAINED) do
    local run = F.living(asked[i])
    if run then
      if not F.spend('explained', #F.spec_of(run).claims) then
        break
      end
      explain[run.ticket] = true
    end
  end
  return explain
end

-- Ends those of the runs whose processes are dead, as many as this step may; the process that reported them probes
-- again.
function F.bury_reported(tickets)
  for i = 1, math.min(#tickets, PROBES) do
    local run = is_dead and F.run_of(tickets[i])
    if run and F.is_dead(run) then
      if not F.spend_end(run) then
        break
      end
      F.bury({ tickets[i] })
    end
  end
  return { 'done' }
end
