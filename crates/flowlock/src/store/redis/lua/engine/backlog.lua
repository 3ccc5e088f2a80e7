-- What changed, and which runs to look at because of it, lowest ticket first.
--
-- A hint is a ticket and why to look at it: PARKED and the place, ALONE, READERS and the name of a record that is
-- gone, GUARDS and the name of a record that was written. It may be out of date: `next_look` checks.

function F.add_hint(ticket, source)
  meta.backlog = 1
  call('ZADD', BACKLOG, 0, HINT .. ticket .. source)
end

function F.is_dirty(place)
  return call('ZSCORE', BACKLOG, DIRTY .. place)
end

function F.set_clean(place)
  call('ZREM', BACKLOG, DIRTY .. place)
end

-- Notes that something changed at a place: the runs parked there must be looked at.
function F.mark_dirty(place)
  if meta.waiting == 0 or meta.backlog == 1 and call('ZSCORE', BACKLOG, DIRTY .. place) then
    return
  end
  local first = F.first_of('p' .. place .. '\0')
  if first then
    meta.backlog = 1
    call('ZADD', BACKLOG, 0, DIRTY .. place, 0, HINT .. first .. PARKED .. place)
  end
end

-- Notes that a record is not live any more: the runs that are queued to read it must be looked at.
function F.mark_readers(name)
  if meta.queued > 0 then
    F.mark_from(READERS .. name)
  end
end

-- Notes that a record is live now: the runs that await it, and those that may not overwrite it, must be looked at.
function F.mark_written(name)
  F.mark_dirty('a' .. name)
  if meta.waiting > 0 then
    F.mark_from(GUARDS .. name)
  end
  F.tell_a_reader(name)
end

-- Adds a walk that begins with the first run it finds. If there is none, nothing is left over: nothing would be
-- granted, so the step does not ask whether it may grant.
function F.mark_from(source)
  local first = F.actual(FIRST, source)
  if first then
    F.add_hint(first, source)
  end
end

function F.drain()
  if meta.backlog == 1 and F.may_grant() then
    F.drain_now()
  end
end

-- Looks at runs until nothing is left, or as many as one step may.
function F.drain_now()
  while F.runs_left('looks') > 0 do
    local ticket, source = F.next_look()
    if not ticket then
      return
    end
    local run = F.whole_run(ticket) or F.must_find(ticket)
    if not F.spend('looks', #F.spec_of(run).claims) then
      return
    end
    call('ZREM', BACKLOG, HINT .. ticket .. source)
    F.look(run, source)
  end
end

-- Returns the lowest ticket to look at, and why. Drops outdated hints on the way; if there are more than one step may
-- drop, work is left over.
function F.next_look()
  while true do
    local hint = call('ZRANGEBYLEX', BACKLOG, '[' .. HINT, '+', 'LIMIT', 0, 1)[1]
    if not hint then
      return nil
    end
    local ticket, source = sub(hint, 2, TICKET + 1), sub(hint, TICKET + 2)
    local found = F.actual(ticket, source)
    if found == ticket then
      return ticket, source
    elseif step.hints == 0 then
      step.unswept = true
      return nil
    end
    step.hints = step.hints - 1
    call('ZREM', BACKLOG, hint)
    if found then
      F.add_hint(found, source)
    elseif sub(source, 1, 1) == PARKED then
      F.set_clean(sub(source, 2))
    end
  end
end

-- Returns the ticket that a hint now stands for.
function F.actual(ticket, source)
  local kind, rest = sub(source, 1, 1), sub(source, 2)
  if kind == PARKED then
    return F.is_dirty(rest) and F.first_of('p' .. rest .. '\0')
  elseif kind == ALONE then
    local run = F.run_of(ticket)
    return run and waiting_states[run.state] and not run.absent and ticket
  end
  local prefix = kind == GUARDS and 'g' .. rest or 'qd' .. rest
  local found = F.range(prefix .. '\0', ticket, nil, 1)[1]
  return found and sub(found, 1, TICKET)
end

-- Looks at one run: grants it, refuses it, queues it, sends it back to await an input, or leaves it where it is.
function F.look(run, source)
  local kind, ticket = sub(source, 1, 1), run.ticket
  local is_waiting = waiting_states[run.state] and not run.absent
  -- A place continues with the next run parked there; a walk continues after this ticket.
  if kind == PARKED then
    F.add_hint(ticket, source)
    if not is_waiting or run.parked ~= sub(source, 2) then
      -- Only a store that was tampered with has such an entry. It would be looked at for ever.
      call('ZREM', INDEX, 'p' .. sub(source, 2) .. '\0' .. ticket)
    end
  elseif kind ~= ALONE then
    F.add_hint(format(TICKET_FORMAT, tonumber(ticket) + 1), source)
  end
  if not is_waiting then
    return
  end
  if F.is_over(run) then
    return F.finish(run, 'timed_out')
  end
  local in_the_way, place = F.first_obstacle(run)
  local ended
  if in_the_way == 'exists' then
    return F.finish(run, 'refused(output_exists)')
  elseif in_the_way == 'taken' then
    ended = F.bury_those_in_the_way(run)
  elseif not in_the_way and F.take_what_lapsed(run) then
    return F.hand_over(run)
  elseif not in_the_way then
    ended = 'not_all'
  end
  if ended then
    F.add_hint(ticket, ALONE)
    -- Later steps continue with it, before any run behind it is looked at.
    return ended == 'not_all' and F.stop('looks')
  end
  F.go_on_waiting(run, place, source)
end

-- Leaves a run that was looked at in the queue or outside of it, parked at its present obstacle.
function F.go_on_waiting(run, place, source)
  local was_in_line = run.in_line
  F.wait_at(run, place)
  if run.in_line then
    F.tell_of_others(run, was_in_line and place)
  end
  if source == PARKED .. place then
    -- Blocked at the dirty place itself, so all runs parked there later are blocked too.
    F.set_clean(place)
  elseif F.is_dirty(place) then
    F.add_hint(run.ticket, PARKED .. place)
  end
end

-- Ends the dead runs in the way of a run that is looked at, now and not by a later probe. If there were any, the run
-- must be looked at again.
function F.bury_those_in_the_way(run)
  if not is_dead or step.probes == 0 then
    return nil
  end
  local in_the_way = F.in_the_way(run, step.probes)
  step.probes = step.probes - #in_the_way
  return F.bury_the_dead(in_the_way)
end

-- Tells the process of a run that stays in the queue if the runs in its way are not those that it was told of, because
-- it must probe whether they are alive. `at` is the place in whose queue the run was before; nothing if it enters the
-- queue.
function F.tell_of_others(run, at)
  if not at or F.was_passed(run, at) then
    F.wake(run)
  end
  for _, claim in ipairs(at and {} or F.spec_of(run).claims) do
    F.tell_next_in_line(run.ticket, claim)
  end
end
