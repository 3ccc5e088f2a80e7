-- Whom to tell of a step.

function F.wake(run)
  local runs = step.wakes[run.client] or {}
  step.wakes[run.client] = runs
  runs[run.id] = true
end

-- Wake-ups are hints, sent with the change itself: nobody can hear of it before it is there. One that cannot be sent is
-- none.
function F.send_wakes()
  local channel = sub(HASH, 1, -2) .. 'i:'
  if step.everybody then
    redis.pcall('SPUBLISH', channel .. 'all', '')
  end
  for client, runs in pairs(step.wakes) do
    for id in pairs(runs) do
      redis.pcall('SPUBLISH', channel .. client, id)
    end
  end
end
