-- A request arrives, or comes again: it becomes a grant, a waiting run, or a refusal.

-- A request is: id, nonce, spec (as it came), client, liveness, origin, patience, latest (arrival, in milliseconds).
function F.acquire(request)
  local known = call('HMGET', HASH, 'n' .. request.nonce .. request.id, 'i' .. request.id)
  local latest = known[2]
  if known[1] then
    return F.acquire_again(F.whole_run(sub(known[1], 1, TICKET), known[1]), request)
  elseif request.latest < now then
    return { 'invalid', 'arrived_too_late' }
  elseif request.latest > now + LATEST_AHEAD then
    return { 'invalid', 'latest_too_far' }
  end
  if latest and not F.must_find(latest).forget then
    if not F.bury({ latest }) then
      return { 'invalid', 'run_id_in_use' }
    end
    F.drain()
  end
  return F.decide(F.arrive(request), request, latest)
end

-- Makes the attempt's row, before anything is decided about it.
function F.arrive(request)
  local spec = F.spec_from(request.spec)
  meta.ticket = meta.ticket + 1
  local run = {
    ticket = format(TICKET_FORMAT, meta.ticket), id = request.id, nonce = request.nonce, job = spec.job,
    lease = spec.lease, max_runtime = spec.max_runtime, client = request.client, liveness = request.liveness,
    origin = request.origin, state = 'awaiting_input', since = wall, on_fail = spec.on_fail or nil,
  }
  SPECS[run.ticket] = spec
  if spec.parent then
    run.ancestors = F.ancestors(spec.parent)
  end
  return run
end

-- Returns the chain of running parents, the nearest ones, nearest last; none if the proof of the parent is wrong. The
-- proof is in front of the parent's id.
function F.ancestors(parent)
  local proof, id = sub(parent, 1, SHA1_HEX), sub(parent, SHA1_HEX + 1)
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

-- `latest_run` is the latest run with its id, here and below.
function F.decide(run, request, latest_run)
  local in_the_way, place = F.first_obstacle(run)
  -- A dead process in the way is found now, not by a later probe.
  while is_dead and in_the_way == 'taken' and F.bury_the_dead(F.in_the_way(run, PROBES)) == 'some' do
    F.drain()
    in_the_way, place = F.first_obstacle(run)
  end
  local is_next = not in_the_way and F.may_grant() and not F.has_leftover()
    and (meta.lapsed == 0 or F.take_what_lapsed(run))
  if in_the_way == 'exists' then
    return F.refuse(run, request, 'refused(output_exists)', latest_run)
  elseif is_next then
    F.give_claims(run, 'r' .. run.ticket)
    F.start(run)
    F.insert(run, latest_run)
    return F.running(run)
  elseif request.patience == 't' then
    return F.refuse(run, request, 'refused(busy)', latest_run)
  elseif in_the_way and F.is_deadlock(run) then
    return F.refuse(run, request, 'refused(deadlock)', latest_run)
  end
  return F.wait(run, request, in_the_way, place, latest_run)
end

-- Puts a run into the queue: parked at its obstacle, or to be looked at if only older work is ahead of it.
function F.wait(run, request, in_the_way, place, latest_run)
  F.set_patience(run, request.patience)
  F.insert(run, latest_run)
  call('ZADD', INDEX, 0, 'r' .. run.ticket)
  F.add_of_client(run)
  F.hear(run.client)
  F.add_guards(run)
  if in_the_way == 'missing' or in_the_way and F.may_grant() and not F.has_leftover() then
    F.wait_at(run, place)
  else
    F.enter(run, 'queued')
    F.enter_line(run)
    F.save(run)
    F.add_hint(run.ticket, ALONE)
  end
  return F.standing(run)
end

-- t: a try. p<ms>: hold the place. w<ms>: wait. f: wait for ever.
function F.set_patience(run, patience)
  local kind, ms = sub(patience, 1, 1), tonumber(sub(patience, 2))
  if kind == 'p' then
    run.place_end = now + math.min(ms, LONGEST_PLACE)
    -- The place is kept until its end, whether or not the process that asked for it lives: another may come back.
    run.liveness = nil
  elseif kind == 'w' then
    run.wait_end = math.min(now + ms, FAR)
  end
end

-- Refuses a request for good. The refusal is remembered until no repetition of the request can arrive any more.
function F.refuse(run, request, outcome, latest_run)
  local blocked = F.blocked(run)
  if outcome == 'refused(busy)' then
    blocked[4] = F.retry_after(run)
  end
  run.state = outcome
  run.forget = request.latest + 1
  F.insert(run, latest_run)
  return { 'ended', outcome, blocked }
end

-- Answers a repeated request: the attempt's current state. It is also a sign of life.
function F.acquire_again(run, request)
  local spec = F.spec_of(run)
  if spec.text ~= request.spec and not run.tombstone then
    return { 'invalid', 'run_id_reused' }
  end
  if run.revoked and holding_states[run.state] then
    return F.hear_of_unlock(run, request)
  end
  F.adopt(run, request)
  if waiting_states[run.state] and run.absent then
    F.revive(run)
  end
  if run.place_end and run.state == 'granted' then
    return F.accept(request)
  elseif run.place_end and waiting_states[run.state] and sub(request.patience, 1, 1) == 'p' then
    local was_until = run.place_end
    F.set_patience(run, request.patience)
    F.save(run)
    for _, claim in ipairs(run.in_line and run.place_end < was_until and spec.claims or {}) do
      F.tell_next_in_line(run.ticket, claim)
    end
    -- No process probes those in its way between two tries.
    if is_dead and request.liveness then
      F.add_hint(run.ticket, ALONE)
      F.drain()
    end
    if run.state == 'granted' then
      return F.accept(request)
    end
  end
  return F.standing(run)
end

-- Answers a repeated request for a run that was unlocked. This ends the run, unless another process may work under it.
function F.hear_of_unlock(run, holder)
  if F.is_held_by(run, holder) or F.is_dead(run) then
    F.finish(run, 'lost(broken)')
  end
  return { 'ended', 'lost(broken)', false }
end

-- A holder is: client, liveness, origin.
function F.is_held_by(run, holder)
  return run.client == holder.client and run.liveness == holder.liveness and run.origin == holder.origin
end

-- Gives the run to the process that came for it last; a detached run belongs to none.
function F.adopt(run, holder)
  local unaccepted = waiting_states[run.state] or run.state == 'granted'
  local is_continued = run.state == 'running' and not run.detached
  if F.is_held_by(run, holder) or not (unaccepted or is_continued) then
    return
  end
  local client, liveness = holder.client, holder.liveness
  if unaccepted and run.client ~= client then
    F.remove_of_client(run)
    run.client = client
    F.add_of_client(run)
  end
  if not unaccepted then
    liveness = F.liveness_beside(run, liveness)
  end
  run.client, run.liveness, run.origin = client, liveness, holder.origin
  F.hear(client)
  F.save(run)
end

-- Returns the liveness lock of a running run that another process continues. If the earlier process may still work, the
-- death of neither ends the run: only its lease does.
function F.liveness_beside(run, liveness)
  local before = run.liveness
  return before and (before == liveness or is_dead and is_dead(before)) and liveness or nil
end

-- Accepts a grant, for the run's process.
function F.accept(request)
  local run = F.by_attempt(request.id, request.nonce)
  if not run then
    return { 'not_found' }
  end
  if run.revoked and holding_states[run.state] then
    F.finish(run, 'lost(broken)')
    return F.standing(run)
  end
  F.adopt(run, request)
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
