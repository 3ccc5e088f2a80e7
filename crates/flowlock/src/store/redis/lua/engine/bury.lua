-- Dead processes, and holders that a step may end.

-- Ends those of the runs whose processes are really dead; returns whether there was one.
function F.bury(tickets)
  local any = false
  for _, ticket in ipairs(tickets) do
    local run = is_dead and F.run_of(ticket)
    if run and F.is_dead(run) then
      if run.state ~= 'running' then
        F.finish(run, 'cancelled')
      else
        F.finish(run, run.revoked and 'lost(broken)' or 'lost(died)')
      end
      any = true
    end
  end
  return any
end

-- Returns whether the run's process is dead and the run has not ended.
function F.is_dead(run)
  return is_dead and not run.forget and run.liveness and is_dead(run.liveness)
end

-- Ends the dead runs among those in the way of a run; returns 'some' if there were any, 'not_all' if there are more
-- than one step may end.
function F.bury_the_dead(in_the_way)
  local buried
  for _, ticket in ipairs(in_the_way) do
    local other = F.run_of(ticket)
    if other and F.is_dead(other) then
      if not F.spend_end(other) then
        step.unswept = true
        return 'not_all'
      elseif F.bury({ ticket }) then
        buried = 'some'
      end
    end
  end
  return buried
end

-- Counts a holder in the way as ended; returns false if this step may not end any more.
function F.spend_end(run)
  return F.spend('ends', #F.spec_of(run).claims)
end

-- Returns the run that holds a stake, if its row agrees. Only a store that was tampered with has a stake of a run that
-- does not: ending that run would leave the stake where it is, to be met again for ever.
function F.must_hold(place, stake, lapsed)
  local run = F.must_find(stake.ticket)
  if holding_states[run.state] and (run.lapsed or false) == (lapsed or false) then
    for _, claim in ipairs(F.spec_of(run).claims) do
      if claim.place == place and claim.mode == stake.mode then
        return run
      end
    end
  end
  F.damaged('a name is held by run ' .. run.ticket .. ', which does not hold it')
end
