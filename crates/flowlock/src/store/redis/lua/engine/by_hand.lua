-- Records that are created and removed by hand.

function F.create(names, respect, run, job, record_life, note)
  local refused = F.refuse_by_hand(names, respect)
  if refused then
    return refused
  elseif not F.clear_the_way(names) then
    return F.ask_again(0)
  elseif not names[1] then
    return { 'done' }
  end
  local version = F.next_token()
  local tail = F.tail_of(run, job, '0\0', note)
  local contradiction = F.write(names, version, record_life, tail)
  if contradiction then
    return contradiction
  end
  for _, name in ipairs(names) do
    F.mark_written(name)
  end
  return { 'done' }
end

function F.remove(names, respect)
  local refused = F.refuse_by_hand(names, respect)
  if refused then
    return refused
  end
  local there = {}
  F.prefetch_records(names)
  for _, name in ipairs(names) do
    if F.is_to_be_removed(name) then
      there[#there + 1] = name
    end
  end
  -- If nothing is removed, no names are needed, unless holders must be ended anyway.
  if not F.clear_the_way(respect and there or names) then
    return F.ask_again(0)
  end
  for _, name in ipairs(there) do
    local _, is_unreadable = F.record_row(name)
    if is_unreadable then
      F.drop_unreadable(name)
    else
      F.end_record(name, 'R', step.actor)
    end
  end
  return { there[1] and 'done' or 'not_found' }
end

-- Returns whether a name has a record, even one that cannot be read: nothing else removes that.
function F.is_to_be_removed(name)
  local record, is_unreadable = F.record_row(name)
  return is_unreadable or record and F.is_written(record.state)
end

-- Returns the names whose records were not written since this step was first sent: all of them, if it is the first
-- time.
function F.unchanged_since(names, versions)
  if not versions[1] then
    return names
  end
  local unchanged = {}
  F.prefetch_records(names)
  for i, name in ipairs(names) do
    -- Nobody can have overwritten a row that must be read for that.
    local record = F.record_row(name)
    if not record or record.version <= tonumber(versions[i]) then
      unchanged[#unchanged + 1] = name
    end
  end
  return unchanged
end

-- Refuses while older work is left over, or while a run that must be respected holds one of the names. Ends the dead
-- runs among the holders.
function F.refuse_by_hand(names, respect)
  if not F.may_grant() then
    return F.ask_again(meta.pause_until - now)
  elseif F.has_leftover() then
    return F.ask_again(0)
  end
  local by = {}
  for _, name in ipairs(respect and names or {}) do
    if #by > BLOCKERS then
      break
    elseif not F.bury_dead_holders(by, name) then
      return F.ask_again(0)
    end
  end
  if #by > 0 then
    local more = F.cut_blockers(by)
    return { 'refused', { by, more, 0, RETRY_BY_HAND } }
  end
end

-- Ends the runs that still hold the names: only lapsed ones, unless standing ones are to be broken. Returns whether all
-- were ended, because a step may end only so many.
function F.clear_the_way(names)
  for _, name in ipairs(names) do
    if not F.break_off_all(name, false) or not F.break_off_all(name, true) then
      return false
    end
  end
  return true
end

-- Ends the dead holders of a name, and adds the living ones. Looks again until no more are dead, because a holder that
-- was not looked at may be alive. Returns false if more are dead than one step may end.
function F.bury_dead_holders(by, name)
  local any_dead, known = true, #by
  while any_dead do
    any_dead = false
    for i = #by, known + 1, -1 do
      by[i] = nil
    end
    for _, stake in ipairs(F.holders('d' .. name, BLOCKERS + 1)) do
      local run = F.must_find(stake.ticket)
      if not F.is_dead(run) then
        by[#by + 1] = F.held_by(name, stake)
      elseif F.spend_end(run) then
        F.must_hold('d' .. name, stake)
        F.bury({ stake.ticket })
        any_dead = true
      else
        return false
      end
    end
  end
  return true
end

function F.held_by(name, stake)
  local kind = stake.mode == 'x' and 'output_being_written' or 'output_being_read'
  return { kind, name, F.by(stake.ticket), false }
end

-- Ends the standing or the lapsed holders of a name; returns whether all were ended, because a step may end only so
-- many.
function F.break_off_all(name, lapsed)
  while true do
    local stakes = lapsed and F.range('yd' .. name .. '\0', FIRST, nil, BLOCKERS + 1)
      or F.holders('d' .. name, BLOCKERS + 1)
    if not stakes[1] then
      return true
    end
    for _, found in ipairs(stakes) do
      local stake = lapsed and F.stake_of(found) or found
      if not F.spend_end(F.must_find(stake.ticket)) then
        return false
      end
      local run = F.must_hold('d' .. name, stake, lapsed)
      if not F.bury({ stake.ticket }) then
        F.break_off(run)
      end
    end
  end
end

function F.break_off(run)
  F.sign(run)
  if run.lapsed then
    F.lose(run)
  else
    F.finish(run, 'lost(broken)')
  end
end

-- The answer if older work comes first, or there is more to do than one step may.
function F.ask_again(ms)
  return { 'refused', { {}, 0, 0, ms } }
end
