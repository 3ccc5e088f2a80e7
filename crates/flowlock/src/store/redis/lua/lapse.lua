-- What time does: leases end and are taken over, waits end, silent waiters lose their reservation, records expire,
-- outcomes are forgotten. And what else is rare.

-- Lost tokens were no later than the clock: if it is past the last one that is known, it is past them. If it went back,
-- tokens go on an hour ahead, and by as much more as the takeover's own id says: another takeover from the same state
-- says something else.
local function go_past_lost_tokens(replication)
  if wall + meta.ahead <= meta.token then
    meta.ahead = meta.token - wall + TOKEN_BLOCK + tonumber(sub(replication, 1, 8), 16)
  end
end

-- Another server is the primary, or this one has started anew: newest grants and tokens may be lost.
F.another_primary = function(replication)
  if meta.is_new then
    local uptime = string.match(call('INFO', 'server'), 'uptime_in_seconds:(%d+)')
    meta.pause_until = now + math.max(0, PAUSE - (tonumber(uptime) or 0) * 1000)
  else
    meta.pause_until = now + PAUSE
    go_past_lost_tokens(replication)
    meta.reign = meta.reign + 1
    -- Whoever holds something asks at once whether it is still there.
    step.everybody = true
  end
  meta.replication = replication
end

-- Lapsed holders.

local function lapsed_members(run)
  local members = {}
  for _, claim in ipairs(F.spec_of(run).claims) do
    members[#members + 1] = 'y' .. claim.place .. '\0' .. F.member_of(run, claim)
    if claim.mode == 'u' then
      members[#members + 1] = 'z' .. claim.place .. '\0' .. F.capacity_of(run, claim)
    end
  end
  return members
end

local function note_lapsed(run, more)
  F.prefetch_holders(F.spec_of(run).claims)
  for _, claim in ipairs(F.spec_of(run).claims) do
    F.note_others(claim.place, more)
  end
end

F.unhold_lapsed = function(run, also)
  local members = lapsed_members(run)
  members[#members + 1] = also
  if #members > 0 then
    call('ZREM', KEYS[2], unpack(members))
  end
  for _, claim in ipairs(F.spec_of(run).claims) do
    if claim.mode == 'u' then
      F.fewer_units('w' .. claim.place, claim.units)
    end
  end
  note_lapsed(run, -1)
end

local function hold_lapsed(run)
  local scored = {}
  for i, member in ipairs(lapsed_members(run)) do
    scored[2 * i - 1], scored[2 * i] = 0, member
  end
  if #scored > 0 then
    call('ZADD', KEYS[2], unpack(scored))
  end
  for _, claim in ipairs(F.spec_of(run).claims) do
    if claim.mode == 'u' then
      call('HINCRBY', KEYS[1], 'w' .. claim.place, claim.units)
    end
  end
  note_lapsed(run, 1)
end

-- Moves a holder's claims between the standing and the lapsed.
F.set_lapsed = function(run, lapsed)
  if lapsed then
    F.unhold_all(run)
    run.lapsed, run.given_up = true, now + F.spec_of(run).keep_lapsed
    meta.lapsed = meta.lapsed + 1
    hold_lapsed(run)
  else
    F.unhold_lapsed(run)
    run.lapsed, run.given_up = nil, nil
    meta.lapsed = meta.lapsed - 1
    F.hold_all(run)
  end
end

-- The deadline passed: the run's claims stand in nobody's way from now on.
local function lapse(run)
  F.set_lapsed(run, true)
  for _, claim in ipairs(F.spec_of(run).claims) do
    F.mark_dirty(claim.place)
  end
  F.save(run)
end

-- Takes back a grant that was never claimed; the run keeps its ticket and reserves nothing until it is heard of.
local function pass_on(run)
  F.release(run)
  run.lapsed, run.given_up, run.token, run.deadline = nil, nil, nil, nil
  call('HDEL', KEYS[1], 'v' .. run.ticket)
  VERSIONS[run.ticket] = nil
  F.enter(run, 'queued')
  -- Before its end too, which takes them away again.
  F.add_guards(run)
  run.absent, run.absent_since = true, now
  if F.is_over(run) then
    return F.finish(run, 'timed_out')
  end
  F.wake(run)
  F.save(run)
end

-- The run that holds a stake, if it says so itself. Only a store that somebody altered has a stake of any other run:
-- ending that run would leave the stake where it is, to be met again for ever.
F.must_hold = function(place, stake, lapsed)
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

-- Somebody who needs a lapsed run's names is granted now.
F.lose = function(run)
  if run.revoked then
    F.finish(run, 'lost(broken)')
  elseif run.state == 'granted' then
    pass_on(run)
  else
    F.finish(run, 'lost(taken)')
  end
end

-- The oldest lapsed holder that a claim cannot be held beside. Those of one name that is not counted all conflict with a
-- claim or none does; of units, they are taken until the wanted ones fit.
local function lapsed_in_the_way(claim)
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
    conflicts = F.conflicts(claim.mode, sub(oldest, 17, 17))
  end
  return conflicts and F.stake_of(oldest) or nil
end

-- Ends the lapsed holders that conflict with a run about to be granted. Answers whether all of them, for a step ends only
-- so many; if not, work is left over.
F.take_lapsed = function(run)
  for _, claim in ipairs(F.spec_of(run).claims) do
    local stake = lapsed_in_the_way(claim)
    while stake do
      local holder = F.must_hold(claim.place, stake, true)
      if not F.may_end(holder) then
        step.unswept = true
        return false
      end
      F.lose(holder)
      stake = lapsed_in_the_way(claim)
    end
  end
  return true
end

-- Records that are no longer, or not yet, what they were.

local function put_record(name, record)
  local old = F.record_of(name)
  local was, is = old and F.is_written(old.state), F.is_written(record.state)
  local raw = struct.pack(HEAD, record.state, record.version, record.written, record.due or -1) .. record.tail
  call('HSET', KEYS[1], 'o' .. name, raw)
  if is and not was then
    call('ZADD', KEYS[3], 0, name)
  elseif was and not is then
    call('ZREM', KEYS[3], name)
  end
  if record.due then
    call('ZADD', KEYS[4], record.due, name)
    meta.next_expiry = math.min(meta.next_expiry, record.due)
  end
  F.record_from(name, raw)
end

local function changed(record, state, due)
  return { state = state, version = record.version, written = record.written, due = due, tail = sub(record.raw, 26) }
end

-- A record is live no more: those who queue to read it are to be looked at.
local function mark_readers(name)
  if meta.queued > 0 then
    F.add_hint(FIRST, '3' .. name)
  end
end

-- Its time is up, or somebody removes it by hand.
F.end_record = function(name, state, actor)
  local record = changed(F.record_of(name), state, wall + EVIDENCE)
  if actor then
    record.tail = actor .. string.match(record.tail, '^%Z*(%z.*)$')
  end
  put_record(name, record)
  mark_readers(name)
end

-- A run with on_fail = incomplete begins: the old records of its outputs let nobody in until a commit.
F.mark_incomplete = function(spec)
  F.prefetch_records(spec.outputs)
  for _, name in ipairs(spec.outputs) do
    local record = F.record_of(name)
    if F.state_of(record) == 'L' then
      put_record(name, changed(record, 'J', record.due))
      mark_readers(name)
    end
  end
end

-- A run is given back before its work began: the old records of its outputs are what they were before it.
F.restore_records = function(run)
  local outputs = F.spec_of(run).outputs
  F.prefetch_records(outputs)
  for _, name in ipairs(outputs) do
    local record = F.record_of(name)
    if record and record.state == 'J' then
      put_record(name, changed(record, 'L', record.due))
      F.mark_written(name)
    end
  end
end

-- What a record says behind its head, with another failed attempt.
local function with_failure(tail, failure)
  local actor, rest = string.match(tail, '^(%Z*%z)%Z*%z%Z*%z%Z*%z%Z*%z(.*)$')
  return actor .. failure .. rest
end

-- A run ended without writing what it was to write.
F.note_failure = function(run, outcome)
  local spec = F.spec_of(run)
  local failure = run.id .. '\0' .. spec.job .. '\0' .. outcome .. '\0' .. format('%.0f', wall) .. '\0'
  F.prefetch_records(spec.outputs)
  for _, name in ipairs(spec.outputs) do
    local record = F.record_of(name)
    if record then
      local after = changed(record, record.state == 'J' and 'I' or record.state, record.due)
      after.tail = with_failure(after.tail, failure)
      put_record(name, after)
    else
      local tail = '\0' .. failure .. run.id .. '\0' .. spec.job .. '\0' .. '0\0-'
      put_record(name, { state = 'N', version = 0, written = 0, due = wall + EVIDENCE, tail = tail })
    end
  end
end

-- A record's time is up: what was written expires, and evidence is dropped.
local function record_is_due(name)
  local record = F.record_of(name)
  if record and F.is_written(record.state) then
    F.end_record(name, 'E')
  elseif record then
    call('HDEL', KEYS[1], 'o' .. name)
    call('ZREM', KEYS[4], name)
    RECORDS[name] = false
  end
end

-- Whether the run is not over although its process is.
F.is_dead = function(run)
  return is_dead and not run.forget and run.life and is_dead(run.life)
end

-- Ends those of the runs whose processes are really dead; answers whether there was one.
F.bury = function(tickets)
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

-- Whether this step may still end a holder that is in the way; if so, it counts as ended.
F.may_end = function(run)
  return F.takes('ends', #F.spec_of(run).claims)
end

-- The sweep.

local function run_is_due(run)
  if not holding_states[run.state] then
    F.finish(run, 'timed_out')
  elseif run.revoked then
    F.finish(run, 'lost(broken)')
  elseif F.bury({ run.ticket }) then
    return -- its process is gone
  elseif run.lapsed then
    -- Nobody needed its names for long.
    F.finish(run, run.state == 'running' and 'lost(died)' or 'timed_out')
  else
    lapse(run)
  end
end

-- Its process was silent too long: the run keeps its ticket and reserves nothing.
local function make_absent(run)
  F.leave_line(run)
  F.unpark(run)
  run.absent, run.absent_since = true, now
  F.save(run)
end

-- Takes a silent client's waiting runs out of line, as many as this step still may.
local function client_is_silent(client)
  local tickets = F.range('w' .. client, FIRST, nil, F.runs_left('due') + 1)
  if not tickets[1] then
    F.takes('due', 0)
  end
  for _, ticket in ipairs(tickets) do
    local run = F.must_find(ticket)
    if run.reserves ~= client then
      F.damaged('run ' .. ticket .. ' is to leave the line with a process that is not its own')
    elseif not F.takes('due', #F.spec_of(run).claims) then
      return
    end
    make_absent(run)
  end
  call('ZREM', KEYS[6], client)
end

local function read_due(due, key, upto, kind)
  local found = call('ZRANGEBYSCORE', key, 0, upto, 'WITHSCORES', 'LIMIT', 0, DUE + 1)
  for i = 1, #found, 2 do
    local overdue = tonumber(found[i + 1]) - (kind == 3 and wall or now)
    if kind == 3 then
      overdue = -math.floor(-overdue / 1000)
    end
    due[#due + 1] = { overdue, kind, #due, found[i] }
  end
end

-- All that is due, the longest overdue first: runs before clients before records.
local function all_due()
  local due = {}
  read_due(due, KEYS[5], now, 1)
  read_due(due, KEYS[6], now, 2)
  read_due(due, KEYS[4], wall, 3)
  table.sort(due, function(a, b)
    if a[1] ~= b[1] then
      return a[1] < b[1]
    end
    return a[3] < b[3]
  end)
  return due
end

-- Handles one due thing, if this step still may.
local function handle(due)
  local kind, what = due[2], due[4]
  if kind == 2 then
    return client_is_silent(what)
  elseif kind == 3 then
    if F.takes('due', 0) then
      record_is_due(what)
    end
    return
  end
  local run = F.must_find(what)
  -- Handling one run may have ended another that was due as well.
  local at = F.due_of(run)
  if at and at <= now and F.takes('due', #F.spec_of(run).claims) then
    run_is_due(run)
  end
end

local function first_score(key)
  return tonumber(call('ZRANGEBYSCORE', key, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)[2]) or FAR
end

-- Mends the chain of runs with one id around a run that is forgotten.
local function leave_chain(run, going, gone)
  local before, after = run.previous, run.following
  while before and going[before] do
    before = going[before].previous
  end
  while after and going[after] do
    after = going[after].following
  end
  if after then
    local run_after = F.must_find(after)
    run_after.previous = before
    call('HSET', KEYS[1], after, F.row_of(run_after))
  elseif before then
    call('HSET', KEYS[1], 'i' .. run.id, before)
  elseif not run.tombstone then
    gone[#gone + 1] = 'i' .. run.id
  end
  if before then
    local run_before = F.must_find(before)
    run_before.following = after
    call('HSET', KEYS[1], before, F.row_of(run_before))
  end
end

local function forget(tickets)
  local going, rows, fields = {}, call('HMGET', KEYS[1], unpack(tickets)), {}
  for i, ticket in ipairs(tickets) do
    going[ticket] = rows[i] and F.run_from_row(rows[i])
  end
  for _, ticket in ipairs(tickets) do
    local run = going[ticket]
    if run then
      leave_chain(run, going, fields)
      fields[#fields + 1] = F.attempt_of(run)
    end
    fields[#fields + 1] = ticket
    fields[#fields + 1] = 's' .. ticket
    fields[#fields + 1] = 'v' .. ticket
    RUNS[ticket], SPECS[ticket] = nil, nil
  end
  call('HDEL', KEYS[1], unpack(fields))
  call('ZREM', KEYS[5], unpack(tickets))
end

-- Deletes outcomes, evidence of records and traces of clients, a page of each; answers whether there may be more.
local function clear_a_page()
  local outcomes = call('ZRANGEBYSCORE', KEYS[5], '-inf', '(0', 'LIMIT', 0, FORGETS)
  local evidence = call('ZRANGEBYSCORE', KEYS[4], '-inf', '+inf', 'LIMIT', 0, FORGETS)
  local clients = call('ZRANGEBYSCORE', KEYS[6], '-inf', '+inf', 'LIMIT', 0, FORGETS)
  if #outcomes > 0 then
    forget(outcomes)
  end
  for _, name in ipairs(evidence) do
    call('HDEL', KEYS[1], 'o' .. name)
    call('ZREM', KEYS[4], name)
  end
  for _, client in ipairs(clients) do
    call('ZREM', KEYS[6], client)
  end
  meta.next_due, meta.next_expiry, meta.next_forget = FAR, first_score(KEYS[4]), now
  return math.max(#outcomes, #evidence, #clients) == FORGETS
end

-- Removes the namespace if it is empty. What stays is its own row: its epoch, sequence number, tokens and tickets go on from
-- there if it is used again, so that it is not taken for a store that went back, and no token repeats.
F.remove_namespace = function()
  -- Until it is removed it is what it was.
  step.removed = meta.removed
  if F.has_leftover() then
    -- What waits is served after a pause.
    return { 'refused', { {}, 0, 0, F.may_grant() and 0 or meta.pause_until - now } }
  elseif F.range('r', FIRST, nil, 1)[1] then
    return { 'in_use', 'runs' }
  elseif call('ZCARD', KEYS[3]) > 0 then
    return { 'in_use', 'records' }
  end
  -- A repeated commit must get its answer, and a withdrawn request that is still on its way none.
  local last = call('ZREVRANGEBYSCORE', KEYS[5], '(0', format('(%.0f', now - FORGET), 'WITHSCORES', 'LIMIT', 0, 1)[2]
  if last then
    return { 'in_use', 'outcomes', tonumber(last) + FORGET - now }
  elseif clear_a_page() then
    return { 'refused', { {}, 0, 0, 0 } }
  elseif meta.removed then
    return { 'not_found' }
  end
  step.removed, meta.next_forget = step.actor, FAR
  return { meta.is_new and 'not_found' or 'done' }
end

-- Handles the deadlines that are due; then forgets old outcomes.
F.sweep = function()
  if now >= meta.next_due or wall >= meta.next_expiry then
    for _, due in ipairs(all_due()) do
      if F.runs_left('due') == 0 then
        break
      end
      handle(due)
    end
    step.unswept = F.runs_left('due') == 0 and #all_due() > 0
    meta.next_due = math.min(first_score(KEYS[5]), first_score(KEYS[6]))
    meta.next_expiry = first_score(KEYS[4])
  end
  if now >= meta.next_forget + SLACK then
    local tickets = call('ZRANGEBYSCORE', KEYS[5], '-inf', now - FORGET, 'LIMIT', 0, FORGETS)
    if #tickets > 0 then
      forget(tickets)
    end
    local next_one = call('ZRANGEBYSCORE', KEYS[5], '-inf', '(0', 'WITHSCORES', 'LIMIT', 0, 1)[2]
    meta.next_forget = next_one and tonumber(next_one) + FORGET or FAR
    if #tickets == FORGETS then
      -- There may be more whose time has come: the next step goes on.
      meta.next_forget = meta.next_forget - SLACK
    end
  end
end
