-- A namespace as a whole: what is in it, and its removal once it is empty.

-- Returns how much is in the namespace; nothing if it was never used.
function F.namespace_seen()
  if meta.is_new then
    return { false }
  end
  local living = call('ZLEXCOUNT', INDEX, '[r', '(s')
  local outcomes = call('ZCOUNT', DEADLINES, '-inf', '(0')
  local records = call('ZCARD', WRITTEN)
  return { { living, meta.waiting, records, outcomes, format('%.0f', meta.last_wall), meta.removed or false } }
end

-- Removes the namespace if it is empty. Its own row stays: its epoch, sequence number, tokens and tickets continue from
-- there if it is used again, so that it is not mistaken for a store that went back, and no token repeats.
function F.remove_namespace()
  -- Until it is removed again, it stays removed by the same actor.
  step.removed = meta.removed
  if F.has_leftover() then
    -- Waiting runs are served after a pause.
    return { 'refused', { {}, 0, 0, F.may_grant() and 0 or meta.pause_until - now } }
  elseif F.range('r', FIRST, nil, 1)[1] then
    return { 'in_use', 'runs' }
  elseif call('ZCARD', WRITTEN) > 0 then
    return { 'in_use', 'records' }
  end
  -- A repeated commit must get its answer, and a withdrawn request that still arrives must not be granted.
  local last = call('ZREVRANGEBYSCORE', DEADLINES, '(0', format('(%.0f', now - FORGET), 'WITHSCORES', 'LIMIT', 0, 1)[2]
  if last then
    return { 'in_use', 'outcomes', tonumber(last) + FORGET - now }
  elseif F.clear_a_page() then
    return { 'refused', { {}, 0, 0, 0 } }
  elseif meta.removed then
    return { 'not_found' }
  end
  step.removed, meta.next_forget = step.actor, FAR
  return { meta.is_new and 'not_found' or 'done' }
end

-- Deletes outcomes, evidence of records and traces of clients, a page of each; returns whether there may be more.
function F.clear_a_page()
  local outcomes = call('ZRANGEBYSCORE', DEADLINES, '-inf', '(0', 'LIMIT', 0, FORGETS)
  local evidence = call('ZRANGEBYSCORE', EXPIRIES, '-inf', '+inf', 'LIMIT', 0, FORGETS)
  local clients = call('ZRANGEBYSCORE', CLIENTS, '-inf', '+inf', 'LIMIT', 0, FORGETS)
  if #outcomes > 0 then
    F.forget(outcomes)
  end
  for _, name in ipairs(evidence) do
    call('HDEL', HASH, 'o' .. name)
    call('ZREM', EXPIRIES, name)
  end
  for _, client in ipairs(clients) do
    call('ZREM', CLIENTS, client)
  end
  meta.next_due, meta.next_expiry, meta.next_forget = FAR, F.first_score(EXPIRIES), now
  return math.max(#outcomes, #evidence, #clients) == FORGETS
end
