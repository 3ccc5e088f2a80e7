-- How runs end and give back their names.

-- Ends a run in any state; its outcome is remembered for a while.
function F.finish(run, outcome)
  local was = run.state
  if was == 'running' then
    F.release(run, 'r' .. run.ticket)
  else
    F.stop_waiting(run)
  end
  if outcome ~= 'committed' then
    F.tell_of_end(run, was, outcome)
  end
  run.state, run.since, run.forget = outcome, wall, now + OUTCOME_MEMORY
  F.save(run)
end

-- Removes what a run that has not begun has: its place in the queue, or the names it was handed.
function F.stop_waiting(run)
  if run.state == 'granted' then
    F.release(run, 'r' .. run.ticket)
  else
    F.leave_line(run)
    F.unpark(run)
    F.remove_guards(run)
    call('ZREM', INDEX, 'r' .. run.ticket)
  end
  F.remove_of_client(run)
end

-- Leaves evidence of a run that did not write its outputs, and wakes the process that does not know.
function F.tell_of_end(run, was, outcome)
  if was == 'running' and outcome ~= 'cancelled' then
    F.note_failure(run, outcome)
  end
  if outcome ~= 'failed' and outcome ~= 'cancelled' then
    F.wake(run)
  end
end

-- Gives back a holder's names.
function F.release(run, also)
  if run.lapsed then
    meta.lapsed = meta.lapsed - 1
    F.unhold_lapsed(run, also)
  else
    F.unhold_all(run, also)
  end
  if meta.waiting > 0 then
    for _, claim in ipairs(F.spec_of(run).claims) do
      F.mark_dirty(claim.place)
    end
  end
end
