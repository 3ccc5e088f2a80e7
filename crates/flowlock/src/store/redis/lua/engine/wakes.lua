-- Which clients to tell about a step.

function F.wake(run)
  local runs = step.wakes[run.client] or {}
  step.wakes[run.client] = runs
  runs[run.id] = true
end

-- Sends the wake-ups together with the change, so no client can hear of it before it is visible. They are hints: one
-- that cannot be sent is left out.
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
