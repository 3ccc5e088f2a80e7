-- In tests alone: a machine that restarts voids every grant, as on the embedded store, so that one history can be
-- played on all stores; and tokens have the ceiling of the embedded store.

local ceiling = tonumber(call('HGET', KEYS[1], '!ceiling') or '0')
local next_token = F.next_token

F.next_token = function()
  local token = next_token()
  if token > ceiling then
    ceiling = token + TOKEN_BLOCK
    call('HSET', KEYS[1], '!ceiling', format('%.0f', ceiling))
  end
  return token
end

local function void_everything()
  meta.token = math.max(meta.token, ceiling)
  for _, ticket in ipairs(F.range('r', FIRST, nil, -1)) do
    local run = F.must_find(ticket)
    F.finish(run, holding_states[run.state] and 'lost(died)' or 'cancelled')
  end
  for _, ticket in ipairs(call('ZRANGEBYSCORE', KEYS[5], '-inf', '(0')) do
    local run = F.must_find(ticket)
    run.forget = now + OUTCOME_MEMORY
    F.save(run)
  end
  call('DEL', KEYS[6])
  meta.next_due, meta.next_forget, meta.pause_until = FAR, now + OUTCOME_MEMORY, 0
end

check_boot = function()
  local last = call('HMGET', KEYS[1], '!boot', '!wall')
  if last[1] and last[1] ~= world.boot_id then
    local booted = wall - now * 1000
    if tonumber(last[2]) > booted + BOOT_TIME_SLACK then
      return { 'two_hosts', tonumber(last[2]), booted }
    end
    void_everything()
  end
  call('HSET', KEYS[1], '!boot', world.boot_id, '!wall', format('%.0f', wall))
end
