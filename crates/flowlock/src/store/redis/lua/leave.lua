-- How runs end; and the records that those who commit leave.

  -- The run of an attempt, with its specification and the versions of its inputs, in one read.
  by_attempt = function(id, nonce)
    local attempt = call('HGET', KEYS[1], 'n' .. nonce .. id)
    return attempt and F.whole_run(sub(attempt, 1, 16), attempt)
  end,

  whole_run = function(ticket, attempt)
    if RUNS[ticket] then
      return RUNS[ticket]
    end
    local all = call('HMGET', KEYS[1], ticket, 's' .. ticket, 'v' .. ticket)
    local run = all[1] and F.run_from(all[1], attempt) or nil
    RUNS[ticket] = run
    if run and all[2] then
      SPECS[ticket] = F.spec_from(all[2])
      VERSIONS[ticket] = all[3]
    end
    return run
  end,

  -- The run that may be operated: by its nonce, or by its id alone if it is detached.
  find = function(id, nonce)
    if nonce ~= '' then
      return F.by_attempt(id, nonce)
    end
    local run = F.latest(id)
    return run and run.detached and run or nil
  end,

  save = function(run)
    F.note_due(run)
    F.note_reserving(run)
    call('HSET', KEYS[1], run.ticket, F.row_of(run), F.attempt_of(run), F.ticket_and_head(run))
  end,

  -- Takes a standing holder away from all its names, and `also` out of the index.
  unhold_all = function(run, also)
    local claims = F.spec_of(run).claims
    local gone, left, index = {}, {}, { also }
    F.prefetch_holders(claims)
    for _, claim in ipairs(claims) do
      local place, mode = claim.place, claim.mode
      if mode == 'u' then
        F.unhold_units(run, claim)
      else
        local holders = mode == 's' and F.sharers(place, -1)
        HOLDERS[place] = holders
        if mode == 's' then
          index[#index + 1] = 'h' .. place .. '\0' .. run.ticket .. 's'
        end
        local crowd = F.crowd_of(place)
        if crowd then
          left[#left + 1] = 'h' .. place
          left[#left + 1] = crowd
        else
          gone[#gone + 1] = 'h' .. place
        end
      end
    end
    if left[1] then
      call('HSET', KEYS[1], unpack(left))
    end
    if gone[1] then
      call('HDEL', KEYS[1], unpack(gone))
    end
    if index[1] then
      call('ZREM', KEYS[2], unpack(index))
    end
  end,

  -- Gives back a holder's names.
  release = function(run, also)
    if run.lapsed then
      meta.lapsed = meta.lapsed - 1
      F.unhold_lapsed(run, also)
    else
      F.unhold_all(run, also)
    end
    if meta.waiting > 0 then
      for _, claim in ipairs(F.spec_of(run).claims) do
        F.mark_dirty(claim.place)
      end
    end
  end,

  -- Ends a run, whatever it was doing; its outcome is remembered for a while.
  finish = function(run, outcome)
    local was = run.state
    if was == 'running' then
      F.release(run, 'r' .. run.ticket)
    else
      F.stop_waiting(run)
    end
    if outcome ~= 'committed' then
      F.tell_of_end(run, was, outcome)
    end
    run.state, run.since, run.forget = outcome, wall, now + OUTCOME_MEMORY
    F.save(run)
  end,

  -- Writes down who acts on a run by hand, if somebody does.
  sign = function(run)
    run.actor = step.actor or run.actor
  end,

  -- What a record says behind its head: who acts by hand, no failed attempt, who wrote it, what it was made from, a note.
  tail_of = function(run, job, made_from, note)
    return (step.actor or '') .. '\0\0\0\0\0' .. run .. '\0' .. job .. '\0' .. made_from .. (note and '+' .. note or '-')
  end,

  -- Writes records of the same kind and age for all names. Those there must be older: if one is not, nothing is
  -- written, and the answer says so.
  write_records = function(names, version, record_life, tail)
    local due = record_life and wall + record_life * 1000
    local raw = struct.pack(HEAD, 'L', version, wall, due or -1) .. tail
    local rows, written, kept = {}, {}, {}
    F.prefetch_records(names)
    for i, name in ipairs(names) do
      local old = RECORDS[name]
      rows[2 * i - 1], rows[2 * i] = 'o' .. name, raw
      if not old or not F.is_written(old.state) then
        written[#written + 1] = 0
        written[#written + 1] = name
      end
      if old and old.version > version then
        return { 'contradiction', name, old.version, version }
      elseif old and old.due then
        kept[#kept + 1] = name
      end
    end
    call('HSET', KEYS[1], unpack(rows))
    if written[1] then
      call('ZADD', KEYS[3], unpack(written))
    end
    if due then
      F.will_expire(names, due)
    elseif kept[1] then
      call('ZREM', KEYS[4], unpack(kept))
    end
    for _, name in ipairs(names) do
      F.record_from(name, raw)
    end
  end,

  commit = function(id, nonce, note)
    local run = F.find(id, nonce)
    if not run then
      return { 'unknown' }
    elseif run.forget then
      return { 'ended', run.state, run.lapsed and 1 or 0 }
    elseif run.state ~= 'running' then
      return { 'unclaimed' }
    elseif run.revoked then
      -- Its work is over: with this it gives its names up.
      F.finish(run, 'lost(broken)')
      return { 'ended', 'lost(broken)', 0 }
    end
    local late = F.is_late(run)
    if late and F.may_grant() and F.has_leftover() then
      return { 'again' }
    end
    local spec = F.spec_of(run)
    if spec.outputs[1] then
      local tail = F.tail_of(run.id, spec.job, F.origin_of(run), note)
      local contradiction = F.write_records(spec.outputs, run.token, spec.record_life, tail)
      if contradiction then
        return contradiction
      end
    end
    F.sign(run)
    F.finish(run, 'committed')
    if meta.waiting > 0 then
      for _, name in ipairs(spec.outputs) do
        F.mark_written(name)
      end
    end
    return { 'ended', 'committed', late and 1 or 0 }
  end,
