-- Why a run cannot start, in evidence; and where a waiting run stands, as an answer.

-- The tickets of a name's holders: those who stand, by ticket.
F.holders = function(place, limit)
  local holder = F.exclusive_holder(place)
  local stakes = {}
  if holder then
    stakes[1] = { ticket = holder, mode = 'x' }
  end
  for _, text in ipairs(F.range('h' .. place .. '\0', FIRST, nil, limit)) do
    stakes[#stakes + 1] = F.stake_of(text)
  end
  return stakes
end

local function holders_in_the_way(claim, limit)
  F.exclusive_holder(claim.place)
  return F.holders_block(claim) and F.holders(claim.place, limit) or {}
end

-- Reads so many fields of the hash, some hundreds at a time.
local function each_of(fields, visit)
  for from = 1, #fields, 500 do
    local found = call('HMGET', KEYS[1], unpack(fields, from, math.min(from + 499, #fields)))
    for i = 1, #found do
      visit(fields[from + i - 1], found[i])
    end
  end
end

-- When the first input of a run expires.
local function first_expiry(run)
  local first, inputs = FAR, F.spec_of(run).inputs
  F.prefetch_records(inputs)
  for _, name in ipairs(inputs) do
    local record = F.record_of(name)
    if record and record.state == 'L' and record.due and record.due > wall then
      first = math.min(first, now + math.ceil((record.due - wall) / 1000))
    end
  end
  return first
end

-- When a run in line reserves nothing any more, for one behind it. A process is expected at each heartbeat: only once it is
-- overdue its silence is to be looked for. What becomes of its own runs it sees itself.
local function end_of_reserving(run, behind)
  if not F.takes('foreseen', #F.spec_of(run).claims) then
    return FAR
  elseif run.place_end then
    -- No process looks when its inputs expire.
    return math.min(run.place_end, first_expiry(run))
  elseif behind.in_line and run.client == behind.client then
    return FAR
  end
  local heard = F.heard(run.client)
  return math.min(run.wait_end or FAR, heard and heard + HEARTBEAT <= now and heard + SILENCE or FAR)
end

-- When the first of these runs is in the way no longer, or an input of the run itself, which then leaves the line: if nothing
-- happens until then. Of those that hold the rest of the row is not needed.
local function first_end(run, tickets)
  local first, attempts = run.in_line and first_expiry(run) or FAR, {}
  each_of(tickets, function(ticket, row)
    if byte(row or F.damaged('run ' .. ticket .. ' is named but has no row')) == 72 then
      local id, nonce = string.match(row, '^(%Z*)%z(%Z*)', 2)
      attempts[#attempts + 1] = 'n' .. nonce .. id
    else
      local other = F.must_find(ticket)
      first = math.min(first, other.deadline or end_of_reserving(other, run))
    end
  end)
  each_of(attempts, function(_, attempt)
    local _, _, _, deadline = struct.unpack(RUN_HEAD, attempt)
    first = math.min(first, deadline)
  end)
  return first
end

local function in_the_way_at(run, claim, most)
  local ahead, tickets = meta.queued > 0 and F.last_before(F.line_in_the_way(claim), run.ticket), {}
  local holders
  if not ahead then
    holders = holders_in_the_way(claim, most)
  elseif claim.mode == 'u' and F.line_blocks(run, claim) then
    -- Whoever is ahead may fit beside the holders, and this one not beside all of them.
    holders = F.holders(claim.place, most)
  end
  tickets[1] = ahead and sub(ahead, 1, 16) or nil
  for _, stake in ipairs(holders or {}) do
    tickets[#tickets + 1] = stake.ticket
  end
  return tickets
end

-- The runs whose end would let this one move up, at most so many: per name its holders if it is the oldest waiter
-- there, else the next run ahead of it; of a slot both, if they do not fit together with it.
F.in_the_way = function(run, most)
  local found, known = {}, {}
  for _, claim in ipairs(F.spec_of(run).claims) do
    for _, ticket in ipairs(in_the_way_at(run, claim, most)) do
      if #found == most then
        return found
      elseif not known[ticket] then
        known[ticket] = true
        found[#found + 1] = ticket
      end
    end
  end
  return found
end

-- Whether somebody who came later holds the name that this run waits for: a relative of a holder passed it, so nobody
-- told its process of them.
F.was_passed = function(run, place)
  if byte(place) ~= 115 and F.exclusive_holder(place) then
    return F.exclusive_holder(place) > run.ticket
  end
  local holders = F.range('h' .. place .. '\0', FIRST, nil, PROBES)
  local last = holders[#holders]
  return last ~= nil and sub(last, 1, 16) > run.ticket
end

-- When to look again, if nothing is heard: at the first end of something in the way, or at the end of a pause; at once if a later
-- step goes on with this very run.
local function look_again(run, first)
  if meta.pause_until > now and not F.may_grant() then
    first = math.min(first, meta.pause_until)
  elseif meta.backlog == 1 and F.next_look() == run.ticket then
    first = now
  end
  return first < FAR and math.max(first - now, 0)
end

-- When a new try makes sense: at the first deadline in the way; at once if only older work was left over.
F.retry_after = function(run)
  if step.granting == false then
    return math.min(meta.pause_until - now, LONGEST_RETRY)
  elseif F.has_leftover() then
    return 0
  end
  local first = first_end(run, F.in_the_way(run, PROBES))
  return math.min(math.max(first - now, 0), LONGEST_RETRY)
end

-- Buries the dead among those in the way of a run; answers 'some' if there were any, 'not_all' if there are more than one
-- step may end.
F.bury_the_dead = function(in_the_way)
  local buried
  for _, ticket in ipairs(in_the_way) do
    local other = F.run_of(ticket)
    if other and F.is_dead(other) then
      if not F.may_end(other) then
        step.unswept = true
        return 'not_all'
      elseif F.bury({ ticket }) then
        buried = 'some'
      end
    end
  end
  return buried
end

-- A run as evidence.
F.by = function(ticket)
  local run = F.must_find(ticket)
  local left = holding_states[run.state] and run.deadline and run.deadline - now
  local gone = is_dead and run.life and is_dead(run.life) and 1 or 0
  return { run.id, run.job, run.origin, run.since, left or false, gone }
end

-- What a record, or its absence, says.
F.evidence = function(record)
  return { F.state_of(record), record and record.raw or false }
end

local function missing_input(name, by)
  local record = F.record_of(name)
  local state = F.state_of(record)
  if state == 'L' or #by > BLOCKERS then
    return
  end
  local writer = F.exclusive_holder('d' .. name)
  local kind = writer and 'input_being_written' or (state == 'I' or state == 'J') and 'input_incomplete' or 'input_missing'
  by[#by + 1] = { kind, name, writer and F.by(writer), F.evidence(record) }
end

local function existing_output(name, by)
  local record = F.record_of(name)
  if F.state_of(record) == 'L' then
    by[#by + 1] = { 'output_exists', name, false, F.evidence(record) }
  end
end

local function kind_of(claim, held)
  local letter = byte(claim.place)
  if letter == 108 then
    return 'lock_held'
  elseif letter == 115 then
    return 'slots_taken'
  elseif claim.mode == 's' then
    return 'input_being_written'
  end
  return held == 's' and 'output_being_read' or 'output_being_written'
end

local function is_known(by, kind, name)
  for _, blocker in ipairs(by) do
    if blocker[1] == kind and blocker[2] == name and blocker[4] then
      return true
    end
  end
end

local function claim_blockers(run, claim, by)
  local name = sub(claim.place, 2)
  for _, stake in ipairs(holders_in_the_way(claim, BLOCKERS + 1)) do
    local kind = kind_of(claim, stake.mode)
    if (claim.mode == 'u' or F.conflicts(claim.mode, stake.mode)) and not is_known(by, kind, name) then
      by[#by + 1] = { kind, name, F.by(stake.ticket), false }
    end
  end
  if F.queue_blocks(run, claim) then
    for _, text in ipairs(F.range(F.line_in_the_way(claim), FIRST, run.ticket, BLOCKERS + 1)) do
      by[#by + 1] = { 'queued_behind', name, F.by(sub(text, 1, 16)), false }
    end
  end
end

-- How many runs stand ahead of it at the name the run waits at, counted to one more than an answer shows.
local function ahead_count(run)
  if not run.parked or byte(run.parked) == 97 then
    return 0
  end
  return #F.range('q' .. run.parked .. '\0', FIRST, run.ticket, BLOCKERS + 1)
end

-- Leaves as many of the blockers as an answer shows; whether there were more.
F.cut_blockers = function(by)
  local more = #by > BLOCKERS and 1 or 0
  for i = #by, BLOCKERS + 1, -1 do
    by[i] = nil
  end
  return more
end

-- When whoever holds a place is to come back: as after a refused try, but long before the place ends.
local function come_back(run, first)
  local ms = math.max(first - now, 0)
  if step.granting == false then
    ms = meta.pause_until - now
  elseif F.has_leftover() then
    ms = 0
  end
  return math.min(ms, LONGEST_RETRY, math.floor(math.max(run.place_end - now, 0) / 2))
end

-- Everything that is in the way of a run, as far as an answer shows it: { blockers, whether there are more, runs ahead,
-- when to try again }.
F.blocked = function(run)
  local by, spec = {}, F.spec_of(run)
  F.prefetch_records(spec.inputs)
  F.prefetch_holders(spec.claims)
  for _, name in ipairs(spec.inputs) do
    missing_input(name, by)
  end
  if spec.if_written then
    for _, name in ipairs(spec.outputs) do
      existing_output(name, by)
    end
  end
  for _, claim in ipairs(spec.claims) do
    if #by > BLOCKERS then
      break
    end
    claim_blockers(run, claim, by)
  end
  local more = F.cut_blockers(by)
  local pause = step.granting == false and waiting_states[run.state] and meta.pause_until - now
  return { by, more, ahead_count(run), pause or false }
end

-- A waiting run: { waiting, state, present, blocked, whom to probe, when to look again }.
F.waiting = function(run)
  local share = math.floor(PROBES / math.max(EXPLAINED, 1))
  local in_the_way, probe = F.in_the_way(run, math.max(step.probes, share, 1)), {}
  step.probes = math.max(0, step.probes - #in_the_way)
  if is_dead then
    for _, ticket in ipairs(in_the_way) do
      local life = F.must_find(ticket).life
      if life then
        probe[#probe + 1] = { ticket, life }
      end
    end
  end
  local first, blocked = first_end(run, in_the_way), F.blocked(run)
  if run.place_end then
    blocked[4] = come_back(run, first)
  end
  return { 'waiting', run.state, run.absent and 0 or 1, blocked, probe, look_again(run, first) }
end

-- A wait for one's own ancestors never ends by itself: it is refused when it arrives. The rule is asked about a smaller
-- world: the ancestors alone hold, and of those in line only they are there who wait for an ancestor.

local function would_write_missing_input(ancestor, run)
  local writes = {}
  for _, name in ipairs(F.spec_of(ancestor).outputs) do
    writes[name] = true
  end
  for _, name in ipairs(F.spec_of(run).inputs) do
    if writes[name] and F.state_of(F.record_of(name)) ~= 'L' then
      return true
    end
  end
  return false
end

-- One more in a crowd: whether somebody shares, whether somebody has it alone, units and the smallest capacity stated.
local function join(crowd, claim)
  if claim.mode == 'u' then
    crowd.units, crowd.capacity = crowd.units + claim.units, math.min(crowd.capacity, claim.capacity)
  else
    crowd[claim.mode] = true
  end
end

local function nobody()
  return { units = 0, capacity = FAR }
end

local NOBODY = nobody()

local function add_claims(held, ancestor)
  for _, claim in ipairs(F.spec_of(ancestor).claims) do
    held[claim.place] = held[claim.place] or nobody()
    join(held[claim.place], claim)
  end
end

-- Whether what the ancestors hold together is by itself in the way of a claim.
local function ancestors_block(held, claim)
  local crowd = held[claim.place] or NOBODY
  if claim.mode == 'u' then
    return crowd.units + claim.units > math.min(claim.capacity, crowd.capacity)
  end
  return crowd.x or claim.mode == 'x' and crowd.s
end

local function waits_for_an_ancestor(spec, held)
  for _, wanted in ipairs(spec.claims) do
    if ancestors_block(held, wanted) then
      return true
    end
  end
  return false
end

-- Those in line ahead of the run for this name who wait for an ancestor themselves, as far as this step examines them.
local function ahead_for_an_ancestor(run, claim, held, examined)
  local crowd = nobody()
  for _, text in ipairs(F.range(F.line_in_the_way(claim), FIRST, run.ticket, EXAMINED)) do
    local ticket = sub(text, 1, 16)
    if examined[ticket] == nil then
      local spec = F.spec_of(F.must_find(ticket))
      if not F.takes('examined', #spec.claims) then
        break
      end
      examined[ticket] = waits_for_an_ancestor(spec, held)
    end
    if examined[ticket] then
      join(crowd, claim.mode == 's' and { mode = 'x' } or F.stake_of(text))
    end
  end
  return crowd
end

local function never_fits(run, claim, held, examined)
  if ancestors_block(held, claim) then
    return true
  end
  local ahead = ahead_for_an_ancestor(run, claim, held, examined)
  if claim.mode == 's' then
    return ahead.x and not F.has_kin(run, claim.place)
  elseif claim.mode == 'x' then
    return ahead.x or ahead.s
  end
  local crowd = held[claim.place] or NOBODY
  return ahead.units > 0
    and crowd.units + ahead.units + claim.units > math.min(claim.capacity, crowd.capacity, ahead.capacity)
end

-- Whether the run would wait for its ancestors: one of them is to write a missing input, or what they hold together does
-- not leave room for a claim of the run, by itself or with those ahead who wait for an ancestor.
F.is_deadlock = function(run)
  local held, examined = {}, {}
  for _, ticket in ipairs(run.ancestors or {}) do
    local ancestor = F.run_of(ticket)
    if ancestor and holding_states[ancestor.state] then
      if would_write_missing_input(ancestor, run) then
        return true
      end
      if not F.is_late(ancestor) then
        add_claims(held, ancestor)
      end
    end
  end
  for _, claim in ipairs(next(held) and F.spec_of(run).claims or {}) do
    if never_fits(run, claim, held, examined) then
      return true
    end
  end
  return false
end
