-- Granting, directly and by hand-over; and starting a run.

-- Gives a waiting run all its claims; it starts when its process accepts. Lapsed claims in its way were taken before.
function F.hand_over(run)
  if run.in_line then
    F.remove_from_line(run)
    for _, claim in ipairs(F.spec_of(run).claims) do
      -- A run that now holds the name exclusively is as much in the way of the next run as before. One that holds it
      -- beside others adds to them.
      if claim.mode ~= 'x' then
        F.tell_next_in_line(run.ticket, claim)
      end
    end
  end
  F.unpark(run)
  F.remove_guards(run)
  F.give_claims(run)
  if VERSIONS[run.ticket] then
    call('HSET', HASH, 'v' .. run.ticket, VERSIONS[run.ticket])
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

-- Gives a run all its claims. Lapsed claims in its way were taken before.
function F.give_claims(run, also)
  F.hold_all(run, also)
  run.lapsed, run.given_up, run.token = nil, nil, F.next_token()
  local inputs = F.spec_of(run).inputs
  local parts = { #inputs }
  for i, name in ipairs(inputs) do
    parts[2 * i], parts[2 * i + 1] = name, format('%.0f', F.record(name).version)
  end
  VERSIONS[run.ticket] = inputs[1] and table.concat(parts, '\0') .. '\0' or false
end

-- Starts a run: its lease counts from now.
function F.start(run)
  if run.state == 'granted' then
    F.remove_of_client(run)
  end
  if run.lapsed then
    F.set_lapsed(run, false)
  end
  local was_until = run.deadline
  run.began = now
  run.place_end, run.wait_end, run.absent = nil, nil, nil
  run.deadline = F.lease_end(run)
  if was_until and run.deadline < was_until then
    F.tell_of_nearer_end(run)
  end
  run.state, run.since = 'running', wall
  if F.spec_of(run).on_fail then
    F.mark_incomplete(F.spec_of(run))
  end
end

-- Returns where a refresh moves the deadline of a running run: one lease from now, but not past its longest run time.
function F.lease_end(run)
  local lease_over = now + run.lease
  if run.began and run.max_runtime then
    return math.min(lease_over, run.began + run.max_runtime)
  end
  return lease_over
end

-- Returns whether an ancestor holds the place shared, lapsed or not; false once its claim is taken, ended or revoked.
function F.shares(ancestor, place)
  local member = place .. '\0' .. ancestor .. 's'
  if not call('ZSCORE', INDEX, 'h' .. member) and not call('ZSCORE', INDEX, 'y' .. member) then
    return false
  end
  return not F.must_find(ancestor).revoked
end
