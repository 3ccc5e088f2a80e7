-- What only some steps need: the first of three stages.

F.damaged = function(what)
  error({ err = 'FLOWLOCK damaged: ' .. what })
end

-- What one step does of each kind: so many runs, and so many claims of theirs together. The first run is let through
-- however many it has, or a step could not go on at all.
local MOST = { looks = LOOKS, due = DUE, ends = ENDS, returns = ENDS, explained = EXPLAINED,
  examined = EXAMINED, foreseen = ENDS, shown = MOST_RUNS }

-- How many runs, how many claims, whether the first one was let through.
local function left_of(kind)
  local left = step[kind] or { MOST[kind], CLAIMS, false }
  step[kind] = left
  return left
end

-- Whether a run with so many claims may still be looked at; if so, it is counted. If not, nobody is any more: whoever comes
-- later in the order must not pass it.
F.takes = function(kind, claims)
  local left = left_of(kind)
  if left[1] == 0 or left[3] and claims > left[2] then
    left[1] = 0
    return false
  end
  left[1], left[2], left[3] = left[1] - 1, math.max(0, left[2] - claims), true
  return true
end

F.runs_left = function(kind)
  return left_of(kind)[1]
end

F.stop = function(kind)
  left_of(kind)[1] = 0
end

F.range = function(prefix, from, before, limit)
  local upto = before and '(' .. prefix .. before or '(' .. prefix .. '\255'
  local found = call('ZRANGEBYLEX', KEYS[2], '[' .. prefix .. from, upto, 'LIMIT', 0, limit)
  for i = 1, #found do
    found[i] = sub(found[i], #prefix + 1)
  end
  return found
end

F.last_before = function(prefix, before)
  local upto = '(' .. prefix .. before
  local found = call('ZREVRANGEBYLEX', KEYS[2], upto, '[' .. prefix, 'LIMIT', 0, 1)[1]
  return found and sub(found, #prefix + 1)
end

-- What an index member behind its place says: ticket, mode, units, capacity.
F.stake_of = function(text)
  local mode = sub(text, 17, 17)
  if mode == 'u' then
    local units, capacity = string.match(text, '^(%d+)/(%d+)$', 18)
    return { ticket = sub(text, 1, 16), mode = mode, units = tonumber(units), capacity = tonumber(capacity) }
  end
  return { ticket = sub(text, 1, 16), mode = mode }
end

F.must_find = function(ticket)
  return F.run_of(ticket) or F.damaged('run ' .. ticket .. ' is named but has no row')
end

F.run_of = function(ticket)
  local run = RUNS[ticket]
  if not run then
    local row = call('HGET', KEYS[1], ticket)
    run = row and F.run_from(row) or nil
    RUNS[ticket] = run
  end
  return run
end

F.read_spec = function(run)
  local text = call('HGET', KEYS[1], 's' .. run.ticket)
  local spec = F.spec_from(text or F.damaged('run ' .. run.ticket .. ' has no specification'))
  SPECS[run.ticket] = spec
  return spec
end

-- The latest run with an id: if one lives, that one.
F.latest = function(id)
  local ticket = call('HGET', KEYS[1], 'i' .. id)
  return ticket and F.whole_run(ticket)
end

F.living = function(id)
  local run = F.latest(id)
  return run and not run.forget and run or nil
end

F.enter = function(run, state)
  run.state, run.since = state, wall
end

-- The runs with one id form a chain, the latest first.
F.join_chain = function(run, latest)
  local before = F.run_of(latest)
  if before then
    run.previous, before.following = latest, run.ticket
    call('HSET', KEYS[1], latest, F.row_of(before))
  end
end

-- The chain of running parents, the nearest of them, nearest last; nobody, if the parent is named without proof. Its proof
-- stands in front of its id.
F.ancestors = function(parent)
  local proof, id = sub(parent, 1, 40), sub(parent, 41)
  local run = F.living(id)
  if not run or run.state ~= 'running' or redis.sha1hex('flowlock parent ' .. run.nonce .. id) ~= proof then
    return nil
  end
  local chain = {}
  for i, ancestor in ipairs(run.ancestors or {}) do
    chain[i] = ancestor
  end
  chain[#chain + 1] = run.ticket
  if #chain > ANCESTORS then
    table.remove(chain, 1)
  end
  return chain
end

-- What is left of a namespace that was removed: its row, and who did it.
F.removed_meta = function()
  local raw = call('HGET', KEYS[1], 'x')
  if raw then
    local size = struct.size(META)
    return sub(raw, 1, size), sub(raw, size + 1)
  end
end

F.new_meta = function()
  return {
    sequence = 0, ticket = 0, token = 0, ahead = 0, waiting = 0, queued = 0, lapsed = 0, backlog = 0, next_due = FAR,
    next_expiry = FAR, next_forget = FAR, pause_until = 0, reign = 0, epoch = NEW_EPOCH, replication = string.rep('-', 40),
    last_wall = 0, is_new = true,
  }
end

-- Whether what two modes claim of one name cannot be held together, slots aside.
F.conflicts = function(a, b)
  return not (a == b and a ~= 'x')
end

-- An ancestor shares the place: lapsed or not, until it is taken, ended or revoked.
F.shares = function(ancestor, place)
  local member = place .. '\0' .. ancestor .. 's'
  if not call('ZSCORE', KEYS[2], 'h' .. member) and not call('ZSCORE', KEYS[2], 'y' .. member) then
    return false
  end
  return not F.must_find(ancestor).revoked
end

-- Ends the lapsed holders that conflict with a run about to be granted: only here are they lost. Answers whether all.
F.take_what_lapsed = function(run)
  return meta.lapsed == 0 or F.take_lapsed(run)
end

F.has_kin = function(run, place)
  for _, ancestor in ipairs(run.ancestors or {}) do
    if F.shares(ancestor, place) then
      return true
    end
  end
  return false
end

-- Units in use at a slot and the smallest capacity its holders stated: those who stand, or those who lapsed.
F.units_held = function(place, lapsed)
  local units = tonumber(call('HGET', KEYS[1], (lapsed and 'w' or 'u') .. place) or '0')
  local smallest = F.first_of((lapsed and 'z' or 'c') .. place .. '\0')
  return units, smallest and tonumber(sub(smallest, 1, 5)) or FAR
end

-- Units wanted ahead of a ticket, counted only until they exceed `enough`, and the smallest capacity stated there.
F.units_ahead = function(place, before, enough)
  local units, smallest, from = 0, FAR, FIRST
  while true do
    local page = F.range('q' .. place .. '\0', from, before, PAGE)
    for _, text in ipairs(page) do
      local stake = F.stake_of(text)
      units = units + stake.units
      smallest = math.min(smallest, stake.capacity)
      if units > enough then
        return units, smallest
      end
    end
    if #page < PAGE then
      return units, smallest
    end
    from = sub(page[PAGE], 1, 16) .. '\255'
  end
end

F.hold_units = function(run, claim)
  local place = claim.place
  call('HINCRBY', KEYS[1], 'u' .. place, claim.units)
  call('ZADD', KEYS[2], 0, 'h' .. place .. '\0' .. F.member_of(run, claim), 0,
    'c' .. place .. '\0' .. F.capacity_of(run, claim))
end

F.unhold_units = function(run, claim)
  local place = claim.place
  F.fewer_units('u' .. place, claim.units)
  call('ZREM', KEYS[2], 'h' .. place .. '\0' .. F.member_of(run, claim), 'c' .. place .. '\0' .. F.capacity_of(run, claim))
end

F.fewer_units = function(field, units)
  if call('HINCRBY', KEYS[1], field, -units) == 0 then
    call('HDEL', KEYS[1], field)
  end
end

-- How a stated capacity stands in the index behind its place: the smallest first.
F.capacity_of = function(run, claim)
  return format('%05d', claim.capacity) .. run.ticket
end

-- How a claim stands in the index behind its place.
F.member_of = function(run, claim)
  if claim.mode == 'u' then
    return run.ticket .. 'u' .. format('%d/%d', claim.units, claim.capacity)
  end
  return run.ticket .. claim.mode
end

-- Where those in line stand whose claims conflict with a claim: for a shared one only exclusive ones do.
F.line_in_the_way = function(claim)
  return (claim.mode == 's' and 'e' or 'q') .. claim.place .. '\0'
end

-- Whether those in line ahead of the run are in its way, an ancestor's privilege aside.
F.line_blocks = function(run, claim)
  if claim.mode == 'u' then
    local place = claim.place
    local ahead, stated = F.units_ahead(place, run.ticket, claim.capacity)
    if ahead == 0 then
      return false
    end
    local units, smallest = F.units_held(place)
    return units + ahead + claim.units > math.min(claim.capacity, smallest, stated)
  end
  local first = F.first_of(F.line_in_the_way(claim))
  return first ~= nil and sub(first, 1, 16) < run.ticket
end

F.queue_blocks = function(run, claim)
  return meta.queued > 0 and F.line_blocks(run, claim) and not (claim.mode == 's' and F.has_kin(run, claim.place))
end

-- Records.

-- What a record says it was made from: of more than MADE_FROM inputs their number and a digest.
F.origin_of = function(run)
  local text = F.made_from(run)
  local count, list = string.match(text, '^(%d+)%z(.*)$')
  return tonumber(count) <= MADE_FROM and text or '#' .. count .. '\0' .. redis.sha1hex(list) .. '\0'
end

F.is_written = function(state)
  return state == 'L' or state == 'I' or state == 'J'
end

-- A record's state as it is now: one whose time is up has expired, whether a sweep came to it or not.
F.state_of = function(record)
  if not record then
    return 'N'
  elseif record.due and record.due <= wall and F.is_written(record.state) then
    return 'E'
  end
  return record.state
end

F.has_written_output = function(spec)
  F.prefetch_records(spec.outputs)
  for _, name in ipairs(spec.outputs) do
    if F.state_of(RECORDS[name]) == 'L' then
      return true
    end
  end
end

F.will_expire = function(names, due)
  local scored = {}
  for i, name in ipairs(names) do
    scored[2 * i - 1], scored[2 * i] = due, name
  end
  call('ZADD', KEYS[4], unpack(scored))
  meta.next_expiry = math.min(meta.next_expiry, due)
end

F.exclusive_holder = function(place)
  local known = HOLDERS[place]
  if known == nil then
    F.holders_from(place, call('HGET', KEYS[1], 'h' .. place))
    known = HOLDERS[place]
  end
  return known and byte(known) ~= 115 and known
end

-- Standing and leaving.

-- Where a run stands, as its process is told.
F.standing = function(run)
  local state = run.state
  if state == 'running' then
    return F.running(run)
  elseif state == 'granted' then
    return { 'granted', run.token }
  elseif waiting_states[state] then
    return F.waiting(run)
  elseif state == 'refused(output_exists)' or state == 'refused(busy)' then
    return { 'ended', state, F.blocked(run) }
  end
  return { 'ended', state, false }
end

F.end_of_wait = function(run)
  local abandoned = run.absent_since and run.absent_since + ABANDONED_AFTER
  -- Who set a limit is awaited until then, silent or not.
  local due = math.min(run.wait_end or abandoned or FAR, run.place_end or FAR)
  return due < FAR and due or nil
end

-- Ends what a run that has not begun has: its place in line, or the names it was handed.
F.stop_waiting = function(run)
  if run.state == 'granted' then
    F.release(run, 'r' .. run.ticket)
  else
    F.leave_line(run)
    F.unpark(run)
    F.remove_guards(run)
    call('ZREM', KEYS[2], 'r' .. run.ticket)
  end
  F.remove_of_client(run)
end

-- Leaves evidence of a run that did not write what it was to write, and wakes the process that does not know.
F.tell_of_end = function(run, was, outcome)
  if was == 'running' and outcome ~= 'cancelled' then
    F.note_failure(run, outcome)
  end
  if outcome ~= 'failed' and outcome ~= 'cancelled' then
    F.wake(run)
  end
end

-- Coming back: a waiting or granted run belongs to the process that spoke last.

F.life_from = function(text)
  return text ~= '' and text or nil
end

-- The liveness lock of a running run that another process continues. Where the one before may still work, the end of
-- neither ends the run: its lease does.
local function life_beside(run, life)
  local before = run.life
  return before and (before == life or is_dead and is_dead(before)) and life or nil
end

-- A run belongs to the process that came for it last; a detached one to none.
F.adopt = function(run, client, life, origin)
  local unclaimed = waiting_states[run.state] or run.state == 'granted'
  if run.client == client and run.life == life and run.origin == origin
    or not unclaimed and (run.state ~= 'running' or run.detached) then
    return
  end
  if unclaimed and run.client ~= client then
    F.remove_of_client(run)
    run.client = client
    F.add_of_client(run)
  end
  if not unclaimed then
    life = life_beside(run, life)
  end
  run.client, run.life, run.origin = client, life, origin
  F.hear(client)
  F.save(run)
end

-- The run's process says that it is there for its grant.
F.claim = function(id, nonce, client, life, origin)
  local run = F.by_attempt(id, nonce)
  if not run then
    return { 'not_found' }
  end
  if run.revoked and holding_states[run.state] then
    F.finish(run, 'lost(broken)')
    return F.standing(run)
  end
  F.adopt(run, client, life, origin)
  if waiting_states[run.state] and run.absent then
    F.revive(run)
  end
  if run.state == 'granted' then
    if F.is_late(run) and F.may_grant() and F.has_leftover() then
      return { 'ask_again' }
    end
    F.start(run)
    F.save(run)
  end
  return F.standing(run)
end
