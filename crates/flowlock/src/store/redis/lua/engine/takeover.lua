-- Another server is the primary now, or the same one anew: nothing is granted for a while.

-- Whether anything may be granted now: not for a while after another server, or this one anew, took over, so that
-- holders whose grants did not survive hear of it first. Asked anew by each step that would grant: a server may be back
-- within milliseconds.
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

-- Another server is the primary, or this one has started anew: newest grants and tokens may be lost.
function F.another_primary(replication)
  if meta.is_new then
    local uptime = string.match(call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
    meta.pause_until = now + math.max(0, PAUSE - (tonumber(uptime) or 0) * 1000)
  else
    meta.pause_until = now + PAUSE
    F.go_past_lost_tokens(replication)
    meta.takeovers = meta.takeovers + 1
    -- Whoever holds something asks at once whether it is still there.
    step.everybody = true
  end
  meta.replication = replication
end

-- Lost tokens were no later than the clock: if it is past the last one that is known, it is past them. If it went back,
-- tokens go on an hour ahead, and by as much more as the takeover's own id says: another takeover from the same state
-- says something else.
function F.go_past_lost_tokens(replication)
  if wall + meta.ahead <= meta.token then
    meta.ahead = meta.token - wall + TOKEN_BLOCK + tonumber(sub(replication, 1, 8), 16)
  end
end
