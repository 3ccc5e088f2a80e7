-- Why a run cannot start, with evidence; and where a run stands, as an answer.

-- Returns where a run stands, as its process is told.
function F.standing(run)
  local state = run.state
  if state == 'running' then
    return F.running(run)
  elseif state == 'granted' then
    return { 'granted', run.token }
  elseif waiting_states[state] then
    return F.waiting(run)
  elseif state == 'refused(output_exists)' or state == 'refused(busy)' or state == 'timed_out' then
    return { 'ended', state, F.blocked(run) }
  end
  return { 'ended', state, false }
end

-- Returns a running run as its process is told: with its inputs.
function F.running(run)
  local inputs, text = {}, F.made_from(run)
  for name, version in string.gmatch(sub(text, string.find(text, '%z') + 1), '(%Z+)%z(%Z+)%z') do
    local record = F.record(name)
    if record then
      inputs[#inputs + 1] = { name, tonumber(version), record.raw }
    end
  end
  return { 'running', run.token, run.deadline - now, inputs }
end

-- Returns a waiting run: { waiting, state, present, blocked, processes to probe, when to look again }.
function F.waiting(run)
  local share = math.floor(PROBES / math.max(EXPLAINED, 1))
  local in_the_way, probe = F.in_the_way(run, math.max(step.probes, share, 1)), {}
  step.probes = math.max(0, step.probes - #in_the_way)
  if is_dead then
    for _, ticket in ipairs(in_the_way) do
      local liveness = F.must_find(ticket).liveness
      if liveness then
        probe[#probe + 1] = { ticket, liveness }
      end
    end
  end
  local first, blocked = F.first_end(run, in_the_way), F.blocked(run)
  if run.place_end then
    blocked[4] = F.come_back(run, first)
  end
  return { 'waiting', run.state, run.absent and 0 or 1, blocked, probe, F.look_again(run, first) }
end

-- Returns when to look again if nothing is heard: at the first end of something in the way, or at the end of a pause;
-- at once if a later step continues with this very run.
function F.look_again(run, first)
  if meta.pause_until > now and not F.may_grant() then
    first = math.min(first, meta.pause_until)
  elseif meta.backlog == 1 and F.next_look() == run.ticket then
    first = now
  end
  return first < FAR and math.max(first - now, 0)
end

-- Returns the runs whose end would let this one move up, at most `most`. For each name: its holders, if this run is
-- the oldest waiter there, else the next run ahead. For a slot both, if it does not fit together with them.
function F.in_the_way(run, most)
  local found, known = {}, {}
  for _, claim in ipairs(F.spec_of(run).claims) do
    for _, ticket in ipairs(F.in_the_way_at(run, claim, most)) do
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

function F.in_the_way_at(run, claim, most)
  local ahead, tickets = meta.queued > 0 and F.last_before(F.line_in_the_way(claim), run.ticket), {}
  local holders
  if not ahead then
    holders = F.holders_in_the_way(claim, most)
  elseif claim.mode == 'u' and F.line_blocks(run, claim) then
    -- The run ahead may fit beside the holders, while this one does not fit beside all of them.
    holders = F.holders(claim.place, most)
  end
  tickets[1] = ahead and sub(ahead, 1, TICKET) or nil
  for _, stake in ipairs(holders or {}) do
    tickets[#tickets + 1] = stake.ticket
  end
  return tickets
end

-- Returns whether a run that came later holds the name that this run waits for. It is a relative of a holder and passed
-- this run, whose process was therefore not told of it.
function F.was_passed(run, place)
  if byte(place) ~= SLOT_CODE and F.exclusive_holder(place) then
    return F.exclusive_holder(place) > run.ticket
  end
  local holders = F.range('h' .. place .. '\0', FIRST, nil, PROBES)
  local last = holders[#holders]
  return last ~= nil and sub(last, 1, TICKET) > run.ticket
end

function F.holders_in_the_way(claim, limit)
  F.exclusive_holder(claim.place)
  return F.holders_block(claim) and F.holders(claim.place, limit) or {}
end

-- Returns when to try again: at the first deadline in the way; at once if only older work was left over.
function F.retry_after(run)
  if step.granting == false then
    return math.min(meta.pause_until - now, LONGEST_RETRY)
  elseif F.has_leftover() then
    return 0
  end
  local first = F.first_end(run, F.in_the_way(run, PROBES))
  return math.min(math.max(first - now, 0), LONGEST_RETRY)
end

-- Returns when a run that holds a place should come back: as after a refused try, but well before the place ends.
function F.come_back(run, first)
  local ms = math.max(first - now, 0)
  if step.granting == false then
    ms = meta.pause_until - now
  elseif F.has_leftover() then
    ms = 0
  end
  return math.min(ms, LONGEST_RETRY, math.floor(math.max(run.place_end - now, 0) / 2))
end

-- Returns everything that is in the way of a run, as far as an answer shows it: { blockers, whether there are more,
-- runs ahead, when to try again }.
function F.blocked(run)
  local by, spec = {}, F.spec_of(run)
  F.prefetch_records(spec.inputs)
  F.prefetch_holders(spec.claims)
  for _, name in ipairs(spec.inputs) do
    F.missing_input(name, by)
  end
  if spec.if_written then
    for _, name in ipairs(spec.outputs) do
      F.existing_output(name, by)
    end
  end
  for _, claim in ipairs(spec.claims) do
    if #by > BLOCKERS then
      break
    end
    F.claim_blockers(run, claim, by)
  end
  local more = F.cut_blockers(by)
  local pause = step.granting == false and waiting_states[run.state] and meta.pause_until - now
  return { by, more, F.ahead_count(run), pause or false }
end

function F.missing_input(name, by)
  local record = F.record(name)
  local state = F.state_of(record)
  if state == 'L' or #by > BLOCKERS then
    return
  end
  local writer = F.exclusive_holder('d' .. name)
  local kind = writer and 'input_being_written' or (state == 'I' or state == 'J') and 'input_incomplete'
    or 'input_missing'
  by[#by + 1] = { kind, name, writer and F.by(writer), F.evidence(record) }
end

function F.existing_output(name, by)
  local record = F.record(name)
  if F.state_of(record) == 'L' then
    by[#by + 1] = { 'output_exists', name, false, F.evidence(record) }
  end
end

function F.claim_blockers(run, claim, by)
  local name = sub(claim.place, 2)
  for _, stake in ipairs(F.holders_in_the_way(claim, BLOCKERS + 1)) do
    local kind = F.kind_of(claim, stake.mode)
    if (claim.mode == 'u' or F.conflicts(claim.mode, stake.mode)) and not F.is_known(by, kind, name) then
      by[#by + 1] = { kind, name, F.by(stake.ticket), false }
    end
  end
  if F.queue_blocks(run, claim) then
    for _, text in ipairs(F.range(F.line_in_the_way(claim), FIRST, run.ticket, BLOCKERS + 1)) do
      by[#by + 1] = { 'queued_behind', name, F.by(sub(text, 1, TICKET)), false }
    end
  end
end

function F.kind_of(claim, held)
  local letter = byte(claim.place)
  if letter == LOCK_CODE then
    return 'lock_held'
  elseif letter == SLOT_CODE then
    return 'slots_taken'
  elseif claim.mode == 's' then
    return 'input_being_written'
  end
  return held == 's' and 'output_being_read' or 'output_being_written'
end

function F.is_known(by, kind, name)
  for _, blocker in ipairs(by) do
    if blocker[1] == kind and blocker[2] == name and blocker[4] then
      return true
    end
  end
end

-- Returns how many runs are ahead at the name at which the run waits, counted to one more than an answer shows.
function F.ahead_count(run)
  if not run.parked or byte(run.parked) == RECORD_CODE then
    return 0
  end
  return #F.range('q' .. run.parked .. '\0', FIRST, run.ticket, BLOCKERS + 1)
end

-- Cuts the blockers to as many as an answer shows; returns whether there were more.
function F.cut_blockers(by)
  local more = #by > BLOCKERS and 1 or 0
  for i = #by, BLOCKERS + 1, -1 do
    by[i] = nil
  end
  return more
end

-- Returns a run as evidence.
function F.by(ticket)
  local run = F.must_find(ticket)
  local left = holding_states[run.state] and run.deadline and run.deadline - now
  local gone = is_dead and run.liveness and is_dead(run.liveness) and 1 or 0
  return { run.id, run.job, run.origin, run.since, left or false, gone }
end

-- Describes a record, or its absence, as evidence.
function F.evidence(record)
  return { F.state_of(record), record and record.raw or false }
end
