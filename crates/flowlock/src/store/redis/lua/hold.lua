-- Who may run, and what stands in the way: the wording of rule.rs for the server. And being granted.

  holders_block = function(claim)
    local place, mode = claim.place, claim.mode
    if mode == 's' then
      return HOLDERS[place] and byte(HOLDERS[place]) ~= 115
    elseif mode == 'x' then
      return HOLDERS[place]
    end
    local units, smallest = F.units_held(place)
    return units + claim.units > math.min(claim.capacity, smallest)
  end,

  -- The first obstacle in the way of a run: exists, missing and the record's place, taken and the place; or nothing.
  obstacle = function(run)
    local spec = F.spec_of(run)
    F.prefetch_records(spec.inputs)
    F.prefetch_holders(spec.claims)
    if spec.if_written and F.has_written_output(spec) then
      return 'exists'
    end
    for _, name in ipairs(spec.inputs) do
      local record = RECORDS[name]
      if not record or record.state ~= 'L' or record.due and record.due <= wall then
        return 'missing', 'a' .. name
      end
    end
    for _, claim in ipairs(spec.claims) do
      if F.holders_block(claim) or meta.queued > 0 and F.queue_blocks(run, claim) then
        return 'taken', claim.place
      end
    end
  end,

  -- Stands a run among the holders of all its names; `also` is one more member of the index, written with them.
  hold_all = function(run, also)
    local claims = F.spec_of(run).claims
    local fields, index = {}, { also and 0, also }
    F.prefetch_holders(claims)
    for _, claim in ipairs(claims) do
      local place, mode = claim.place, claim.mode
      if mode == 'u' then
        F.hold_units(run, claim)
      else
        local holders = mode == 'x' and run.ticket or F.sharers(place, 1)
        HOLDERS[place] = holders
        fields[#fields + 1] = 'h' .. place
        fields[#fields + 1] = F.crowd_of(place)
        if mode == 's' then
          index[#index + 1] = 0
          index[#index + 1] = 'h' .. place .. '\0' .. run.ticket .. 's'
        end
      end
    end
    if fields[1] then
      call('HSET', KEYS[1], unpack(fields))
    end
    if index[1] then
      call('ZADD', KEYS[2], unpack(index))
    end
  end,

  -- Larger than any before it, and no less than the clock and what tokens are ahead of it since it went back.
  next_token = function()
    meta.token = math.max(meta.token + 1, wall + meta.ahead)
    return meta.token
  end,

  -- Gives a run all its claims. What lapsed in its way is taken already.
  give_claims = function(run, also)
    F.hold_all(run, also)
    run.lapsed, run.given_up, run.token = nil, nil, F.next_token()
    local inputs = F.spec_of(run).inputs
    local parts = { #inputs }
    for i, name in ipairs(inputs) do
      parts[2 * i], parts[2 * i + 1] = name, format('%.0f', F.record_of(name).version)
    end
    VERSIONS[run.ticket] = inputs[1] and table.concat(parts, '\0') .. '\0' or false
  end,

  -- Where a refresh moves a running run's deadline: a lease from now, but not past its longest run time.
  lease_end = function(run)
    local lease_over = now + run.lease
    if run.began and run.max_runtime then
      return math.min(lease_over, run.began + run.max_runtime)
    end
    return lease_over
  end,

  -- The run's process begins: its lease counts from now.
  start = function(run)
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
  end,

  -- A run that has just arrived, before anything is decided about it.
  arrive = function(id, nonce, spec, client, life, origin)
    meta.ticket = meta.ticket + 1
    local run = {
      ticket = format('%016.0f', meta.ticket), id = id, nonce = nonce, job = spec.job, lease = spec.lease,
      max_runtime = spec.max_runtime, client = client, life = life, origin = origin, state = 'awaiting_input',
      since = wall, on_fail = spec.on_fail or nil,
    }
    SPECS[run.ticket] = spec
    if spec.parent then
      run.ancestors = F.ancestors(spec.parent)
    end
    return run
  end,

  -- Writes a run that has just arrived; `latest` is the latest run with its id.
  insert = function(run, latest)
    local ticket = run.ticket
    F.note_due(run)
    F.note_reserving(run)
    RUNS[ticket] = run
    if latest then
      F.join_chain(run, latest)
    end
    local fields = { ticket, F.row_of(run), 's' .. ticket, SPECS[ticket].text, F.attempt_of(run), F.ticket_and_head(run) }
    if not run.tombstone then
      fields[7], fields[8] = 'i' .. run.id, ticket
    end
    if VERSIONS[ticket] then
      fields[#fields + 1] = 'v' .. ticket
      fields[#fields + 1] = VERSIONS[ticket]
    end
    call('HSET', KEYS[1], unpack(fields))
  end,

  -- A running run, as its process is told: with its inputs.
  running = function(run)
    local inputs, text = {}, F.made_from(run)
    for name, version in string.gmatch(sub(text, string.find(text, '%z') + 1), '(%Z+)%z(%Z+)%z') do
      local record = F.record_of(name)
      if record then
        inputs[#inputs + 1] = { name, tonumber(version), record.raw }
      end
    end
    return { 'running', run.token, run.deadline - now, inputs }
  end,
