-- Withdrawing a request, and giving back a run that has not begun.

function F.cancel(id, nonce, latest)
  local run = F.by_attempt(id, nonce)
  if not run then
    F.put_tombstone(id, nonce, latest)
    return { 'withdrawn' }
  end
  if waiting_states[run.state] or run.state == 'granted' then
    F.finish(run, 'cancelled')
  end
  return F.has_begun(run.state)
end

-- Ends a run whose work has not begun, even if it is running. This is not a failure.
function F.give_back(id, nonce)
  local run = F.by_attempt(id, nonce)
  if not run then
    return { 'not_found' }
  end
  if run.state == 'running' then
    F.restore_records(run)
  end
  if run.revoked and holding_states[run.state] then
    F.finish(run, 'lost(broken)')
  elseif not run.forget then
    F.finish(run, 'cancelled')
  end
  return F.has_begun(run.state)
end

-- Leaves a tombstone: an acquire of this attempt that still arrives must not be granted.
function F.put_tombstone(id, nonce, latest)
  local run = F.arrive({
    id = id, nonce = nonce, spec = pack({ '-', 0, false, false, false, false, false }), client = string.rep('0', 32),
    origin = '{"host":"","pid":0,"user":""}',
  })
  run.state, run.tombstone = 'cancelled', true
  run.forget = math.min(latest, now + LATEST_AHEAD) + 1
  F.insert(run)
end

function F.has_begun(state)
  if state == 'running' or state == 'committed' or state == 'failed' or sub(state, 1, 5) == 'lost(' then
    return { 'too_late', state }
  end
  return { 'withdrawn' }
end
