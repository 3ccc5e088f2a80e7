-- Holders whose deadline has passed: their claims are in no run's way, and a run that needs them takes them.

-- Lapses a run whose deadline has passed: from now on its claims are in no run's way.
function F.lapse(run)
  F.set_lapsed(run, true)
  for _, claim in ipairs(F.spec_of(run).claims) do
    F.mark_dirty(claim.place)
  end
  F.save(run)
end

-- Moves a holder's claims between the standing and the lapsed ones.
function F.set_lapsed(run, lapsed)
  if lapsed then
    F.unhold_all(run)
    run.lapsed, run.given_up = true, now + F.spec_of(run).keep_lapsed
    meta.lapsed = meta.lapsed + 1
    F.hold_lapsed(run)
  else
    F.unhold_lapsed(run)
    run.lapsed, run.given_up = nil, nil
    meta.lapsed = meta.lapsed - 1
    F.hold_all(run)
  end
end

function F.hold_lapsed(run)
  local scored = {}
  for i, member in ipairs(F.lapsed_members(run)) do
    scored[2 * i - 1], scored[2 * i] = 0, member
  end
  if #scored > 0 then
    call('ZADD', INDEX, unpack(scored))
  end
  for _, claim in ipairs(F.spec_of(run).claims) do
    if claim.mode == 'u' then
      call('HINCRBY', HASH, 'w' .. claim.place, claim.units)
    end
  end
  F.note_lapsed(run, 1)
end

function F.unhold_lapsed(run, also)
  local members = F.lapsed_members(run)
  members[#members + 1] = also
  if #members > 0 then
    call('ZREM', INDEX, unpack(members))
  end
  for _, claim in ipairs(F.spec_of(run).claims) do
    if claim.mode == 'u' then
      F.fewer_units('w' .. claim.place, claim.units)
    end
  end
  F.note_lapsed(run, -1)
end

function F.lapsed_members(run)
  local members = {}
  for _, claim in ipairs(F.spec_of(run).claims) do
    members[#members + 1] = 'y' .. claim.place .. '\0' .. F.member_of(run, claim)
    if claim.mode == 'u' then
      members[#members + 1] = 'z' .. claim.place .. '\0' .. F.capacity_of(run, claim)
    end
  end
  return members
end

function F.note_lapsed(run, more)
  F.prefetch_holders(F.spec_of(run).claims)
  for _, claim in ipairs(F.spec_of(run).claims) do
    F.note_others(claim.place, more)
  end
end

-- Ends the lapsed holders that conflict with a run about to be granted; only here are they lost. Returns whether all
-- were.
function F.take_what_lapsed(run)
  return meta.lapsed == 0 or F.take_lapsed(run)
end

-- Ends the lapsed holders that conflict with a run about to be granted. Returns whether all were ended, because a step
-- may end only so many; if not, work is left over.
function F.take_lapsed(run)
  for _, claim in ipairs(F.spec_of(run).claims) do
    local stake = F.lapsed_in_the_way(claim)
    while stake do
      local holder = F.must_hold(claim.place, stake, true)
      if not F.spend_end(holder) then
        step.unswept = true
        return false
      end
      F.lose(holder)
      stake = F.lapsed_in_the_way(claim)
    end
  end
  return true
end

-- Returns the oldest lapsed holder that conflicts with a claim. The holders of an uncounted name either all conflict
-- with a claim or none does; units are taken until the wanted ones fit.
function F.lapsed_in_the_way(claim)
  local oldest = F.first_of('y' .. claim.place .. '\0')
  if not oldest then
    return nil
  end
  local conflicts
  if claim.mode == 'u' then
    local units, smallest = F.units_held(claim.place)
    local lapsed, stated = F.units_held(claim.place, true)
    conflicts = units + lapsed + claim.units > math.min(claim.capacity, smallest, stated)
  else
    conflicts = F.conflicts(claim.mode, sub(oldest, TICKET + 1, TICKET + 1))
  end
  return conflicts and F.stake_of(oldest) or nil
end

-- Ends a lapsed run, because a run that needs its names is granted now.
function F.lose(run)
  if run.revoked then
    F.finish(run, 'lost(broken)')
  elseif run.state == 'granted' then
    F.pass_on(run)
  else
    F.finish(run, 'lost(taken)')
  end
end

-- Takes back a grant that was never accepted. The run keeps its ticket and reserves nothing until its process is
-- heard.
function F.pass_on(run)
  F.release(run)
  run.lapsed, run.given_up, run.token, run.deadline = nil, nil, nil, nil
  call('HDEL', HASH, 'v' .. run.ticket)
  VERSIONS[run.ticket] = nil
  F.enter(run, 'queued')
  -- Also before it ends, because its end removes them.
  F.add_guards(run)
  run.absent, run.absent_since = true, now
  if F.is_over(run) then
    return F.finish(run, 'timed_out')
  end
  F.wake(run)
  F.save(run)
end
