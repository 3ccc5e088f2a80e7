-- Only in tests: a restart of the machine voids every grant, as on the embedded store, so that one history can be
-- played on all stores; and tokens have the ceiling of the embedded store.

function F.check_boot()
  local last = call('HMGET', HASH, '!boot', '!wall')
  if last[1] and last[1] ~= world.boot_id then
    local booted = wall - now * 1000
    if tonumber(last[2]) > booted + BOOT_TIME_SLACK then
      return { 'two_hosts', tonumber(last[2]), booted }
    end
    F.void_everything()
  end
  call('HSET', HASH, '!boot', world.boot_id, '!wall', format('%.0f', wall))
end

function F.void_everything()
  meta.token = math.max(meta.token, F.ceiling())
  for _, ticket in ipairs(F.range('r', FIRST, nil, -1)) do
    local run = F.must_find(ticket)
    F.finish(run, holding_states[run.state] and 'lost(died)' or 'cancelled')
  end
  for _, ticket in ipairs(call('ZRANGEBYSCORE', DEADLINES, '-inf', '(0')) do
    local run = F.must_find(ticket)
    run.forget = now + OUTCOME_MEMORY
    F.save(run)
  end
  call('DEL', CLIENTS)
  meta.next_due, meta.next_forget, meta.pause_until = FAR, now + OUTCOME_MEMORY, 0
end

function F.ceiling()
  return tonumber(call('HGET', HASH, '!ceiling') or '0')
end

-- The embedded store has every ceiling on disk before it issues a token.
function F.raise_ceiling(token)
  if token > F.ceiling() then
    call('HSET', HASH, '!ceiling', format('%.0f', token + TOKEN_BLOCK))
  end
end
