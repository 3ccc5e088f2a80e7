-- What holders, waiting processes and operators do with runs that exist. ARGV: see each branch at the end.

local function refresh(id, nonce)
  local run = F.find(id, nonce)
  if not run then
    return { 'not_found' }
  elseif run.forget then
    return { 'over', run.state }
  elseif run.revoked then
    return { 'over', 'lost(broken)' }
  elseif run.state ~= 'running' then
    return { 'not_running' }
  end
  local late = F.is_late(run)
  if late and F.may_grant() and F.has_leftover() then
    return { 'ask_again' }
  end
  local ends = F.lease_end(run)
  -- Past its end there is nothing to renew, even if its lease ended before that.
  if ends < now + run.lease and (run.deadline >= ends or ends <= now) then
    return { 'max_runtime', run.deadline - now }
  end
  if run.lapsed then
    if not F.takes('returns', #F.spec_of(run).claims) then
      return { 'ask_again' }
    end
    F.set_lapsed(run, false)
  end
  run.deadline = ends
  F.save(run)
  return { 'held', ends - now, late and 1 or 0 }
end

local function fail(id, nonce)
  local run = F.find(id, nonce)
  if not run then
    return { 'unknown' }
  elseif run.forget then
    return { 'ended', run.state, run.lapsed and 1 or 0 }
  elseif not holding_states[run.state] then
    return { 'unclaimed' }
  end
  if run.revoked then
    -- Who unlocked it stays written down, whoever says that it is over.
    F.finish(run, 'lost(broken)')
    return { 'ended', 'lost(broken)', 0 }
  end
  local late = F.is_late(run)
  F.sign(run)
  F.finish(run, 'failed')
  return { 'ended', 'failed', late and 1 or 0 }
end

-- An acquire of this attempt that is still on its way must not be granted when it arrives.
local function put_tombstone(id, nonce, latest)
  local text = pack({ '-', 0, false, false, false, false, false })
  local run = F.arrive(id, nonce, F.spec_from(text), string.rep('0', 32), nil, '{"host":"","pid":0,"user":""}')
  run.state, run.tombstone = 'cancelled', true
  run.forget = math.min(latest, now + LATEST_AHEAD) + 1
  F.insert(run)
end

local function has_begun(state)
  if state == 'running' or state == 'committed' or state == 'failed' or sub(state, 1, 5) == 'lost(' then
    return { 'too_late', state }
  end
  return { 'withdrawn' }
end

local function cancel(id, nonce, latest)
  local run = F.by_attempt(id, nonce)
  if not run then
    put_tombstone(id, nonce, latest)
    return { 'withdrawn' }
  end
  if waiting_states[run.state] or run.state == 'granted' then
    F.finish(run, 'cancelled')
  end
  return has_begun(run.state)
end

-- Ends a run whose work has not begun, even if it is running: it is no failure.
local function give_back(id, nonce)
  local run = F.by_attempt(id, nonce)
  if not run then
    return { 'not_found' }
  end
  if run.state == 'running' then
    F.restore_records(run)
  end
  if run.revoked and holding_states[run.state] then
    F.finish(run, 'lost(broken)')
  elseif not run.forget then
    F.finish(run, 'cancelled')
  end
  return has_begun(run.state)
end

-- Of which runs the answer says why they wait: of those asked about, the first few, or fewer if they have many claims.
local function to_explain(asked)
  local explain = {}
  for i = 1, math.min(#asked, EXPLAINED) do
    local run = F.living(asked[i])
    if run then
      if not F.takes('explained', #F.spec_of(run).claims) then
        break
      end
      explain[run.ticket] = true
    end
  end
  return explain
end

-- A page of a client's waiting and granted runs; the blockers only of those asked about.
local function heartbeat(client, from, asked)
  local heard, tickets, explain = {}, F.range('k' .. client, from, nil, HEARD + 1), to_explain(asked)
  local next_page = tickets[HEARD + 1]
  for i = 1, math.min(#tickets, HEARD) do
    local run = F.must_find(tickets[i])
    local where
    if waiting_states[run.state] and not explain[run.ticket] then
      where = { 'still_waiting', run.state, run.absent and 0 or 1 }
    else
      where = F.standing(run)
    end
    heard[i] = { run.id, where }
  end
  return { heard, next_page or false }
end

-- Ends those of the runs whose processes are dead, as many as this step may: who reported them probes again.
local function bury_reported(tickets)
  for i = 1, math.min(#tickets, PROBES) do
    local run = is_dead and F.run_of(tickets[i])
    if run and F.is_dead(run) then
      if not F.may_end(run) then
        break
      end
      F.bury({ tickets[i] })
    end
  end
  return { 'done' }
end

local function detach(id, nonce)
  local run = F.by_attempt(id, nonce)
  -- One that was unlocked is waited for: it learns of that, and gives its names up.
  if not run or run.state ~= 'running' or run.revoked then
    return { 'not_found' }
  end
  run.detached, run.life = true, nil
  F.save(run)
  return { 'done' }
end

local function unlock(id, token, how)
  local run = F.living(id)
  if not run or run.token ~= token or not holding_states[run.state] then
    return { 'not_found' }
  end
  -- Only a process that runs under a standing lease can be waited for.
  local at_once = how == 'now' or run.state == 'granted' or F.is_late(run)
  -- Who asks for it once more changes nothing: the one before unlocked it.
  if at_once or not run.revoked then
    F.sign(run)
  end
  if at_once then
    F.finish(run, 'lost(broken)')
  else
    run.revoked = true
    F.wake(run)
    F.save(run)
  end
  return { 'done' }
end

-- By hand: records made and removed.

local function break_off(run)
  F.sign(run)
  if run.lapsed then
    F.lose(run)
  else
    F.finish(run, 'lost(broken)')
  end
end

-- Older work, or more than one step may do, comes first.
local function again_in(ms)
  return { 'refused', { {}, 0, 0, ms } }
end

-- Adds the living holders of a name. It buries the dead and looks again until nobody more is dead: whoever was not
-- looked at may live. False if there are more dead than one step buries.
local function add_living_holders(by, name)
  local any_dead, known = true, #by
  while any_dead do
    any_dead = false
    for i = #by, known + 1, -1 do
      by[i] = nil
    end
    for _, stake in ipairs(F.holders('d' .. name, BLOCKERS + 1)) do
      local run = F.must_find(stake.ticket)
      if not F.is_dead(run) then
        by[#by + 1] = { stake.mode == 'x' and 'output_being_written' or 'output_being_read', name, F.by(stake.ticket), false }
      elseif F.may_end(run) then
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

-- Ends the holders of a name that stand, or those that lapsed; answers whether all of them, for a step ends only so many.
local function break_off_all(name, lapsed)
  while true do
    local stakes = lapsed and F.range('yd' .. name .. '\0', FIRST, nil, BLOCKERS + 1) or F.holders('d' .. name, BLOCKERS + 1)
    if not stakes[1] then
      return true
    end
    for _, found in ipairs(stakes) do
      local stake = lapsed and F.stake_of(found) or found
      if not F.may_end(F.must_find(stake.ticket)) then
        return false
      end
      local run = F.must_hold('d' .. name, stake, lapsed)
      if not F.bury({ stake.ticket }) then
        break_off(run)
      end
    end
  end
end

-- Refuses while older work is left over, or while somebody who is to be respected holds one of the names. Buries the dead
-- among them.
local function refused_by_hand(names, respect)
  if not F.may_grant() then
    return again_in(meta.pause_until - now)
  elseif F.has_leftover() then
    return again_in(0)
  end
  local by = {}
  for _, name in ipairs(respect and names or {}) do
    if #by > BLOCKERS then
      break
    elseif not add_living_holders(by, name) then
      return again_in(0)
    end
  end
  if #by > 0 then
    local more = F.cut_blockers(by)
    return { 'refused', { by, more, 0, 1000 } }
  end
end

-- Ends whoever still holds the names: only lapsed runs, unless those that stand are to be broken. Answers whether all of
-- them, for a step ends only so many.
local function clear_the_way(names)
  for _, name in ipairs(names) do
    if not break_off_all(name, false) or not break_off_all(name, true) then
      return false
    end
  end
  return true
end

-- The names whose records nobody has written since the first sending of this step: all of them, if it is the first.
local function unchanged_since(names, versions)
  if not versions[1] then
    return names
  end
  local unchanged = {}
  F.prefetch_records(names)
  for i, name in ipairs(names) do
    local record = F.record_of(name)
    if not record or record.version <= tonumber(versions[i]) then
      unchanged[#unchanged + 1] = name
    end
  end
  return unchanged
end

local function create(names, respect, run, job, record_life, note)
  local refused = refused_by_hand(names, respect)
  if refused then
    return refused
  elseif not clear_the_way(names) then
    return again_in(0)
  elseif not names[1] then
    return { 'done' }
  end
  local version = F.next_token()
  local tail = F.tail_of(run, job, '0\0', note)
  local contradiction = F.write_records(names, version, record_life, tail)
  if contradiction then
    return contradiction
  end
  for _, name in ipairs(names) do
    F.mark_written(name)
  end
  return { 'done' }
end

local function remove(names, respect)
  local refused = refused_by_hand(names, respect)
  if refused then
    return refused
  end
  local written = {}
  F.prefetch_records(names)
  for _, name in ipairs(names) do
    local record = F.record_of(name)
    if record and F.is_written(record.state) then
      written[#written + 1] = name
    end
  end
  -- Where nothing is removed nobody's names are needed, unless they are to be broken anyway.
  if not clear_the_way(respect and written or names) then
    return again_in(0)
  end
  for _, name in ipairs(written) do
    F.end_record(name, 'R', step.actor)
  end
  return { written[1] and 'done' or 'not_found' }
end

-- A list among the arguments: how many, then each.
local function list_at(at)
  local list = {}
  for i = 1, tonumber(ARGV[at]) do
    list[i] = ARGV[at + i]
  end
  return list
end

-- `-` is no note, `+` stands before one.
local function note_from(text)
  return byte(text) == 43 and sub(text, 2) or nil
end

-- Who acts by hand, if it is said: when, a space, who as JSON.
local function act_as(at)
  if ARGV[at] ~= '' then
    step.actor = format('%.0f ', wall) .. ARGV[at]
  end
end

local function act()
  if OP == 'commit' then
    act_as(7)
    return F.commit(ARGV[4], ARGV[5], note_from(ARGV[6]))
  elseif OP == 'refresh' then
    local answers, runs = {}, list_at(4)
    for i = 1, #runs, 2 do
      answers[#answers + 1] = refresh(runs[i], runs[i + 1])
    end
    return answers
  elseif OP == 'claim' then
    return F.claim(ARGV[4], ARGV[5], ARGV[6], F.life_from(ARGV[7]), ARGV[8])
  elseif OP == 'fail' then
    act_as(6)
    return fail(ARGV[4], ARGV[5])
  elseif OP == 'cancel' then
    return cancel(ARGV[4], ARGV[5], tonumber(ARGV[6]))
  elseif OP == 'give_back' then
    return give_back(ARGV[4], ARGV[5])
  elseif OP == 'heartbeat' then
    return heartbeat(ARGV[4], ARGV[5], list_at(6))
  elseif OP == 'bury' then
    return bury_reported(list_at(4))
  elseif OP == 'detach' then
    return detach(ARGV[4], ARGV[5])
  elseif OP == 'unlock' then
    act_as(7)
    return unlock(ARGV[4], tonumber(ARGV[5]), ARGV[6])
  elseif OP == 'create' then
    local record_life, names = tonumber(ARGV[7]), list_at(9)
    local versions = list_at(10 + #names)
    act_as(11 + #names + #versions)
    names = unchanged_since(names, versions)
    return create(names, ARGV[4] == 'respect', ARGV[5], ARGV[6], record_life, note_from(ARGV[8]))
  elseif OP == 'remove' then
    local names = list_at(5)
    local versions = list_at(6 + #names)
    act_as(7 + #names + #versions)
    return remove(unchanged_since(names, versions), ARGV[4] == 'respect')
  elseif OP == 'remove_namespace' then
    act_as(4)
    return F.remove_namespace()
  end
  F.damaged('no step ' .. #OP)
end

-- Before anything is written.
if OP == 'remove_namespace' and not redis.acl_check_cmd('ZREVRANGEBYSCORE') then
  error({ err = "NOPERM this user has no permissions to run the 'zrevrangebyscore' command" })
end
local refused = F.begin(OP == 'heartbeat' and ARGV[4] or OP == 'claim' and ARGV[6] or nil)
if refused then
  return { false, 0, now, refused }
end
return F.finish_step(act())
