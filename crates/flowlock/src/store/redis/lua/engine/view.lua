-- Reading a namespace without changing it: one snapshot. A passed deadline that no sweep has handled shows as negative
-- time left.

function F.view()
  if OP == 'runs' then
    return F.runs(ARGV[4], ARGV[5], math.min(tonumber(ARGV[6]), MOST_RUNS))
  elseif OP == 'run' then
    return F.one_run(ARGV[4])
  elseif OP == 'records' then
    return F.records(ARGV[4], ARGV[5], math.min(tonumber(ARGV[6]), MOST_RECORDS))
  elseif OP == 'namespace' then
    return F.namespace_seen()
  end
  return F.names()
end

-- ARGV: job or nothing, first ticket, how many
function F.runs(job, from, limit)
  local tickets, found = F.range('r', from, nil, limit + 1), {}
  for i, ticket in ipairs(tickets) do
    local run = F.whole_run(ticket) or F.must_find(ticket)
    if i > limit or not F.spend('shown', #F.spec_of(run).claims) then
      return { found, ticket }
    elseif job == '' or run.job == job then
      found[#found + 1] = F.seen(run)
    end
  end
  return { found, false }
end

-- ARGV: how many, then each
function F.names()
  local found, shown = {}, 0
  local asking, more = F.beside_line()
  for i = 1, math.min(tonumber(ARGV[4]), MOST_NAMES) do
    local seen, parts = F.name_seen(ARGV[4 + i], asking, more)
    shown = shown + parts
    if shown > CLAIMS and i > 1 then
      break
    end
    found[i] = seen
  end
  return found
end

-- ARGV: the field that has its ticket, by its id or by its attempt
function F.one_run(field)
  local found = call('HGET', HASH, field)
  return { found and F.seen(F.must_find(sub(found, 1, TICKET))) or false }
end

-- { run's row, what it asked for, versions of its inputs, lease left, blockers, since when it is silent }
function F.seen(run)
  local ticket = run.ticket
  local both = call('HMGET', HASH, 's' .. ticket, 'v' .. ticket)
  local left = holding_states[run.state] and run.deadline and run.deadline - now
  return { pack(run), both[1], both[2], left or false, waiting_states[run.state] and F.blocked(run) or false,
    F.silent_since(run) }
end

-- Returns since when, at the latest, the process of an absent waiting run has been silent. The run is absent even
-- before a sweep notes that; a held place is kept until its end, whoever is silent.
function F.silent_since(run)
  local silent_at
  if waiting_states[run.state] and run.absent then
    silent_at = run.absent_since
  elseif waiting_states[run.state] and not run.place_end then
    local heard = F.heard(run.client)
    silent_at = heard and heard + SILENCE <= now and heard + SILENCE
  end
  return silent_at and wall - (now - silent_at + SILENCE) * 1000 or false
end

-- ARGV: prefix, where the page begins (with its bracket), how many
function F.records(prefix, from, limit)
  local upto = prefix == '' and '+' or '(' .. prefix .. '\255'
  local names = call('ZRANGEBYLEX', WRITTEN, from, upto, 'LIMIT', 0, limit + 1)
  local more, found = #names > limit, {}
  names[limit + 1] = nil
  if #names > 0 then
    F.prefetch_records(names)
  end
  for _, name in ipairs(names) do
    local record = F.record(name)
    if F.state_of(record) ~= 'E' then
      found[#found + 1] = { name, record.raw }
    end
  end
  return { found, more and names[limit] or false }
end

-- Returns the waiting runs outside of any queue, by the names they ask for, and whether there may be more. No index
-- has them by name, because every step would have to maintain it.
function F.beside_line()
  local by_name, from, left = {}, FIRST, CLAIMS
  -- Runs that were handed their claims are counted as waiting, too.
  while meta.waiting > meta.queued do
    local size = math.min(left, MOST_RUNS)
    local tickets = F.range('r', from, nil, size + 1)
    for i = 1, math.min(#tickets, size) do
      local ticket = tickets[i]
      local run = F.whole_run(ticket) or F.must_find(ticket)
      if waiting_states[run.state] and not run.in_line then
        local claims = F.spec_of(run).claims
        if not F.spend('shown', #claims) then
          return by_name, true
        end
        for _, claim in ipairs(claims) do
          local name = sub(claim.place, 2)
          by_name[name] = by_name[name] or {}
          table.insert(by_name[name], { sub(claim.place, 1, 1), ticket })
        end
      end
    end
    left = left - size
    if #tickets <= size or left == 0 then
      return by_name, #tickets > size
    end
    from = tickets[size + 1]
  end
  return by_name, false
end

function F.name_seen(name, asking, more)
  local holders, line, beside = {}, {}, {}
  for _, letter in ipairs({ 'd', 'l', 's' }) do
    local place = letter .. name
    local tickets = {}
    for _, stake in ipairs(F.holders(place, BLOCKERS + 1)) do
      tickets[#tickets + 1] = stake.ticket
    end
    for _, text in ipairs(F.range('y' .. place .. '\0', FIRST, nil, BLOCKERS + 1)) do
      tickets[#tickets + 1] = sub(text, 1, TICKET)
    end
    for _, ticket in ipairs(tickets) do
      holders[#holders + 1] = { letter, F.by(ticket), F.must_find(ticket).token or 0 }
    end
    for _, text in ipairs(F.range('q' .. place .. '\0', FIRST, nil, BLOCKERS + 1)) do
      line[#line + 1] = { letter, F.by(sub(text, 1, TICKET)) }
    end
  end
  asking = asking[name] or {}
  for i = 1, math.min(#asking, BLOCKERS + 1) do
    beside[i] = { asking[i][1], F.by(asking[i][2]) }
  end
  local record = F.record(name)
  local has_expired = record and F.state_of(record) == 'E'
  return { name, record and record.raw or false, holders, line, has_expired and 1 or 0, beside,
    (more or #asking > #beside) and 1 or 0 }, #holders + #line + #beside
end
