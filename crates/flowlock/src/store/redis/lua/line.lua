-- Waiting: standing in line, being looked at, being handed one's claims.

F.wake = function(run)
  local runs = step.wakes[run.client] or {}
  step.wakes[run.client] = runs
  runs[run.id] = true
end

-- Hints, sent with the change itself: nobody can hear of it before it is there. One that cannot be sent is none.
F.send_wakes = function()
  local channel = sub(KEYS[1], 1, -2) .. 'i:'
  if step.everybody then
    redis.pcall('SPUBLISH', channel .. 'all', '')
  end
  for client, runs in pairs(step.wakes) do
    for id in pairs(runs) do
      redis.pcall('SPUBLISH', channel .. client, id)
    end
  end
end

-- The process is heard; worth an entry only while it waits for something.
F.hear = function(client)
  if F.first_of('k' .. client) then
    call('ZADD', KEYS[6], now + SILENCE, client)
    meta.next_due = math.min(meta.next_due, now + SILENCE)
  end
end

-- When it was heard last; nothing if it was silent too long.
F.heard = function(client)
  local silent_at = call('ZSCORE', KEYS[6], client)
  return silent_at and tonumber(silent_at) - SILENCE
end

F.add_of_client = function(run)
  meta.waiting = meta.waiting + 1
  call('ZADD', KEYS[2], 0, 'k' .. run.client .. run.ticket)
end

F.remove_of_client = function(run)
  meta.waiting = meta.waiting - 1
  call('ZREM', KEYS[2], 'k' .. run.client .. run.ticket)
  if not F.first_of('k' .. run.client) then
    call('ZREM', KEYS[6], run.client)
  end
end

-- So many more, or fewer, others have to do with a place, or with its record.
F.note_others = function(place, more)
  local letter = byte(place)
  if letter == 115 then
    return
  elseif letter == 97 then
    place = 'd' .. sub(place, 2)
  end
  F.exclusive_holder(place)
  OTHERS[place] = OTHERS[place] + more
  step.others = step.others or {}
  step.others[place] = true
end

-- Writes what `note_others` noted, a thousand places at a time.
F.write_others = function()
  local left, gone = {}, {}
  local function write(most)
    if #left > most then
      call('HSET', KEYS[1], unpack(left))
      left = {}
    end
    if #gone > most then
      call('HDEL', KEYS[1], unpack(gone))
      gone = {}
    end
  end
  for place in pairs(step.others) do
    local crowd = F.crowd_of(place)
    if crowd then
      left[#left + 1] = 'h' .. place
      left[#left + 1] = crowd
    else
      gone[#gone + 1] = 'h' .. place
    end
    write(2000)
  end
  write(0)
end

local function members_in_line(run)
  local members = {}
  for _, claim in ipairs(F.spec_of(run).claims) do
    members[#members + 1] = 'q' .. claim.place .. '\0' .. F.member_of(run, claim)
    if claim.mode == 'x' then
      members[#members + 1] = 'e' .. claim.place .. '\0' .. run.ticket
    end
  end
  return members
end

F.enter_line = function(run)
  local scored = {}
  for _, member in ipairs(members_in_line(run)) do
    scored[#scored + 1] = 0
    scored[#scored + 1] = member
  end
  if #scored > 0 then
    call('ZADD', KEYS[2], unpack(scored))
  end
  F.prefetch_holders(F.spec_of(run).claims)
  for _, claim in ipairs(F.spec_of(run).claims) do
    F.note_others(claim.place, 1)
  end
  run.in_line = true
  meta.queued = meta.queued + 1
end

local function remove_from_line(run)
  run.in_line = nil
  meta.queued = meta.queued - 1
  local members = members_in_line(run)
  if #members > 0 then
    call('ZREM', KEYS[2], unpack(members))
  end
  F.prefetch_holders(F.spec_of(run).claims)
  for _, claim in ipairs(F.spec_of(run).claims) do
    F.note_others(claim.place, -1)
  end
end

-- The next in line behind one who enters it or leaves it: others are in its way than its process was told, which is to look
-- whether they live.
F.tell_next_in_line = function(ahead, claim)
  local next = F.range('q' .. claim.place .. '\0', ahead .. '\255', nil, 1)[1]
  local stake = next and F.stake_of(next)
  if stake and (claim.mode == 'u' or claim.mode == 'x' or stake.mode == 'x') then
    F.wake(F.must_find(stake.ticket))
  end
end

-- A holder ends sooner than those who wait for it were told: the oldest of each name is to ask anew.
F.tell_of_nearer_end = function(holder)
  for _, claim in ipairs(meta.queued > 0 and F.spec_of(holder).claims or {}) do
    local oldest = F.first_of(F.line_in_the_way(claim))
    if oldest then
      F.wake(F.must_find(sub(oldest, 1, 16)))
    end
  end
end

-- A record that expires was written: the first of those who queue to read it is to ask until when.
local function tell_a_reader(name)
  local record = meta.queued > 0 and F.record_of(name)
  for _, text in ipairs(record and record.due and F.range('qd' .. name .. '\0', FIRST, nil, BLOCKERS + 1) or {}) do
    local stake = F.stake_of(text)
    local run = F.must_find(stake.ticket)
    -- Nobody asks for a held place.
    if stake.mode == 's' and not run.place_end then
      return F.wake(run)
    end
  end
end

-- Leaves the line, if it stands in it; those behind are to be looked at.
F.leave_line = function(run)
  if run.in_line then
    remove_from_line(run)
    for _, claim in ipairs(F.spec_of(run).claims) do
      F.mark_dirty(claim.place)
      F.tell_next_in_line(run.ticket, claim)
    end
  end
end

F.unpark = function(run)
  if run.parked then
    call('ZREM', KEYS[2], 'p' .. run.parked .. '\0' .. run.ticket)
    F.note_others(run.parked, -1)
    run.parked = nil
  end
end

-- Runs that may not overwrite are told when their outputs are written.
F.add_guards = function(run)
  local spec = F.spec_of(run)
  if spec.if_written then
    for _, name in ipairs(spec.outputs) do
      call('ZADD', KEYS[2], 0, 'g' .. name .. '\0' .. run.ticket)
      F.note_others('d' .. name, 1)
    end
  end
end

F.remove_guards = function(run)
  local spec = F.spec_of(run)
  if spec.if_written then
    for _, name in ipairs(spec.outputs) do
      call('ZREM', KEYS[2], 'g' .. name .. '\0' .. run.ticket)
      F.note_others('d' .. name, -1)
    end
  end
end

-- Something changed at a place: whoever is parked there is to be looked at.
F.mark_dirty = function(place)
  if meta.waiting == 0 or meta.backlog == 1 and call('ZSCORE', KEYS[7], '0' .. place) then
    return
  end
  local first = F.first_of('p' .. place .. '\0')
  if first then
    meta.backlog = 1
    call('ZADD', KEYS[7], 0, '0' .. place, 0, '1' .. first .. '1' .. place)
  end
end

-- A record is live now: those who await it, and those who may not overwrite it, are to be looked at.
F.mark_written = function(name)
  F.mark_dirty('a' .. name)
  if meta.waiting > 0 then
    F.add_hint(FIRST, '4' .. name)
  end
  tell_a_reader(name)
end

F.drain = function()
  if meta.backlog == 1 and F.may_grant() then
    F.drain_now()
  end
end

-- The backlog. A hint is a ticket and why to look at it: 1<place> parked there, 2 alone, 3<name> reads a record
-- that went, 4<name> may not overwrite a record that came. It may be out of date: `next_look` checks.

F.add_hint = function(ticket, source)
  meta.backlog = 1
  call('ZADD', KEYS[7], 0, '1' .. ticket .. source)
end

local function is_dirty(place)
  return call('ZSCORE', KEYS[7], '0' .. place)
end

local function is_clean_now(place)
  call('ZREM', KEYS[7], '0' .. place)
end

-- The ticket a hint stands for by now.
local function actual(ticket, source)
  local kind, rest = sub(source, 1, 1), sub(source, 2)
  if kind == '1' then
    return is_dirty(rest) and F.first_of('p' .. rest .. '\0')
  elseif kind == '2' then
    local run = F.run_of(ticket)
    return run and waiting_states[run.state] and not run.absent and ticket
  end
  local prefix = kind == '4' and 'g' .. rest or 'qd' .. rest
  local found = F.range(prefix .. '\0', ticket, nil, 1)[1]
  return found and sub(found, 1, 16)
end

-- The lowest ticket to look at, and why. Drops hints that are no longer true on the way; if there are more than one step
-- drops, work is left over.
F.next_look = function()
  while true do
    local hint = call('ZRANGEBYLEX', KEYS[7], '[1', '+', 'LIMIT', 0, 1)[1]
    if not hint then
      return nil
    end
    local ticket, source = sub(hint, 2, 17), sub(hint, 18)
    local found = actual(ticket, source)
    if found == ticket then
      return ticket, source
    elseif step.hints == 0 then
      step.unswept = true
      return nil
    end
    step.hints = step.hints - 1
    call('ZREM', KEYS[7], hint)
    if found then
      F.add_hint(found, source)
    elseif byte(source) == 49 then
      is_clean_now(sub(source, 2))
    end
  end
end

-- Parks a waiting run at its obstacle; in line if all its inputs are there, else out of line.
F.wait_at = function(run, place)
  local state = byte(place) == 97 and 'awaiting_input' or 'queued'
  if state == 'awaiting_input' then
    local record = F.record_of(sub(place, 2))
    if record and F.is_written(record.state) and record.due and record.due <= wall then
      -- Nobody would look at it again if the record were live once more, after the clock was set back.
      F.end_record(sub(place, 2), 'E')
    end
    F.leave_line(run)
  elseif not run.in_line then
    F.enter_line(run)
  end
  if run.state ~= state then
    F.enter(run, state)
  end
  if run.parked ~= place then
    F.unpark(run)
    call('ZADD', KEYS[2], 0, 'p' .. place .. '\0' .. run.ticket)
    F.note_others(place, 1)
    run.parked = place
  end
  F.save(run)
end

-- Gives a waiting run all its claims; it begins when its process says so. What lapsed in its way is taken already.
local function hand_over(run)
  if run.in_line then
    remove_from_line(run)
    for _, claim in ipairs(F.spec_of(run).claims) do
      -- Whoever came to hold it alone is in the way of the next as before; beside others, these are as well.
      if claim.mode ~= 'x' then
        F.tell_next_in_line(run.ticket, claim)
      end
    end
  end
  F.unpark(run)
  F.remove_guards(run)
  F.give_claims(run)
  if VERSIONS[run.ticket] then
    call('HSET', KEYS[1], 'v' .. run.ticket, VERSIONS[run.ticket])
  end
  if run.place_end then
    run.deadline = math.max(run.place_end, now)
  else
    run.deadline = (F.heard(run.client) or now) + SILENCE
  end
  F.enter(run, 'granted')
  F.wake(run)
  F.save(run)
end

-- Whether the run's wait, or its held place, is over.
F.is_over = function(run)
  return run.wait_end ~= nil and run.wait_end <= now or run.place_end ~= nil and run.place_end <= now
end

-- Buries the dead in the way of a run that is looked at, here and now and not by a later probe: then it is to be looked at
-- once more.
local function bury_those_in_the_way(run)
  if not is_dead or step.probes == 0 then
    return nil
  end
  local in_the_way = F.in_the_way(run, step.probes)
  step.probes = step.probes - #in_the_way
  return F.bury_the_dead(in_the_way)
end

-- Tells the process of a run that stays in line if others are in its way than it was told, since it is to look whether they
-- live. `at` is the place in whose line the run stood before; none if it enters the line.
local function tell_of_others(run, at)
  if not at or F.was_passed(run, at) then
    F.wake(run)
  end
  for _, claim in ipairs(at and {} or F.spec_of(run).claims) do
    F.tell_next_in_line(run.ticket, claim)
  end
end

-- Grants, refuses, activates or sends back one run; or leaves it where it is.
local function look(run, source)
  local kind, ticket = sub(source, 1, 1), run.ticket
  local is_waiting = waiting_states[run.state] and not run.absent
  -- A place goes on with the next parked there; a walk goes on behind this ticket.
  if kind == '1' then
    F.add_hint(ticket, source)
    if not is_waiting or run.parked ~= sub(source, 2) then
      -- Only a store that somebody altered has such an entry: it would be looked at for ever.
      call('ZREM', KEYS[2], 'p' .. sub(source, 2) .. '\0' .. ticket)
    end
  elseif kind ~= '2' then
    F.add_hint(format('%016.0f', tonumber(ticket) + 1), source)
  end
  if not is_waiting then
    return
  end
  if F.is_over(run) then
    return F.finish(run, 'timed_out')
  end
  local in_the_way, place = F.obstacle(run)
  local ended
  if in_the_way == 'exists' then
    return F.finish(run, 'refused(output_exists)')
  elseif in_the_way == 'taken' then
    ended = bury_those_in_the_way(run)
  elseif not in_the_way and F.take_what_lapsed(run) then
    return hand_over(run)
  elseif not in_the_way then
    ended = 'not_all'
  end
  if ended then
    F.add_hint(ticket, '2')
    -- Later steps go on with it, before anybody behind it is looked at.
    return ended == 'not_all' and F.stop('looks')
  end
  local was_in_line = run.in_line
  F.wait_at(run, place)
  if run.in_line then
    tell_of_others(run, was_in_line and place)
  end
  if source == '1' .. place then
    -- Blocked at the dirty place itself: everyone parked there later is blocked too.
    is_clean_now(place)
  elseif is_dirty(place) then
    F.add_hint(ticket, '1' .. place)
  end
end

-- Looks at runs until nothing is left over, or as many as one step may.
F.drain_now = function()
  while F.runs_left('looks') > 0 do
    local ticket, source = F.next_look()
    if not ticket then
      return
    end
    local run = F.whole_run(ticket) or F.must_find(ticket)
    if not F.takes('looks', #F.spec_of(run).claims) then
      return
    end
    call('ZREM', KEYS[7], '1' .. ticket .. source)
    look(run, source)
  end
end

-- A silent run was heard of again: it takes up its ticket.
F.revive = function(run)
  run.absent, run.absent_since = nil, nil
  F.save(run)
  F.add_hint(run.ticket, '2')
  F.drain()
end
