-- Another server is the primary now, or the same one was restarted: nothing is granted for a while.

-- Returns whether anything may be granted now: not for a while after another server took over or this one was
-- restarted, so that holders whose grants did not survive hear of it first. Each step that would grant checks this
-- again, because a server may be back within milliseconds.
function F.may_grant()
  if step.granting == nil then
    -- A plain search: a pattern would be tried at every byte of the text.
    local said = call('INFO', 'replication')
    local _, before = string.find(said, '_replid:', 1, true)
    local replication = before and string.match(said, '^%x+', before + 1) or meta.replication
    if replication ~= meta.replication then
      F.another_primary(replication)
    end
    step.granting = PAUSE == 0 or now >= meta.pause_until
  end
  return step.granting
end

-- Notes that another server is the primary, or that this one was restarted: the newest grants and tokens may be lost.
function F.another_primary(replication)
  if meta.is_new then
    local uptime = string.match(call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
    meta.pause_until = now + math.max(0, PAUSE - (tonumber(uptime) or 0) * 1000)
  else
    meta.pause_until = now + PAUSE
    F.go_past_lost_tokens(replication)
    meta.takeovers = meta.takeovers + 1
    -- Every holder asks at once whether its grant still exists.
    step.everybody = true
  end
  meta.replication = replication
end

-- Lost tokens were not larger than the clock, so if the clock is past the last known token, it is past the lost ones.
-- If the clock went back, tokens continue an hour ahead of it, plus an amount that the takeover's own id determines:
-- another takeover from the same state has another id.
function F.go_past_lost_tokens(replication)
  if wall + meta.ahead <= meta.token then
    meta.ahead = meta.token - wall + TOKEN_BLOCK + tonumber(sub(replication, 1, 8), 16)
  end
end
