-- A request becomes a grant, a waiting run, or a refusal; and comes back.
--
-- ARGV: run id, nonce, what it asks for, client, life, origin, patience, latest arrival (milliseconds)

local ID, NONCE, SPEC, CLIENT, LIFE, ORIGIN = ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8] ~= '' and ARGV[8] or nil, ARGV[9]
local PATIENCE, LATEST = ARGV[10], tonumber(ARGV[11])

-- t: a try. p<ms>: hold the place. w<ms>: wait. f: wait for ever.
local function set_patience(run)
  local kind, ms = sub(PATIENCE, 1, 1), tonumber(sub(PATIENCE, 2))
  if kind == 'p' then
    run.place_end = now + math.min(ms, LONGEST_PLACE)
    -- It stands to its end, whether or not the process that asked for it does: another may come back.
    run.life = nil
  elseif kind == 'w' then
    run.wait_end = math.min(now + ms, FAR)
  end
end

-- Refuses a request for good; remembered until no sending of it can arrive any more.
local function refuse(run, outcome, latest_run)
  local blocked = F.blocked(run)
  if outcome == 'refused(busy)' then
    blocked[4] = F.retry_after(run)
  end
  run.state = outcome
  run.forget = LATEST + 1
  F.insert(run, latest_run)
  return { 'ended', outcome, blocked }
end

-- Stands a run in the queue; at its obstacle, or to be looked at if only older work is ahead of it.
local function wait(run, in_the_way, place, latest_run)
  set_patience(run)
  F.insert(run, latest_run)
  call('ZADD', KEYS[2], 0, 'r' .. run.ticket)
  F.add_of_client(run)
  F.hear(run.client)
  F.add_guards(run)
  if in_the_way == 'missing' or in_the_way and F.may_grant() and not F.has_leftover() then
    F.wait_at(run, place)
  else
    F.enter(run, 'queued')
    F.enter_line(run)
    F.save(run)
    F.add_hint(run.ticket, '2')
  end
  return F.standing(run)
end

local function decide(run, latest_run)
  local in_the_way, place = F.obstacle(run)
  -- A dead process in the way is found here and now, not by a later probe.
  while is_dead and in_the_way == 'taken' and F.bury_the_dead(F.in_the_way(run, PROBES)) == 'some' do
    F.drain()
    in_the_way, place = F.obstacle(run)
  end
  local is_next = not in_the_way and F.may_grant() and not F.has_leftover()
    and (meta.lapsed == 0 or F.take_what_lapsed(run))
  if in_the_way == 'exists' then
    return refuse(run, 'refused(output_exists)', latest_run)
  elseif is_next then
    F.give_claims(run, 'r' .. run.ticket)
    F.start(run)
    F.insert(run, latest_run)
    return F.running(run)
  elseif PATIENCE == 't' then
    return refuse(run, 'refused(busy)', latest_run)
  elseif in_the_way and F.is_deadlock(run) then
    return refuse(run, 'refused(deadlock)', latest_run)
  end
  return wait(run, in_the_way, place, latest_run)
end

-- The same attempt once more: its current state, and a sign of life.
local function again(run)
  local spec = F.spec_of(run)
  if spec.text ~= SPEC and spec.lease ~= 0 then
    return { 'invalid', 'run_id_reused' }
  end
  if run.revoked and holding_states[run.state] then
    -- That ends it, unless another process may work under it.
    if run.client == CLIENT and run.life == LIFE and run.origin == ORIGIN or F.is_dead(run) then
      F.finish(run, 'lost(broken)')
    end
    return { 'ended', 'lost(broken)', false }
  end
  F.adopt(run, CLIENT, LIFE, ORIGIN)
  if waiting_states[run.state] and run.absent then
    F.revive(run)
  end
  if run.place_end and run.state == 'granted' then
    return F.claim(ID, NONCE, CLIENT, LIFE, ORIGIN)
  elseif run.place_end and waiting_states[run.state] and sub(PATIENCE, 1, 1) == 'p' then
    local was_until = run.place_end
    set_patience(run)
    F.save(run)
    for _, claim in ipairs(run.in_line and run.place_end < was_until and spec.claims or {}) do
      F.tell_next_in_line(run.ticket, claim)
    end
    -- No process looks at those in its way meanwhile.
    if is_dead and LIFE then
      F.add_hint(run.ticket, '2')
      F.drain()
    end
    if run.state == 'granted' then
      return F.claim(ID, NONCE, CLIENT, LIFE, ORIGIN)
    end
  end
  return F.standing(run)
end

local function acquire()
  local known = call('HMGET', KEYS[1], 'n' .. NONCE .. ID, 'i' .. ID)
  local latest = known[2]
  if known[1] then
    return again(F.whole_run(sub(known[1], 1, 16), known[1]))
  elseif LATEST < now then
    return { 'invalid', 'arrived_too_late' }
  elseif LATEST > now + LATEST_AHEAD then
    return { 'invalid', 'latest_too_far' }
  end
  if latest and not F.must_find(latest).forget then
    if not F.bury({ latest }) then
      return { 'invalid', 'run_id_in_use' }
    end
    F.drain()
  end
  return decide(F.arrive(ID, NONCE, F.spec_from(SPEC), CLIENT, LIFE, ORIGIN), latest)
end

local refused = F.begin(CLIENT)
if refused then
  return { false, 0, now, refused }
end
return F.finish_step(acquire())
